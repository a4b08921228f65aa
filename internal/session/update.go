package session

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// UpdateRequest says what of a session is to change. What is nil stays as it is.
type UpdateRequest struct {
	// The limits of its container; NoLimit where it has none already, for they can't be taken away.
	CPUs   *float64
	Memory *int64
	PIDs   *int64
	// When it expires; NoLimit for never.
	IdleTimeout, MaxAge *time.Duration
	OnExpire            *Expiry
	// Labels are set, or removed where the value is nil. They are those of the session: its
	// container keeps the ones that it was made with.
	Labels map[string]*string
}

// Update changes a session that exists, whether it runs or not, all of it or nothing. The same
// holds for what is changed as for a new session: defaults, policy and quota. It is no use of the
// session. A limit of its container that can't be had: invalid_argument; an engine that changes
// none: unsupported. While something else is yet to be finished, they are refused with busy.
//
// Where the engine does not answer, or ctx ends meanwhile, reconciliation finishes it.
func (s *ContainerService) Update(
	ctx context.Context, who Principal, id string, req UpdateRequest,
) (v View, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "update", id, start, &err) }(time.Now())
	sess, unlock, err := s.lockSettled(ctx, who, id, urgency{})
	if err != nil {
		return View{}, err
	}
	defer unlock()
	wanted, end := s.whileWanted(ctx, sess)
	defer func() { err = end(err) }()
	next, err := s.updatedSpec(who, sess.Spec, req)
	if err != nil {
		return View{}, err
	}
	if sess.Pending != OperationNone && (req.CPUs != nil || req.Memory != nil || req.PIDs != nil) {
		s.hintSession(id) // a record has room for one intent
		return View{}, refuse(CodeBusy, "try again in a moment", "its %s is still being finished", sess.Pending)
	}
	if changedLimits(sess.Spec, next) == (container.Resources{}) {
		if sess.Next != nil {
			after, err := s.updatedSpec(who, *sess.Next, req)
			if err != nil {
				return View{}, err
			}
			sess.Next = &after
		}
		sess.Spec = next
		if sess, err = s.store.update(ctx, sess); err != nil {
			return View{}, err
		}
		s.deadlines.note(sess)
		s.expiring.forget(sess.ID)
		return s.viewAfterChange(ctx, sess, nil), nil
	}
	if _, ok := container.As[container.Updater](s.rt); !ok {
		return View{}, container.ErrUnsupported
	}
	record := func() (Session, error) {
		changing := sess
		changing.Next = &next
		return s.recordIntent(wanted, changing, OperationUpdate, sess.Desired)
	}
	if next.CPUs > sess.Spec.CPUs || next.Memory > sess.Spec.Memory {
		changed := sess
		changed.Spec = next
		sess, err = s.withinQuota(wanted, who, changed, record)
	} else { // which a project may do that has too much already
		sess, err = record()
	}
	if err != nil {
		return View{}, err
	}
	if sess, err = s.finishUpdate(wanted, sess); err != nil {
		return View{}, err
	}
	return s.viewAfterChange(ctx, sess, nil), nil
}

