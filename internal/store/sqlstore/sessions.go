package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

// CreateSession implements session.Store.
func (s *Store) CreateSession(ctx context.Context, sess session.Session) (created session.Session, err error) {
	err = s.runCall(ctx, "create session", sess.ID, func() error {
		generation := s.ledger.current()
		created, err = s.create(ctx, sess, generation)
		if errors.Is(err, errRewound) {
			// What callers got since is not recorded any more. It has to stay
			// unknown, and its numbers must not be given out again.
			if generation, err = s.replaceGeneration(ctx, generation); err != nil {
				return err
			}
			created, err = s.create(ctx, sess, generation)
		}
		return err
	})
	return created, err
}

func (s *Store) create(
	ctx context.Context, sess session.Session, generation string,
) (created session.Session, err error) {
	row, err := encode(sess)
	if err != nil {
		return session.Session{}, err
	}
	row.Version = 1
	var seq int64
	err = s.write(ctx, func(tx *sql.Tx) (err error) {
		if seq, err = s.allot(ctx, tx, generation); err != nil {
			return err
		}
		row.Origin = formatOrigin(generation, seq)
		created, err = scanSession(s.stmts.insert.row(ctx, tx, row.insertArgs()...))
		if errors.Is(err, sql.ErrNoRows) {
			return session.ErrExists
		}
		return err
	})
	if err != nil {
		return session.Session{}, err
	}
	s.ledger.hand(generation, seq)
	return created, nil
}

// AdoptInstance implements session.AdoptingStore.
func (s *Store) AdoptInstance(ctx context.Context, instance string, sessions []session.Session) error {
	return s.runCall(ctx, "adopt instance", instance, func() error {
		err := s.write(ctx, func(tx *sql.Tx) error { return s.adopt(ctx, tx, instance, sessions) })
		if err == nil {
			s.instance = instance
		}
		return err
	})
}

func (s *Store) adopt(ctx context.Context, tx *sql.Tx, instance string, sessions []session.Session) error {
	var open int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sessions WHERE closed_at IS NULL`).Scan(&open); err != nil {
		return err
	}
	if open > 0 {
		return session.ErrInUse
	}
	if _, err := tx.ExecContext(ctx, `UPDATE installation SET instance = $1`, instance); err != nil {
		return err
	}
	for _, sess := range sessions {
		row, err := encode(sess)
		if err != nil {
			return err
		}
		row.Version = 1
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1`, sess.ID); err != nil {
			return err
		}
		if _, err := scanSession(s.stmts.insert.row(ctx, tx, row.insertArgs()...)); err != nil {
			return fmt.Errorf("session %q: %w", sess.ID, err)
		}
	}
	return nil
}

// GetSession implements session.Store.
func (s *Store) GetSession(ctx context.Context, id string) (found session.Session, err error) {
	err = s.runCall(ctx, "get session", id, func() error {
		if !storable(id) {
			return session.ErrNotFound
		}
		found, err = scanSession(s.stmts.get.row(ctx, nil, id))
		return orNotFound(err)
	})
	return found, err
}

// UpdateSession implements session.Store.
func (s *Store) UpdateSession(ctx context.Context, sess session.Session) (updated session.Session, err error) {
	err = s.runCall(ctx, "update session", sess.ID, func() error {
		row, err := encode(sess)
		if err != nil {
			return err
		}
		return s.write(ctx, func(tx *sql.Tx) error {
			updated, err = scanSession(s.stmts.update.row(ctx, tx, row.updateArgs()...))
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			var version int64
			err := tx.QueryRowContext(ctx, `SELECT version FROM sessions WHERE id = $1`, sess.ID).Scan(&version)
			if err == nil {
				err = session.ErrConflict
			}
			return orNotFound(err)
		})
	})
	if err != nil {
		return session.Session{}, err
	}
	return updated, nil
}

func orNotFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return session.ErrNotFound
	}
	return err
}

// touchBatch is how many sessions one statement of TouchSessions takes, with
// two parameters each: SQLite allows 32,766, PostgreSQL 65,535.
const touchBatch = 1000

// TouchSessions implements session.Store.
func (s *Store) TouchSessions(ctx context.Context, active map[string]time.Time) error {
	return s.runCall(ctx, "touch sessions", "", func() error {
		ids := slices.DeleteFunc(slices.Sorted(maps.Keys(active)), func(id string) bool {
			return !storable(id) || active[id].IsZero()
		})
		if len(ids) == 0 {
			return nil
		}
		return s.write(ctx, func(tx *sql.Tx) error {
			for batch := range slices.Chunk(ids, touchBatch) {
				if err := touch(ctx, tx, batch, active); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func touch(ctx context.Context, tx *sql.Tx, ids []string, active map[string]time.Time) error {
	values := make([]string, len(ids))
	args := make([]any, 0, 2*len(ids))
	for i, id := range ids {
		values[i] = fmt.Sprintf("(CAST($%d AS TEXT), CAST($%d AS BIGINT))", 2*i+1, 2*i+2)
		args = append(args, id, active[id].UnixMicro())
	}
	_, err := tx.ExecContext(ctx, `
		WITH touched (id, at) AS (VALUES `+strings.Join(values, ", ")+`)
		UPDATE sessions SET active_at = touched.at FROM touched
		WHERE sessions.id = touched.id AND (sessions.active_at IS NULL OR sessions.active_at < touched.at)`, args...)
	return err
}

// ListSessions implements session.Store.
func (s *Store) ListSessions(ctx context.Context, f session.Filter) (found []session.Session, err error) {
	err = s.runCall(ctx, "list sessions", "", func() error {
		if !storable(f.ProjectID) || !storable(f.After.ID) {
			return nil // no session has such a project, and none was ever listed under such an ID
		}
		query, args := listQuery(f)
		rows, err := s.db.Read.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		found, err = collect(rows, new(sessionReader).read)
		return err
	})
	return found, err
}

func listQuery(f session.Filter) (query string, args []any) {
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	where := []string{"TRUE"}
	if f.ProjectID != "" {
		where = append(where, "project_id = "+arg(f.ProjectID))
	}
	if !f.Closed {
		where = append(where, "closed_at IS NULL")
	}
	if f.After != (session.Cursor{}) {
		where = append(where, fmt.Sprintf("(created_at, id) < (%s, %s)", arg(f.After.CreatedAt.UnixMicro()),
			arg(f.After.ID)))
	}
	query = `SELECT ` + columns + ` FROM sessions WHERE ` + strings.Join(where, " AND ") +
		` ORDER BY created_at DESC, id DESC`
	if f.Limit > 0 {
		query += ` LIMIT ` + arg(f.Limit)
	}
	return query, args
}

// AllSessions implements session.Store.
func (s *Store) AllSessions(ctx context.Context) (all []session.Session, err error) {
	err = s.runCall(ctx, "read all sessions", "", func() error {
		rows, err := s.db.Read.QueryContext(ctx, `SELECT `+columns+` FROM sessions`)
		if err != nil {
			return err
		}
		all, err = collect(rows, new(sessionReader).read)
		return err
	})
	return all, err
}

// PruneSessions implements session.Store.
func (s *Store) PruneSessions(ctx context.Context, before time.Time) (n int, err error) {
	err = s.runCall(ctx, "prune sessions", "", func() error {
		return s.write(ctx, func(tx *sql.Tx) error {
			const remove = `DELETE FROM sessions WHERE closed_at < $1 AND pending = ''`
			n, err = affected(tx.ExecContext(ctx, remove, before.UnixMicro()))
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
