package sqlstore

import (
	"context"
	"database/sql"
	"reflect"

	"github.com/octobot-run/octobot/internal/session"
)

// CreateToken implements session.Store.
func (s *Store) CreateToken(ctx context.Context, t session.Token) error {
	return s.runCall(ctx, "create token", t.Name, func() error {
		if err := checkStorable("token", reflect.ValueOf(t)); err != nil {
			return err
		}
		return s.write(ctx, func(tx *sql.Tx) error {
			const insert = `INSERT INTO tokens (` + tokenColumns +
				`) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
			n, err := affected(tx.ExecContext(ctx, insert,
				t.Name, t.Hash, t.ProjectID, t.CreatedAt.UnixMicro(), micros(t.ExpiresAt)))
			if err == nil && n == 0 {
				return session.ErrExists
			}
			return err
		})
	})
}

// TokenByHash implements session.Store.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (found session.Token, err error) {
	err = s.runCall(ctx, "find token", "", func() error {
		found, err = scanToken(s.stmts.tokenByHash.row(ctx, nil, hash))
		return orNotFound(err)
	})
	return found, err
}

// ListTokens implements session.Store.
func (s *Store) ListTokens(ctx context.Context) (all []session.Token, err error) {
	err = s.runCall(ctx, "list tokens", "", func() error {
		rows, err := s.db.Read.QueryContext(ctx, `SELECT `+tokenColumns+` FROM tokens ORDER BY name`)
		if err != nil {
			return err
		}
		all, err = collect(rows, scanToken)
		return err
	})
	return all, err
}

// DeleteToken implements session.Store.
func (s *Store) DeleteToken(ctx context.Context, name string) error {
	return s.runCall(ctx, "delete token", name, func() error {
		if !storable(name) {
			return session.ErrNotFound
		}
		return s.write(ctx, func(tx *sql.Tx) error {
			n, err := affected(tx.ExecContext(ctx, `DELETE FROM tokens WHERE name = $1`, name))
			if err == nil && n == 0 {
				return session.ErrNotFound
			}
			return err
		})
	})
}
