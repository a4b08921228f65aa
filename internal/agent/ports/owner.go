package ports

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/octobot-run/octobot/internal/agent/account"
)

const (
	// maxProcesses, maxUsers and maxHeld bound how far owners are looked for, and ownersWithin for
	// how long. The kernel may make a search wait in one place, for as long as a process likes
	// whose memory is behind a file system of its own: ownersLate is when what was found has to do.
	maxProcesses = 4096
	maxUsers     = 64
	maxHeld      = 1 << 16
	ownersWithin = 300 * time.Millisecond
	ownersLate   = 500 * time.Millisecond
	maxCommand   = 256 // bytes of a command that are told
)

// owner is a process that holds a socket.
type owner struct {
	pid  int
	args []string
}

// user is whose processes are looked at together.
type user struct{ uid, gid uint32 }

// search is one for owners, as far as the bounds allow.
type search struct {
	proc   string
	wanted map[string]string // what a descriptor links to, and its inode
	links  int
	until  time.Time

	mu    sync.Mutex
	found map[string]owner // by inode; of several the first; guarded by mu
}

// owners finds which processes hold the sockets, by inode, in bounded time. There is one search at
// a time: beside one that hangs, none is found.
func (p *ports) owners(sockets []socket) map[string]owner {
	late := time.NewTimer(ownersLate)
	defer late.Stop()
	select {
	case p.searching <- struct{}{}:
	case <-late.C:
		return nil
	}
	s := &search{proc: p.proc, wanted: make(map[string]string, len(sockets)),
		found: make(map[string]owner, len(sockets)), until: time.Now().Add(ownersWithin)}
	for _, l := range sockets {
		s.wanted["socket:["+l.inode+"]"] = l.inode
	}
	done := make(chan struct{})
	go func() {
		defer func() { <-p.searching }()
		defer close(done)
		s.run()
	}()
	select {
	case <-done:
	case <-late.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]owner, len(s.found))
	for inode, o := range s.found {
		found[inode] = o
	}
	return found
}

// run searches, as far as the bounds allow.
func (s *search) run() {
	users, processes := s.users()
	for _, u := range users {
		look := func() error {
			for _, pid := range processes[u] {
				if s.over() {
					break
				}
				s.look(pid)
			}
			return nil
		}
		// What another user's processes hold, that user may see: it takes no CAP_SYS_PTRACE, which
		// sessions don't have. Where the agent may become nobody, some stay unknown.
		_ = account.Account{UID: int(u.uid), GID: int(u.gid)}.Do(look)
	}
}

func (s *search) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.found) == len(s.wanted) || s.links > maxHeld || time.Now().After(s.until)
}

// users gives the processes there are, of each user, in the order in which the kernel tells them.
func (s *search) users() (users []user, processes map[user][]int) {
	processes = make(map[user][]int)
	dir, err := os.Open(s.proc)
	if err != nil {
		return nil, nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxProcesses)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		var st syscall.Stat_t
		if syscall.Stat(s.dir(pid), &st) != nil {
			continue
		}
		u := user{st.Uid, st.Gid}
		if len(processes[u]) == 0 {
			if len(users) == maxUsers {
				continue
			}
			users = append(users, u)
		}
		processes[u] = append(processes[u], pid)
	}
	return users, processes
}

// look sees which of the sockets a process holds.
func (s *search) look(pid int) {
	fds, err := os.Open(s.dir(pid) + "/fd")
	if err != nil {
		return
	}
	held, _ := fds.Readdirnames(maxHeld)
	_ = fds.Close()
	s.links += len(held)
	for _, fd := range held {
		link, err := os.Readlink(s.dir(pid) + "/fd/" + fd)
		if err != nil {
			continue
		}
		inode, ok := s.wanted[link]
		if !ok || !s.claim(inode, pid) {
			continue
		}
		args := s.command(pid) // may hang
		s.mu.Lock()
		s.found[inode] = owner{pid, args}
		s.mu.Unlock()
	}
}

// claim notes the holder of a socket, unless one is known.
func (s *search) claim(inode string, pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.found[inode]; known {
		return false
	}
	s.found[inode] = owner{pid: pid}
	return true
}

func (s *search) dir(pid int) string { return s.proc + "/" + strconv.Itoa(pid) }

// command is the beginning of a process's command line.
func (s *search) command(pid int) []string {
	f, err := os.Open(s.dir(pid) + "/cmdline")
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, maxCommand)
	n, _ := f.Read(b)
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimRight(b[:n], "\x00"), []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}
