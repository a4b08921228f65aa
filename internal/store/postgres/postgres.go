// Package postgres keeps sessions in a PostgreSQL database.
//
// A call returns when the server has committed, and is as durable as the
// server's synchronous_commit makes that; the default, on, keeps the promise.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/octobot-run/octobot/internal/store/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// What holds where the URL does not say otherwise.
const (
	connectTimeout   = 5 * time.Second // connect_timeout
	statementTimeout = "30s"           // statement_timeout: the server's own, for a client that is gone
)

// Open opens the store in the database at url, which may set pool_max_conns,
// connect_timeout and statement_timeout among PostgreSQL's other parameters.
// One process at a time has it open, by a lock on the server: another is refused
// with who has it, after a few seconds in which one that was killed is forgotten.
// Session locks need a session, so a pooler in between must not share
// connections between transactions.
//
// The store outlives outages of its server. A call fails when it meets a
// connection that has just broken, or when its context ends while the server is
// silent; later calls connect anew. The lock ends with its connection and is
// taken again; where another process has got it meanwhile, writes and Ping fail
// and say so, and reads go on. log is told of that.
func Open(ctx context.Context, url string, log *slog.Logger) (*sqlstore.Store, error) {
	store, err := open(ctx, url, log)
	if err != nil {
		return nil, fmt.Errorf("open the PostgreSQL store: %w", err)
	}
	return store, nil
}

func open(ctx context.Context, url string, log *slog.Logger) (*sqlstore.Store, error) {
	config, err := pgxpool.ParseConfig(url) // its errors leave the password out
	if err != nil {
		return nil, err
	}
	conn := config.ConnConfig
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name":  ownerName(),
		"statement_timeout": statementTimeout,
	} {
		if _, ok := conn.RuntimeParams[name]; !ok {
			conn.RuntimeParams[name] = value
		}
	}
	endDeadPeers(conn)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	// Asked every second, for up to a minute.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return nil, err
	}
	owner, err := own(ctx, conn, log)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*conn)
	db.SetMaxOpenConns(int(config.MaxConns))
	db.SetMaxIdleConns(int(config.MaxConns))
	db.SetConnMaxIdleTime(config.MaxConnIdleTime)
	db.SetConnMaxLifetime(config.MaxConnLifetime)
	return sqlstore.Open(ctx, sqlstore.Database{
		Read: db, Write: db,
		Begin:      owner.begin,
		Release:    owner.close,
		Migrations: sqlstore.Migrations{Dialect: goose.DialectPostgres, Files: files, Locker: locker},
	})
}
