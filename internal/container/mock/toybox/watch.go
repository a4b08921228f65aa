package toybox

import (
	"strings"
	"sync"
	"syscall"
)

// Kind is what happened to a file.
type Kind string

// Kinds of changes.
const (
	Created  Kind = "created"
	Written  Kind = "written"
	Closed   Kind = "closed"
	Changed  Kind = "changed"
	Removed  Kind = "removed"
	Moved    Kind = "moved"
	Overflow Kind = "overflow" // changes were dropped
)

// Change is what happened to a file of a [Watch].
type Change struct {
	Kind       Kind
	Path, From string
	Directory  bool
}

const (
	// maxChanges bounds how far somebody may be behind with the changes of a [Watch].
	maxChanges = 4096
	// maxWatched bounds the directories of a recursive one.
	maxWatched = 8192
)

// Watch is told of what happens to a file or in a directory, as far as its owner may look.
type Watch struct {
	fsys      *FileSystem
	id        Identity
	path      string
	node      *node
	at        place // of what is no directory, and may be replaced
	recursive bool
	ready     chan struct{} // holds something where there is something to take

	mu      sync.Mutex
	changes []Change
	full    bool
	gone    bool
}

// Watch begins to watch. The caller closes it.
func (v View) Watch(p string, recursive bool) (*Watch, error) {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.existing(p, true, true)
	switch {
	case err != nil:
		return nil, err
	case !v.id.may(s.node, mayRead):
		return nil, syscall.EACCES
	}
	w := &Watch{fsys: v.fsys, id: v.id, path: p, node: s.node, at: s.place, recursive: recursive,
		ready: make(chan struct{}, 1)}
	if recursive && s.node.directories(maxWatched+1) > maxWatched {
		w.add(Change{Kind: Overflow, Path: p})
	}
	if v.fsys.watches == nil {
		v.fsys.watches = make(map[*Watch]struct{})
	}
	v.fsys.watches[w] = struct{}{}
	return w, nil
}

// directories counts those that there are, n itself among them, up to most.
func (n *node) directories(most int) int {
	if !n.mode.IsDir() || most <= 0 {
		return 0
	}
	count := 1
	for _, child := range n.children {
		count += child.directories(most - count)
	}
	return count
}

// Close ends the watch.
func (w *Watch) Close() {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	delete(w.fsys.watches, w)
}

// Ready holds something whenever Take gives something.
func (w *Watch) Ready() <-chan struct{} { return w.ready }

// Take gives what has happened since the last call, and whether what is watched is gone.
func (w *Watch) Take() (changes []Change, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes, w.changes, w.full = w.changes, nil, false
	return changes, w.gone
}

func (w *Watch) add(c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch n := len(w.changes); {
	case w.full || n > 0 && w.changes[n-1] == c:
		return
	case n >= maxChanges:
		w.full = true
		c = Change{Kind: Overflow, Path: w.path}
	}
	w.changes = append(w.changes, c)
	w.wake()
}

func (w *Watch) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (w *Watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	w.wake()
}

// sees gives the path under which a watch knows what is at a place.
func (w *Watch) sees(at place, n *node) (string, bool) {
	if n == w.node && w.node.mode.IsDir() || !w.node.mode.IsDir() && at == w.at {
		return w.path, true
	}
	names := []string{at.name}
	for dir := at.dir; dir != w.node; {
		if !w.recursive || len(dir.places) == 0 || dir.places[0].dir == dir || !w.id.may(dir, mayRead) {
			return "", false
		}
		names = append(names, dir.places[0].name)
		dir = dir.places[0].dir
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(w.path, "/"))
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(names[i])
	}
	return b.String(), true
}

// tell tells the watches of what happens at a place. The caller holds mu, and, where something is
// removed, has not yet removed it.
func (fsys *FileSystem) tell(kind Kind, at place, n *node) {
	for w := range fsys.watches {
		p, ok := w.sees(at, n)
		if !ok {
			continue
		}
		w.add(Change{Kind: kind, Path: p, Directory: n.mode.IsDir()})
		if kind == Removed && p == w.path {
			w.end()
		}
	}
}

// tellMoved tells of what has moved.
func (fsys *FileSystem) tellMoved(from, to place, n *node) {
	for w := range fsys.watches {
		if n == w.node && n.mode.IsDir() { // it is not where it is watched any more
			w.add(Change{Kind: Removed, Path: w.path, Directory: true})
			w.end()
			continue
		}
		old, left := w.sees(from, n)
		p, entered := w.sees(to, n)
		c := Change{Kind: Moved, Path: p, From: old, Directory: n.mode.IsDir()}
		switch {
		case left && entered:
		case entered:
			c.Kind = Created
		case left:
			c.Kind, c.Path, c.From = Removed, old, ""
		default:
			continue
		}
		w.add(c)
		if c.Kind == Removed && old == w.path {
			w.end()
		}
	}
}
