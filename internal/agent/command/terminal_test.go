package command

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestTerminal(t *testing.T) {
	session := connect(t)
	e := sh("stty size; tty >/dev/null && echo yes; echo $TERM; test -t 2 && ps -o tty= -p $$ | grep -c pts; read x; echo got $x; cat; exit 9")
	e.Tty, e.Stdin, e.Rows, e.Cols = true, true, 33, 111
	s := open(t, session, e)
	_ = s.SendData(agentproto.KindData, []byte("word\nunfinished"))
	_ = s.SendData(agentproto.KindEnd, nil)
	_ = s.SendData(agentproto.KindEnd, nil) // the first hands over the line; cat needs one more of its own
	out, errs, code, err := result(s)
	out = strings.ReplaceAll(out, "\r\n", "\n")
	for _, want := range []string{"33 111\n", "yes\n", "xterm\n", "1\n", "got word\n", "unfinished"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
	if errs != "" || code != 9 || err != nil {
		t.Errorf("%q, %d, %v", errs, code, err)
	}
	e = sh("cat; stty size")
	e.Tty = true
	if out, _, code, err := result(open(t, session, e)); !strings.Contains(out, "24 80") || code != 0 || err != nil {
		t.Errorf("without input: %q, %d, %v", out, code, err)
	}
	e = sh("trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.01; done")
	e.Tty, e.Stdin = true, true
	s = open(t, session, e)
	if frame, err := s.Next(); err != nil || frame.Kind != agentproto.KindStdout {
		t.Fatal(frame.Kind, err)
	}
	_ = s.Send(&agentproto.Resize{Rows: 50, Cols: 60})
	if out, _, code, err := result(s); !strings.Contains(out, "50 60") || code != 4 || err != nil {
		t.Errorf("after a resize: %q, %d, %v", out, code, err)
	}
	// All that it holds comes, and a child that has it open does not hold the call.
	for range 20 {
		e = sh("(trap '' HUP; sleep 555555) & head -c 3000 /dev/zero | tr '\\0' x; echo end")
		e.Tty, e.Stdin = true, true
		if out, _, code, err := result(open(t, session, e)); len(out) != 3005 || code != 0 || err != nil {
			t.Errorf("%d bytes, %d, %v", len(out), code, err)
		}
	}
	expect(t, open(t, session, sh("pkill -f '^sleep 555555'; exit 0")), "", "", 0)
}

func TestTerminalUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may be somebody else")
	}
	session := connect(t)
	e := sh("id -u; echo again >/dev/tty; echo twice >$(tty)")
	e.Tty, e.Stdin, e.User = true, true, "1000:1000"
	out, _, code, err := result(open(t, session, e))
	if out != "1000\r\nagain\r\ntwice\r\n" || code != 0 || err != nil {
		t.Errorf("%q, %d, %v", out, code, err)
	}
}

// attach opens a terminal that has started.
func attach(t *testing.T, session *agentproto.Session, args ...string) *agentproto.Stream {
	t.Helper()
	s := open(t, session, &agentproto.Exec{Command: agentproto.Command{Args: args}, Attach: true})
	if frame, err := s.Next(); err != nil || frame.Kind != agentproto.KindStarted {
		t.Fatal(frame.Kind, err)
	}
	return s
}

// TestAttach: without a command it is the user's shell.
func TestAttach(t *testing.T) {
	session := connect(t)
	expect(t, attach(t, session, "sh", "-c", "tty >/dev/null && exit 3"), "", "", 3)
	s := open(t, session, &agentproto.Exec{Command: agentproto.Command{Args: []string{"no-such-program"}},
		Attach: true})
	_, _, _, err := result(s)
	if said, ok := errors.AsType[*agentproto.Error](err); !ok || said.Class != agentproto.CommandNotFound {
		t.Errorf("a missing command gives %v", err)
	}
	for shell, want := range map[string]string{"/bin/sh": "/bin/sh", "": "/bin/bash", "/no/such": "/bin/bash"} {
		s := open(t, session, &agentproto.Exec{Attach: true,
			Command: agentproto.Command{Env: []string{"SHELL=" + shell, "PS1=", "HISTFILE="}}})
		_ = s.SendData(agentproto.KindData, []byte("echo it is $0; exit 4\n"))
		if frame, err := s.Next(); err != nil || frame.Kind != agentproto.KindStarted {
			t.Fatal(frame.Kind, err)
		}
		out, _, code, err := result(s)
		if !strings.Contains(out, "it is "+want) || code != 4 || err != nil {
			t.Errorf("with SHELL=%s: %q, %d, %v", shell, out, code, err)
		}
	}
}

// TestHangUp cuts terminals: what heeds a hangup ends, what has arranged to survive it does, and
// what ignores it is killed. One that still writes is not held up by that nobody reads.
func TestHangUp(t *testing.T) {
	session := connect(t)
	const mark = "565656"
	for _, script := range []string{
		"sleep " + mark + " & sleep " + mark,
		"trap '' HUP; while :; do sleep 0.01; : " + mark + "; done",
		"stty raw; exec yes " + mark,
	} {
		s := attach(t, session, "sh", "-c", script)
		poll(t, "the command", func() bool { return alive(t, mark) > 0 })
		time.Sleep(20 * time.Millisecond) // for what comes after what was seen
		s.Reset()
		poll(t, "the end of "+script, func() bool { return alive(t, mark) == 0 })
	}
	s := attach(t, session, "sh", "-c", "nohup sleep 575757 >/dev/null 2>&1 & exec sleep "+mark)
	poll(t, "both", func() bool {
		return alive(t, "sleep\x00575757") == 1 && alive(t, "sleep\x00"+mark) == 1 && alive(t, "nohup") == 0
	})
	s.Reset()
	poll(t, "the end of one", func() bool { return alive(t, mark) == 0 })
	if alive(t, "sleep\x00575757") != 1 {
		t.Error("what was started with nohup did not survive")
	}
	expect(t, open(t, session, sh("pkill -f '^sleep 575757'; exit 0")), "", "", 0)
}

// TestKillTagged kills what nothing but its tag tells to be of a command.
func TestKillTagged(t *testing.T) {
	session := connect(t)
	tags := []string{strings.Repeat("a", agentproto.TagSize), strings.Repeat("b", agentproto.TagSize)}
	for i, tag := range append(tags, "") {
		e := sh(fmt.Sprintf("setsid sleep 58585%d >/dev/null 2>&1 & exit", i))
		e.Tag = tag
		expect(t, open(t, session, e), "", "", 0)
	}
	poll(t, "all of them", func() bool { return alive(t, "sleep\x0058585") == 3 })
	kill := func(tags ...string) error {
		s, err := session.Open(t.Context(), &agentproto.Kill{Tags: tags})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Receive(&agentproto.Done{})
	}
	if err := kill(tags...); err != nil {
		t.Fatal(err)
	}
	if alive(t, "sleep\x00585850")+alive(t, "sleep\x00585851") > 0 || alive(t, "sleep\x00585852") != 1 {
		t.Error("it is not what has the tags that was killed")
	}
	if err := kill(); err != nil {
		t.Error(err)
	}
	if said, ok := errors.AsType[*agentproto.Error](kill("=")); !ok || said.Class != agentproto.InvalidArgument {
		t.Error("a tag that is none is taken")
	}
	expect(t, open(t, session, sh("pkill -f '^sleep 585852'; exit 0")), "", "", 0)
}
