package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"reflect"

	"github.com/octobot-run/octobot/internal/session"
)

// SetProject implements session.Store.
func (s *Store) SetProject(ctx context.Context, p session.Project) error {
	return s.runCall(ctx, "set project", p.ID, func() error {
		if err := checkStorable("project", reflect.ValueOf(p)); err != nil {
			return err
		}
		quota, err := json.Marshal(p.Quota)
		if err != nil {
			return err
		}
		return s.write(ctx, func(tx *sql.Tx) error {
			const upsert = `INSERT INTO projects (id, quota) VALUES ($1, $2)
				ON CONFLICT (id) DO UPDATE SET quota = excluded.quota`
			_, err := tx.ExecContext(ctx, upsert, p.ID, string(quota))
			return err
		})
	})
}

// ListProjects implements session.Store.
func (s *Store) ListProjects(ctx context.Context) (all []session.Project, err error) {
	err = s.runCall(ctx, "list projects", "", func() error {
		rows, err := s.db.Read.QueryContext(ctx, `SELECT id, quota FROM projects ORDER BY id`)
		if err != nil {
			return err
		}
		all, err = collect(rows, scanProject)
		return err
	})
	return all, err
}

func scanProject(row scanner) (p session.Project, err error) {
	var quota string
	if err := row.Scan(&p.ID, &quota); err != nil {
		return session.Project{}, err
	}
	return p, json.Unmarshal([]byte(quota), &p.Quota)
}

// DeleteProject implements session.Store.
func (s *Store) DeleteProject(ctx context.Context, id string) error {
	return s.runCall(ctx, "delete project", id, func() error {
		if !storable(id) {
			return session.ErrNotFound
		}
		return s.write(ctx, func(tx *sql.Tx) error {
			n, err := affected(tx.ExecContext(ctx, `DELETE FROM projects WHERE id = $1`, id))
			if err == nil && n == 0 {
				return session.ErrNotFound
			}
			return err
		})
	})
}
