package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

const (
	// maxRecorders bounds how many terminals of a session are recorded at once: as many as an agent
	// keeps.
	maxRecorders = 64
	// maxRecordBackoff is between two attempts to look at a terminal that is to be recorded.
	maxRecordBackoff = 5 * time.Second
)

// recorders are the goroutines that record terminals, one for each. They live while Run does.
type recorders struct {
	news chan []recordable // what the last pass has found

	mu   sync.Mutex
	ctx  context.Context // of Run; nil without. Guarded by mu
	work sync.WaitGroup  // Go is called with mu held and ctx set
	// on are the terminals that are being recorded, and failed is why others are not, of which the
	// log knows. Guarded by mu.
	on     map[RecordingKey]bool
	failed map[RecordingKey]string
}

// recordable is a session whose terminals are to be recorded.
type recordable struct {
	session Session
	running bool // else it does not run, certainly
}

// begin lets terminals be recorded until ctx ends; wait is called then.
func (r *recorders) begin(ctx context.Context) (wait func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.on, r.failed = ctx, map[RecordingKey]bool{}, map[RecordingKey]string{}
	return func() {
		r.mu.Lock()
		r.ctx = nil
		r.mu.Unlock()
		r.work.Wait()
	}
}

// start has record called for a terminal that is not being recorded yet.
func (r *recorders) start(key RecordingKey, record func(ctx context.Context) error) (started bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil || r.ctx.Err() != nil || r.on[key] || r.count(key.SessionID) >= maxRecorders {
		return false
	}
	r.on[key] = true
	ctx := r.ctx
	r.work.Go(func() {
		_ = record(ctx) // which has told of it
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.on, key)
	})
	return true
}

// idle tells whether nothing can be recorded, because Run does not run yet.
func (r *recorders) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ctx == nil
}

// count is for who holds mu.
func (r *recorders) count(sessionID string) (n int) {
	for key := range r.on {
		if key.SessionID == sessionID {
			n++
		}
	}
	return n
}

// isNews notes why a terminal is not recorded, and tells whether that was not known.
func (r *recorders) isNews(key RecordingKey, why string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == "" {
		delete(r.failed, key)
		return false
	}
	news := r.failed[key] != why
	r.failed[key] = why
	return news
}

// forgetFailed forgets what is known of sessions that are not among those.
func (r *recorders) forgetFailed(found []recordable) {
	runs := make(map[string]bool, len(found))
	for _, f := range found {
		runs[f.session.Origin] = f.running
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.failed {
		if !runs[key.Origin] {
			delete(r.failed, key)
		}
	}
}

// noteRecordable hands the sessions whose terminals are to be recorded from a pass to recordUntil.
func (s *ContainerService) noteRecordable(w world) {
	if s.cfg.Recorder == nil {
		return
	}
	byID := bySession(w.containers)
	found := []recordable{}
	for _, sess := range w.sessions {
		if !sess.Spec.Record {
			continue
		}
		c := pickContainer(sess, byID[sess.ID])
		switch status, _ := statusOf(sess, c, nil); status {
		case StatusRunning:
			if !c.Paused { // nothing would answer
				found = append(found, recordable{sess, true})
			}
		case StatusStopped, StatusFailed, StatusClosed:
			found = append(found, recordable{sess, false})
		}
	}
	for {
		select {
		case s.recorders.news <- found:
			return
		case <-s.recorders.news: // the older ones
		}
	}
}

// recordUntil has terminals recorded that are being so by nobody, as passes find them, until ctx
// ends.
func (s *ContainerService) recordUntil(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case found := <-s.recorders.news:
			s.recordFound(ctx, found)
		}
	}
}

func (s *ContainerService) recordFound(ctx context.Context, found []recordable) {
	s.recorders.forgetFailed(found)
	unfinished := make(map[string][]RecordingKey) // by session, and not being written
	for _, r := range s.cfg.Recorder.List("") {
		if !r.Open && !r.Ended {
			unfinished[r.Origin] = append(unfinished[r.Origin], r.RecordingKey)
		}
	}
	queue := make(chan recordable)
	var wg sync.WaitGroup
	for range min(workers, len(found)) {
		wg.Go(func() {
			for f := range queue {
				left := unfinished[f.session.Origin]
				if f.running {
					s.recordSession(ctx, f.session, left)
					continue
				}
				for _, key := range left {
					s.finishRecording(key, "the session has ended")
				}
			}
		})
	}
	for _, f := range found {
		if ctx.Err() != nil {
			break
		}
		queue <- f
	}
	close(queue)
	wg.Wait()
}

