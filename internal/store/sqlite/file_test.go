package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/sqlstore"
)

// openFails opens the store and gives the words it is refused with.
func openFails(t *testing.T, path string) string {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err == nil {
		s.Close()
		t.Fatalf("%s can be opened", path)
	}
	if !strings.Contains(err.Error(), path) {
		t.Errorf("error %q does not say which file", err)
	}
	return err.Error()
}

func closeStore(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// filled makes a store with n sessions, s0, s1, …, closes it, and returns its path.
func filled(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "octobot.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := s.CreateSession(t.Context(),
			session.Session{ID: fmt.Sprint("s", i), CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	return path
}

func TestOneProcessAtATime(t *testing.T) {
	path := filled(t, 0)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		want := fmt.Sprintf("another octobot is running on it (process %d)", os.Getpid())
		if said := openFails(t, name); !strings.Contains(said, want) {
			t.Errorf("error is %q", said)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the one that has it: %v", err)
	}
	closeStore(t, s)
	if s, err = Open(t.Context(), link); err != nil {
		t.Fatalf("after the other has closed it: %v", err)
	}
	closeStore(t, s)
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "er")
	path := filepath.Join(dir, "a ?&#%20 strange name.db")
	for range 2 { // a file that is there already, and open to all, is closed to others
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]os.FileMode{
			dir: 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600,
		} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %o, want %o", name, got, want)
			}
		}
		closeStore(t, s)
		for _, name := range []string{path + "-wal", path + "-shm"} { // as a killed process leaves them
			if err := os.WriteFile(name, make([]byte, 32<<10), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{path, path + "-wal", path + "-shm"} {
			if err := os.Chmod(name, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSettingsOfEveryConnection(t *testing.T) {
	db, err := database(filepath.Join(t.TempDir(), "octobot.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range readers {
		conn, err := db.Read.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() // not before the next is opened
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000",
			"cache_size": "-512",
		} {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T) (path string)
		want string
	}{
		{"another kind of file", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "octobot.db")
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database\n"), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, "not an SQLite database"},
		{"a damaged file", func(t *testing.T) string {
			path := filled(t, 0)
			if err := os.Truncate(path, 2*4096); err != nil {
				t.Fatal(err)
			}
			return path
		}, "the file is damaged"},
		{"a newer schema", func(t *testing.T) string {
			path := filled(t, 0)
			db := pool(path, 1, unchecked)
			defer db.Close()
			if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)"); err != nil {
				t.Fatal(err)
			}
			return path
		}, "newer octobot"},
		{"a directory", func(t *testing.T) string { return t.TempDir() }, "is a directory"},
		{"a file for a directory", func(t *testing.T) string { return filepath.Join(filled(t, 0), "octobot.db") },
			"not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := tc.make(t)
			for range 2 { // the first leaves no lock behind
				if said := openFails(t, path); !strings.Contains(said, tc.want) {
					t.Errorf("error is %q, want %q in it", said, tc.want)
				}
			}
		})
	}
}

const unprivilegedEnv = "OCTOBOT_SQLITE_TEST_OPEN"

// openUnprivileged is what the process does that TestUnwritable starts.
func openUnprivileged(path string) {
	s, err := Open(context.Background(), path)
	if err == nil {
		err = s.Close()
	}
	fmt.Println(err)
	os.Exit(0)
}

// The superuser may write everywhere, so somebody else has to try.
func TestUnwritable(t *testing.T) {
	inDir := filled(t, 1)
	if err := os.Chmod(filepath.Dir(inDir), 0o555); err != nil {
		t.Fatal(err)
	}
	file := filled(t, 1)
	for name, mode := range map[string]os.FileMode{file: 0o444, file + ".lock": 0o666, filepath.Dir(file): 0o777} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{inDir, file, "/proc/octobot.db"} {
		// The program's own directory may be closed to others.
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), unprivilegedEnv+"="+path)
		if os.Getuid() == 0 {
			if path != "/proc/octobot.db" {
				if err := os.Chmod(filepath.Dir(filepath.Dir(path)), 0o711); err != nil {
					t.Fatal(err)
				}
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		said := string(out)
		// as /proc says it
		refused := strings.Contains(said, "permission denied") || strings.Contains(said, "no such file")
		if !refused || !strings.Contains(said, path) {
			t.Errorf("%s: error is %q", path, said)
		}
	}
}

// A damaged database fails; it never answers that something is not there.
func TestDamage(t *testing.T) {
	const sessions = 400
	path := filled(t, sessions)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	// What is before it holds the schema; Open does not read much of what is behind.
	for at := int64(20 * page); at < info.Size(); at += page {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, page), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	if all, err := s.AllSessions(t.Context()); err == nil || all != nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("all gave %d sessions, %v", len(all), err)
	}
	failed := 0
	for i := range sessions {
		if _, err := s.GetSession(t.Context(), fmt.Sprint("s", i)); err != nil {
			wantNoAnswer(t, err)
			failed++
		}
	}
	if failed == 0 {
		t.Error("every session can be read")
	}
}

