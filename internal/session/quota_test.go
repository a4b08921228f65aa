package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// TestQuota takes what a project may have, and asks for more.
func TestQuota(t *testing.T) {
	for name, tt := range map[string]struct {
		quota session.Quota
		spec  session.Spec
		fits  int    // so many of these running sessions
		say   string // in the refusal of the next
	}{
		"sessions": {session.Quota{Sessions: 2}, session.Spec{}, 2, "max_sessions"},
		"running":  {session.Quota{Running: 2}, session.Spec{}, 2, "max_running"},
		"cpus":     {session.Quota{CPUs: 4}, session.Spec{CPUs: 1.5}, 2, "max_cpus"},
		"memory":   {session.Quota{Memory: 1 << 30}, session.Spec{Memory: 512 << 20}, 2, "max_memory"},
		"no limit of CPUs": {session.Quota{CPUs: 4}, session.Spec{}, 0,
			"no session without a limit"},
		"no limit of memory": {session.Quota{Memory: 1 << 30}, session.Spec{}, 0, "no session without a limit"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, func(c *session.Config) { c.Policy.Quota = tt.quota })
			create := func(who session.Principal, project, id string) error {
				_, err := k.Create(t.Context(), who,
					session.CreateRequest{ID: id, ProjectID: project, Spec: tt.spec, Start: true})
				return err
			}
			for i := range tt.fits {
				if err := create(of("p"), "p", fmt.Sprint("s", i)); err != nil {
					t.Fatal(err)
				}
			}
			refused := func(err error) {
				t.Helper()
				if e := wantCode(t, err, session.CodeQuotaExceeded); !strings.Contains(e.Detail+e.Hint, tt.say) ||
					!strings.Contains(e.Hint, "project set") {
					t.Errorf("%+v does not say %q", e, tt.say)
				}
			}
			refused(create(of("p"), "p", "more"))
			if _, err := k.Get(t.Context(), admin, "more"); session.CodeOf(err) != session.CodeSessionNotFound {
				t.Errorf("what was refused left a record: %v", err)
			}
			v, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "admins", ProjectID: "p", Spec: tt.spec,
				Start: true})
			if err != nil || len(v.Warnings) != 1 {
				t.Errorf("an admin: %q, %v", v.Warnings, err)
			}
			if tt.fits > 0 {
				if err := create(of("q"), "q", "others"); err != nil {
					t.Errorf("another project: %v", err)
				}
			}
			for _, id := range []string{"admins", "s0"} {
				if err := k.Delete(t.Context(), admin, id); err != nil &&
					session.CodeOf(err) != session.CodeSessionNotFound {
					t.Fatal(err)
				}
			}
			if err := create(of("p"), "p", "again"); (err == nil) != (tt.fits > 0) {
				t.Errorf("after one was removed: %v", err)
			}
		})
	}
}