// updatedSpec gives the spec as it is to be, if who may have it so. What is not asked for is held
// to no policy: it may be an admin's gift.
func (s *ContainerService) updatedSpec(who Principal, old Spec, req UpdateRequest) (Spec, error) {
	next, p := old, &s.cfg.Policy
	err := cmp.Or(
		changeLimit(&next.CPUs, req.CPUs, s.cfg.CPUs, p.MaxCPUs, who, "cpus"),
		changeLimit(&next.Memory, req.Memory, s.cfg.Memory, p.MaxMemory, who, "memory"),
		changeLimit(&next.PIDs, req.PIDs, s.cfg.PIDs, p.MaxPIDs, who, "pids"),
		changeLimit(&next.IdleTimeout, req.IdleTimeout, s.cfg.IdleTimeout, p.MaxIdleTimeout, who, "idle_timeout"),
		changeLimit(&next.MaxAge, req.MaxAge, s.cfg.MaxAge, p.MaxAge, who, "max_age"),
	)
	if err != nil {
		return Spec{}, err
	}
	if req.OnExpire != nil {
		next.OnExpire = *req.OnExpire
	}
	next.Labels = maps.Clone(old.Labels)
	for name, value := range req.Labels {
		switch {
		case value == nil:
			delete(next.Labels, name)
		case next.Labels == nil:
			next.Labels = map[string]string{name: *value}
		default:
			next.Labels[name] = *value
		}
	}
	if len(next.Labels) == 0 {
		next.Labels = nil
	}
	const taken = "%s: a limit can be changed, but not taken away"
	switch {
	case next.CPUs == 0 && old.CPUs != 0:
		return Spec{}, invalid(taken, "cpus")
	case next.Memory == 0 && old.Memory != 0:
		return Spec{}, invalid(taken, "memory")
	case next.PIDs == 0 && req.PIDs != nil:
		return Spec{}, invalid(taken, "pids")
	}
	if err := checkExpiry(next); err != nil {
		return Spec{}, err
	}
	opts := container.Options{Image: next.Image, Labels: next.Labels,
		Resources: container.Resources{CPUs: next.CPUs, Memory: next.Memory, PIDs: next.PIDs}}
	if err := opts.Validate(); err != nil {
		return Spec{}, err
	}
	if !who.Admin && sizeOf(next) > sizeOf(old) {
		return next, p.checkSize(next)
	}
	return next, nil
}

// changeLimit gives *v the value that is asked for, if any is, as limit does.
func changeLimit[T int64 | float64 | time.Duration](
	v, asked *T, byDefault, most T, who Principal, field string,
) error {
	if asked == nil {
		return nil
	}
	*v = *asked
	return limit(v, byDefault, most, who, field, "policy.max_"+strings.TrimPrefix(field, "max_"))
}

// changedLimits gives the limits of the container in which next differs from old.
func changedLimits(old, next Spec) container.Resources {
	var changed container.Resources
	if next.CPUs != old.CPUs {
		changed.CPUs = next.CPUs
	}
	if next.Memory != old.Memory {
		changed.Memory = next.Memory
	}
	if next.PIDs != old.PIDs {
		changed.PIDs = next.PIDs
	}
	return changed
}

// finishUpdate carries out the recorded intent to update. After a refusal of the engine's the
// session is as it was; after an error that leaves open what the engine did, the intent stays.
func (s *ContainerService) finishUpdate(ctx context.Context, sess Session) (Session, error) {
	next := sess.Next
	if next == nil {
		return s.recordOutcome(ctx, sess)
	}
	err := s.engineUpdate(ctx, sess.ID, changedLimits(sess.Spec, *next))
	settled := sess
	settled.Next = nil
	switch {
	case err == nil:
		settled.Spec = *next
		return s.recordOutcome(ctx, settled)
	case errors.Is(err, container.ErrContainerNotFound):
		return s.recordLost(ctx, settled, err)
	case isRefusal(err), errors.Is(err, container.ErrRefused): // which is no more likely to succeed later
		settled, settleErr := s.recordOutcome(ctx, settled)
		if settleErr != nil {
			err = settleErr
		}
		return settled, err
	}
	return sess, unfinished(ctx, err)
}

func (s *ContainerService) engineUpdate(ctx context.Context, id string, limits container.Resources) error {
	updater, ok := container.As[container.Updater](s.rt)
	if !ok {
		return container.ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	return updater.Update(ctx, id, limits)
}

// settleUpdate finishes an update that was interrupted, before something else is done with the
// session, whose lock is held. It is left as it was where the engine does not answer.
func (s *ContainerService) settleUpdate(ctx context.Context, sess Session) (Session, error) {
	if sess.Pending != OperationUpdate {
		return sess, nil
	}
	settled, err := s.finishUpdate(ctx, sess)
	if err != nil && settled.Failure == nil && ctx.Err() == nil {
		err = nil // it was refused, to whoever is not here any more, or is yet to be finished
	}
	return settled, err
}
