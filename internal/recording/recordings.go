package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What goes wrong that callers tell apart.
var (
	// ErrNotFound: there is no such recording.
	ErrNotFound = errors.New("no such recording")
	// ErrEnded: the recording has ended, or is as large as one may be.
	ErrEnded = errors.New("the recording has ended")
	// ErrBusy: the recording is being written.
	ErrBusy = errors.New("the recording is being written already")
	// ErrNoRoom: all recordings together are as large as they may be, and none can go.
	ErrNoRoom = errors.New("there is no room for recordings")
)

// Limits bound what recordings take, in bytes. They hold from the next write on.
type Limits struct {
	One int64 // zero: 64 MiB
	All int64 // zero: 1 GiB. Each counts for 4 KiB at least.
}

const (
	defaultOne = 64 << 20
	defaultAll = 1 << 30
	leastSize  = 4 << 10 // that a recording counts for
)

// Key says of what a recording is. Its parts but Origin have a session ID's form, which is the
// caller's to check.
type Key struct {
	Session    string
	Origin     string // tells the session from others that have had its ID
	Terminal   string
	TerminalID string // tells the terminal from others that have had its name
}

func (k Key) file() string { return k.Terminal + "." + k.TerminalID + ".cast" }
func (k Key) path() string { return k.Session + "/" + k.file() }

// Info is what is known of a recording. What waits to be written, for a second at most, is not in
// it.
type Info struct {
	Key
	Started time.Time
	Length  time.Duration // up to its last event
	Bytes   int64
	Missed  int64 // bytes of output
	Open    bool  // it is being written
	Ended   bool  // nothing is added any more
	Full    bool  // because it is as large as one may be
}

// entry is a recording in the index.
type entry struct {
	key     Key
	started time.Time
	size    int64
	state   state
	open    bool
}

func (e *entry) info() Info {
	return Info{Key: e.key, Started: e.started, Length: e.state.at, Bytes: e.size, Missed: e.state.missed,
		Open: e.open, Ended: e.state.mode != live, Full: e.state.mode == full}
}

func (e *entry) takes() int64 { return max(e.size, leastSize) }

// Recordings are the recordings below a directory, which no other process may write to. They are
// safe for use from many goroutines. Make them with [Open].
type Recordings struct {
	root   *os.Root
	limits Limits
	log    *slog.Logger

	mu   sync.Mutex
	all  map[string]*entry // by path; guarded by mu
	used int64             // what all take; guarded by mu
}

