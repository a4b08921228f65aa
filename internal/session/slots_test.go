package session_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// trickle is a runtime whose images come from a registry that trickles.
type trickle struct {
	container.Runtime
	pulling chan struct{} // receives an element for each pull that begins
	release chan struct{}
}

func (r trickle) Create(ctx context.Context, id string, opts container.Options) (*container.Container, error) {
	if !strings.HasPrefix(opts.Image, "slow") {
		return r.Runtime.Create(ctx, id, opts)
	}
	ended, err := opts.Pulling(ctx)
	if err != nil {
		return nil, err
	}
	r.pulling <- struct{}{}
	select {
	case <-r.release:
	case <-ctx.Done():
	}
	if err := ended(); err != nil {
		return nil, err
	}
	return r.Runtime.Create(ctx, id, opts)
}

// TestPullsLeaveRoom has projects pull from a registry that trickles, more than there are slots for
// creations: those who pull nothing get on, and one project's pulls leave room for another's.
func TestPullsLeaveRoom(t *testing.T) {
	k := newKit(t)
	k.create(t, "stopped")
	if _, err := k.Stop(t.Context(), admin, "stopped", 0); err != nil {
		t.Fatal(err)
	}
	rt := trickle{k.rt, make(chan struct{}, 100), make(chan struct{})}
	cfg := configure()
	cfg.Creates, cfg.CallTimeout = 2, 10*time.Second
	var s *session.ContainerService
	var creating sync.WaitGroup
	begin := func(project, image string, want session.Code) {
		creating.Go(func() {
			_, err := s.Create(t.Context(), of(project), session.CreateRequest{Spec: session.Spec{Image: image}})
			wantCode(t, err, want)
		})
	}
	s = session.NewContainerService(rt, k.store, cfg)
	for i := range 4 {
		begin("p", fmt.Sprint("slow", i), "")
		begin("p", fmt.Sprint("slow", i), "") // shares the pull
	}
	for range 8 {
		<-rt.pulling
	}
	if _, err := s.Create(t.Context(), of("p"), session.CreateRequest{ID: "quick"}); err != nil {
		t.Errorf("a creation without a pull: %v", err)
	}
	if _, err := s.Start(t.Context(), admin, "stopped"); err != nil {
		t.Errorf("a start: %v", err)
	}
	begin("q", "slow9", "")
	<-rt.pulling
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Create(impatient, of("p"), session.CreateRequest{Spec: session.Spec{Image: "slow8"}})
	wantCode(t, err, session.CodeTimeout)
	begin("p", "slow8", "") // when one of the project's has ended
	close(rt.release)
	creating.Wait()
}

// TestTooManyPulls checks that who waits for leave to pull does not do so for ever.
func TestTooManyPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		rt := trickle{k.rt, make(chan struct{}, 100), make(chan struct{})}
		s := session.NewContainerService(rt, k.store, configure())
		var creating sync.WaitGroup
		for i := range 4 {
			creating.Go(func() {
				if _, err := s.Create(t.Context(), of("p"), session.CreateRequest{
					Spec: session.Spec{Image: fmt.Sprint("slow", i)}}); err != nil {
					t.Error(err)
				}
			})
			<-rt.pulling
		}
		_, err := s.Create(t.Context(), of("p"), session.CreateRequest{Spec: session.Spec{Image: "slow9"}})
		wantCode(t, err, session.CodeBusy)
		close(rt.release)
		creating.Wait()
	})
}
