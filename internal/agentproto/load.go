package agentproto

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// busyPerCore is how many operations that have just begun make a session a busy one: so many
	// wait for the processors longer than what is said about them is held back.
	busyPerCore = 8
	// youngFor is how long an operation has just begun. One that lasts, as a terminal, says nothing
	// about how busy a session is.
	youngFor = 100 * time.Millisecond
)

// load tells how much goes on in a session.
type load struct {
	cores int
	count atomic.Int32 // of the young that have not ended

	mu    sync.Mutex
	young []*beginning // oldest first; guarded by mu
}

// beginning is an operation's first while.
type beginning struct {
	load *load
	at   time.Time
	over atomic.Bool // it has ended, or is not young any more
}

func newLoad() *load { return &load{cores: runtime.GOMAXPROCS(0)} }

// begin notes an operation that begins.
func (l *load) begin() *beginning {
	b := &beginning{load: l, at: time.Now()}
	l.count.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grow(b.at)
	l.young = append(l.young, b)
	return b
}

// grow lets go of those that are not young any more; the caller holds mu.
func (l *load) grow(now time.Time) {
	for len(l.young) > 0 && (l.young[0].over.Load() || now.Sub(l.young[0].at) > youngFor) {
		l.young[0].end()
		l.young[0] = nil
		l.young = l.young[1:]
	}
}

// end notes that it is over. A repeated call: nothing.
func (b *beginning) end() {
	if !b.over.Swap(true) {
		b.load.count.Add(-1)
	}
}

func (l *load) busy() bool {
	many := int32(busyPerCore * l.cores)
	if l.count.Load() < many {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grow(time.Now())
	return l.count.Load() >= many
}
