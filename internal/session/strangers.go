package session

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Containers of other installations on the engine are none of a pass's business. But one whose
// store is lost has nobody else to see to them, and they keep their IDs from being used: a dry run
// shows them, and a person may have those of an installation removed by naming it.

// checkStrangers refuses options that name an installation and can't be followed.
func (s *ContainerService) checkStrangers(ctx context.Context, opts ReconcileOptions) error {
	if opts.Instance == "" {
		return nil
	}
	if !opts.DryRun && !opts.AllowRemovals {
		return invalid("instance: its containers are removed only where that is allowed (allow_removals), or shown (dry_run)")
	}
	own, err := callStore(ctx, s.store.timeout, s.store.store.Instance)
	if err != nil {
		return err
	}
	if opts.Instance == own {
		return invalid("instance: %s is this installation itself; what it has no session of, a pass without instance removes",
			own)
	}
	return nil
}

// seeToStrangers completes the report with the containers of other installations, and removes those
// of the one that a person named.
func (s *ContainerService) seeToStrangers(ctx context.Context, opts ReconcileOptions, report *Report) error {
	if !opts.DryRun && opts.Instance == "" {
		return nil
	}
	keeper, ok := container.As[container.StrangerKeeper](s.rt)
	if !ok && opts.Instance == "" {
		return nil
	}
	if !ok {
		return container.ErrUnsupported
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	list, err := keeper.ListStrangers(bounded)
	if err != nil {
		return err
	}
	named := false
	var failure error // the first
	for _, c := range list {
		fate := Fate{SessionID: c.SessionID, ContainerID: c.ID, Instance: c.Labels[container.LabelInstance],
			Action: ActionHold}
		fate.Reason = fmt.Sprintf("it is another installation's, %s, since %s, and %s", fate.Instance,
			c.CreatedAt.UTC().Format(time.RFC3339), c.Status)
		if fate.Instance != opts.Instance {
			if opts.DryRun {
				report.Fates = append(report.Fates, fate)
			}
			continue
		}
		named = true
		fate.Action = ActionRemove
		fate.Reason += "; its removal was asked for"
		if !opts.DryRun {
			err := s.removeStranger(ctx, keeper, &fate)
			if err == nil {
				report.Removed++
			} else {
				report.Failed++
				failure = cmp.Or(failure, err)
			}
		}
		report.Fates = append(report.Fates, fate)
	}
	if opts.Instance != "" && !named {
		return invalid("instance: the engine has no container of an installation %.64q", opts.Instance)
	}
	return failure
}

// removeStranger removes a container of another installation; its fate says what becomes of it.
func (s *ContainerService) removeStranger(ctx context.Context, keeper container.StrangerKeeper, fate *Fate) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	if err := keeper.RemoveStranger(ctx, fate.Instance, fate.ContainerID); err != nil {
		f := toError(ctx, "reconcile", fate.SessionID, err)
		fate.Reason += "; but: " + f.Detail
		return f
	}
	s.log.InfoContext(ctx, "Removed another installation's container, as was asked for", "session", fate.SessionID,
		"container", fate.ContainerID, "instance", fate.Instance)
	return nil
}
