package systemtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a screen may take to show what a test waits for.
const patience = 15 * time.Second

// tmux is a terminal emulator of a test's own, that octobot is run in as a user does.
type tmux struct {
	t       *testing.T
	dir     string
	dataDir string // of the daemon that octobot finds
	opened  int
}

func newTmux(t *testing.T, d *daemon) *tmux {
	t.Helper()
	dir, err := os.MkdirTemp("", "octobot-tmux-")
	if err != nil {
		t.Fatal(err)
	}
	m := &tmux{t: t, dir: dir, dataDir: d.dir}
	t.Cleanup(func() {
		_, _ = m.try("kill-server")
		_ = os.RemoveAll(dir)
	})
	return m
}

// try runs a command of tmux.
func (m *tmux) try(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-u", "-L", "test", "-f", "/dev/null"}, args...)...)
	cmd.Env = []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "TMUX_TMPDIR=" + m.dir,
		"OCTOBOT_DATA_DIR=" + m.dataDir, "LANG=C.UTF-8", "HOME=" + m.dir, "TMPDIR=" + m.dir}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("tmux %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return string(out), err
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// window is a terminal of that size, with the user's shell in it.
type window struct {
	*tmux
	name string
	log  string // a file that gets all that is written to the terminal
}

func (m *tmux) window(rows, cols int) *window {
	m.t.Helper()
	m.opened++
	w := &window{tmux: m, name: "w" + strconv.Itoa(m.opened)}
	w.log = filepath.Join(m.dir, w.name)
	m.run("start-server", ";", "set-option", "-g", "status", "off", ";", "set-option", "-g", "escape-time", "0", ";",
		"new-session", "-d", "-s", w.name, "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows),
		"exec env 'PS1=user$ ' bash --norc --noprofile", ";",
		"set-option", "-t", w.name, "window-size", "manual", ";",
		"pipe-pane", "-t", w.name, "exec cat >"+w.log)
	w.await("user$")
	return w
}

// shown is everything that was written to the terminal.
func (w *window) shown() string {
	b, _ := os.ReadFile(w.log) // not there before the first byte
	return string(b)
}

// keys presses keys, which have tmux's names.
func (w *window) keys(names ...string) {
	w.t.Helper()
	w.run(append([]string{"send-keys", "-t", w.name}, names...)...)
}

// line types a line.
func (w *window) line(text string) {
	w.t.Helper()
	w.run("send-keys", "-t", w.name, "-l", text, ";", "send-keys", "-t", w.name, "Enter")
}

func (w *window) resize(rows, cols int) {
	w.t.Helper()
	w.run("resize-window", "-t", w.name, "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows))
}

func (w *window) screen() string {
	w.t.Helper()
	return w.run("capture-pane", "-p", "-t", w.name)
}

// state is the screen with its colours, and what else there is to a terminal: the cursor, modes,
// the title.
func (w *window) state() string {
	w.t.Helper()
	return w.run("capture-pane", "-e", "-p", "-t", w.name, ";", "display-message", "-p", "-t", w.name,
		"alternate=#{alternate_on} cursor=#{cursor_x},#{cursor_y} shown=#{cursor_flag} insert=#{insert_flag} "+
			"keypad=#{keypad_flag}#{keypad_cursor_flag} mouse=#{mouse_any_flag}#{mouse_sgr_flag} wrap=#{wrap_flag} "+
			"origin=#{origin_flag} region=#{scroll_region_upper}-#{scroll_region_lower} title=#{pane_title}")
}

func (w *window) get(format string) string {
	w.t.Helper()
	return strings.TrimSuffix(w.run("display-message", "-p", "-t", w.name, "#{"+format+"}"), "\n")
}

// awaitThat waits until the condition holds.
func (w *window) awaitThat(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %v for %s; the screen is\n%s", patience, what, w.state())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// await waits until the screen shows text.
func (w *window) await(text string) {
	w.t.Helper()
	w.awaitThat(strconv.Quote(text), func() bool { return strings.Contains(w.screen(), text) })
}

// awaitJoined waits until the screen shows text, which may be wrapped.
func (w *window) awaitJoined(text string) {
	w.t.Helper()
	w.awaitThat(strconv.Quote(text), func() bool {
		return strings.Contains(w.run("capture-pane", "-J", "-p", "-t", w.name), text)
	})
}

// awaitState waits until the terminal is in a state, to the last cell.
func (w *window) awaitState(what, want string) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := w.state()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: the terminal has not become what it was. It is\n%s\nand was\n%s", what, got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// settled waits until the terminal has been in one state for a while, after text has come, and
// gives it.
func (w *window) settled(text string) string {
	w.t.Helper()
	w.await(text)
	last, since := w.state(), time.Now()
	w.awaitThat("quiet", func() bool {
		if now := w.state(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 200*time.Millisecond
	})
	return last
}

// says types a command whose output is not in what is typed, and waits for that.
func (w *window) says(command, output string) {
	w.t.Helper()
	w.line(command)
	w.awaitThat(fmt.Sprintf("%q to say %q", command, output), func() bool {
		for line := range strings.Lines(w.screen()) {
			if strings.TrimRight(line, " \n") == output {
				return true
			}
		}
		return false
	})
}

// attach attaches to a terminal of a session.
func (w *window) attach(args string) {
	w.t.Helper()
	w.line("octobot attach " + args)
}

// detach leaves what is attached, and sees that the user's terminal is in order.
func (w *window) detach() {
	w.t.Helper()
	w.keys("C-p", "C-q")
	w.awaitJoined("octobot: left ")
	w.inOrder()
}

// inOrder sees that the user's shell is as it was.
func (w *window) inOrder() {
	w.t.Helper()
	n := time.Now().UnixNano() // not to be found from before
	w.says(fmt.Sprintf("echo us''er %d; stty -a | grep -ow -e '-*icanon' -e '-*echo' | xargs", n),
		fmt.Sprintf("user %d", n))
	w.await("icanon echo")
	if s := w.get("alternate_on"); s != "0" {
		w.t.Errorf("the alternate screen is left on:\n%s", w.state())
	}
	for _, mode := range []string{"mouse_any_flag", "keypad_flag", "keypad_cursor_flag", "insert_flag"} {
		if s := w.get(mode); s != "0" {
			w.t.Errorf("%s is %s for the user's shell", mode, s)
		}
	}
	if w.get("cursor_flag") != "1" {
		w.t.Error("the user's shell has no cursor")
	}
}

// clientPID is the process of octobot in the window.
func (w *window) clientPID() int {
	w.t.Helper()
	shell := w.get("pane_pid")
	var pid int
	w.awaitThat("octobot to run", func() bool {
		out, err := exec.Command("pgrep", "-P", shell, "-x", "octobot").Output()
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(out)))
		return err == nil
	})
	return pid
}

// cuts is how often the window has been told that the connection is lost, and backs how often that
// it is there again.
func (w *window) cuts() int { return strings.Count(w.shown(), "is lost; trying to connect again") }

// isBack waits until the connection was lost more than so many times, and is there again.
func (w *window) isBack(cuts int) {
	w.t.Helper()
	w.awaitThat("the connection to be lost", func() bool { return w.cuts() > cuts })
	w.awaitThat("the connection to be back", func() bool {
		return !strings.Contains(w.get("pane_title"), "trying to connect")
	})
}

// isLost waits until the connection was lost more than so many times.
func (w *window) isLost(cuts int) {
	w.t.Helper()
	w.awaitThat("the connection to be lost", func() bool { return w.cuts() > cuts })
}

// hostPrograms is a tar of programs of this machine and all that they need to run in a container
// that has nothing of that.
func hostPrograms(t *testing.T, names ...string) []byte {
	t.Helper()
	return tarOf(t, append(filesOf(t, names...), "lib/terminfo/x/xterm-256color"))
}

// hostPython is the same with Python's interpreter, and what it has to itself.
func hostPython(t *testing.T) []byte {
	t.Helper()
	libraries, err := filepath.Glob("/usr/lib/python3.*/lib-dynload/readline.*.so")
	if err != nil || len(libraries) == 0 {
		t.Fatalf("no readline of Python's: %v", err)
	}
	library := filepath.Dir(filepath.Dir(libraries[0]))
	files := append(filesOf(t, "/usr/bin/python3", libraries[0]), strings.TrimPrefix(library, "/"),
		"lib/terminfo/x/xterm-256color")
	return tarOf(t, files, "--exclude=__pycache__", "--exclude=dist-packages", "--exclude=test", "--exclude=config-*")
}

// filesOf are programs or libraries, and the libraries that they need.
func filesOf(t *testing.T, names ...string) (files []string) {
	t.Helper()
	for _, name := range names {
		path := name
		if !filepath.IsAbs(name) {
			var err error
			if path, err = exec.LookPath(name); err != nil {
				t.Fatal(err)
			}
		}
		files = append(files, strings.TrimPrefix(path, "/"))
		out, err := exec.Command("ldd", path).Output()
		if err != nil {
			t.Fatalf("ldd %s: %v", path, err)
		}
		for word := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(word, "/") {
				files = append(files, strings.TrimPrefix(word, "/"))
			}
		}
	}
	return files
}

func tarOf(t *testing.T, files []string, options ...string) []byte {
	t.Helper()
	slices.Sort(files)
	args := append(options, "--hard-dereference", "-chf", "-", "-C", "/")
	out, err := exec.Command("tar", append(args, slices.Compact(files)...)...).Output()
	if err != nil {
		t.Fatalf("tar: %v", err)
	}
	return out
}
