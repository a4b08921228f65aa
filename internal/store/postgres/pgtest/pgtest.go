// Package pgtest gives tests a PostgreSQL server of their own: private, on a
// Unix socket, and gone with the test binary however that ends.
//
// It needs PostgreSQL's programs: in OCTOBOT_TEST_POSTGRES_BIN, or the newest below
// /usr/lib/postgresql. Where there are none the test is skipped, or fails if OCTOBOT_TEST_REQUIRED
// is 1.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Start returns the URL of a new, empty database, dropped when the test ends.
// Its server is shared by the tests of the binary.
func Start(t testing.TB) string {
	t.Helper()
	bin := programs(t)
	shared.once.Do(func() { shared.server, shared.err = launch(bin) })
	if shared.err != nil {
		t.Fatalf("start PostgreSQL: %v", shared.err)
	}
	s, name := shared.server, newName()
	s.Exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { s.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return s.url(name)
}

// Server is a server that a test has to itself.
type Server struct {
	bin, dir string // dir holds the data and the socket
	user     *syscall.Credential
	keeper   *exec.Cmd
	lifeline io.WriteCloser // of the keeper
}

// StartServer starts a server that the test may stop, hang and start again. It
// ends with the test.
func StartServer(t testing.TB) *Server {
	t.Helper()
	s, err := launch(programs(t))
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Errorf("end PostgreSQL: %v", err)
		}
	})
	return s
}

// URL returns that of a new, empty database on the server.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	name := newName()
	s.Exec(t, "CREATE DATABASE "+name)
	return s.url(name)
}

// Exec runs statements, each by itself, as the server's superuser in its
// maintenance database.
func (s *Server) Exec(t testing.TB, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// Stop ends the server at once, as a crash does; Start starts it again, with
// everything that was committed.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.run("pg_ctl", "stop", "-D", "data", "-m", "immediate", "-w"); err != nil {
		t.Fatalf("stop PostgreSQL: %v", err)
	}
}

// Start starts the server after a Stop.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
}

// Hang stops every process of the server where it stands: connections stay
// open, the kernel accepts new ones, and nothing answers. Resume lets it go on.
func (s *Server) Hang(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
}

// Resume ends a Hang.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGCONT)
}

// signal reaches the parent first, which starts no further processes once it is
// stopped.
func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	pidFile, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	parent, _, _ := strings.Cut(string(pidFile), "\n")
	kill := func(pid string) {
		n, err := strconv.Atoi(pid)
		if err == nil {
			err = syscall.Kill(n, sig)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) { // a child may have ended by itself
			t.Fatalf("%v to process %s: %v", sig, pid, err)
		}
	}
	kill(parent)
	children, err := os.ReadFile(filepath.Join("/proc", parent, "task", parent, "children"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(children)) {
		kill(pid)
	}
}

// programs finds the directory of PostgreSQL's programs.
func programs(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("OCTOBOT_TEST_POSTGRES_BIN"); dir != "" {
		return dir
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is well-formed
	if len(found) == 0 {
		if os.Getenv("OCTOBOT_TEST_REQUIRED") == "1" {
			t.Fatal("PostgreSQL is not installed, and OCTOBOT_TEST_REQUIRED=1 asks for it")
		}
		t.Skip("PostgreSQL is not installed")
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) }))
}

// major is N in /usr/lib/postgresql/N/bin/postgres.
func major(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // anything else comes last
	return n
}

// keep waits until its standard input ends, which is when whoever started the
// server is gone or wants it gone, and clears up. A hanging server has to be
// woken to be stopped.
const keep = `cat >/dev/null
read -r pid 2>/dev/null <data/postmaster.pid && kill -CONT "$pid"
"$0" stop -D data -m immediate -w
rm -rf "$PWD"`

func launch(bin string) (s *Server, err error) {
	// Short, for a socket's path has 107 bytes at most.
	dir, err := os.MkdirTemp("", "octobot-pg-")
	if err != nil {
		return nil, err
	}
	s = &Server{bin: bin, dir: dir}
	if os.Getuid() == 0 { // as which the server refuses to run
		const nobody = 65534
		s.user = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, errors.Join(err, os.Remove(dir))
		}
	}
	s.keeper = s.command("sh", "-c", keep, filepath.Join(bin, "pg_ctl"))
	if s.lifeline, err = s.keeper.StdinPipe(); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	if err := s.keeper.Start(); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	if err := s.create(); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *Server) create() error {
	// Text sorts as people's databases sort it: not by its bytes.
	if err := s.run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"); err != nil {
		return err
	}
	conf, err := os.OpenFile(filepath.Join(s.dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// The machine's crash is not what the tests are about.
	_, err = fmt.Fprintf(conf, "listen_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\nmax_connections = 200\n", s.dir)
	if err := errors.Join(err, conf.Close()); err != nil {
		return err
	}
	return s.start()
}

func (s *Server) start() error {
	return s.run("pg_ctl", "start", "-D", "data", "-l", "log", "-w", "-s")
}

// end stops the server, wherever it is in its life, and removes what it left.
func (s *Server) end() error {
	return errors.Join(s.lifeline.Close(), s.keeper.Wait())
}

// run runs one of PostgreSQL's programs to its end. Its output goes to a file, for
// a server that pg_ctl leaves running would hold a pipe open.
func (s *Server) run(name string, args ...string) error {
	out, err := os.CreateTemp(s.dir, name)
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := s.command(filepath.Join(s.bin, name), args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name()) // the program's failure is what matters
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("%s: %w: %s%s", name, err, said, log)
	}
	return nil
}

// command makes one that runs in the server's directory as its user, out of
// reach of an interrupt from the terminal: the keeper has to outlive the test.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.user, Setpgid: true}
	return cmd
}

func (s *Server) url(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database,
		RawQuery: url.Values{"host": {s.dir}, "user": {"postgres"}}.Encode()}
	return u.String()
}

func newName() string { return "test_" + strings.ToLower(rand.Text()) }