// recordSession has all terminals of a running session recorded, and ends the recordings of those
// that are gone.
func (s *ContainerService) recordSession(ctx context.Context, sess Session, unfinished []RecordingKey) {
	terminals, err := s.terminals()
	if err != nil {
		return
	}
	leave := s.guests.enter(sess.ID)
	defer leave()
	current, err := s.store.get(ctx, sess.ID)
	if err != nil || current.Origin != sess.Origin || checkUsable(current) != nil {
		return // the next pass looks again
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	list, err := terminals.ListTerminals(bounded, sess.ID)
	if err != nil {
		s.log.DebugContext(ctx, "The terminals of a session that is recorded can't be listed", "session", sess.ID,
			"error", err)
		return
	}
	there := make(map[string]bool, len(list))
	for _, info := range list {
		there[info.ID] = true
		s.recordTerminal(current, info)
	}
	for _, key := range unfinished {
		if !there[key.TerminalID] {
			s.finishRecording(key, "the terminal is gone")
		}
	}
}

func (s *ContainerService) finishRecording(key RecordingKey, why string) {
	if err := s.cfg.Recorder.Finish(key, why); err != nil {
		s.log.Warn("A recording could not be ended", "session", key.SessionID, "terminal", key.Terminal, "error", err)
	}
}

// recordTerminal has a terminal recorded, if its session asks for that and nobody does. The caller
// is a guest of the session.
func (s *ContainerService) recordTerminal(sess Session, info container.TerminalInfo) {
	if !sess.Spec.Record || s.cfg.Recorder == nil {
		return
	}
	key := RecordingKey{SessionID: sess.ID, Origin: sess.Origin, Terminal: info.Name, TerminalID: info.ID}
	leave := s.guests.enter(sess.ID)
	started := s.recorders.start(key, func(ctx context.Context) error {
		defer leave()
		err := s.record(ctx, key, info)
		why := ""
		if err != nil && ctx.Err() == nil {
			why = err.Error()
		}
		if s.recorders.isNews(key, why) {
			s.log.WarnContext(ctx, "A terminal is not recorded", "session", key.SessionID, "terminal", key.Terminal,
				"error", why)
		}
		return err
	})
	if started {
		return
	}
	leave()
	if s.recorders.idle() {
		s.hintReconcile() // it is found as soon as Run runs
	}
}

// record records a terminal until it or its session ends, or ctx does. That is no use of the
// session.
func (s *ContainerService) record(ctx context.Context, key RecordingKey, info container.TerminalInfo) error {
	writer, err := s.cfg.Recorder.Record(key, info)
	if errors.Is(err, ErrRecorded) {
		return nil
	}
	if err != nil {
		return err
	}
	r := &terminalRecorder{s: s, key: key, writer: writer}
	if writer.Position() == 0 {
		r.rows, r.cols = info.Rows, info.Cols // its beginning says so
	}
	err = r.run(ctx)
	if errors.Is(err, ErrRecorded) {
		err = nil // it says so itself
	}
	return errors.Join(err, writer.Close())
}

// terminalRecorder writes down what a terminal shows.
type terminalRecorder struct {
	s          *ContainerService
	key        RecordingKey
	writer     RecordingWriter
	rows, cols uint      // as recorded
	alone      time.Time // since when nobody else looks; zero where somebody does
}

// errAlone: nobody but the recorder has looked at a terminal for as long as terminals linger.
var errAlone = errors.New("nobody looks")

func (r *terminalRecorder) run(ctx context.Context) error {
	for wait := minBackoff; ; wait = min(2*wait, maxRecordBackoff) {
		before := r.writer.Position()
		err := r.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errAlone):
			r.endAbandoned(ctx)
		case errors.Is(err, container.ErrTerminalNotFound):
			return r.writer.Finish("the terminal is gone")
		case errors.Is(err, container.ErrContainerPaused):
		case errors.Is(err, container.ErrContainerStopped), errors.Is(err, container.ErrContainerNotFound):
			return r.writer.Finish("the session has ended")
		case !errors.Is(err, errUnseen):
			return err
		}
		if r.writer.Position() > before {
			wait = minBackoff
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// errUnseen: the connection with a terminal is lost, or can't be had now.
var errUnseen = errors.New("the terminal can't be seen")

// follow records what the terminal shows over one connection: nil where it has ended.
func (r *terminalRecorder) follow(ctx context.Context) error {
	t, err := r.open(ctx)
	switch {
	case err == nil:
	case isRefusal(err):
		return err
	default:
		return fmt.Errorf("%w: %w", errUnseen, err)
	}
	defer func() { _ = t.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = t.Close() })
	defer stop()
	// Who records looks at it, so that the engine does not see that nobody else does.
	var abandoned *time.Timer
	stopClock := func() {
		if abandoned != nil {
			abandoned.Stop()
		}
	}
	defer func() { stopClock() }()
	watch := func(viewers int) {
		stopClock()
		if viewers > 1 {
			r.alone = time.Time{}
			return
		}
		if r.alone.IsZero() {
			r.alone = time.Now()
		}
		left := r.s.cfg.TerminalLinger - time.Since(r.alone)
		abandoned = time.AfterFunc(max(0, left), func() { _ = t.Close() })
	}
	info, _ := t.Opened()
	watch(info.Viewers)
	if err := r.resize(info.Rows, info.Cols); err != nil {
		return err
	}
	for {
		e, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return r.finish(ctx, t)
		case errors.Is(err, io.ErrClosedPipe) && ctx.Err() == nil:
			return errAlone
		case err != nil:
			return fmt.Errorf("%w: %w", errUnseen, err)
		}
		if e.Viewers > 0 {
			watch(e.Viewers)
		}
		if err := r.take(e); err != nil {
			return err
		}
	}
}

