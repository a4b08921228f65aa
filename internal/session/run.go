package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

const (
	flushInterval = 15 * time.Second // between writes of activity
	pruneInterval = time.Minute      // between removals of the records of sessions that were closed long ago
	retryInterval = 5 * time.Second  // after a pass that failed, unless passes are more frequent anyway
	minSpacing    = time.Second      // between passes that were asked for
	minBackoff    = 100 * time.Millisecond
	maxBackoff    = 30 * time.Second
)

// Run reconciles: at once, then on a period. Where the engine or a failed operation hints that
// something changed with a session, that one is looked at by itself at once. Run writes down which
// sessions are in use, forgets those that were closed long ago, and has terminals recorded where
// their sessions ask for that. It returns when ctx has ended and all that it began has too; the
// error is that of the last write of activity.
func (s *ContainerService) Run(ctx context.Context) error {
	waitBackground := s.background.begin(ctx)
	var wg sync.WaitGroup
	if watcher, ok := container.As[container.Watcher](s.rt); ok {
		wg.Go(func() { s.watchEngine(ctx, watcher) })
	}
	// Writes about many sessions may take long where the store hangs, and no pass waits for them.
	wg.Go(func() {
		s.runEvery(ctx, flushInterval, "The use of sessions could not be recorded yet", s.flushActivity)
	})
	waitRecorders := s.recorders.begin(ctx)
	wg.Go(func() { s.recordUntil(ctx) })
	wg.Go(func() { s.watchDeadlines(ctx) })
	wg.Go(func() {
		s.runEvery(ctx, pruneInterval, "Sessions closed long ago could not be forgotten yet", s.pruneClosed)
	})
	s.reconcileUntil(ctx)
	wg.Wait()
	waitBackground()
	waitRecorders()
	return s.flushActivity(context.WithoutCancel(ctx))
}

// reconcileUntil makes pass after pass until ctx ends.
func (s *ContainerService) reconcileUntil(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	var due, earliest time.Time // of the next pass, and of one that is hinted at
	trouble := trouble{log: s.log, said: "Reconciliation is not complete", over: "Reconciliation is complete again"}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.hints:
			if earliest.Before(due) {
				due = earliest
				next.Reset(time.Until(due))
			}
		case <-next.C:
			start := time.Now()
			wait := s.cfg.ReconcileInterval
			err := s.Reconcile(ctx)
			if err != nil && CodeOf(err) != CodeReconcileRefused { // that one waits for a person
				wait = min(wait, retryInterval)
			}
			trouble.note(ctx, err)
			// A long pass is not repeated at once, lest hints keep the engine busy with nothing
			// else.
			earliest = time.Now().Add(max(minSpacing, 10*time.Since(start)))
			due = time.Now().Add(wait)
			next.Reset(wait)
		}
	}
}

// runEvery calls f once an interval until ctx ends.
func (s *ContainerService) runEvery(
	ctx context.Context, interval time.Duration, said string, f func(context.Context) error,
) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	trouble := trouble{log: s.log, said: said}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			trouble.note(ctx, f(ctx))
		}
	}
}

func (s *ContainerService) flushActivity(ctx context.Context) error {
	return s.activity.flush(now(), func(active map[string]time.Time) error {
		err := s.store.touch(ctx, active)
		if err == nil {
			s.deadlines.noteUse(active)
		}
		return err
	})
}

func (s *ContainerService) pruneClosed(ctx context.Context) error {
	_, err := s.store.prune(ctx, now().Add(-s.cfg.Retention))
	return errors.Join(err, s.pruneRecordings(ctx))
}

// trouble logs an error that comes back again and again when it begins, when it becomes another
// one, and when it is over, instead of every time.
type trouble struct {
	log  *slog.Logger
	said string
	over string // empty: its end is not worth a word
	last string
}

func (t *trouble) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	now := ""
	if err != nil {
		now = errorWithCause(err)
	}
	if now == t.last {
		return
	}
	t.last = now
	switch {
	case err != nil:
		t.log.WarnContext(ctx, t.said, "error", now)
	case t.over != "":
		t.log.InfoContext(ctx, t.over)
	}
}

// watchEngine turns the engine's events into looks at their sessions until ctx ends. What happened
// while there was no stream is for a pass to find.
func (s *ContainerService) watchEngine(ctx context.Context, watcher container.Watcher) {
	backoff := minBackoff
	trouble := trouble{log: s.log, said: "The engine's event stream broke; trying again and again",
		over: "The engine's event stream is back"}
	for {
		began := time.Now()
		events, err := watcher.Watch(ctx)
		trouble.note(ctx, err)
		if err == nil {
			s.hintReconcile()
			for e := range events {
				switch e.Kind {
				case container.EventStopped, container.EventOOM, container.EventRemoved:
					s.hintSession(e.SessionID)
				}
			}
		}
		if time.Since(began) > maxBackoff {
			backoff = minBackoff
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
			backoff = min(2*backoff, maxBackoff)
		}
	}
}
