package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"modernc.org/sqlite"

	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/storetest"
)

func openStore(ctx context.Context, path string) (session.Store, error) { return Open(ctx, path) }

func TestMain(m *testing.M) {
	if path := os.Getenv(unprivilegedEnv); path != "" {
		openUnprivileged(path)
	}
	storetest.Child(openStore)
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database {
		path := filepath.Join(t.TempDir(), "octobot.db")
		return storetest.Database{
			DSN:  path,
			Open: openStore,
			Save: func(t *testing.T) func() {
				saved := filepath.Join(t.TempDir(), "saved.db")
				copyDatabase(t, path, saved)
				return func() { copyDatabase(t, saved, path) }
			},
			Exec: func(t *testing.T, statement string) {
				db := pool(path, 1, unchecked)
				defer db.Close()
				if _, err := db.Exec(statement); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func BenchmarkStore(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "octobot.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	storetest.Benchmark(b, s)
}

// copyDatabase replaces what is in the database to by what is in from, as SQLite's backup
// does it, whoever has either open.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	db := pool(to, 1, unchecked)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(c any) error {
		backup, err := c.(interface {
			NewRestore(string) (*sqlite.Backup, error)
		}).NewRestore(from)
		if err != nil {
			return err
		}
		if _, err := backup.Step(-1); err != nil {
			return err
		}
		return backup.Finish()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// unchecked lets a pool open whatever there is.
func unchecked() error { return nil }
