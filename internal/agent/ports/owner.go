package ports

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/octobot-run/octobot/internal/agent/account"
)

const (
	// maxProcesses, maxUsers and maxHeld bound how far owners are looked for, and ownersWithin for
	// how long.
	maxProcesses = 4096
	maxUsers     = 64
	maxHeld      = 1 << 16
	ownersWithin = 300 * time.Millisecond
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
	found  map[string]owner  // by inode; of several the first
	links  int
	until  time.Time
}

// owners finds which processes hold the sockets, by inode.
func (p *ports) owners(sockets []socket) map[string]owner {
	s := &search{proc: p.proc, wanted: make(map[string]string, len(sockets)),
		found: make(map[string]owner, len(sockets)), until: time.Now().Add(ownersWithin)}
	for _, l := range sockets {
		s.wanted["socket:["+l.inode+"]"] = l.inode
	}
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
	return s.found
}

func (s *search) over() bool {
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
		if _, known := s.found[inode]; ok && !known {
			s.found[inode] = owner{pid, s.command(pid)}
		}
	}
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
