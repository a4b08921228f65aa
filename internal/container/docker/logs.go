package docker

import (
	"context"
	"errors"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// Logs writes the container's log.
func (p *DockerProvider) Logs(
	ctx context.Context, sessionID string, opts container.LogOptions, stdout, stderr io.Writer,
) error {
	c, err := p.beginCall(ctx, "logs", sessionID, nil)
	if err != nil {
		return err
	}
	defer c.Done()
	c, stop := c.watched()
	defer stop()
	found, err := c.inspect() // whether it has a TTY decides how its log is framed
	if err != nil {
		return c.toError(err)
	}
	tty := found.Container.Config.Tty
	r := &logReader{
		call: c, id: found.Container.ID, opts: opts,
		frames: !tty,
		// Podman's stamps, of whole seconds, can't be told from what a program writes where nothing
		// says where an entry ends.
		stamped: !tty || !p.podman(),
		mends:   !p.podman() && versions.LessThan(p.client.ClientVersion(), "1.42"),
	}
	if state := found.Container.State; state != nil {
		r.ran, r.started = status(state.Status) == container.StatusRunning, state.StartedAt
		if !r.ran {
			r.ended = parseTime(state.FinishedAt)
		}
	}
	err = r.run(orDiscard(stdout), orDiscard(stderr))
	if failure, ok := errors.AsType[*writeError](err); ok {
		return failure.err
	}
	if err == nil {
		err = c.Ctx.Err()
	}
	return c.toError(err)
}

// logReader reads a container's log, in passes: one that counts, where only the last lines are
// wanted; the one whose entries are passed on; and, after one that follows, one for what that has
// left out.
//
// The engine is always asked for timestamps. By those, an entry has a position that outlasts the
// log's rotation, and the pieces of a long line are known as such. Not so where Podman follows a
// log that is rotated meanwhile: many of its entries have the same time, of a whole second, and
// those of a TTY have none, so that what is rotated away shifts the count of them.
type logReader struct {
	*call
	id   string
	opts container.LogOptions

	frames  bool // else it is one raw stream, of a TTY
	stamped bool // entries come with their times
	// The main process whose log is followed.
	ran     bool
	started string
	ended   time.Time

	// mends: the engine (Docker before 23) drops the line feed of a line of several pieces.
	mends bool
}

func (r *logReader) run(stdout, stderr io.Writer) error {
	if r.opts.Tail == 0 && !(r.opts.Follow && r.ran) {
		return nil
	}
	ask, from := logRequest{since: r.opts.Since, tail: -1}, logStart{since: r.opts.Since, past: &logPass{}}
	if r.opts.Tail >= 0 {
		var err error
		if ask, from, err = r.findTail(); err != nil {
			return err
		}
	}
	ask.follow = r.opts.Follow && r.ran
	pass := r.newPass(stdout, stderr)
	pass.skip = from.skip()
	err := r.read(ask, pass)
	if err != nil || !ask.follow {
		return err
	}
	for {
		// Docker 20.10 stops following when the container stops, and may leave out what was written
		// last. It is in the log, behind what has been passed on.
		if pass, err = r.readBehind(logRequest{}, from, pass); err != nil {
			return err
		}
		if runs, err := r.stillRuns(); err != nil || !runs {
			return err
		}
		// Podman 4.3 follows no log whose file is not there yet.
		if err := provider.Sleep(r.Ctx, "the log to begin", 100*time.Millisecond); err != nil {
			return err
		}
		if pass, err = r.readBehind(logRequest{follow: true}, from, pass); err != nil {
			return err
		}
	}
}

// readBehind reads what a pass that began there has not come by, and returns how far all have come.
func (r *logReader) readBehind(ask logRequest, from logStart, passed *logPass) (_ *logPass, err error) {
	rest := r.newPass(passed.streams[1].w, passed.streams[2].w)
	rest.skip = from.skipPassed(passed)
	ask.since = from.sincePassed(passed)
	if ask.tail, err = r.findTime(ask.since); err != nil {
		return nil, err
	}
	if err := r.read(ask, rest); err != nil {
		return nil, err
	}
	for i := range rest.streams {
		if rest.streams[i].isBefore(&passed.streams[i]) { // it ended before it came so far
			rest.streams[i] = passed.streams[i]
		}
	}
	rest.begun = rest.begun || passed.begun
	return rest, nil
}

// stillRuns reports whether the main process goes on that ran when the reading began.
func (r *logReader) stillRuns() (bool, error) {
	state, err := r.inspectState(r.id)
	if err != nil || !r.ran {
		return false, err
	}
	return status(state.Status) == container.StatusRunning && state.StartedAt == r.started, nil
}

func (r *logReader) newPass(stdout, stderr io.Writer) *logPass {
	p := &logPass{mends: r.mends, stamps: r.opts.Timestamps && r.stamped}
	p.streams[1].w, p.streams[2].w = stdout, stderr
	return p
}

// logRequest is what the engine is asked for; a negative tail is all.
type logRequest struct {
	since  time.Time
	tail   int
	follow bool
}

// read makes one pass over the log.
func (r *logReader) read(ask logRequest, pass *logPass) error {
	opts := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: ask.follow,
		Timestamps: r.stamped || r.opts.Timestamps}
	if ask.tail >= 0 {
		opts.Tail = strconv.Itoa(ask.tail)
	}
	if !ask.since.IsZero() {
		opts.Since = ask.since.Format(time.RFC3339Nano)
	}
	log, err := r.p.client.ContainerLogs(r.Ctx, r.id, opts)
	if err != nil {
		return err
	}
	if !ask.follow || !r.p.podman() {
		defer log.Close()
		return r.copyEntries(log, pass)
	}
	proven := r.proven()
	var fetching sync.WaitGroup
	fetching.Go(func() { proven.fetch(log) })
	defer fetching.Wait()
	defer log.Close()
	defer close(proven.stop)
	if err := r.copyEntries(proven, pass); !errors.Is(err, errLogOver) {
		return err
	}
	return r.Ctx.Err()
}

