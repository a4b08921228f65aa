package process

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

// TestTaggedAsInContainer looks into another user's process with the rights that root has in a
// container.
func TestTaggedAsInContainer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may be somebody else")
	}
	m := newManager(t)
	p := start(t, m, agentproto.Command{Args: []string{"sleep", "1000"}, User: "1000:1234"}, nil)
	// Amid exec a process has no environment for a moment.
	poll(t, "the command is executed", func() bool { return has(p.Pid(), p.tag) })
	failed := make(chan string)
	go func() {
		// The thread is not given back.
		runtime.LockOSThread()
		const few = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_KILL | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		data := [2]unix.CapUserData{{Effective: few, Permitted: few}}
		if err := unix.Capset(&header, &data[0]); err != nil {
			failed <- "capset: " + err.Error()
			return
		}
		environ := "/proc/" + strconv.Itoa(p.Pid()) + "/environ"
		if _, err := syscall.Open(environ, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); !errors.Is(err, syscall.EACCES) {
			failed <- "without the right, the environment's opening gives " + errString(err)
			return
		}
		switch {
		case !has(p.Pid(), p.tag):
			failed <- "the tag is not found"
		case has(p.Pid(), p.tag[:len(p.tag)-1]):
			failed <- "a part of the tag is found"
		case has(os.Getpid(), p.tag):
			failed <- "the tag is found in ourselves"
		default:
			failed <- ""
		}
	}()
	if said := <-failed; said != "" {
		t.Error(said)
	}
}

// TestTaggedAtEnd: a process that has given its memory back, and may not have ended yet, is not
// taken for a stranger.
func TestTaggedAtEnd(t *testing.T) {
	m := newManager(t)
	p := start(t, m, agentproto.Command{Args: []string{"sh", "-c", "true & exec sleep 1000"}}, nil)
	buf := make([]byte, 4096)
	zombie := 0
	poll(t, "a zombie", func() bool {
		all, err := pids()
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range all {
			if e, ok := look(pid, buf); ok && e.parent == p.Pid() && e.dead {
				zombie = pid
			}
		}
		return zombie != 0
	})
	if has, d := tagged(zombie, []string{p.tag}, buf); has || d != amidExec {
		t.Errorf("tagged: %t, doubt %d", has, d)
	}
}

// has looks through a buffer that is smaller than the environment.
func has(pid int, tag string) bool {
	has, _ := tagged(pid, []string{tag}, make([]byte, 64))
	return has
}

func errString(err error) string {
	if err == nil {
		return "success"
	}
	return err.Error()
}
