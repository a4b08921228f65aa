// Package sqlstore is what the SQLite and the PostgreSQL store have in common:
// the session.Store contract on database/sql. The two packages open and
// configure their database; from there on both speak the same SQL, and what one
// promises the other does.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

// Database is an opened database and what is particular about it.
type Database struct {
	// Read and Write are its pools, for calls that only read and for the others;
	// they may be the same one.
	Read, Write *sql.DB
	Migrations  Migrations
	// Begin begins a transaction that writes, or refuses to; nil: every one may.
	Begin func(context.Context, *sql.DB) (*sql.Tx, error)
	// Opened runs when the store is as good as open; may be nil.
	Opened func(context.Context, *sql.DB) error
	// Check tells at once where the database that was opened is not in its place any more, see
	// [session.ErrDisplaced]; nil where every transaction finds that out.
	Check func(context.Context, *sql.DB) error
	// Rescue saves what the opened database holds, and says where; may be nil.
	Rescue func(context.Context, *sql.DB) (string, error)
	// Prepare is for a driver that would parse a statement anew each time it runs.
	Prepare bool
	// Explain puts an error into words where it can say more than the driver
	// does; nil where there is nothing to add.
	Explain func(error) error
	// Release runs after the pools are closed; may be nil.
	Release func() error
}

// Close closes the pools and releases what else the database holds.
func (d Database) Close() error {
	err := errors.Join(d.Read.Close(), d.Write.Close())
	if d.Release != nil {
		err = errors.Join(err, d.Release())
	}
	return err
}

var errClosed = errors.New("the store is closed")

// Store is a session.Store on a SQL database.
type Store struct {
	db       Database
	instance string
	stmts    statements

	ledger    ledger
	replacing chan struct{} // holds one while its generation is being replaced

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // under way; added to only under mu, while not closed
}

var _ session.AdoptingStore = (*Store)(nil)

// Open migrates the database to this binary's schema, reads the instance ID
// (and makes it in a new database), and records a new generation. The database
// belongs to the store from here on; where Open fails, it is closed.
func Open(ctx context.Context, db Database) (_ *Store, err error) {
	s := &Store{db: db, stmts: newStatements(db), replacing: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(s.explain(err), s.stmts.close(), db.Close())
		}
	}()
	if err := db.Migrations.up(ctx, db.Write); err != nil {
		return nil, err
	}
	if db.Prepare {
		if err := s.stmts.prepare(ctx); err != nil {
			return nil, err
		}
	}
	if s.instance, err = s.loadInstance(ctx); err != nil {
		return nil, fmt.Errorf("read the instance ID: %w", err)
	}
	if err := s.openGeneration(ctx); err != nil {
		return nil, err
	}
	if db.Opened != nil {
		if err := db.Opened(ctx, db.Write); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Store) loadInstance(ctx context.Context) (id string, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		const insert = `INSERT INTO installation (only_row, instance, pinged_at) VALUES (1, $1, 0) ON CONFLICT DO NOTHING`
		if _, err := tx.ExecContext(ctx, insert, newID()); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT instance FROM installation`).Scan(&id)
	})
	return id, err
}

// Instance implements session.Store.
func (s *Store) Instance(ctx context.Context) (string, error) {
	return s.instance, s.runCall(ctx, "read the instance ID", "", func() error { return nil })
}

// Ping implements session.Store. It commits a small change: nothing less tells
// a full disk or a read-only database from a good one.
func (s *Store) Ping(ctx context.Context) error {
	return s.runCall(ctx, "ping", "", func() error {
		return s.write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE installation SET pinged_at = $1`, time.Now().UnixMicro())
			return err
		})
	})
}

// Check tells, at the cost of a look, where the database is not in its place any more.
func (s *Store) Check(ctx context.Context) error {
	if s.db.Check == nil {
		return nil
	}
	return s.runCall(ctx, "check", "", func() error { return s.db.Check(ctx, s.db.Write) })
}

// Rescue saves what the opened database holds where it is not in its place any more, and gives the
// path; empty where there is nothing of the kind.
func (s *Store) Rescue(ctx context.Context) (path string, err error) {
	if s.db.Rescue == nil {
		return "", nil
	}
	err = s.runCall(ctx, "rescue", "", func() (err error) {
		path, err = s.db.Rescue(ctx, s.db.Write)
		return err
	})
	return path, err
}

// Close implements session.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	if !first {
		return nil
	}
	if err := errors.Join(s.stmts.close(), s.db.Close()); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

// runCall runs one call of the contract: refused when the store is closed or ctx
// has ended, and with op and the id it is about around what goes wrong.
func (s *Store) runCall(ctx context.Context, op, id string, do func() error) error {
	err := s.countCall()
	if err == nil {
		defer s.calls.Done()
		if err = ctx.Err(); err == nil {
			err = do()
		}
	}
	if err == nil {
		return nil
	}
	if id != "" {
		op = fmt.Sprintf("%s %q", op, id)
	}
	err = s.explain(err)
	// A driver that is interrupted may say so in its own words only.
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) && !isStoreAnswer(err) {
		return fmt.Errorf("%s: %w: %w", op, cause, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

func (s *Store) countCall() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) explain(err error) error {
	if s.db.Explain == nil || isStoreAnswer(err) {
		return err
	}
	return s.db.Explain(err)
}

// isStoreAnswer reports whether err is the store's answer, not its failure.
func isStoreAnswer(err error) bool {
	return errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExists) ||
		errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrInUse)
}

// write runs do in a transaction and returns when it is committed. Every change
// goes through here, single statements too: one that commits by itself may
// return its rows before it fails to commit.
func (s *Store) write(ctx context.Context, do func(*sql.Tx) error) error {
	begin := s.db.Begin
	if begin == nil {
		begin = func(ctx context.Context, db *sql.DB) (*sql.Tx, error) { return db.BeginTx(ctx, nil) }
	}
	tx, err := begin(ctx, s.db.Write)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback() // does nothing after a commit; otherwise do's error says more than its own
	if err := s.checkInstance(ctx, tx); err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// checkInstance refuses a database that somebody has put in the place of the one that was opened.
func (s *Store) checkInstance(ctx context.Context, tx *sql.Tx) error {
	if s.instance == "" {
		return nil // it is just being opened
	}
	var found string
	err := tx.QueryRowContext(ctx, `SELECT instance FROM installation`).Scan(&found)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: it has lost its installation's record", session.ErrDisplaced)
	case err != nil:
		return err
	case found != s.instance:
		return fmt.Errorf("%w: it is that of instance %s, not of %s", session.ErrDisplaced, found, s.instance)
	}
	return nil
}

// affected counts the rows that a statement changed.
func affected(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