func (r *logReader) copyEntries(from io.Reader, pass *logPass) error {
	entries := newEntries(from)
	switch {
	case r.frames:
		return entries.copyFrames(pass)
	case r.stamped:
		return entries.copyStamped(pass)
	}
	return entries.copyRaw(pass)
}

// findTime finds how many of the last entries hold all that is not older. To the end of a log the
// engine comes at once; all of it, for what is young enough, takes seconds.
func (r *logReader) findTime(since time.Time) (ask int, err error) {
	if since.IsZero() || r.p.podman() {
		return -1, nil
	}
	for ask = tailSlack; ask < math.MaxInt32; ask *= 8 {
		count, err := r.count(logRequest{tail: ask})
		if err != nil || count.entries < ask || count.first.Before(since) {
			return ask, err
		}
	}
	return -1, nil
}

// count reads and passes nothing on.
func (r *logReader) count(ask logRequest) (*logPass, error) {
	count := r.newPass(io.Discard, io.Discard)
	count.skip = func(*logStream) bool { return true }
	return count, r.read(ask, count)
}

// tailSlack are entries that are asked for beyond those that are wanted: those written meanwhile,
// one by which to see whether a line has begun earlier, and the pieces of long lines.
const tailSlack = 64

// findTail finds where the last lines begin: what to ask the engine for, and which of it to leave
// out. What the engine takes for a line is an entry, a piece of a long line too. And Podman 4.3
// puts together what does not belong together when it looks for the last ones.
func (r *logReader) findTail() (ask logRequest, from logStart, err error) {
	if r.p.podman() {
		return r.findRecent()
	}
	ask = logRequest{since: r.opts.Since, tail: min(r.opts.Tail, math.MaxInt32/8) + tailSlack}
	for !from.found {
		count, err := r.count(ask)
		if err != nil {
			return ask, from, err
		}
		from = r.start(ask, count, ask.tail < 0 || count.entries < ask.tail)
		if !from.found {
			if ask.tail *= 8; ask.tail > math.MaxInt32 {
				ask.tail = -1
			}
		}
	}
	return ask, from, nil
}

