package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Project is what the store has of a project: the quota that differs from the policy's. A project
// needs no record to have sessions and tokens.
type Project struct {
	ID    string
	Quota Quota
}

// ProjectView is a project as users see it.
type ProjectView struct {
	Project
	Limits Quota // its own, or else the policy's; zero for no limit
	Use    Use
}

// SetProject gives a project a quota of its own, in place of what it had. What a project has beyond
// it stays. For admins: forbidden.
func (s *ContainerService) SetProject(ctx context.Context, who Principal, p Project) (v ProjectView, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "set project", "", start, &err) }(time.Now())
	if err := who.RequireAdmin(); err != nil {
		return ProjectView{}, err
	}
	if container.ValidateSessionID(p.ID) != nil {
		return ProjectView{}, invalid("project: %.64q is not the ID of a project", p.ID)
	}
	s.quotas.mu.Lock()
	err = s.store.setProject(ctx, p)
	s.quotas.loaded = false // also where nobody knows whether it was written
	s.quotas.mu.Unlock()
	if err != nil {
		return ProjectView{}, err
	}
	return s.viewProject(ctx, p.ID)
}

// DeleteProject takes a project's own quota away, so that the policy's is its. Its sessions and
// tokens stay. One that has none: project_not_found. For admins: forbidden.
func (s *ContainerService) DeleteProject(ctx context.Context, who Principal, id string) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "delete project", "", start, &err) }(time.Now())
	if err := who.RequireAdmin(); err != nil {
		return err
	}
	err = ErrNotFound
	if container.ValidateSessionID(id) == nil {
		s.quotas.mu.Lock()
		err = s.store.deleteProject(ctx, id)
		s.quotas.loaded = false
		s.quotas.mu.Unlock()
	}
	if errors.Is(err, ErrNotFound) {
		return refuse(CodeProjectNotFound, "octobot project ls shows those that there are",
			"project %.64q has no quota of its own", id)
	}
	return err
}

// ListProjects returns the projects that have a quota of their own, a token or sessions, by ID: all
// that who reaches.
func (s *ContainerService) ListProjects(ctx context.Context, who Principal) (views []ProjectView, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list projects", "", start, &err) }(time.Now())
	if !who.Admin {
		project, err := who.scope("")
		if err != nil {
			return nil, err
		}
		v, err := s.viewProject(ctx, project)
		return []ProjectView{v}, err
	}
	projects, err := s.store.listProjects(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := s.store.listTokens(ctx)
	if err != nil {
		return nil, err
	}
	sessions, err := s.store.list(ctx, Filter{})
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*ProjectView)
	view := func(id string) *ProjectView {
		if byID[id] == nil {
			byID[id] = &ProjectView{Project: Project{ID: id}}
		}
		return byID[id]
	}
	for _, p := range projects {
		view(p.ID).Project = p
	}
	for _, t := range tokens {
		view(t.ProjectID)
	}
	for _, sess := range sessions {
		view(sess.ProjectID).Use.add(sess)
	}
	delete(byID, "")
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		views = append(views, s.finishProject(*byID[id]))
	}
	return views, nil
}

func (s *ContainerService) viewProject(ctx context.Context, id string) (ProjectView, error) {
	v := ProjectView{Project: Project{ID: id}}
	projects, err := s.store.listProjects(ctx)
	if err != nil {
		return ProjectView{}, err
	}
	if i := slices.IndexFunc(projects, func(p Project) bool { return p.ID == id }); i >= 0 {
		v.Project = projects[i]
	}
	if v.Use, err = s.useOf(ctx, id, ""); err != nil {
		return ProjectView{}, err
	}
	return s.finishProject(v), nil
}

func (s *ContainerService) finishProject(v ProjectView) ProjectView {
	v.Limits = v.Quota.or(s.cfg.Policy.Quota)
	s.quotas.mu.Lock()
	defer s.quotas.mu.Unlock()
	v.Use.Execs = s.quotas.execs[v.ID]
	return v
}

// MaxStreams returns how many streams the callers of a project may have open; 0: no limit of its
// own.
func (s *ContainerService) MaxStreams(ctx context.Context, projectID string) (int, error) {
	quota, err := s.quotaOf(ctx, projectID)
	if err != nil {
		return 0, toError(ctx, "list projects", "", err)
	}
	return quota.Streams, nil
}
