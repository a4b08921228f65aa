package httpapi_test

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestUpdate(t *testing.T) {
	f := newFixture(t, settings{})
	ctx, c := t.Context(), f.admin
	f.running(t, "s", "p")
	s, err := c.UpdateSession(ctx, "s", v1.UpdateSessionRequest{
		Resources:   v1.Resources{CPUs: new(1.5), Memory: new(int64(64 << 20)), PIDs: new(int64(100))},
		IdleTimeout: new(v1.Duration(time.Minute)), MaxAge: new(v1.Duration(time.Hour)), OnExpire: v1.ExpireClose,
		Labels: map[string]*string{"a": new("b"), "c": new("d")},
	})
	if err != nil || *s.Resources.CPUs != 1.5 || *s.Resources.Memory != 64<<20 || *s.Resources.PIDs != 100 ||
		*s.IdleTimeout != v1.Duration(time.Minute) || *s.MaxAge != v1.Duration(time.Hour) ||
		s.OnExpire != v1.ExpireClose || len(s.Labels) != 2 || s.Status != v1.StatusRunning {
		t.Errorf("updated %+v, %v", s, err)
	}
	s, err = c.UpdateSession(ctx, "s", v1.UpdateSessionRequest{MaxAge: new(v1.Duration(0)),
		Labels: map[string]*string{"a": nil}})
	if err != nil || s.MaxAge != nil || *s.IdleTimeout != v1.Duration(time.Minute) || len(s.Labels) != 1 ||
		s.Labels["c"] != "d" || *s.Resources.Memory != 64<<20 {
		t.Errorf("updated again %+v, %v", s, err)
	}
	_, err = c.UpdateSession(ctx, "s", v1.UpdateSessionRequest{Resources: v1.Resources{Memory: new(int64(0))}})
	wantCode(t, err, v1.CodeInvalidArgument)
	_, err = c.UpdateSession(ctx, "never", v1.UpdateSessionRequest{})
	wantCode(t, err, v1.CodeSessionNotFound)
	// What can't be changed is not passed over.
	wantProblem(t, f.do(t, raw{method: "PATCH", path: "/v1/sessions/s", trusted: true,
		body: strings.NewReader(`{"image":"another"}`)}), v1.CodeInvalidArgument)
}