func wantNoAnswer(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
	}
	for _, answer := range []error{session.ErrNotFound, session.ErrExists, session.ErrConflict} {
		if errors.Is(err, answer) {
			t.Errorf("error is an answer: %v", err)
		}
	}
}

// Full and read-only are over when they are over.
func TestNoWriting(t *testing.T) {
	for _, tc := range []struct{ name, begin, end, want string }{
		{"full", "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "the disk is full"},
		{"read-only", "PRAGMA query_only = ON", "PRAGMA query_only = OFF", "the file can't be written"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db, err := database(filepath.Join(t.TempDir(), "octobot.db"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := sqlstore.Open(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			defer closeStore(t, s)
			if _, err := db.Write.Exec(tc.begin); err != nil {
				t.Fatal(err)
			}
			written := 0
			for ; err == nil; written++ {
				big := session.Session{ID: fmt.Sprint("s", written),
					Spec: session.Spec{Image: strings.Repeat("x", 1000)}}
				_, err = s.CreateSession(t.Context(), big)
			}
			written--
			wantNoAnswer(t, err)
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %q, want %q in it", err, tc.want)
			}
			if all, err := s.AllSessions(t.Context()); err != nil || len(all) != written {
				t.Errorf("meanwhile there are %d sessions, %v; want %d", len(all), err, written)
			}
			if _, err := db.Write.Exec(tc.end); err != nil {
				t.Fatal(err)
			}
			if _, err := s.CreateSession(t.Context(), session.Session{ID: "after"}); err != nil {
				t.Error(err)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A copy of the file of a closed store is a backup.
func TestCopyOfTheFile(t *testing.T) {
	path := filled(t, 3)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var instances []string
	for _, name := range []string{path, copied} {
		s, err := Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := s.Instance(t.Context())
		if err != nil {
			t.Error(err)
		}
		instances = append(instances, instance)
		if all, err := s.AllSessions(t.Context()); err != nil || len(all) != 3 {
			t.Errorf("%s has %d sessions, %v", name, len(all), err)
		}
		closeStore(t, s)
	}
	if instances[0] != instances[1] {
		t.Errorf("the instances are %q", instances)
	}
}

// A shell that holds the file keeps a call waiting; Close waits for the call.
func TestCloseWaits(t *testing.T) {
	path := filled(t, 0)
	db, err := database(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	shell := pool(path, 1, unchecked)
	defer shell.Close()
	held, err := shell.Begin()
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan error)
	go func() {
		_, err := s.CreateSession(context.Background(), session.Session{ID: "late"})
		called <- err
	}()
	for db.Write.Stats().InUse == 0 {
		time.Sleep(time.Millisecond)
	}
	release := time.AfterFunc(100*time.Millisecond, func() { held.Rollback() })
	defer release.Stop()
	closeStore(t, s)
	var found int
	if err := shell.QueryRow("SELECT count(*) FROM sessions").Scan(&found); err != nil || found != 1 {
		t.Errorf("after Close there are %d sessions, %v; want the one under way", found, err)
	}
	if err := <-called; err != nil {
		t.Errorf("the call under way: %v", err)
	}
}
