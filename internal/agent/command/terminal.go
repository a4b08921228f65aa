package command

import (
	"cmp"

	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agent/pty"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// The size of a terminal that none was asked for.
const defaultRows, defaultCols = 24, 80

// endOfFile is the character that ends a terminal's input.
const endOfFile = 4

// openTerminal makes a PTY of the asked size. All output is of one stream.
func (x *execution) openTerminal(spec *process.Spec, e *agentproto.Exec) error {
	ours, theirs, err := pty.Open()
	if err != nil {
		return err
	}
	x.terminal, spec.Terminal = ours, theirs
	if e.Stdin {
		x.stdin = ours
	}
	x.outputs = append(x.outputs, &output{from: ours, kind: agentproto.KindStdout, terminal: true})
	x.resize(cmp.Or(e.Rows, defaultRows), cmp.Or(e.Cols, defaultCols))
	return nil
}

// resize sets the size; without a terminal, or to nothing, it does nothing.
func (x *execution) resize(rows, cols uint16) {
	if x.terminal != nil && rows > 0 && cols > 0 {
		_ = pty.SetSize(x.terminal, rows, cols) // one that has ended has no size
	}
}

// typeEnd types the end of the input, which a terminal knows at the start of a line only: elsewhere
// the first one just hands over the line so far.
func (x *execution) typeEnd() {
	end := []byte{endOfFile, endOfFile}
	if x.last == '\n' || x.last == 0 {
		end = end[:1]
	}
	x.write(x.terminal, end)
}
