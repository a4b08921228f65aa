package postgres

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/postgres/pgtest"
	"github.com/octobot-run/octobot/internal/store/storetest"
)

func openStore(ctx context.Context, url string) (session.Store, error) {
	return Open(ctx, url, slog.New(slog.DiscardHandler))
}

func TestMain(m *testing.M) {
	storetest.Child(openStore)
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database {
		dsn := pgtest.Start(t)
		return storetest.Database{
			DSN:  dsn,
			Open: openStore,
			Save: func(t *testing.T) func() {
				saved := pgtest.Start(t)
				copyDatabase(t, dsn, saved)
				return func() { copyDatabase(t, saved, dsn) }
			},
			Exec: func(t *testing.T, statement string) {
				conn, err := pgx.Connect(t.Context(), dsn)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(context.WithoutCancel(t.Context()))
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func BenchmarkStore(b *testing.B) {
	s, err := Open(b.Context(), pgtest.Start(b), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	storetest.Benchmark(b, s)
}

// copyDatabase replaces the database to by a copy of from, and breaks the
// connections that either has.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	admin, source := parse(t, from)
	_, target := parse(t, to)
	conn, err := pgx.Connect(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, sql := range []string{
		"ALTER DATABASE " + source + " ALLOW_CONNECTIONS false", // a store connects again at once
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '" + source + "'",
		"DROP DATABASE " + target + " WITH (FORCE)",
		"CREATE DATABASE " + target + " TEMPLATE " + source,
		"ALTER DATABASE " + source + " ALLOW_CONNECTIONS true",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// parse gives the URL of the server's maintenance database and the name of the one at dsn.
func parse(t *testing.T, dsn string) (admin, name string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name = u.Path[1:]
	u.Path = "/postgres"
	return u.String(), name
}
