package provider

import (
	"cmp"
	"context"
	"io"

	"github.com/octobot-run/octobot/internal/container"
)

// Head is a writer that keeps the first Most bytes and drops the rest.
type Head struct {
	Most int64
	Kept []byte
	Cut  bool // something was dropped
}

// Write never fails.
func (h *Head) Write(b []byte) (int, error) {
	room := h.Most - int64(len(h.Kept))
	if int64(len(b)) > room {
		h.Cut = true
		h.Kept = append(h.Kept, b[:room]...)
		return len(b), nil
	}
	h.Kept = append(h.Kept, b...)
	return len(b), nil
}

// Collect makes the result of Exec from a command that run runs and whose output it writes as it
// comes. most bounds what is kept of each stream; 0: the default.
func Collect(
	ctx context.Context, most int64, run func(stdout, stderr io.Writer) (int, error),
) (*container.ExecResult, error) {
	most = cmp.Or(most, container.DefaultMaxOutput)
	stdout, stderr := &Head{Most: most}, &Head{Most: most}
	code, err := run(stdout, stderr)
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	return &container.ExecResult{
		ExitCode:        code,
		Stdout:          string(stdout.Kept),
		Stderr:          string(stderr.Kept),
		StdoutTruncated: stdout.Cut,
		StderrTruncated: stderr.Cut,
	}, err
}
