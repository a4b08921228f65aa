package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrations are the steps that bring a database to this binary's schema.
type Migrations struct {
	Dialect goose.Dialect
	Files   fs.FS // NNNNN_name.sql, applied in order of NNNNN
	// Locker keeps other processes from migrating at the same time; nil where there are none.
	Locker lock.SessionLocker
}

// up applies what is missing, each step in a transaction, and refuses a
// database whose schema is newer than the last step it knows.
func (m Migrations) up(ctx context.Context, db *sql.DB) error {
	opts := []goose.ProviderOption{
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	}
	if m.Locker != nil {
		opts = append(opts, goose.WithSessionLocker(m.Locker))
	}
	p, err := goose.NewProvider(m.Dialect, db, m.Files, opts...)
	if err != nil {
		return fmt.Errorf("load the migrations: %w", err)
	}
	// Up leaves a newer schema alone, so looking afterwards is soon enough; looking
	// before would miss another process that migrates in between.
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if have > want {
		return fmt.Errorf("the database has schema version %d and this octobot knows only up to %d: "+
			"it was used by a newer octobot; run that one, or restore a backup made before the upgrade", have, want)
	}
	return nil
}
