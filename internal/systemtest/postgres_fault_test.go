package systemtest

import (
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the checker reads the database itself

	"github.com/octobot-run/octobot/internal/store/postgres/pgtest"
)

// TestPostgresFails takes PostgreSQL away in the ways in which it goes: hanging, refusing
// connections, and read-only as a standby is.
func TestPostgresFails(t *testing.T) {
	host, engine := sharedEngine(t)
	for name, fault := range map[string]struct {
		begin, end func(*pgtest.Server, *testing.T)
	}{
		"hangs": {
			func(s *pgtest.Server, t *testing.T) { s.Hang(t) },
			func(s *pgtest.Server, t *testing.T) { s.Resume(t) },
		},
		"refuses": {
			func(s *pgtest.Server, t *testing.T) { s.Stop(t) },
			func(s *pgtest.Server, t *testing.T) { s.Start(t) },
		},
		"read-only": {
			func(s *pgtest.Server, t *testing.T) {
				s.Exec(t, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()",
					"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
			},
			func(s *pgtest.Server, t *testing.T) {
				s.Exec(t, "SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only",
					"SELECT pg_reload_conf()",
					"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := pgtest.StartServer(t)
			url := server.URL(t)
			f := withSessions(t, newDaemon(t, host, "--reconcile-grace", "1s", "--reconcile-interval", "1s",
				"--database-url", url), engine)
			fault.begin(server, t)
			f.survives(t, func() { fault.end(server, t) })
			check(t, rows(t, "pgx", url), containers(t, engine, f.instance))
		})
	}
}
