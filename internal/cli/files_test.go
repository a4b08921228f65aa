package cli

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestFiles does what can be done with files.
func TestFiles(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	must(t, dir, "files", "mkdir", "-p", "demo:/tmp/w/d", "demo:tmp/w/e")
	local := here(t, map[string]string{"a": "one\ntwo\n", ".hidden": "h"})
	must(t, dir, "cp", local+"/.", "demo:/tmp/w")
	if got := must(t, dir, "files", "ls", "demo:/tmp/w"); got != "a\nd\ne\n" {
		t.Errorf("ls: %q", got)
	}
	if got := must(t, dir, "files", "ls", "-a", "demo:/tmp/w"); got != ".hidden\na\nd\ne\n" {
		t.Errorf("ls -a: %q", got)
	}
	must(t, dir, "files", "chmod", "0640", "demo:/tmp/w/a")
	long := must(t, dir, "files", "ls", "-l", "demo:/tmp/w")
	for _, want := range []string{`(?m)^-rw-r----- +\S+ +\S+ +8 \d{4}-\d\d-\d\d \d\d:\d\d a$`,
		`(?m)^drwxr-xr-x .* d$`} {
		if !regexp.MustCompile(want).MatchString(long) {
			t.Errorf("ls -l prints\n%s, without %s", long, want)
		}
	}
	if got := must(t, dir, "files", "ls", "demo:/tmp/w/a"); got != "a\n" {
		t.Errorf("ls of a file: %q", got)
	}
	var list []v1.FileInfo
	decode(t, must(t, dir, "files", "ls", "-o", "json", "demo:/tmp/w/d"), &list)
	if list == nil || len(list) != 0 {
		t.Errorf("an empty directory is %#v", list)
	}
	if got := must(t, dir, "files", "cat", "demo:/tmp/w/a", "demo:/tmp/w/.hidden"); got != "one\ntwo\nh" {
		t.Errorf("cat: %q", got)
	}
	must(t, dir, "files", "mv", "demo:/tmp/w/a", "/tmp/w/d")
	must(t, dir, "files", "mv", "demo:/tmp/w/d/a", "demo:/tmp/w/b")
	if got := must(t, dir, "files", "find", "--name", "b", "demo:/tmp"); got != "/tmp/w/b\n" {
		t.Errorf("find: %q", got)
	}
	if got := must(t, dir, "files", "find", "--content", "TW", "-i", "demo:/tmp"); got != "/tmp/w/b:2:two\n" {
		t.Errorf("find --content: %q", got)
	}
	must(t, dir, "files", "rm", "demo:/tmp/w/b")
	if r := octobot(t, dir, "files", "rm", "demo:/tmp/w", "demo:/none"); r.code != exitError ||
		!strings.Contains(r.stderr, "files rm demo:/tmp/w: ") || !strings.Contains(r.stderr, "files rm demo:/none: ") {
		t.Errorf("rm: %+v", r)
	}
	must(t, dir, "files", "rm", "-r", "demo:/tmp/w")
	for _, args := range []string{"cat demo", "cat demo:", "mv demo:/a other:/a", "chmod 0644", "chmod x demo:/tmp",
		"mkdir -m 8 demo:/tmp/x", "find demo:/tmp", "ls none:/tmp", "ls demo:/none", "cat demo:/tmp", "edit demo:/tmp"} {
		if r := octobot(t, dir, append([]string{"files"}, strings.Fields(args)...)...); r.code != exitError ||
			!strings.HasPrefix(r.stderr, "octobot: files") {
			t.Errorf("files %s: %+v", args, r)
		}
	}
}

// editor makes $EDITOR a script.
func editor(t *testing.T, script string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", name)
	t.Setenv("TMPDIR", t.TempDir())
}

