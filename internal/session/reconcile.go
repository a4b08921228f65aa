package session

import (
	"context"
	"sync"
	"time"
)

// ReconcileOptions say what a pass may do. The zero value is a regular pass.
type ReconcileOptions struct {
	// DryRun changes nothing and says the fate of everything.
	DryRun bool
	// AllowRemovals is a person's word that unknown containers may be removed although the
	// store can't confirm that it allotted them, and however many they are. They must
	// still be past the grace period and have been seen by the pass before; a daemon that
	// runs has made that one already.
	AllowRemovals bool
	// Instance names another installation, whose store is lost and which runs no more: a person's
	// word, with AllowRemovals, that its containers are removed, and of unknown ones no others. A
	// dry run shows them. There is nothing that could prove the person right.
	Instance string
}

// Report is what a pass found and did.
type Report struct {
	Sessions   int // that are not closed
	Containers int
	Changed    int  // sessions that something was done about
	Removed    int  // containers that no session owned
	Held       int  // sessions and containers that are not as they should be, and were left alone
	Failed     int  // sessions and containers that something should have been done about, and that failed
	Refused    bool // the pass would have removed too many unknown containers, and removed none of them
	// Fates says why. A dry run lists every session and container, other installations' too, a
	// regular pass those that are not simply as recorded.
	Fates []Fate
}

// workers is how many sessions a pass works on at once.
const workers = 8

// Reconcile makes one regular pass.
func (s *ContainerService) Reconcile(ctx context.Context) error {
	_, _, err := s.pass(ctx, ReconcileOptions{})
	return err
}

// ReconcilePass compares sessions and containers once, and acts on what it finds, as the package's
// documentation says. Passes follow one another. Unlike Run's, it waits a while for what takes
// long: what other passes have begun, and what it has begun itself. It gives what was done until
// then beside an error: the first of those it met, or reconcile_refused. It is for admins:
// forbidden.
func (s *ContainerService) ReconcilePass(
	ctx context.Context, who Principal, opts ReconcileOptions,
) (report Report, err error) {
	defer func() { s.audit(who, "reconcile", "", err) }()
	if err := who.RequireAdmin(); err != nil {
		return Report{}, toError(ctx, "reconcile", "", err)
	}
	if err := s.checkStrangers(ctx, opts); err != nil {
		return Report{}, toError(ctx, "reconcile", "", err)
	}
	bounded, cancel := context.WithTimeout(ctx, s.workTimeout())
	defer cancel()
	if !opts.DryRun {
		s.background.awaitPasses(bounded)
	}
	own := opts
	own.AllowRemovals = opts.AllowRemovals && opts.Instance == ""
	report, late, err := s.pass(ctx, own)
	if !opts.DryRun {
		s.background.awaitPasses(bounded) // and for what it has left to one that was under way
	}
	for _, w := range late {
		fate, lateErr := w.outcome()
		report.addFate(fate, lateErr)
		if err == nil && lateErr != nil {
			err = toError(ctx, "reconcile", "", lateErr)
		}
	}
	if err == nil || CodeOf(err) == CodeReconcileRefused {
		if failure := s.seeToStrangers(ctx, opts, &report); err == nil && failure != nil {
			err = toError(ctx, "reconcile", "", failure)
		}
	}
	return report, err
}

// pass makes one pass. late is what it has begun and does not wait for, which its report leaves
// out.
func (s *ContainerService) pass(
	ctx context.Context, opts ReconcileOptions,
) (report Report, late []*work, err error) {
	select {
	case s.passing <- struct{}{}:
		defer func() { <-s.passing }()
	case <-ctx.Done():
		return Report{}, nil, toError(ctx, "reconcile", "", ctx.Err())
	}
	start := time.Now()
	report, late, err = s.runPass(ctx, opts)
	if err != nil {
		err = toError(ctx, "reconcile", "", err)
	}
	if s.cfg.Observer != nil && !opts.DryRun {
		s.cfg.Observer.Reconciled(report, err, time.Since(start))
	}
	return report, late, err
}