// Open opens the recordings below a directory, which is made where it is missing, and mends what a
// crash has left half-written. What is no recording there is left alone, and told of in the log.
func Open(dir string, limits Limits, log *slog.Logger) (*Recordings, error) {
	if limits.One == 0 {
		limits.One = defaultOne
	}
	if limits.All == 0 {
		limits.All = defaultAll
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	r := &Recordings{root: root, limits: limits, log: log, all: map[string]*entry{}}
	if err := r.load(); err != nil {
		_ = root.Close() // nothing was written
		return nil, fmt.Errorf("recordings: %w", err)
	}
	return r, nil
}

// Close gives the directory up. Every [Recording] must have been closed.
func (r *Recordings) Close() error { return r.root.Close() }

func (r *Recordings) load() error {
	sessions, err := fs.ReadDir(r.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, dir := range sessions {
		if !dir.IsDir() {
			r.log.Warn("Among the recordings is something else", "name", dir.Name())
			continue
		}
		files, err := fs.ReadDir(r.root.FS(), dir.Name())
		if err != nil {
			return err
		}
		for _, file := range files {
			path := dir.Name() + "/" + file.Name()
			if err := r.loadFile(path); err != nil {
				r.log.Warn("Among the recordings is a file that is none, or can't be read", "path", path, "error", err)
			}
		}
	}
	return nil
}

// loadFile takes a file into the index, mended where need be.
func (r *Recordings) loadFile(path string) error {
	f, size, err := r.openFile(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	h, length, err := readHeader(f)
	if err != nil {
		return err
	}
	key := h.Octobot.key()
	if key.path() != path {
		return fmt.Errorf("it says that it is %q", key.path())
	}
	s, end, err := lastState(f, length, size)
	if err != nil {
		return err
	}
	if end < size {
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	e := &entry{key: key, started: h.Octobot.Started, size: end, state: s}
	r.all[path] = e
	r.used += e.takes()
	return nil
}

// openFile opens a file that is one, and no link, in a directory that is none.
func (r *Recordings) openFile(path string, flags int) (f *os.File, size int64, err error) {
	dir, _, _ := strings.Cut(path, "/")
	info, err := r.root.Lstat(dir)
	if err != nil {
		return nil, 0, err
	}
	if !info.IsDir() {
		return nil, 0, fmt.Errorf("%s: is no directory", dir)
	}
	// Within the root, links are followed but for this.
	if info, err := r.root.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: is no regular file", path)
	}
	f, err = r.root.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: is no regular file", path)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Start says how a recording begins.
type Start struct {
	Rows, Cols uint // zero: 24 and 80
	Title      string
	Term       string // the environment's TERM
}

// Record goes on with a recording, or begins it where there is none; it is the caller's to close.
// [ErrEnded], [ErrBusy], [ErrNoRoom].
func (r *Recordings) Record(key Key, start Start) (*Recording, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.all[key.path()]
	switch {
	case e == nil:
		return r.begin(key, start)
	case e.open:
		return nil, ErrBusy
	case e.key != key:
		return nil, fmt.Errorf("recording %s: there is one of another session that had the ID", key.path())
	case e.state.mode != live:
		return nil, ErrEnded
	}
	f, size, err := r.openFile(key.path(), os.O_RDWR)
	if err == nil && size != e.size {
		_ = f.Close() // nothing was written
		err = fmt.Errorf("recording %s: somebody else has changed it", key.path())
	}
	if err != nil {
		return nil, err
	}
	return r.resume(e, f), nil
}

func (r *Recordings) resume(e *entry, f *os.File) *Recording {
	e.open = true
	return &Recording{of: r, entry: e, f: f, started: e.started, size: e.size, state: e.state}
}

// begin makes a recording's file. The caller holds mu.
func (r *Recordings) begin(key Key, start Start) (*Recording, error) {
	e := &entry{key: key, started: time.Now().UTC().Truncate(time.Microsecond), state: state{mode: live}}
	if start.Rows == 0 || start.Cols == 0 {
		start.Rows, start.Cols = 24, 80
	}
	first, err := json.Marshal(header{Version: 2, Width: start.Cols, Height: start.Rows, Timestamp: e.started.Unix(),
		Title: start.Title, Env: map[string]string{"TERM": start.Term},
		Octobot: of{key.Session, key.Origin, key.Terminal, key.TerminalID, e.started}})
	if err != nil {
		return nil, err
	}
	first = appendState(append(first, '\n'), e.state)
	if err := r.makeRoom(leastSize); err != nil {
		return nil, err
	}
	if err := r.root.Mkdir(key.Session, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, _, err := r.openFile(key.path(), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrExist) {
		// It was no recording when it was looked at: what a crash has left of one.
		if err = r.root.Remove(key.path()); err == nil {
			f, _, err = r.openFile(key.path(), os.O_RDWR|os.O_CREATE|os.O_EXCL)
		}
	}
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(first, 0); err != nil {
		_ = f.Close()                 // the reason is known
		_ = r.root.Remove(key.path()) // the same
		return nil, err
	}
	e.size = int64(len(first))
	r.all[key.path()] = e
	r.used += e.takes()
	return r.resume(e, f), nil
}

// grown takes note of what was written to a recording.
func (r *Recordings) grown(e *entry, size int64, s state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= e.takes()
	e.size, e.state = size, s
	r.used += e.takes()
}

func (r *Recordings) closed(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.open = false
}

// roomFor makes room for so many bytes more in a recording.
func (r *Recordings) roomFor(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.makeRoom(n)
}

// makeRoom removes the oldest recordings that have ended, until there is room. The caller holds mu.
func (r *Recordings) makeRoom(n int64) error {
	if r.used+n <= r.limits.All {
		return nil
	}
	var old []*entry
	for _, e := range r.all {
		if !e.open && e.state.mode != live {
			old = append(old, e)
		}
	}
	slices.SortFunc(old, func(a, b *entry) int { return a.started.Compare(b.started) })
	for _, e := range old {
		if err := r.remove(e); err != nil {
			r.log.Warn("A recording could not be removed to make room", "path", e.key.path(), "error", err)
			continue
		}
		r.log.Info("A recording was removed to make room", "path", e.key.path(), "bytes", e.size)
		if r.used+n <= r.limits.All {
			return nil
		}
	}
	return ErrNoRoom
}

// remove removes a recording. The caller holds mu.
func (r *Recordings) remove(e *entry) error {
	if err := r.root.Remove(e.key.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = r.root.Remove(e.key.Session) // while there are others in it, it stays
	delete(r.all, e.key.path())
	r.used -= e.takes()
	return nil
}

// List gives the recordings, the oldest first; of a session where one is named.
func (r *Recordings) List(session string) []Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Info
	for _, e := range r.all {
		if session == "" || e.key.Session == session {
			list = append(list, e.info())
		}
	}
	slices.SortFunc(list, func(a, b Info) int {
		if c := a.Started.Compare(b.Started); c != 0 {
			return c
		}
		return strings.Compare(a.path(), b.path())
	})
	return list
}

// Read opens a recording as it is now, all of it in whole lines. [ErrNotFound].
func (r *Recordings) Read(key Key) (io.ReadCloser, Info, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.all[key.path()]
	if e == nil || e.key != key {
		return nil, Info{}, ErrNotFound
	}
	f, size, err := r.openFile(key.path(), os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Info{}, ErrNotFound
	case err != nil:
		return nil, Info{}, err
	}
	return &section{io.NewSectionReader(f, 0, min(size, e.size)), f}, e.info(), nil
}

// section is a file up to a certain size.
type section struct {
	*io.SectionReader
	io.Closer
}

// Finish ends a recording that nobody writes, with words that say why. None: nil.
func (r *Recordings) Finish(key Key, why string) error {
	r.mu.Lock()
	there := r.all[key.path()] != nil
	r.mu.Unlock()
	if !there {
		return nil
	}
	rec, err := r.Record(key, Start{})
	if errors.Is(err, ErrEnded) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(rec.Finish(why), rec.Close())
}

// Remove removes the recordings of a session, but for those that are being written: [ErrBusy].
func (r *Recordings) Remove(session, origin string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, e := range r.all {
		switch {
		case e.key.Session != session || e.key.Origin != origin:
		case e.open:
			errs = append(errs, fmt.Errorf("recording %s: %w", e.key.path(), ErrBusy))
		default:
			errs = append(errs, r.remove(e))
		}
	}
	return errors.Join(errs...)
}