func TestEdit(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	left := func() string {
		names, err := filepath.Glob(os.Getenv("TMPDIR") + "/octobot-edit-*/*")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(names, " ")
	}
	editor(t, `echo more >>"$1"`)
	for i, want := range []string{"more\n", "more\nmore\n"} { // a new file, and one that is there
		must(t, dir, "files", "edit", "demo:/tmp/n.txt")
		if got := must(t, dir, "files", "cat", "demo:/tmp/n.txt"); got != want || left() != "" {
			t.Errorf("%d: the file holds %q, and there is left %q", i, got, left())
		}
	}
	editor(t, "exit 0")
	if r := octobot(t, dir, "files", "edit", "demo:/tmp/n.txt"); r.code != 0 || r.stderr != "Nothing was changed.\n" ||
		left() != "" {
		t.Errorf("unchanged: %+v, left %q", r, left())
	}
	editor(t, `echo lost >>"$1"; exit 3`)
	if r := octobot(t, dir, "files", "edit", "demo:/tmp/n.txt"); r.code != exitError ||
		!strings.Contains(r.stderr, "exit status 3; your copy is kept as "+left()) || left() == "" {
		t.Errorf("an editor that fails: %+v, left %q", r, left())
	}

	// While it is edited, somebody else writes it.
	other := here(t, map[string]string{"n.txt": "theirs"})
	ready, resume := filepath.Join(t.TempDir(), "ready"), filepath.Join(t.TempDir(), "resume")
	for _, fifo := range []string{ready, resume} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	editor(t, `echo mine >"$1"; echo >"`+ready+`"; cat "`+resume+`"`)
	done := make(chan result)
	go func() { done <- octobot(t, dir, "files", "edit", "demo:/tmp/n.txt") }()
	if _, err := os.ReadFile(ready); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "cp", other+"/n.txt", "demo:/tmp/n.txt")
	if err := os.WriteFile(resume, nil, 0); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.code != exitError || !strings.Contains(r.stderr, "file has changed") ||
		!strings.Contains(r.stderr, "your copy is kept as "+left()) {
		t.Errorf("a conflict: %+v, left %q", r, left())
	}
	if b, err := os.ReadFile(left()); err != nil || string(b) != "mine\n" || !strings.HasSuffix(left(), "/n.txt") {
		t.Errorf("what is left is %q, %v", b, err)
	}
	if got := must(t, dir, "files", "cat", "demo:/tmp/n.txt"); got != "theirs" {
		t.Errorf("the file holds %q", got)
	}
}

