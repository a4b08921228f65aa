package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// CreateRequest asks for a session.
type CreateRequest struct {
	ID        string // empty: one is generated
	ProjectID string // empty: no project
	// Spec says what container it gets; zero fields are given the service's defaults, and the
	// session records what came of that. CPUs, Memory, IdleTimeout and MaxAge may be NoLimit.
	Spec Spec
	// Start makes starting it a part of creating it.
	Start bool
	// Credentials are for pulling the image. They are not stored.
	Credentials *container.Credentials
	// Progress is told how the pull gets on; see [container.Options].
	Progress func(container.PullProgress)
}

// Create makes a session and its container, and starts it where that is asked for. It is all or
// nothing: after an error, the end of ctx and a Delete meanwhile included, there is no session and
// its ID is free (the closed record keeps the reason). Where engine or store do not answer while it
// is being undone, reconciliation finishes that; where only the record that all went well could not
// be written, it finishes the session.
//
// What can't be accepted is refused before the store or the engine is asked anything.
func (s *ContainerService) Create(ctx context.Context, who Principal, req CreateRequest) (v View, err error) {
	id := req.ID
	defer func(start time.Time) { s.finishOperation(ctx, who, "create", id, start, &err) }(time.Now())

	if req.ProjectID, err = who.scope(req.ProjectID); err != nil {
		return View{}, err
	}
	spec, err := s.resolveSpec(who, &req)
	if err != nil {
		return View{}, err
	}
	if id != "" {
		return s.createAs(ctx, who, id, req, spec, false)
	}
	for tries := 1; ; tries++ { // another installation on the engine may have an ID that is free here
		id = newID()
		v, err := s.createAs(ctx, who, id, req, spec, tries < maxIDs)
		if err == nil || toError(ctx, "", "", err).Code != CodeSessionExists || tries == maxIDs {
			return v, err
		}
	}
}

// maxIDs bounds how many IDs are made up for one session.
const maxIDs = 3

// createAs makes a session of that ID with a spec that is resolved. Where another ID will be tried
// if this one is taken, that is no failure: nobody asked for this one.
func (s *ContainerService) createAs(
	ctx context.Context, who Principal, id string, req CreateRequest, spec Spec, another bool,
) (v View, err error) {
	unlock, err := s.locks.Lock(ctx, id)
	if err != nil {
		return View{}, err
	}
	defer unlock()
	slot, err := s.acquireStartSlot(ctx)
	if err != nil {
		return View{}, err
	}
	defer slot.free()

	t := now()
	sess := Session{
		ID: id, ProjectID: req.ProjectID, Spec: spec, Desired: DesiredStopped,
		Pending: OperationCreate, PendingSince: t, CreatedAt: t, ActiveAt: t,
	}
	if req.Start {
		sess.Desired = DesiredRunning
	}
	sess, err = s.withinQuota(ctx, who, sess, func() (Session, error) { return s.recordCreation(ctx, sess) })
	if errors.Is(err, ErrExists) {
		err = s.explainTaken(ctx, who, id)
	}
	if err != nil {
		return View{}, err
	}
	s.publishChange(EventCreated, sess, StatusCreating, "")
	wanted, end := s.whileWanted(ctx, sess)
	sess, c, err := s.provision(wanted, sess, nil, creation{req.Credentials, req.Progress, slot})
	if err = end(err); err != nil {
		taken := errors.Is(err, container.ErrContainerExists)
		if taken && another {
			s.undoCreate(ctx, sess, nil)
			return View{}, err
		}
		if !errors.Is(err, errOvertaken) {
			s.publishChange(EventFailed, sess, StatusFailed, toError(ctx, "create", id, err).Detail)
		}
		s.undoCreate(ctx, sess, err)
		if e, ok := errors.AsType[*Error](err); ok && taken && who.Admin {
			err = e.cause
		}
		return View{}, err
	}
	if sess, err = s.recordOutcome(ctx, sess); err != nil {
		return View{}, err
	}
	v = s.viewAfterChange(ctx, sess, c)
	v.Warnings = s.beyondPolicy(ctx, who, req.Spec, sess)
	s.publishIfStarted(sess)
	return v, nil
}

