package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

// maxDirectories bounds what one recursive watch may watch.
const maxDirectories = 8192

const watched = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DELETE |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_EXCL_UNLINK

// watch has no queue of its own: where the daemon does not read, events wait in the kernel, which
// tells when it had to drop some.
func (v *service) watch(c *call, r *agentproto.Watch) error {
	release, err := take(v.watches, "watches")
	if err != nil {
		return err
	}
	defer release()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	w := &watcher{
		c: c, f: os.NewFile(uintptr(fd), "inotify"), fd: fd, recursive: r.Recursive,
		paths: map[int32]string{},
	}
	defer w.f.Close()
	err = c.as(func() error {
		seen, st, err := look(unix.AT_FDCWD, r.Path, true)
		if err != nil {
			return err
		}
		_ = unix.Close(seen)
		w.directory = st.Mode&unix.S_IFMT == unix.S_IFDIR
		w.top = strings.TrimRight(r.Path, "/")
		if !w.directory && w.addFile(r.Path) {
			return nil
		}
		return w.add(r.Path, 0, nil)
	})
	if err != nil {
		return err
	}
	watching := agentproto.Watching{}
	if w.directory {
		watching.Directories = len(w.paths)
	}
	if err := c.s.Send(&watching); err != nil {
		return nil
	}
	if w.full {
		if err := w.overflow(); err != nil {
			return nil
		}
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.s.Close()
	reading.Go(func() {
		// The daemon says nothing more: what comes is the end.
		_, _ = c.s.Next()
		w.ended.Store(true)
		_ = w.f.SetReadDeadline(time.Unix(1, 0))
	})
	if said, ok := errors.AsType[*agentproto.Error](w.run()); ok {
		_ = c.s.Send(said)
	}
	return nil
}

type watcher struct {
	c         *call
	f         *os.File
	fd        int
	top       string
	directory bool   // top is one
	only      string // the file that is watched in its directory; empty: what is watched is top itself
	recursive bool
	ended     atomic.Bool      // the daemon wants no more
	full      bool             // there are more directories than may be
	told      bool             // and the daemon knows
	paths     map[int32]string // of what is watched, by the kernel's number
}

// addFile watches a file by way of its directory, so that the watch goes on when the file is
// replaced, as editors do. False where the user may not look into the directory, and where it is no
// regular file.
func (w *watcher) addFile(p string) bool {
	dir, name, st, err := place(p)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	n, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(dir), watched|unix.IN_ONLYDIR)
	if err != nil || st == nil {
		return false
	}
	w.only, w.paths[int32(n)] = name, w.top
	return true
}

// ofOthers tells the events of the directory that a file is watched in from those of the file.
func (w *watcher) ofOthers(e raw) bool {
	return w.only != "" && e.name != w.only && e.mask&(unix.IN_IGNORED|unix.IN_Q_OVERFLOW) == 0
}

// add watches p and, where the watch is recursive, all directories below. found is told of what is
// there already, below a directory that came meanwhile. It runs as the user.
func (w *watcher) add(p string, depth int, found func(agentproto.FileEvent)) error {
	if len(w.paths) >= maxDirectories || depth > maxDepth {
		w.full = true
		return nil
	}
	// By descriptor: between two looks at a name it can become another thing.
	flags := unix.O_PATH
	if found != nil || len(w.paths) > 0 {
		flags |= unix.O_NOFOLLOW | unix.O_DIRECTORY
	}
	fd, err := open(unix.AT_FDCWD, p, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(fd), watched)
	if err == unix.ENOSPC {
		if len(w.paths) == 0 {
			return agentproto.Errorf(agentproto.LimitReached, "the host's limit of inotify watches is reached")
		}
		w.full = true
		return nil
	}
	if err != nil {
		return err
	}
	p = strings.TrimRight(p, "/")
	w.paths[int32(n)] = p
	if !w.recursive {
		return nil
	}
	opened, err := openOld(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		if err == unix.ENOTDIR && found == nil {
			return nil
		}
		return err
	}
	dir := os.NewFile(uintptr(opened), p)
	defer dir.Close()
	for !w.full {
		entries, err := dir.ReadDir(listStep)
		for _, e := range entries {
			below := p + "/" + e.Name()
			if found != nil {
				found(agentproto.FileEvent{Change: agentproto.FileCreated, Path: below, Directory: e.IsDir()})
			}
			if e.IsDir() {
				// One that the user may not read, or that is gone, is not watched.
				err := w.add(below, depth+1, found)
				if err == unix.ENAMETOOLONG {
					w.full = true // it is not watched
				} else if err != nil && !passing(err) {
					return err
				}
			}
		}
		if err != nil {
			break
		}
	}
	return nil
}

func passing(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) ||
		errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EPERM)
}

func (w *watcher) overflow() error {
	w.told = true
	return w.c.s.Send(&agentproto.FileEvent{Change: agentproto.FileOverflow, Path: w.top})
}

// raw is an event of the kernel's.
type raw struct {
	wd     int32
	mask   uint32
	cookie uint32
	name   string
}

func parse(b []byte) (events []raw) {
	for len(b) >= unix.SizeofInotifyEvent {
		number := binary.NativeEndian.Uint32
		end := unix.SizeofInotifyEvent + int(number(b[12:]))
		if end > len(b) {
			return events
		}
		name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:end], []byte{0})
		events = append(events, raw{wd: int32(number(b)), mask: number(b[4:]), cookie: number(b[8:]),
			name: string(name)})
		b = b[end:]
	}
	return events
}

