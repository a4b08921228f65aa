package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
	"github.com/octobot-run/octobot/internal/session"
)

// Adoption is what became of a lost installation's containers.
type Adoption struct {
	Sessions []session.Session     // that have a record again
	Left     []container.Container // that do not say which session they were made for
}

// Adopt makes the installation of cfg, whose daemon does not run and which has no sessions, that of
// another one whose store is lost: with its ID, and a session for each of its containers on the
// engine. That the other one runs no more is for the caller to know. The store is changed as a
// whole or not at all, and nothing on the engine is.
func Adopt(ctx context.Context, cfg config.Config, instance string, log *slog.Logger) (a Adoption, err error) {
	d := &daemon{cfg: cfg, log: log}
	defer func() { err = errors.Join(err, d.closeAll()) }()
	dir, err := openDataDir(cfg.DataDir, log)
	if err != nil {
		return Adoption{}, err
	}
	d.onClose(dir.Close)
	opened, err := openStore(ctx, cfg, log)
	if err != nil {
		return Adoption{}, err
	}
	d.onClose(opened.Close)
	store, ok := opened.(session.AdoptingStore)
	if !ok {
		return Adoption{}, errors.New("the store can't become another installation's")
	}
	own, err := store.Instance(ctx)
	if err != nil {
		return Adoption{}, fmt.Errorf("store: %w", err)
	}
	if own == instance {
		return Adoption{}, errors.New("that is this installation itself")
	}
	// What its own store would not know any more, nobody would ever remove.
	left, err := d.listContainers(ctx, own)
	if err != nil {
		return Adoption{}, err
	}
	if len(left) > 0 {
		return Adoption{}, errInUse
	}
	found, err := d.listContainers(ctx, instance)
	if err != nil {
		return Adoption{}, err
	}
	if len(found) == 0 {
		return Adoption{}, errors.New("the engine has no container of that installation; " +
			"octobot reconcile --dry-run shows those that there are")
	}
	for _, c := range found {
		if sess, ok := session.Adopted(c); ok {
			a.Sessions = append(a.Sessions, sess)
		} else {
			a.Left = append(a.Left, *c)
		}
	}
	err = store.AdoptInstance(ctx, instance, a.Sessions)
	if errors.Is(err, session.ErrInUse) {
		err = errInUse
	}
	if err != nil {
		return Adoption{}, err
	}
	return a, nil
}

var errInUse = errors.New("this installation has sessions of its own: start its daemon and remove them with octobot rm, " +
	"or adopt with another --data-dir")

// listContainers gives an installation's containers with all that the engine tells of them.
func (d *daemon) listContainers(ctx context.Context, instance string) (found []*container.Container, err error) {
	cfg := d.cfg
	cfg.Instance = instance
	rt, closeRuntime, err := runtimeKinds[cmp.Or(cfg.Runtime, config.Runtimes[0])].open(cfg, d.log, newMetrics(""))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeRuntime()) }()
	if p, ok := container.As[*docker.DockerProvider](rt); ok {
		p.KeepNetworks() // those of an installation that lives after all may be about to be used
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Limits.CallTimeout)
	defer cancel()
	list, err := rt.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("engine: %w; \"octobot doctor\" tells what is wrong with it", err)
	}
	for _, c := range slices.Clone(list) {
		detailed, err := rt.Get(ctx, c.SessionID)
		if err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		found = append(found, detailed)
	}
	return found, nil
}