// beyondPolicy tells an admin what the project's own tokens would have been refused.
func (s *ContainerService) beyondPolicy(ctx context.Context, who Principal, asked Spec, sess Session) []string {
	if !who.Admin || sess.ProjectID == "" {
		return nil
	}
	var warnings []string
	project := Principal{ProjectID: sess.ProjectID}
	limited := asked
	for _, err := range []error{
		s.cfg.Policy.setLimits(project, &limited, &s.cfg),
		s.cfg.Policy.check(project, asked, sess.Spec, &s.cfg),
		s.checkQuota(ctx, sess),
	} {
		if e, ok := errors.AsType[*Error](err); ok && (e.Code == CodePolicyDenied || e.Code == CodeQuotaExceeded) {
			warnings = append(warnings, "a token of the project could not have done this: "+e.Detail)
		}
	}
	return warnings
}

var errTaken = refuse(CodeSessionExists, "choose another ID", "the ID is taken")

// explainTaken says to who why an ID can't be had, as far as that is its business.
func (s *ContainerService) explainTaken(ctx context.Context, who Principal, id string) error {
	found, err := s.getReachable(ctx, who, id)
	switch {
	case err != nil:
		return errTaken
	case !found.ClosedAt.IsZero():
		of, again := "without a project", "choose another ID, or create it without a project"
		if found.ProjectID != "" {
			of = fmt.Sprintf("of the project %q", found.ProjectID)
			again = fmt.Sprintf("choose another ID, or create it in the project %q again", found.ProjectID)
		}
		return refuse(CodeSessionExists, again, "the record of a closed session %s has that ID, and is kept until %s",
			of, found.ClosedAt.Add(s.cfg.Retention).UTC().Format(time.RFC3339))
	}
	return ErrExists
}

// publishIfStarted tells where a session's creation has started it.
func (s *ContainerService) publishIfStarted(sess Session) {
	if sess.Desired == DesiredRunning {
		s.publishChange(EventStarted, sess, StatusRunning, "")
	}
}

// resolveSpec validates a request as a whole, holds it to the policy, and gives the spec with all
// defaults.
func (s *ContainerService) resolveSpec(who Principal, req *CreateRequest) (Spec, error) {
	spec := req.Spec
	if spec.PIDs == NoLimit {
		return Spec{}, invalid("pids: a session has a limit of processes; the largest is %d", 4<<20)
	}
	setDefault(&spec.Image, s.cfg.DefaultImage)
	setDefault(&spec.Runtime, s.cfg.Runtime)
	setDefault(&spec.OnExpire, s.cfg.OnExpire)
	if err := s.cfg.Policy.setLimits(who, &spec, &s.cfg); err != nil {
		return Spec{}, err
	}

	if req.ID != "" {
		if err := container.ValidateSessionID(req.ID); err != nil {
			return Spec{}, err
		}
	}
	if err := checkExpiry(spec); err != nil {
		return Spec{}, err
	}
	if spec.Agent != "" && spec.Agent != AgentAuto && spec.Agent != AgentOff {
		return Spec{}, invalid("agent: %.64q is neither %q nor %q", spec.Agent, AgentAuto, AgentOff)
	}
	if err := s.checkRecording(spec); err != nil {
		return Spec{}, err
	}
	opts := Session{ProjectID: req.ProjectID, Spec: spec}.Options()
	opts.Credentials = req.Credentials
	if err := opts.Validate(); err != nil {
		return Spec{}, err
	}
	if err := s.cfg.Policy.check(who, req.Spec, spec, &s.cfg); err != nil {
		return Spec{}, err
	}
	binds, err := resolveBinds(s.cfg.BindRoots, spec.Binds)
	if err != nil {
		return Spec{}, err
	}
	spec.Binds = binds
	return spec, s.checkMounting(binds)
}

// checkExpiry refuses what can't say when a session expires.
func checkExpiry(spec Spec) error {
	const minLimit = time.Second
	switch {
	case spec.IdleTimeout < 0:
		return invalid("idle_timeout: %v is negative", spec.IdleTimeout)
	case spec.MaxAge < 0:
		return invalid("max_age: %v is negative", spec.MaxAge)
	case spec.IdleTimeout != 0 && spec.IdleTimeout < minLimit:
		return invalid("idle_timeout: %v is finer than it can be kept; at least %v", spec.IdleTimeout, minLimit)
	case spec.MaxAge != 0 && spec.MaxAge < minLimit:
		return invalid("max_age: %v is finer than it can be kept; at least %v", spec.MaxAge, minLimit)
	case spec.OnExpire != ExpiryStop && spec.OnExpire != ExpiryClose:
		return invalid("on_expire: %.64q is neither %q nor %q", spec.OnExpire, ExpiryStop, ExpiryClose)
	}
	return nil
}