// TestQuotaCountsStarts has stopped sessions give back what running ones take, and starts ask for
// it.
func TestQuotaCountsStarts(t *testing.T) {
	k := newKit(t, func(c *session.Config) { c.Policy.Quota = session.Quota{Running: 1} })
	k.createAs(t, of("p"), "a")
	if _, err := k.Create(t.Context(), of("p"), session.CreateRequest{ID: "b"}); err != nil {
		t.Errorf("one that is not to run: %v", err)
	}
	_, err := k.Start(t.Context(), of("p"), "b")
	wantCode(t, err, session.CodeQuotaExceeded)
	k.status(t, "b", session.StatusCreated)
	if _, err := k.Start(t.Context(), of("p"), "a"); err != nil {
		t.Errorf("one that runs: %v", err)
	}
	if _, err := k.Stop(t.Context(), of("p"), "a", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Start(t.Context(), of("p"), "b"); err != nil {
		t.Error(err)
	}
}

// TestQuotaIsExact has many ask at once for what a few may have.
func TestQuotaIsExact(t *testing.T) {
	k := newKit(t, func(c *session.Config) { c.Policy.Quota = session.Quota{Sessions: 3} })
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 20 {
		wg.Go(func() {
			_, err := k.Create(t.Context(), of("p"), session.CreateRequest{})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				made++
			} else if session.CodeOf(err) != session.CodeQuotaExceeded {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 3 {
		t.Errorf("%d sessions were made", made)
	}
}

// TestExecQuota has commands under way take what there is, until they end.
func TestExecQuota(t *testing.T) {
	k := newKit(t, func(c *session.Config) { c.Policy.Quota = session.Quota{Execs: 2} })
	k.createAs(t, of("p"), "s")
	release := make(chan struct{})
	remove := k.inject(t, mock.Fault{Op: "exec", Wait: release})
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			if _, err := k.Exec(t.Context(), of("p"), "s", []string{"true"}, container.ExecOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	for k.engine.Calls("exec") < 2 {
		time.Sleep(time.Millisecond)
	}
	remove()
	_, err := k.Exec(t.Context(), of("p"), "s", []string{"true"}, container.ExecOptions{})
	wantCode(t, err, session.CodeQuotaExceeded)
	_, err = k.ExecStream(t.Context(), of("p"), "s", []string{"true"}, container.ExecOptions{}, nil, nil)
	wantCode(t, err, session.CodeQuotaExceeded)
	if _, err := k.Exec(t.Context(), admin, "s", []string{"true"}, container.ExecOptions{}); err != nil {
		t.Errorf("an admin: %v", err)
	}
	close(release)
	running.Wait()
	if _, err := k.Exec(t.Context(), of("p"), "s", []string{"true"}, container.ExecOptions{}); err != nil {
		t.Error(err)
	}
}

// TestProjects gives projects quotas of their own.
func TestProjects(t *testing.T) {
	policy := session.Quota{Sessions: 5, Execs: 7}
	k := newKit(t, func(c *session.Config) { c.Policy.Quota = policy })
	k.createAs(t, of("p"), "a")
	if _, _, err := k.CreateToken(t.Context(), admin, "t", "q", 0); err != nil {
		t.Fatal(err)
	}
	own := session.Quota{Sessions: 1, Execs: session.NoLimit, Streams: 3}
	v, err := k.SetProject(t.Context(), admin, session.Project{ID: "p", Quota: own})
	want := session.Quota{Sessions: 1, Streams: 3}
	if err != nil || v.Quota != own || v.Limits != want || v.Use.Sessions != 1 || v.Use.Running != 1 {
		t.Errorf("set: %+v, %v", v, err)
	}
	_, err = k.Create(t.Context(), of("p"), session.CreateRequest{})
	wantCode(t, err, session.CodeQuotaExceeded)
	if n, err := k.MaxStreams(t.Context(), "p"); n != 3 || err != nil {
		t.Errorf("streams: %d, %v", n, err)
	}
	for who, want := range map[session.Principal]string{admin: "p q", of("p"): "p", of("r"): "r"} {
		views, err := k.ListProjects(t.Context(), who)
		var ids []string
		for _, v := range views {
			ids = append(ids, v.ID)
		}
		if got := strings.Join(ids, " "); got != want || err != nil {
			t.Errorf("%q sees %s, %v, want %s", who.Name, got, err, want)
		}
	}
	for _, who := range []session.Principal{of("p"), {}} {
		_, err := k.SetProject(t.Context(), who, session.Project{ID: "p"})
		wantCode(t, err, session.CodeForbidden)
		wantCode(t, k.DeleteProject(t.Context(), who, "p"), session.CodeForbidden)
	}
	_, err = k.SetProject(t.Context(), admin, session.Project{ID: "../p"})
	wantCode(t, err, session.CodeInvalidArgument)
	if err := k.DeleteProject(t.Context(), admin, "p"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, k.DeleteProject(t.Context(), admin, "p"), session.CodeProjectNotFound)
	if _, err := k.Create(t.Context(), of("p"), session.CreateRequest{}); err != nil {
		t.Errorf("under the policy again: %v", err)
	}
	// A store that can't tell the quota grants nothing.
	again := session.NewContainerService(k.rt, brokenProjects{k.store}, configure())
	_, err = again.Create(t.Context(), of("p"), session.CreateRequest{})
	wantCode(t, err, session.CodeStoreUnavailable)
}

// brokenProjects is a store that does not tell of projects.
type brokenProjects struct{ session.Store }

func (brokenProjects) ListProjects(context.Context) ([]session.Project, error) {
	return nil, errors.New("disk I/O error")
}
