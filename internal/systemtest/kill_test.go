package systemtest

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	mobycontainer "github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

var (
	kills = flag.Int("kills", 20, "how often TestKillDaemon kills the daemon")
	seed  = flag.Uint64("seed", 0, "of TestKillDaemon's chance, to repeat a run; 0 for a new one")
)

// outcome is what one user knows of one session: the last change that was
// answered, or that the answer to the last one never came.
type outcome string

const (
	none    outcome = ""        // never asked for, or closed, and told so
	running outcome = "running" // created or started, and told so
	stopped outcome = "stopped"
	unsure  outcome = "unsure" // the answer was lost with the daemon
)

// user works on sessions of its own, one change after the other, and remembers what it was
// told. It stops when the daemon no longer answers.
type user struct {
	name  string
	rand  *rand.Rand
	knows map[string]outcome
}

func (u *user) work(ctx context.Context, d *daemon) error {
	for {
		id := fmt.Sprintf("%s-%d", u.name, u.rand.IntN(3))
		if err := u.change(ctx, d, id); err != nil {
			if client.CodeOf(err) == "" {
				u.knows[id] = unsure // no answer
				return nil
			}
			return fmt.Errorf("%s: %w", id, err)
		}
	}
}

// change does one thing with the session and records what it was told.
func (u *user) change(ctx context.Context, d *daemon, id string) error {
	told := func(now outcome, err error, harmless ...v1.Code) error {
		for _, code := range harmless {
			if client.CodeOf(err) == code {
				return nil
			}
		}
		if err == nil {
			u.knows[id] = now
		}
		return err
	}
	switch known := u.knows[id]; {
	case known == unsure:
		// What came of it is for the daemon to say.
		s, err := d.api.GetSession(ctx, id)
		switch {
		case client.CodeOf(err) == v1.CodeSessionNotFound:
			u.knows[id] = none
			return nil
		case err != nil:
			return err
		case s.Status == v1.StatusRunning:
			u.knows[id] = running
		case s.Status == v1.StatusClosed:
			u.knows[id] = none
		case s.Status == v1.StatusStopped, s.Status == v1.StatusCreated:
			u.knows[id] = stopped
		default: // under way: reconciliation will settle it
			return told(none, d.api.DeleteSession(ctx, id), v1.CodeSessionNotFound)
		}
		return nil
	case known == none:
		return told(running, d.create(ctx, id))
	}
	switch u.rand.IntN(8) {
	case 0:
		return told(none, d.api.DeleteSession(ctx, id))
	case 1:
		_, err := d.api.StopSession(ctx, id, 0)
		return told(stopped, err)
	case 2:
		_, err := d.api.StartSession(ctx, id)
		return told(running, err)
	case 3:
		_, err := d.api.RestartSession(ctx, id, 0)
		return told(running, err)
	case 4:
		_, err := d.api.UpdateSession(ctx, id, v1.UpdateSessionRequest{
			Resources: v1.Resources{PIDs: new(int64(64 + u.rand.IntN(64)))}})
		return told(u.knows[id], err, v1.CodeUnsupported)
	default:
		_, err := d.api.Exec(ctx, id, v1.ExecRequest{Cmd: []string{"true"}})
		return told(u.knows[id], err, v1.CodeSessionNotRunning)
	}
}

// TestKillDaemon kills the daemon again and again while sessions are created, used,
// stopped and deleted. One reconciliation after the last start, nothing may be left over, lost or
// doubled, every answer that was given holds, and nothing of another instance was touched.
func TestKillDaemon(t *testing.T) {
	host, engine := sharedEngine(t)
	seed := cmp.Or(*seed, uint64(time.Now().UnixNano()))
	t.Logf("to repeat it: -kills=%d -seed=%d", *kills, seed)
	chance := rand.New(rand.NewPCG(seed, 0))

	other := newDaemon(t, host)
	other.start()
	bystanders := other.instance()
	t.Cleanup(func() { removeAll(t, engine, bystanders) })
	for i := range 3 {
		if err := other.create(t.Context(), fmt.Sprintf("bystander-%d-%d", seed%1e6, i)); err != nil {
			t.Fatal(err)
		}
	}
	before := inspectAll(t, engine, bystanders)

	d := newDaemon(t, host, "--reconcile-interval", "1s")
	d.start()
	instance := d.instance()
	t.Cleanup(func() { removeAll(t, engine, instance) })
	users := make([]*user, 4)
	for i := range users {
		users[i] = &user{name: fmt.Sprintf("u%d-%d", i, seed%1e6), rand: rand.New(rand.NewPCG(seed, uint64(i+1))),
			knows: map[string]outcome{}}
	}
	for range *kills {
		var wg sync.WaitGroup
		errs := make([]error, len(users))
		for i, u := range users {
			wg.Go(func() { errs[i] = u.work(t.Context(), d) })
		}
		time.Sleep(time.Duration(chance.IntN(600)) * time.Millisecond)
		d.kill()
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("an answer that nothing explains: %v", err)
		}
		d.start()
	}

	if _, err := d.api.Reconcile(t.Context(), client.ReconcileOptions{}); err != nil {
		t.Fatal(err)
	}
	d.stop()
	sessions, engines := sqliteRows(t, d.database()), containers(t, engine, instance)
	check(t, sessions, engines)
	for _, u := range users {
		for id, known := range u.knows {
			r, ok := sessions[id]
			open := ok && !r.closed
			switch {
			case known == unsure:
			case known == none && open:
				t.Errorf("session %q was closed, and told so; it is %s", id, r.desired)
			case known != none && (!open || r.failed || r.desired != string(known)):
				t.Errorf("session %q was %s, and told so; the store has %+v", id, known, r)
			}
		}
	}
	t.Logf("%d kills; %d sessions recorded, %d containers in the end", *kills, len(sessions), len(engines))
	if after := inspectAll(t, engine, bystanders); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the other instance's containers changed: %v, then %v", before, after)
	}
}

// inspectAll gives each container's state and start, so that a restart shows.
func inspectAll(t *testing.T, engine *moby.Client, instance string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, c := range containers(t, engine, instance) {
		info, err := engine.ContainerInspect(t.Context(), c.ID, moby.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all[c.ID] = string(info.Container.State.Status) + " since " + info.Container.State.StartedAt
		if info.Container.State.Status != mobycontainer.StateRunning {
			t.Errorf("container %.12s of the other instance is %s", c.ID, info.Container.State.Status)
		}
	}
	return all
}
