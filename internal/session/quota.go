package session

import (
	"context"
	"sync"
)

// Quota is what a project may have at once, all its sessions together. Zero means the policy's, and
// in the policy no limit; NoLimit means none.
type Quota struct {
	Sessions int     `json:"sessions,omitempty"` // that are not closed
	Running  int     `json:"running,omitempty"`  // that are to run
	CPUs     float64 `json:"cpus,omitempty"`     // of those that are to run
	Memory   int64   `json:"memory,omitempty"`   // of those that are to run; bytes
	Execs    int     `json:"execs,omitempty"`    // commands under way
	Streams  int     `json:"streams,omitempty"`  // commands, terminals and logs that callers have open
}

// or gives q with the policy's quota where q says nothing, and with 0 for no limit.
func (q Quota) or(policy Quota) Quota {
	return Quota{
		Sessions: pick(q.Sessions, policy.Sessions), Running: pick(q.Running, policy.Running),
		CPUs: pick(q.CPUs, policy.CPUs), Memory: pick(q.Memory, policy.Memory),
		Execs: pick(q.Execs, policy.Execs), Streams: pick(q.Streams, policy.Streams),
	}
}

// counts reports whether sessions have to be counted.
func (q Quota) counts() bool {
	return q.Sessions != 0 || q.Running != 0 || q.CPUs != 0 || q.Memory != 0
}

func pick[T int | int64 | float64](own, policy T) T {
	if own == 0 {
		own = policy
	}
	return max(own, 0) // none, where it is negative
}

// Use is how much of its quota a project has taken.
type Use struct {
	Sessions int
	Running  int
	CPUs     float64
	Memory   int64
	Execs    int
}

func (u *Use) add(s Session) {
	u.Sessions++
	if s.Desired == DesiredRunning {
		u.Running++
		cpus, memory := s.Spec.CPUs, s.Spec.Memory
		if s.Next != nil { // it may have either by now
			cpus, memory = max(cpus, s.Next.CPUs), max(memory, s.Next.Memory)
		}
		u.CPUs += cpus
		u.Memory += memory
	}
}

// check refuses a session that would take more than what is left. sess is counted in the use.
func (q Quota) check(use Use, sess Session) error {
	starts := sess.Desired == DesiredRunning
	switch {
	case q.Sessions > 0 && use.Sessions > q.Sessions:
		return exceeded("max_sessions", "project %q has %d sessions, and may have no more", sess.ProjectID, q.Sessions)
	case !starts:
		return nil
	case q.Running > 0 && use.Running > q.Running:
		return exceeded("max_running", "project %q has %d running sessions, and may have no more", sess.ProjectID,
			q.Running)
	case q.CPUs > 0 && sess.Spec.CPUs == 0:
		return exceeded("max_cpus", "project %q may have %v CPUs in all, and so no session without a limit of them",
			sess.ProjectID, q.CPUs)
	case q.CPUs > 0 && use.CPUs > q.CPUs:
		return exceeded("max_cpus", "project %q may have %v CPUs in all, and with the %v of this session would have %v",
			sess.ProjectID, q.CPUs, sess.Spec.CPUs, use.CPUs)
	case q.Memory > 0 && sess.Spec.Memory == 0:
		return exceeded("max_memory", "project %q may have %s of memory in all, and so no session without a limit of it",
			sess.ProjectID, amount(q.Memory))
	case q.Memory > 0 && use.Memory > q.Memory:
		return exceeded("max_memory", "project %q may have %s of memory in all, and with the %s of this session "+
			"would have %s", sess.ProjectID, amount(q.Memory), amount(sess.Spec.Memory), amount(use.Memory))
	}
	return nil
}

func exceeded(limit, format string, args ...any) error {
	return refuse(CodeQuotaExceeded, "stop or remove sessions, or have the server's operator allow more ("+limit+
		"): octobot project set", format, args...)
}

// quotas are the projects' own quotas, as the store has them, and what is counted in memory alone.
// The zero value is ready.
type quotas struct {
	mu     sync.Mutex
	loaded bool
	own    map[string]Quota // guarded by mu
	execs  map[string]int   // commands under way; guarded by mu
}

// quotaOf gives what a project may have.
func (s *ContainerService) quotaOf(ctx context.Context, projectID string) (Quota, error) {
	s.quotas.mu.Lock()
	defer s.quotas.mu.Unlock()
	if !s.quotas.loaded {
		projects, err := s.store.listProjects(ctx)
		if err != nil {
			return Quota{}, err
		}
		s.quotas.own = make(map[string]Quota, len(projects))
		for _, p := range projects {
			s.quotas.own[p.ID] = p.Quota
		}
		s.quotas.loaded = true
	}
	return s.quotas.own[projectID].or(s.cfg.Policy.Quota), nil
}

// withinQuota calls record if the project of sess may have it, as it is to be, beside all its
// others. Nothing of the project's changes in between, but what is given back.
func (s *ContainerService) withinQuota(
	ctx context.Context, who Principal, sess Session, record func() (Session, error),
) (Session, error) {
	if sess.ProjectID == "" || who.Admin {
		return record()
	}
	quota, err := s.quotaOf(ctx, sess.ProjectID)
	if err != nil {
		return Session{}, err
	}
	if !quota.counts() {
		return record()
	}
	unlock, err := s.projects.Lock(ctx, sess.ProjectID)
	if err != nil {
		return Session{}, err
	}
	defer unlock()
	if err := s.checkQuota(ctx, sess); err != nil {
		return Session{}, err
	}
	return record()
}

// checkQuota refuses a session, as it is to be, that does not fit into its project's quota beside
// all the others.
func (s *ContainerService) checkQuota(ctx context.Context, sess Session) error {
	quota, err := s.quotaOf(ctx, sess.ProjectID)
	if err != nil || !quota.counts() {
		return err
	}
	use, err := s.useOf(ctx, sess.ProjectID, sess.ID)
	if err != nil {
		return err
	}
	use.add(sess)
	return quota.check(use, sess)
}

// useOf counts a project's sessions, but for one.
func (s *ContainerService) useOf(ctx context.Context, projectID, but string) (Use, error) {
	sessions, err := s.store.list(ctx, Filter{ProjectID: projectID})
	if err != nil {
		return Use{}, err
	}
	var use Use
	for _, sess := range sessions {
		if sess.ID != but {
			use.add(sess)
		}
	}
	return use, nil
}

// beginExec counts a command of a project's; the caller calls end once.
func (s *ContainerService) beginExec(ctx context.Context, who Principal, projectID string) (end func(), err error) {
	if projectID == "" {
		return func() {}, nil
	}
	quota, err := s.quotaOf(ctx, projectID)
	if err != nil {
		return nil, err
	}
	q := &s.quotas
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := q.execs[projectID]; quota.Execs > 0 && n >= quota.Execs && !who.Admin {
		return nil, refuse(CodeQuotaExceeded, "wait for some to end, or have the server's operator allow more "+
			"(max_execs): octobot project set", "project %q has %d commands under way, and may have no more", projectID,
			n)
	}
	if q.execs == nil {
		q.execs = make(map[string]int)
	}
	q.execs[projectID]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.execs[projectID]--; q.execs[projectID] == 0 {
			delete(q.execs, projectID)
		}
	}, nil
}