func (r *terminalRecorder) open(ctx context.Context) (container.Terminal, error) {
	terminals, err := r.s.terminals()
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, r.s.cfg.CallTimeout)
	defer cancel()
	return terminals.OpenTerminal(bounded, r.key.SessionID, container.TerminalOptions{
		Name: r.key.Terminal, ID: r.key.TerminalID, Since: r.writer.Position(), ReadOnly: true})
}

func (r *terminalRecorder) take(e container.TerminalEvent) error {
	if e.Missed > 0 {
		at := e.Position
		if !e.Replayed {
			at -= int64(len(e.Data))
		}
		if err := r.writer.Missed(e.Missed, at); err != nil {
			return err
		}
	}
	if err := r.resize(e.Rows, e.Cols); err != nil {
		return err
	}
	switch {
	case len(e.Data) == 0:
		return nil
	case e.Replayed:
		return r.writer.Redraw(e.Data)
	}
	return r.writer.Output(e.Data, e.Position)
}

// resize records a size that is known, and another one than before.
func (r *terminalRecorder) resize(rows, cols uint) error {
	if rows == 0 || cols == 0 || rows == r.rows && cols == r.cols {
		return nil
	}
	r.rows, r.cols = rows, cols
	return r.writer.Resize(rows, cols)
}

// finish ends the recording of a terminal that has ended.
func (r *terminalRecorder) finish(ctx context.Context, t container.Terminal) error {
	bounded, cancel := context.WithTimeout(ctx, r.s.cfg.CallTimeout)
	defer cancel()
	code, err := t.ExitCode(bounded)
	switch {
	case ctx.Err() != nil:
		return nil // the next daemon finds it out
	case err != nil:
		return r.writer.Finish("the session has ended")
	}
	return r.writer.Finish(fmt.Sprintf("exited with code %d", code))
}

// endAbandoned ends the terminal as it would have ended by itself if nobody recorded it, unless
// somebody has just come.
func (r *terminalRecorder) endAbandoned(ctx context.Context) {
	r.alone = time.Time{} // where this fails, it lingers anew
	terminals, err := r.s.terminals()
	if err != nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, r.s.cfg.CallTimeout)
	defer cancel()
	list, err := terminals.ListTerminals(bounded, r.key.SessionID)
	for _, info := range list {
		if info.ID == r.key.TerminalID && info.Viewers == 0 && info.Running {
			err = terminals.EndTerminal(bounded, r.key.SessionID, r.key.Terminal)
		}
	}
	if err != nil {
		r.s.log.DebugContext(ctx, "A terminal that nobody looks at could not be ended", "session", r.key.SessionID,
			"terminal", r.key.Terminal, "error", err)
	}
}
