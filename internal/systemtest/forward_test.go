package systemtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	moby "github.com/moby/moby/client"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// forward is "octobot forward" that runs beside a test.
type forward struct {
	t   *testing.T
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer // of both streams; guarded by mu
}

func (f *forward) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(b)
}

func (f *forward) printed() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String()
}

// forward forwards what args say, until the test ends.
func (b *box) forward(args ...string) *forward {
	b.t.Helper()
	f := &forward{t: b.t, cmd: exec.Command(binary, append([]string{"--data-dir", b.dir, "forward", b.id}, args...)...)}
	f.cmd.Stdout, f.cmd.Stderr = f, f
	if err := f.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { // it ends as after Ctrl-C
		_ = f.cmd.Process.Signal(syscall.SIGINT)
		err := f.cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 130 {
			b.t.Errorf("forward ended with %v", err)
		}
		if b.t.Failed() {
			b.t.Logf("forward printed\n%s", f.printed())
		}
	})
	return f
}

// sees waits until what was printed matches a pattern, and gives what is in its parentheses.
func (f *forward) sees(pattern string) string {
	f.t.Helper()
	var found string
	eventually(f.t, patience, "forward prints "+pattern, func(context.Context) error {
		m := regexp.MustCompile(pattern).FindStringSubmatch(f.printed())
		if m == nil {
			return errors.New("it did not")
		}
		found = m[len(m)-1]
		return nil
	})
	return found
}

// copyIn unpacks an archive at the root of the container.
func (b *box) copyIn(archive []byte) {
	b.t.Helper()
	if _, err := b.engine.CopyToContainer(b.t.Context(), b.container, moby.CopyToContainerOptions{DestinationPath: "/",
		Content: bytes.NewReader(archive)}); err != nil {
		b.t.Fatal(err)
	}
}

// startBeside starts a command that nobody waits for.
func (b *box) startBeside(user string, cmd ...string) {
	b.t.Helper()
	if _, err := b.api.StartProcess(b.t.Context(), b.id, v1.StartProcessRequest{Cmd: cmd, User: user}); err != nil {
		b.t.Fatal(err)
	}
}