// TestEditInterrupted: ctrl-c and ctrl-\ are the editor's, and what ends octobot loses nothing.
func TestEditInterrupted(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	ready, resume := filepath.Join(t.TempDir(), "ready"), filepath.Join(t.TempDir(), "resume")
	for _, fifo := range []string{ready, resume} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	editor(t, `echo mine >"$1"; echo >"`+ready+`"; cat "`+resume+`"`)
	edit := func(signals ...os.Signal) result {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(os.Args[0], "--data-dir", dir, "files", "edit", "demo:/tmp/n.txt")
		cmd.Env = append(os.Environ(), asOctobot+"=1")
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadFile(ready); err != nil {
			t.Fatal(err)
		}
		for _, s := range signals {
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(resume, nil, 0); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the code says it
		return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
	if r := edit(syscall.SIGINT, syscall.SIGINT, syscall.SIGQUIT); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if got := must(t, dir, "files", "cat", "demo:/tmp/n.txt"); got != "mine\n" {
		t.Errorf("the file holds %q", got)
	}
	editor(t, `echo other >"$1"; echo >"`+ready+`"; cat "`+resume+`"`)
	r := edit(syscall.SIGTERM)
	names, err := filepath.Glob(os.Getenv("TMPDIR") + "/octobot-edit-*/*")
	if err != nil || len(names) != 1 || r.code != exitSignal+int(syscall.SIGTERM) ||
		!strings.Contains(r.stderr, "your copy is kept as "+names[0]) {
		t.Errorf("%+v, left %q, %v", r, names, err)
	}
}

// signs are names that would do something to a terminal.
const signs = `{"name":"a\u001b[2Jb\nc","type":"file","mode":"4755","uid":0,"gid":0,"size":1,
	"modified":"2026-01-02T03:04:05Z"},{"name":"l","type":"symlink","mode":"0777","uid":7,"gid":8,"owner":"x\u0007",
	"size":1,"modified":"2026-01-02T03:04:05Z","target":"\u202eevil"},{"name":"?","raw_name":"/w==","type":"directory",
	"mode":"1777","uid":0,"gid":0,"size":1,"modified":"2026-01-02T03:04:05Z"}`

// TestTerminalSigns: no name gets through to a terminal that means something to it.
func TestTerminalSigns(t *testing.T) {
	url := playServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch filepath.Base(r.URL.Path) {
		case "stat":
			_, _ = w.Write([]byte(`{"name":"d","type":"directory"}`))
		case "list":
			_, _ = w.Write([]byte(`{"entries":[` + signs + `]}`))
		case "search":
			_, _ = w.Write([]byte(`{"matches":[{"path":"/\u001b]0;x\u0007","type":"file","line":3,` +
				`"text":"tab\there\u001b[31m"}],"incomplete":"\u001b[2J"}`))
		case "watch":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte("event: watching\ndata: {\"kind\":\"watching\",\"path\":\"/d\",\"directory\":true}\n\n" +
				"event: moved\ndata: {\"kind\":\"moved\",\"path\":\"/d/\\u001b[2J\",\"from\":\"/d/\\u009b\"}\n\n" +
				"event: overflow\ndata: {\"kind\":\"overflow\",\"path\":\"\"}\n\n" +
				"event: error\ndata: {\"code\":\"path_not_found\",\"detail\":\"it was removed\",\"status\":404}\n\n"))
		}
	})
	for args, want := range map[string]string{
		"ls demo:/d": `a\x1b[2Jb\nc` + "\nl\n" + `\xff` + "\n",
		"ls -l demo:/d": "-rwsr-xr-x 0  0 1 TIME " + `a\x1b[2Jb\nc` + "\nlrwxrwxrwx x\uFFFD 8 1 TIME l -> " +
			`\u202eevil` + "\ndrwxrwxrwt 0  0 1 TIME " + `\xff` + "\n",
		"find --name x demo:/d": `/\x1b]0;x\a:3:tab` + "\t" + `here\x1b[31m` + "\n",
		"watch -r demo:/d": "watching /d/\nmoved    " + `/d/\u009b -> /d/\x1b[2J` + "\n" +
			"overflow changes were missed: list the files anew\n",
	} {
		r := octobot(t, "", append([]string{"--url", url, "files"}, strings.Fields(args)...)...)
		got := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`).ReplaceAllString(r.stdout, "TIME")
		if got != want {
			t.Errorf("%s prints\n%q, want\n%q (%s)", args, got, want, r.stderr)
		}
		if strings.ContainsAny(r.stderr, "\x1b\a") {
			t.Errorf("%s: stderr %q", args, r.stderr)
		}
	}
}

// TestWatch sees changes in a session, until it is interrupted.
func TestWatch(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	ctx, cancel := context.WithCancelCause(t.Context())
	out, seen := &lines{on: map[string]chan struct{}{"watching /tmp/": make(chan struct{}),
		"created  /tmp/x": make(chan struct{})}}, make(chan int)
	go func() {
		seen <- run(ctx, []string{"--data-dir", dir, "files", "watch", "demo:/tmp"}, strings.NewReader(""), out,
			&bytes.Buffer{})
	}()
	<-out.on["watching /tmp/"]
	must(t, dir, "files", "mkdir", "demo:/tmp/x")
	<-out.on["created  /tmp/x"]
	cancel(signalled{syscall.SIGINT})
	if code := <-seen; code != 130 {
		t.Errorf("exit code %d", code)
	}
}

// lines is a writer that tells when a line with such a beginning was written.
type lines struct {
	on   map[string]chan struct{}
	rest string
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest += string(b)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(b), nil
		}
		l.rest = rest
		for begins, c := range l.on {
			if strings.HasPrefix(line, begins) {
				close(c)
			}
		}
	}
}
