package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/session"
)

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDisplaced checks that nothing is written to a file that the next opening will not find, and
// that what it holds can be saved and put back.
func TestDisplaced(t *testing.T) {
	for name, displace := range map[string]func(path, other string) error{
		"removed":  func(path, _ string) error { return os.Remove(path) },
		"replaced": func(path, other string) error { return os.Rename(other, path) },
		"moved with all else": func(path, _ string) error {
			return os.Rename(filepath.Dir(path),
				filepath.Dir(path)+"2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, other := filled(t, 3), filled(t, 1)
			s, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Check(t.Context()), s.Ping(t.Context())); err != nil {
				t.Fatal(err)
			}
			if err := displace(path, other); err != nil {
				t.Fatal(err)
			}
			_, createErr := s.CreateSession(t.Context(), session.Session{ID: "lost"})
			for _, err := range []error{s.Check(t.Context()), s.Ping(t.Context()), createErr} {
				if !errors.Is(err, session.ErrDisplaced) {
					t.Errorf("error is %v", err)
				}
			}
			if got, err := s.GetSession(t.Context(), "s2"); err != nil || got.ID != "s2" {
				t.Errorf("what is read is %+v, error %v", got, err)
			}
			if strings.HasPrefix(name, "moved") {
				if _, err := s.Rescue(t.Context()); err == nil {
					t.Error("there is nowhere to save it, and no error")
				}
				closeStore(t, s)
				return
			}
			saved, err := s.Rescue(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			if name == "removed" {
				if said := openFails(t, path); !strings.Contains(said, saved) {
					t.Errorf("error %q does not say where it is", said)
				}
				if _, err := os.Stat(path); err == nil {
					t.Error("an empty file was made")
				}
			}
			for _, beside := range []string{"", "-wal", "-shm"} {
				if err := os.Remove(path + beside); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			if err := os.Rename(saved, path); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			if all, err := s.AllSessions(t.Context()); err != nil || len(all) != 3 {
				t.Errorf("what was saved has %d sessions, error %v", len(all), err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("its mode is %v, error %v", info.Mode(), err)
			}
			closeStore(t, s)
		})
	}
}

// TestBackInItsPlace checks that a file that was put back is written again.
func TestBackInItsPlace(t *testing.T) {
	path := filled(t, 1)
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	if err := os.Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, session.ErrDisplaced) {
		t.Fatalf("error is %v", err)
	}
	if err := os.Rename(path+"2", path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Check(t.Context()), s.Ping(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestOverwritten checks that SQLite does not go on with what somebody has written over the file.
func TestOverwritten(t *testing.T) {
	for _, with := range []string{"another store", "nothing", "a backup"} {
		t.Run(with, func(t *testing.T) {
			path, other := filled(t, 3), filled(t, 1)
			switch with {
			case "nothing":
				if err := os.Truncate(other, 0); err != nil {
					t.Fatal(err)
				}
			case "a backup":
				copyFile(t, path, other)
			}
			s, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			copyFile(t, other, path)
			_, createErr := s.CreateSession(t.Context(), session.Session{ID: "lost"})
			_, rescueErr := s.Rescue(t.Context())
			for _, err := range []error{s.Check(t.Context()), s.Ping(t.Context()), createErr, rescueErr} {
				if !errors.Is(err, session.ErrDisplaced) {
					t.Errorf("error is %v", err)
				}
			}
			if saved, _ := filepath.Glob(path + rescued + "*"); len(saved) > 0 {
				t.Errorf("what nobody can tell was saved as %s", saved)
			}
			closeStore(t, s)
		})
	}
}

// TestRestoredBySQLite checks that a restore by SQLite's own backup is no overwriting.
func TestRestoredBySQLite(t *testing.T) {
	path, saved := filled(t, 3), filepath.Join(t.TempDir(), "saved.db")
	copyFile(t, path, saved)
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	for range 2 {
		copyDatabase(t, saved, path)
		for _, checkpoint := range []string{"", "PRAGMA wal_checkpoint(TRUNCATE)"} {
			shell := pool(path, 1, unchecked)
			if _, err := shell.Exec(checkpoint); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(shell.Close(), s.Check(t.Context()), s.Ping(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if all, err := s.AllSessions(t.Context()); err != nil || len(all) != 3 {
		t.Errorf("there are %d sessions, error %v", len(all), err)
	}
}
