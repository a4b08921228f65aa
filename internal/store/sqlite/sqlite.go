// Package sqlite keeps sessions in one SQLite file.
//
// The file is in WAL mode with synchronous=FULL: a commit returns when the log
// is on the disk, which costs one fsync and is what the contract's "durable"
// means; NORMAL would lose the latest commits with the machine's power. Writes
// take turns on one connection; reads have their own, and neither waits for the
// other.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/octobot-run/octobot/internal/store/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many reads run at once. They take microseconds, and each
// connection costs memory for its page cache.
const readers = 4

// Open opens the store in the file at path. It makes the file and its directory
// where they are missing, for their owner alone. One process at a time has a
// store open: it holds a lock on path + ".lock", which ends with the process
// however that ends. SQLite's own backup may read and restore the file at any time;
// where it is removed or replaced by another, writes fail from then on.
func Open(ctx context.Context, path string) (*sqlstore.Store, error) {
	store, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", path, err)
	}
	return store, nil
}

func open(ctx context.Context, path string) (*sqlstore.Store, error) {
	db, err := database(path)
	if err != nil {
		return nil, err
	}
	return sqlstore.Open(ctx, db)
}

// database locks the file and makes its pools.
func database(path string) (db sqlstore.Database, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return db, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return db, err
	}
	// The lock is beside the file itself, whichever links led there.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return db, err
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return db, err
	}
	file, err := openFile(path)
	if err != nil {
		return db, errors.Join(err, lock.Close())
	}
	begin := func(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
		if err := file.check(ctx, db); err != nil {
			return nil, err
		}
		return db.BeginTx(ctx, nil)
	}
	return sqlstore.Database{
		Read: pool(path, readers, file.inPlace), Write: pool(path, 1, file.inPlace),
		Begin:      begin,
		Check:      file.check,
		Rescue:     file.rescue,
		Migrations: sqlstore.Migrations{Dialect: goose.DialectSQLite3, Files: files},
		Prepare:    true,
		Explain:    explain,
		Opened:     file.setMark,
		Release:    func() error { return errors.Join(file.f.Close(), lock.Close()) },
	}, nil
}

// pool opens up to size connections, when they are needed, and keeps them. None is opened while
// check fails.
func pool(path string, size int, check func() error) *sql.DB {
	options := url.Values{
		"_txlock": {"immediate"}, // a transaction that writes later must not find that it can't
		"_pragma": {
			"busy_timeout(5000)", // first: the others may wait already; a shell or a backup may hold the file
			"journal_mode(WAL)",
			"synchronous(FULL)",
			"foreign_keys(ON)",
			"trusted_schema(OFF)",
			"cache_size(-512)",            // KiB for each connection; the kernel caches the file as well
			"journal_size_limit(4194304)", // what a burst of writes leaves of the log
		},
	}
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: options.Encode()}
	db := sql.OpenDB(connector{dsn: dsn.String(), check: check})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

// explain puts the errors that people meet into words.
func explain(err error) error {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch failure.Code() & 0xff { // the rest refines it
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is not an SQLite database: %w", err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("the file is damaged; restore it from a backup: %w", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: %w", err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("the file can't be written: %w", err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("another program holds the file: %w", err)
	}
	return err
}