// windows are how far back Podman is asked for the last lines. It looks through all of the log each
// time, but what it tells takes the most of it.
var windows = []time.Duration{2 * time.Second, 5 * time.Minute, 24 * time.Hour}

// findRecent is findTail by time.
func (r *logReader) findRecent() (ask logRequest, from logStart, err error) {
	end := r.ended
	if end.IsZero() {
		if end, err = r.p.engineTime(r.Ctx); err != nil {
			return ask, from, err
		}
	}
	for i := range len(windows) + 1 {
		ask = logRequest{since: r.opts.Since, tail: -1}
		whole := true
		if i < len(windows) && end.Add(-windows[i]).After(r.opts.Since) {
			ask.since, whole = end.Add(-windows[i]), false
		}
		count, err := r.count(ask)
		if err != nil {
			return ask, from, err
		}
		if from = r.start(ask, count, whole); from.found {
			break
		}
	}
	return ask, from, nil
}

// start tells where the last lines begin in what was counted.
func (r *logReader) start(ask logRequest, count *logPass, whole bool) logStart {
	lines := count.lines
	if !whole {
		lines-- // whether that began with its entry is unknown
	}
	from := logStart{
		found: whole || lines >= max(r.opts.Tail, 1), // with one line at least, the last one is there as a whole
		since: ask.since, lines: count.lines - min(max(lines, 0), r.opts.Tail), until: count.latest,
	}
	if ask.tail < 0 {
		from.past = count
	}
	return from
}

// logStart is where the last lines begin: of what is not older than since, behind so many lines,
// unless something later than until comes first, which has been written meanwhile.
type logStart struct {
	found bool
	since time.Time
	lines int
	until time.Time
	past  *logPass // all that was there, since then, when it was counted; nil: only its end was counted
}

// skip tells what is before the start.
func (f logStart) skip() func(*logStream) bool {
	if f.isEnd() {
		return f.skipUpTo(f.past)
	}
	begun := false
	return func(s *logStream) bool {
		begun = begun || s.pass.lines > f.lines || s.at.After(f.until)
		return !begun
	}
}

// isEnd reports whether the start is the end of what was there. The last line may go on behind it.
func (f logStart) isEnd() bool { return f.past != nil && f.lines == f.past.lines }

// sincePassed is a time from which on all has to be looked at that the pass has not passed on.
func (f logStart) sincePassed(passed *logPass) time.Time {
	if f.past != nil && !passed.begun {
		return f.since
	}
	var first time.Time
	for _, s := range passed.streams {
		if s.n > 0 && (first.IsZero() || s.at.Before(first)) {
			first = s.at
		}
	}
	if first.IsZero() {
		first = f.until
	}
	// The streams' entries may be a little out of order.
	if first = first.Add(-time.Second); first.Before(f.since) {
		return f.since
	}
	return first
}

// skipPassed tells what a pass that began there has come by already.
func (f logStart) skipPassed(passed *logPass) func(*logStream) bool {
	if f.past != nil && !passed.begun {
		return f.skip() // it did not come so far
	}
	return f.skipUpTo(passed)
}

// skipUpTo tells what a pass has come by. Each stream by itself is in order.
func (f logStart) skipUpTo(passed *logPass) func(*logStream) bool {
	var behind [3]bool
	return func(s *logStream) bool {
		last := &passed.streams[s.number]
		if f.isEnd() && last.isBefore(&f.past.streams[s.number]) {
			last = &f.past.streams[s.number]
		}
		switch {
		case behind[s.number]:
		case last.n == 0:
			behind[s.number] = s.at.After(f.until) || f.past != nil && f.past.streams[s.number].n == 0
		default:
			behind[s.number] = s.at.After(last.at) || s.at.Equal(last.at) && s.n > last.n
			if s.n == last.n && s.at.Equal(last.at) && (!last.ended || len(last.stamp) == 0 && last.begun) {
				s.cut = last.size // the rest of what had come in part
				return false
			}
		}
		return !behind[s.number]
	}
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