// awaitPort waits until something listens on a port of the session.
func (b *box) awaitPort(port int) {
	b.t.Helper()
	eventually(b.t, patience, fmt.Sprintf("port %d is listened on", port), func(ctx context.Context) error {
		list, err := b.api.ListPorts(ctx, b.id)
		for _, p := range list {
			if p.Port == port {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("what listens is %+v", list))
	})
}

// on runs a command on this machine.
func on(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+dir,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func mustOn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := on(t, dir, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestForwardGit clones a repository from a session, over one forward that outlives the daemon and
// the session's run.
func TestForwardGit(t *testing.T) {
	t.Parallel()
	b := newBox(t, "git")
	dir := t.TempDir()
	mustOn(t, dir, "git", "init", "-q", "-b", "main", "work")
	work := filepath.Join(dir, "work")
	for i := range 4 {
		noise := make([]byte, 1<<20)
		for n := range noise {
			noise[n] = byte((n*n*(i+7) ^ n>>3) >> 2)
		}
		if err := os.WriteFile(filepath.Join(work, fmt.Sprint("file", i)), noise, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mustOn(t, work, "git", "add", ".")
	mustOn(t, work, "git", "commit", "-q", "-m", "files")
	mustOn(t, dir, "git", "clone", "-q", "--bare", "work", "srv/repo.git")
	head := mustOn(t, work, "git", "rev-parse", "HEAD")
	archive, err := exec.Command("tar", "-cf", "-", "-C", dir, "srv").Output()
	if err != nil {
		t.Fatal(err)
	}
	b.copyIn(archive)
	b.copyIn(tarOf(t, filesOf(t, "git", "/usr/lib/git-core/git-daemon", "/usr/lib/git-core/git",
		"/usr/lib/git-core/git-upload-pack")))
	serve := func() {
		t.Helper()
		b.startBeside("", "/usr/lib/git-core/git-daemon", "--listen=127.0.0.1", "--port=9418", "--base-path=/srv",
			"--export-all", "--reuseaddr")
		b.awaitPort(9418)
	}
	serve()
	f := b.forward("--address", "127.0.0.1", ":9418")
	url := "git://" + f.sees(`Forwarding from (127.0.0.1:\d+) -> 9418`) + "/repo.git"
	clones := 0
	clone := func() {
		t.Helper()
		clones++
		into := fmt.Sprint("clone", clones)
		mustOn(t, dir, "git", "clone", "-q", url, into)
		if got := mustOn(t, filepath.Join(dir, into), "git", "rev-parse", "HEAD"); got != head {
			t.Errorf("clone %d is at %s; want %s", clones, got, head)
		}
		mustOn(t, filepath.Join(dir, into), "git", "fsck", "--strict")
	}
	clone()

	b.kill()
	if out, err := on(t, dir, "git", "clone", "-q", url, "none"); err == nil {
		t.Errorf("cloned without a daemon: %s", out)
	}
	f.sees("no daemon answers")
	b.start()
	clone()

	if _, err := b.api.StopSession(t.Context(), b.id, 0); err != nil {
		t.Fatal(err)
	}
	if out, err := on(t, dir, "git", "clone", "-q", url, "none"); err == nil {
		t.Errorf("cloned from a session that does not run: %s", out)
	}
	f.sees("it does not run")
	if _, err := b.api.StartSession(t.Context(), b.id); err != nil {
		t.Fatal(err)
	}
	serve()
	clone()
}

// TestForwardBack: what is listened on in the session leads to this machine, over one forward that
// outlives the daemon and the session's run.
func TestForwardBack(t *testing.T) {
	t.Parallel()
	b := newBox(t, "back")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte("a page"), 0o644); err != nil {
		t.Fatal(err)
	}
	server := exec.Command("busybox", "httpd", "-f", "-v", "-p", "127.0.0.1:18421", "-h", dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	f := b.forward("-R", "9000:127.0.0.1:18421")
	again := "Forwarding from 127.0.0.1:9000 in " + b.id
	f.sees(again)
	get := func() {
		t.Helper()
		if got := b.sh("wget -q -O - http://127.0.0.1:9000/page"); got != "a page" {
			t.Errorf("the session got %q", got)
		}
	}
	get()
	f.sees(`Connection from 127.0.0.1:\d+ in `)
	again = "(?s)" + strings.Replace(again, "Forwarding", "Forwarding again", 1)
	b.kill()
	f.sees("nobody listens on 127.0.0.1:9000 in the session any more")
	b.start()
	f.sees(again)
	get()
	if _, err := b.api.StopSession(t.Context(), b.id, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.api.StartSession(t.Context(), b.id); err != nil {
		t.Fatal(err)
	}
	f.sees(again + ".*" + strings.TrimPrefix(again, "(?s)"))
	get()
}

// TestForwardPostgres speaks to a PostgreSQL in a session that listens on the session's own
// 127.0.0.1 and on a Unix socket, which trusts the users that connect to it.
func TestForwardPostgres(t *testing.T) {
	t.Parallel()
	programs := os.Getenv("OCTOBOT_TEST_POSTGRES_BIN")
	if programs == "" {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
		if len(found) == 0 {
			t.Fatal("there is no PostgreSQL on this machine")
		}
		programs = found[len(found)-1]
	}
	version := filepath.Base(filepath.Dir(programs))
	b := newBox(t, "postgres")
	library := filepath.Join(filepath.Dir(programs), "lib")
	files := append(filesOf(t, programs+"/postgres", programs+"/initdb", library+"/plpgsql.so",
		library+"/dict_snowball.so"), "usr/share/postgresql/"+version)
	b.copyIn(tarOf(t, files, "--exclude=man", "--exclude=*.mo"))
	run := func(script string) {
		t.Helper()
		r, err := b.api.Exec(t.Context(), b.id, v1.ExecRequest{Cmd: []string{"sh", "-c", script}, User: "user"})
		if err != nil || r.ExitCode != 0 {
			t.Fatalf("%s: %d, %s%s, %v", script, r.ExitCode, r.Stdout, r.Stderr, err)
		}
	}
	run(programs + "/initdb -D /tmp/db -U user -A trust --auth-local=peer -E UTF8 --locale=C -N --no-instructions")
	b.startBeside("user", programs+"/postgres", "-D", "/tmp/db", "-c", "listen_addresses=127.0.0.1", "-c",
		"unix_socket_directories=/tmp", "-c", "fsync=off", "-c", "max_connections=10", "-c", "shared_buffers=8MB")
	b.awaitPort(5432)

	dir, err := os.MkdirTemp("", "pg-") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := b.forward("--address", "127.0.0.1", "-u", "user", ":5432", "-L", dir+"/.s.PGSQL.5432:/tmp/.s.PGSQL.5432")
	port := f.sees(`Forwarding from 127.0.0.1:(\d+) -> 5432`)
	f.sees("Forwarding from " + dir)
	psql := func(host, port, sql string) (string, error) {
		return on(t, dir, "psql", "-X", "-A", "-t", "-h", host, "-p", port, "-U", "user", "-d", "postgres", "-c", sql)
	}
	eventually(t, patience, "PostgreSQL answers", func(context.Context) error {
		_, err := psql("127.0.0.1", port, "select 1")
		return err
	})
	if out, err := psql("127.0.0.1", port,
		"create table t as select n, repeat(md5(n::text), 100) as s from generate_series(1, 5000) n"); err != nil {
		t.Fatal(out, err)
	}
	const sum = "select count(*), md5(string_agg(s, '' order by n)) from t"
	over := mustPsql(t, psql, "127.0.0.1", port, sum)
	if !strings.HasPrefix(over, "5000|") {
		t.Errorf("over the port came %q", over)
	}
	if got := mustPsql(t, psql, dir, "5432", sum); got != over {
		t.Errorf("over the socket came %q; over the port, %q", got, over)
	}
	all := mustPsql(t, psql, "127.0.0.1", port, "select n, s from t order by n")
	if n := strings.Count(all, "\n"); n != 4999 || len(all) < 16_000_000 {
		t.Errorf("of the table came %d bytes, %d lines", len(all), n+1)
	}

	// Root is nobody whom that PostgreSQL knows.
	root := b.forward("-L", dir+"/.s.PGSQL.5433:/tmp/.s.PGSQL.5432")
	root.sees("Forwarding from " + dir)
	if out, err := psql(dir, "5433", "select 1"); err == nil ||
		!strings.Contains(err.Error(), "Peer authentication failed") {
		t.Errorf("as root: %q, %v", out, err)
	}
}

func mustPsql(
	t *testing.T, psql func(host, port, sql string) (string, error), host, port, sql string,
) string {
	t.Helper()
	out, err := psql(host, port, sql)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