// runPass is pass; s.passing is held.
func (s *ContainerService) runPass(ctx context.Context, opts ReconcileOptions) (Report, []*work, error) {
	before := s.memory
	if !opts.DryRun {
		s.memory = memory{} // "in a row" is over, unless this pass gets to its end
	}
	w, err := s.observe(ctx)
	if err != nil {
		return Report{}, nil, err
	}
	s.countStatuses(w)
	s.noteRecordable(w)
	l := limits{grace: s.cfg.Grace, allow: opts.AllowRemovals}
	fates, refused, stray := plan(w, before, l)
	if !opts.DryRun {
		s.expiring.noteAll(fates)
	}
	report := Report{Sessions: len(w.sessions), Containers: len(w.containers), Refused: refused}
	for _, sess := range w.sessions {
		if !sess.ClosedAt.IsZero() {
			report.Sessions--
		}
	}
	var todo []planned
	for _, p := range fates {
		if p.Action == ActionHold {
			report.Held++
		}
		switch p.Action {
		case ActionKeep, ActionHold:
			if opts.DryRun || p.Action == ActionHold {
				report.Fates = append(report.Fates, p.Fate)
			}
		default:
			todo = append(todo, p)
		}
	}
	if report.Held != before.held && report.Held > 0 && !opts.DryRun {
		s.log.WarnContext(ctx, "Sessions or containers are not as they should be, and were left alone; a dry run says why", "held", report.Held)
	}
	if opts.DryRun {
		for _, p := range todo {
			report.Fates = append(report.Fates, p.Fate)
		}
		return report, nil, nil
	}
	troubled, late, err := s.executePlan(ctx, todo, l, &report)
	if err != nil && (CodeOf(err) == CodeStoreUnavailable || ctx.Err() != nil) {
		return report, late, err
	}
	s.unmountLeftovers(ctx, w)
	s.memory = memory{stray: stray, troubled: troubled, held: report.Held}
	if err == nil && refused {
		err = refuse(CodeReconcileRefused,
			"octobot reconcile --dry-run shows them; octobot reconcile --allow-removals removes them",
			"too many containers are unknown to be removed without being asked")
	}
	return report, late, err
}

// observe lists the containers, then reads the sessions; see the package's documentation.
func (s *ContainerService) observe(ctx context.Context) (world, error) {
	began := time.Now()
	w := world{allotted: make(map[string]bool), expiring: s.expiring.all()}
	w.at, w.timeline = s.clock.read()
	w.lastUse = func(id string) time.Time { return s.activity.lastUse(id, w.at) }
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	var err error
	if w.containers, err = s.rt.List(bounded); err != nil {
		return world{}, err
	}
	if w.sessions, err = s.store.all(ctx); err != nil {
		return world{}, err
	}
	s.deadlines.noteAll(w.sessions, began)
	for _, origin := range sessionsNotListed(w.containers, w.sessions) {
		if w.allotted[origin], err = s.store.allotted(ctx, origin); err != nil {
			return world{}, err
		}
	}
	return w, nil
}

func (s *ContainerService) countStatuses(w world) {
	byID := bySession(w.containers)
	counts := make(map[Status]int)
	for _, sess := range w.sessions {
		st, _ := statusOf(sess, pickContainer(sess, byID[sess.ID]), nil)
		counts[st]++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = counts
}

// executePlan does what is to be done, several sessions at a time, and completes the report but for
// what is late. It gives the sessions that something went wrong with, and the first error. An error
// of the store ends it.
func (s *ContainerService) executePlan(
	ctx context.Context, todo []planned, l limits, report *Report,
) (troubled map[string]bool, late []*work, first error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	troubled = make(map[string]bool)
	slots := make(chan struct{}, workers)
	var mu sync.Mutex // guards report and the results
	var wg sync.WaitGroup
	for _, p := range todo {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			w := s.performPatiently(ctx, p, l)
			mu.Lock()
			defer mu.Unlock()
			select {
			case <-w.done:
			default:
				troubled[p.SessionID] = true
				late = append(late, w)
				return
			}
			report.addFate(w.fate, w.err)
			if w.err == nil {
				return
			}
			troubled[p.SessionID] = true
			if first == nil || CodeOf(w.err) == CodeStoreUnavailable {
				first = w.err
			}
			if CodeOf(w.err) == CodeStoreUnavailable {
				cancel()
			}
		})
	}
	wg.Wait()
	if first == nil {
		first = ctx.Err()
	}
	return troubled, late, first
}

func (r *Report) addFate(fate Fate, err error) {
	switch {
	case err != nil:
		r.Failed++
	case fate.Action == ActionRemove:
		r.Removed++
	case fate.Action != ActionSkip:
		r.Changed++
	}
	r.Fates = append(r.Fates, fate)
}