// recordCreation writes the intent to create sess. Where the store's answer is lost, it may have
// been written, and reconciliation would make a session that the caller was refused; so it is taken
// back where the store answers.
func (s *ContainerService) recordCreation(ctx context.Context, sess Session) (Session, error) {
	recorded, err := s.store.create(ctx, sess)
	if err == nil || errors.Is(err, ErrExists) {
		return recorded, err
	}
	ctx = context.WithoutCancel(ctx)
	// A store that hangs has used up the caller's second; then it is left to reconciliation.
	bounded, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	found, lookErr := s.store.get(bounded, sess.ID)
	if lookErr == nil && found.Pending == OperationCreate && found.CreatedAt.Equal(sess.CreatedAt) {
		s.undoCreate(ctx, found, err)
	}
	return Session{}, err
}

// creation is what a session's creation knows beside its record.
type creation struct {
	credentials *container.Credentials
	progress    func(container.PullProgress)
	slot        *startSlot
}

// provision gives the session its container, unless c is it already, and starts it where that is
// desired. It returns the session as it is to be recorded then, and the container where it is
// known as it is now; after an error, the session as it was.
func (s *ContainerService) provision(
	ctx context.Context, sess Session, c *container.Container, how creation,
) (Session, *container.Container, error) {
	made := sess
	opts := sess.Options()
	// Before the engine learns of any path; what pulling the image takes does not matter then.
	if c == nil || c.Status != container.StatusRunning {
		var err error
		if opts.Binds, err = s.mountBinds(sess); err != nil {
			return sess, nil, err
		}
	}
	if c == nil {
		opts.Credentials, opts.Progress = how.credentials, how.progress
		opts.Pulling = how.slot.pulling(pullOf{sess.ProjectID, opts.Image, opts.Platform})
		if err := s.awaitGuests(ctx, sess.ID); err != nil {
			return sess, nil, err
		}
		bounded, cancel := context.WithTimeout(ctx, createTimeout)
		defer cancel()
		var err error
		if c, err = s.rt.Create(bounded, sess.ID, opts); err != nil {
			if sess.ProjectID != "" && errors.Is(err, container.ErrContainerExists) {
				// Events and record are the project's, and who has the ID is an admin's business.
				taken := *errTaken
				taken.cause = err
				return sess, nil, &taken
			}
			return sess, nil, s.settle(bounded, sess.ID, err, func(c *container.Container) bool { return c == nil })
		}
	}
	made.ContainerID = c.ID
	if sess.Desired != DesiredRunning {
		return made, c, nil
	}
	if err := s.engineStart(ctx, sess, c); err != nil {
		return sess, nil, err
	}
	made, c = s.withStart(ctx, made)
	return made, c, nil
}

// awaitGuests waits for those who work with the session that had this ID before: its container is
// gone, so they have little to do but to notice.
func (s *ContainerService) awaitGuests(ctx context.Context, id string) error {
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	err := s.guests.wait(bounded, id)
	if err != nil && ctx.Err() == nil {
		return refuse(CodeBusy, "try again later",
			"commands and terminals of the session that had this ID before are still ending")
	}
	return err
}

// undoCreate ends a session whose creation failed because of cause; nil where that is not to be
// on record. The caller's ctx may have ended.
func (s *ContainerService) undoCreate(ctx context.Context, sess Session, cause error) {
	if cause != nil {
		f := toError(ctx, "create", sess.ID, cause)
		sess.Failure = &Failure{Code: f.Code, Detail: f.Detail, At: now()}
	}
	ctx = context.WithoutCancel(ctx)
	sess, err := s.recordIntent(ctx, sess, OperationClose, DesiredClosed)
	if err == nil {
		_, err = s.closeSession(ctx, sess)
	}
	if err != nil {
		s.log.WarnContext(ctx, "A failed creation could not be undone yet", "session", sess.ID, "error",
			errorWithCause(err))
	}
}

// newID makes an ID of 50 random bits: short enough to type, and never taken by chance.
func newID() string { return strings.ToLower(rand.Text()[:10]) }

// errorWithCause gives an error with its cause, which users are not shown, for the log.
func errorWithCause(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.cause != nil {
		return fmt.Sprintf("%v: %v", e, e.cause)
	}
	return err.Error()
}
