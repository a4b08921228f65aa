package docker

import (
	"io"
	"regexp"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// Podman 4.3 stops reading a command's output where it can't pass input on any more: the command
// has ended with input unread. What it had not read yet is lost, and an error of its own is the
// last of the command's standard error. Whether something was lost it does not say, so that this is
// an error here. A command that ends before there is any input is safe from it, so input waits for
// a moment.

// inputDelay is how long a command runs before it gets input from Podman.
const inputDelay = 50 * time.Millisecond

// takesInput waits for the moment from which Podman may be given input; it is false where there is
// no use in it.
func (r *process) takesInput() bool {
	runs := false
	err := provider.Poll(r.Ctx, "the command to start", time.Millisecond, 20*time.Millisecond, func() (bool, error) {
		state, err := r.inspect()
		runs = state.Running
		return runs || state.over(true), err
	})
	return err == nil && runs && provider.Sleep(r.Ctx, "the command to run", inputDelay) == nil
}

// inputWords are Podman 4.3's, of its connection with conmon.
var inputWords = regexp.MustCompile(
	`^Error: (read|write) unixpacket @->/proc/self/fd/\d+/attach: (read|write): (connection reset by peer|broken pipe)\r?\n$`)

// unread keeps back what may be Podman's last words, until others follow.
type unread struct {
	w    io.Writer
	last []byte
}

func (u *unread) Write(b []byte) (int, error) {
	if u.last != nil {
		if _, err := u.w.Write(u.last); err != nil {
			return 0, err
		}
		u.last = nil
	}
	if inputWords.Match(b) {
		u.last = append([]byte(nil), b...)
		return len(b), nil
	}
	return u.w.Write(b)
}

// err is of output that was cut.
func (u *unread) err() error {
	if u.last == nil {
		return nil
	}
	return container.Errorf("", "", container.ErrUnavailable, "the command left input unread, and the engine "+
		"may have lost the end of its output for that: give it no more input than it reads")
}
