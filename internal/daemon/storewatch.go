package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

const (
	storeLooks    = time.Second // between looks whether the store's database is in its place
	rescueTimeout = time.Minute
)

// displaceable is a store whose database can be taken away under it, as a file can.
type displaceable interface {
	// Check tells, at the cost of a look, whether it was: session.ErrDisplaced.
	Check(ctx context.Context) error
	// Rescue saves what the opened database holds, and gives the path.
	Rescue(ctx context.Context) (string, error)
}

// watchStore has people hear within a second, though nothing is written, that the store's database
// is not in its place any more, and saves what it held. It returns when ctx ends.
func watchStore(ctx context.Context, store session.Store, log *slog.Logger) {
	watched, ok := store.(displaceable)
	if !ok {
		return
	}
	tick := time.NewTicker(storeLooks)
	defer tick.Stop()
	for displaced := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := watched.Check(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, session.ErrDisplaced) && !displaced:
			displaced = true
			rescueStore(ctx, watched, log, err)
		case err == nil && displaced:
			displaced = false
			log.InfoContext(ctx, "The store's database is back in its place, and is written again")
		}
	}
}

// rescueStore saves what the store held. A shutdown waits for it.
func rescueStore(ctx context.Context, store displaceable, log *slog.Logger, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rescueTimeout)
	defer cancel()
	const said = "The store's database was taken away under the daemon, which writes nothing any more. "
	path, err := store.Rescue(ctx)
	if err != nil {
		log.ErrorContext(ctx, said+"What it held could not be saved. Stop the daemon, remove the files that end in "+
			"-wal and -shm beside the database's, put a backup in its place if there is none, and start it again",
			"error", why, "rescue", err)
		return
	}
	log.ErrorContext(ctx, said+"What it held is saved. Stop the daemon, remove the files that end in -wal and -shm "+
		"beside the database's, move the saved one to its place, and start it again", "saved", path, "error", why)
}
