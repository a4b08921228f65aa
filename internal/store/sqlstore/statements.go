package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// columns are a session's, in the order of scanSession and sessionRow.insertArgs.
const columns = `id, project_id, created_at, origin, version, spec, desired, pending, pending_since, ` +
	`container_id, exit, failure, started_at, active_at, closed_at`

const tokenColumns = `name, hash, project_id, created_at, expires_at`

// statement is one that runs often, and returns one row.
type statement struct {
	text     string
	db       *sql.DB
	prepared *sql.Stmt // nil where the driver prepares what it is given by itself
}

// row runs the statement, in tx where there is one.
func (s statement) row(ctx context.Context, tx *sql.Tx, args ...any) *sql.Row {
	switch {
	case s.prepared != nil && tx != nil:
		return tx.StmtContext(ctx, s.prepared).QueryRowContext(ctx, args...)
	case s.prepared != nil:
		return s.prepared.QueryRowContext(ctx, args...)
	case tx != nil:
		return tx.QueryRowContext(ctx, s.text, args...)
	default:
		return s.db.QueryRowContext(ctx, s.text, args...)
	}
}

type statements struct {
	get, tokenByHash      statement // on Read
	allot, insert, update statement // on Write
}

func newStatements(db Database) statements {
	return statements{
		get:         statement{db: db.Read, text: `SELECT ` + columns + ` FROM sessions WHERE id = $1`},
		tokenByHash: statement{db: db.Read, text: `SELECT ` + tokenColumns + ` FROM tokens WHERE hash = $1`},

		allot: statement{db: db.Write, text: `
			UPDATE generations SET last_seq = last_seq + 1 WHERE id = $1 RETURNING last_seq`},
		insert: statement{db: db.Write, text: `
			INSERT INTO sessions (` + columns + `)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
			ON CONFLICT (id) DO UPDATE SET
				created_at = excluded.created_at, origin = excluded.origin,
				version = excluded.version, spec = excluded.spec, desired = excluded.desired,
				pending = excluded.pending, pending_since = excluded.pending_since,
				container_id = excluded.container_id, exit = excluded.exit, failure = excluded.failure,
				started_at = excluded.started_at, active_at = excluded.active_at, closed_at = excluded.closed_at
			WHERE sessions.closed_at IS NOT NULL AND sessions.project_id = excluded.project_id
			RETURNING ` + columns},
		// The origin is compared as well: a session that replaced a closed one
		// of its ID counts its versions from 1 again.
		update: statement{db: db.Write, text: `
			UPDATE sessions SET version = version + 1,
				spec = $4, desired = $5, pending = $6, pending_since = $7, container_id = $8,
				exit = $9, failure = $10, started_at = $11,
				active_at = CASE WHEN active_at IS NULL OR active_at < $12 THEN $12 ELSE active_at END,
				closed_at = $13
			WHERE id = $1 AND origin = $2 AND version = $3
			RETURNING ` + columns},
	}
}

func (s *statements) every() []*statement {
	return []*statement{&s.get, &s.tokenByHash, &s.allot, &s.insert, &s.update}
}

func (s *statements) prepare(ctx context.Context) (err error) {
	for _, stmt := range s.every() {
		if stmt.prepared, err = stmt.db.PrepareContext(ctx, stmt.text); err != nil {
			return fmt.Errorf("prepare statement %q: %w", stmt.text, err)
		}
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, stmt := range s.every() {
		if stmt.prepared != nil {
			errs = append(errs, stmt.prepared.Close())
		}
	}
	return errors.Join(errs...)
}