// moveWait is how long the second half of a move may be behind the first.
const moveWait = 10 * time.Millisecond

// next waits for events; an error means that the daemon has ended it.
func (w *watcher) next(buf []byte) ([]raw, error) {
	n, err := w.f.Read(buf)
	if err != nil {
		return nil, err
	}
	events := slices.DeleteFunc(parse(buf[:n]), w.ofOthers)
	if !slices.ContainsFunc(events, func(e raw) bool { return e.mask&unix.IN_MOVED_FROM != 0 && !e.moved(events) }) {
		return events, nil
	}
	_ = w.f.SetReadDeadline(time.Now().Add(moveWait))
	n, _ = w.f.Read(buf) // an end that comes now comes again
	_ = w.f.SetReadDeadline(time.Time{})
	if w.ended.Load() {
		_ = w.f.SetReadDeadline(time.Unix(1, 0))
	}
	return append(events, slices.DeleteFunc(parse(buf[:max(n, 0)]), w.ofOthers)...), nil
}

// to finds the second half of a move; -1 where it is none.
func (e raw) to(events []raw) int {
	return slices.IndexFunc(events, func(t raw) bool { return t.mask&unix.IN_MOVED_TO != 0 && t.cookie == e.cookie })
}

// moved reports whether the second half of a move is there.
func (e raw) moved(events []raw) bool { return e.to(events) >= 0 }

// run passes events on until the daemon, or the container, ends it.
func (w *watcher) run() error {
	buf := make([]byte, 16<<10)
	for {
		events, err := w.next(buf)
		if err != nil {
			return nil // the daemon has ended it
		}
		for len(events) > 0 {
			e := events[0]
			events = events[1:]
			// What others did between the two halves of a move comes after it.
			if to := e.to(events); e.mask&unix.IN_MOVED_FROM != 0 && to >= 0 {
				err = w.moved(e, events[to])
				events = slices.Delete(events, to, to+1)
			} else {
				err = w.tell(e)
			}
			if err != nil {
				return nil // nobody listens any more
			}
		}
		if w.full && !w.told {
			if w.overflow() != nil {
				return nil
			}
		}
		if len(w.paths) == 0 {
			return agentproto.Errorf(agentproto.NotFound, "%s is gone", w.top)
		}
	}
}

func (w *watcher) path(e raw) (string, bool) {
	p, ok := w.paths[e.wd]
	if e.name != "" && w.only == "" {
		p += "/" + e.name
	}
	return p, ok
}

func (w *watcher) send(change agentproto.FileChange, p, from string, directory bool) error {
	return w.c.s.Send(&agentproto.FileEvent{Change: change, Path: p, From: from, Directory: directory})
}

func (w *watcher) tell(e raw) error {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		return w.overflow()
	}
	p, ok := w.path(e)
	if !ok {
		return nil
	}
	isDir := e.mask&unix.IN_ISDIR != 0
	switch {
	case e.mask&unix.IN_IGNORED != 0:
		delete(w.paths, e.wd)
		return nil
	case e.mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
		if p != w.top {
			return nil // its directory tells
		}
		w.forget(p) // the kernel says IN_IGNORED, and the watch ends
		return w.send(agentproto.FileRemoved, p, "", w.directory)
	case e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		if err := w.send(agentproto.FileCreated, p, "", isDir); err != nil || !isDir {
			return err
		}
		return w.follow(p)
	case e.mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		if isDir || w.only != "" {
			w.forget(p) // the kernel says IN_IGNORED
		}
		return w.send(agentproto.FileRemoved, p, "", isDir)
	case e.mask&unix.IN_MODIFY != 0:
		return w.send(agentproto.FileWritten, p, "", isDir)
	case e.mask&unix.IN_CLOSE_WRITE != 0:
		return w.send(agentproto.FileClosed, p, "", isDir)
	case e.mask&unix.IN_ATTRIB != 0:
		return w.send(agentproto.FileChanged, p, "", isDir || p == w.top && w.directory)
	}
	return nil
}

// follow watches a directory that is new, and tells of what came into it before it was watched.
// That may be told twice.
func (w *watcher) follow(p string) error {
	if !w.recursive {
		return nil
	}
	w.full, w.told = false, false // directories may have gone
	var sending error
	// Not one of the short ones: it sends, which takes as long as the daemon likes.
	err := w.c.account.Do(func() error {
		return w.add(p, strings.Count(p[len(w.top):], "/"), func(e agentproto.FileEvent) {
			if sending == nil {
				sending = w.c.s.Send(&e)
			}
		})
	})
	if err != nil && !passing(err) {
		w.full = true // it is not watched
	}
	return sending
}

func (w *watcher) moved(from, to raw) error {
	old, ok := w.path(from)
	p, known := w.path(to)
	if !ok || !known {
		return errors.Join(w.tell(from), w.tell(to))
	}
	isDir := to.mask&unix.IN_ISDIR != 0
	if isDir {
		w.rename(old, p)
	}
	return w.send(agentproto.FileMoved, p, old, isDir)
}

// rename keeps the paths of watched directories right.
func (w *watcher) rename(from, to string) {
	for n, p := range w.paths {
		if p == from || strings.HasPrefix(p, from+"/") {
			w.paths[n] = to + p[len(from):]
		}
	}
}

// forget ends the watches of a directory that has left, and of those below.
func (w *watcher) forget(p string) {
	for n, q := range w.paths {
		if q == p || strings.HasPrefix(q, p+"/") {
			_, _ = unix.InotifyRmWatch(w.fd, uint32(n))
		}
	}
}
