package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// ListRequest selects sessions. The zero value is all that are not closed.
type ListRequest struct {
	ProjectID string   // empty: every project
	Statuses  []Status // empty: all; asking for closed includes them
	Labels    []string // "name=value", or "name" for any value; those with all of them
	Closed    bool     // closed ones as well
	Limit     int      // at most so many; 0: no limit
	After     Cursor   // where an earlier page ended; zero: from the start
}

// Page is a part of the list of sessions, newest first.
type Page struct {
	Sessions []View
	Next     *Cursor // for the next page; nil: this was the last
}

// Get returns a session, closed or not. An engine that does not answer makes its status unknown.
func (s *ContainerService) Get(ctx context.Context, who Principal, id string) (v View, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "get", id, start, &err) }(time.Now())
	sess, err := s.getReachable(ctx, who, id)
	if err != nil {
		return View{}, err
	}
	return s.lookTwice(ctx, sess)
}

// Check reports whether who may know of a session: nil, or session_not_found. It is for doors that
// have to answer before they know what is wanted of it, and asks the store alone.
func (s *ContainerService) Check(ctx context.Context, who Principal, id string) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "get", id, start, &err) }(time.Now())
	_, err = s.getReachable(ctx, who, id)
	return err
}

// getReachable reads a session, closed or not, that who reaches; another one is ErrNotFound.
func (s *ContainerService) getReachable(ctx context.Context, who Principal, id string) (Session, error) {
	if err := container.ValidateSessionID(id); err != nil {
		return Session{}, err
	}
	sess, err := s.store.get(ctx, id)
	if err != nil {
		return Session{}, err
	}
	if !who.reaches(sess) {
		return Session{}, ErrNotFound
	}
	return sess, nil
}

// lookTwice gives the view of a session whose record was just read, without its lock. A container
// that is missing may have been removed by us since; a removal is recorded before it is done, so
// only beside an unchanged record it is lost.
func (s *ContainerService) lookTwice(ctx context.Context, sess Session) (View, error) {
	v := s.viewAfterChange(ctx, sess, nil)
	if v.Status != StatusFailed || v.Failure != nil {
		return v, nil
	}
	current, err := s.store.get(ctx, sess.ID)
	switch {
	case err != nil:
		return View{}, err
	case current.Origin != sess.Origin:
		return View{}, ErrNotFound // the ID is another session's by now
	case current.Version != sess.Version:
		return s.viewAfterChange(ctx, current, nil), nil
	}
	s.hintSession(sess.ID)
	return v, nil
}

// List returns sessions that who reaches, with one question to the engine however many there are.
// An engine that does not answer makes their status unknown.
func (s *ContainerService) List(ctx context.Context, who Principal, req ListRequest) (page Page, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list", "", start, &err) }(time.Now())
	if req.Limit < 0 {
		return Page{}, invalid("limit: %d is negative", req.Limit)
	}
	if req.ProjectID != "" && container.ValidateSessionID(req.ProjectID) != nil {
		return Page{}, invalid("project: %.64q is not the ID of a project", req.ProjectID)
	}
	if req.After.ID != "" && container.ValidateSessionID(req.After.ID) != nil {
		return Page{}, invalid("after: %.64q is not where a page ended", req.After.ID)
	}
	for _, label := range req.Labels {
		if label == "" || label[0] == '=' {
			return Page{}, invalid("label: %.64q is neither name=value nor name", label)
		}
	}
	project, err := who.scope(req.ProjectID)
	if err != nil {
		return Page{}, err
	}
	filter := Filter{
		ProjectID: project, After: req.After,
		Closed: req.Closed || slices.Contains(req.Statuses, StatusClosed),
	}
	// The store can't select what is computed, as a status is, or within a spec, as labels are.
	if req.Limit > 0 && len(req.Statuses)+len(req.Labels) == 0 {
		filter.Limit = req.Limit + 1
	}
	sessions, err := s.store.list(ctx, filter)
	if err != nil {
		return Page{}, err
	}
	sessions = slices.DeleteFunc(sessions, func(sess Session) bool { return !hasLabels(sess, req.Labels) })
	views, err := s.viewAll(ctx, sessions)
	if err != nil {
		return Page{}, err
	}
	if len(req.Statuses) > 0 {
		views = slices.DeleteFunc(views, func(v View) bool { return !slices.Contains(req.Statuses, v.Status) })
	}
	page.Sessions = views
	if req.Limit > 0 && len(views) > req.Limit {
		page.Sessions = views[:req.Limit]
		last := page.Sessions[req.Limit-1]
		page.Next = &Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
	}
	return page, nil
}

// hasLabels reports whether a session has all labels, each "name=value" or "name".
func hasLabels(sess Session, labels []string) bool {
	for _, label := range labels {
		name, want, exact := strings.Cut(label, "=")
		if value, ok := sess.Spec.Labels[name]; !ok || exact && value != want {
			return false
		}
	}
	return true
}

// Stats asks the engine what a running session uses, see [container.StatsReader]. It does not count
// as use of the session, and does not wait for what is under way with it. One that does not run:
// session_not_running. An engine that can't: unsupported.
func (s *ContainerService) Stats(
	ctx context.Context, who Principal, id string,
) (stats *container.Stats, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "stats", id, start, &err) }(time.Now())
	reader, ok := container.As[container.StatsReader](s.rt)
	if !ok {
		return nil, container.ErrUnsupported
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	stats, err = reader.Stats(bounded, id)
	return stats, s.hintIfChanged(id, err)
}

func (s *ContainerService) viewAll(ctx context.Context, sessions []Session) ([]View, error) {
	views := make([]View, 0, len(sessions))
	var byID map[string][]*container.Container
	var engineErr error
	if slices.ContainsFunc(sessions, engineMatters) {
		var containers []*container.Container
		containers, engineErr = s.listing(ctx)
		byID = bySession(containers)
	}
	for _, sess := range sessions {
		c := pickContainer(sess, byID[sess.ID])
		if c == nil && engineErr == nil && engineMatters(sess) {
			v, err := s.lookTwice(ctx, sess)
			if errors.Is(err, ErrNotFound) {
				continue // it was closed and is forgotten, or its ID is another session's
			}
			if err != nil {
				return nil, err
			}
			views = append(views, v)
			continue
		}
		views = append(views, viewOf(sess, c, engineErr))
	}
	return views, nil
}

func (s *ContainerService) listing(ctx context.Context) ([]*container.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, min(inspectTimeout, s.cfg.CallTimeout))
	defer cancel()
	return s.rt.List(ctx)
}
