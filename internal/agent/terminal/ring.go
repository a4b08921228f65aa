package terminal

import (
	"github.com/octobot-run/octobot/internal/agent/ring"
	"github.com/octobot-run/octobot/internal/vtmode"
)

// recentSize is how much a viewer gets that has fallen behind what is kept: so little that it is
// not behind again at once.
const recentSize = 64 << 10

// history is the last of a terminal's output, and which modes a screen is in where it begins.
type history struct {
	*ring.Ring
	oldest mark // where what is kept begins
	recent mark // where the last recentSize bytes begin
}

// mark is a position, and the modes of a screen that has shown all before it.
type mark struct {
	at    int64
	modes vtmode.Tracker
}

func newHistory() history { return history{Ring: ring.New(ringSize)} }

func (h *history) write(b []byte) {
	for len(b) > 0 {
		step := b[:min(len(b), recentSize)]
		after := h.End() + int64(len(step))
		h.move(&h.oldest, after-h.Limit())
		h.move(&h.recent, after-recentSize)
		h.Write(step)
		b = b[len(step):]
	}
}

// move moves a mark on to a position, over bytes that are kept still.
func (h *history) move(m *mark, to int64) {
	for m.at < to {
		passed := h.Piece(m.at, to)
		_, _ = m.modes.Write(passed)
		m.at += int64(len(passed))
	}
}
