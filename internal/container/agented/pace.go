package agented

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// recently is how long after somebody has waited for a short answer it is likely that another
	// will, and breather how long what carries much stands still meanwhile, for each frame.
	recently = 20 * time.Millisecond
	breather = 400 * time.Microsecond
	// fewCores is how many processors a copy can fill: it takes an agent, two processes of the
	// engine's and this one.
	fewCores = 4
)

// pace has copies of files make way for commands and keys, where there are few processors.
type pace struct {
	last atomic.Int64 // when somebody last waited for a short answer, in nanoseconds since 1970
}

// note notes that somebody waits for a short answer.
func (p *pace) note() { p.last.Store(time.Now().UnixNano()) }

// makeWay stands still for a moment where somebody waits for a short answer.
func (p *pace) makeWay() {
	if runtime.GOMAXPROCS(0) <= fewCores && time.Now().UnixNano()-p.last.Load() < int64(recently) {
		time.Sleep(breather)
	}
}
