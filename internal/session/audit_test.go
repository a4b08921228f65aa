package session_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/octobot-run/octobot/internal/session"
)

// TestAudit checks what is recorded: changes, however they end, and refusals; no secrets.
func TestAudit(t *testing.T) {
	var mu sync.Mutex
	var entries []session.AuditEntry
	k := newKit(t, func(c *session.Config) {
		c.Audit = func(e session.AuditEntry) {
			mu.Lock()
			defer mu.Unlock()
			entries = append(entries, e)
		}
	})
	recorded := func() string {
		mu.Lock()
		defer mu.Unlock()
		defer func() { entries = nil }()
		var all []string
		for _, e := range entries {
			if e.Time.IsZero() {
				t.Errorf("without a time: %+v", e)
			}
			all = append(all, strings.TrimSpace(fmt.Sprint(e.By.Name, " ", e.Operation, " ", e.SessionID, " ", e.Code)))
		}
		slices.Sort(all)
		return strings.Join(all, "\n")
	}
	want := func(what, want string) {
		t.Helper()
		if got := recorded(); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
		}
	}
	_, err := k.Create(t.Context(), of("p"), session.CreateRequest{ID: "s", Start: true,
		Spec: session.Spec{Env: []string{"PASSWORD=hidden"}}})
	if err != nil {
		t.Fatal(err)
	}
	want("create", "token of p create s")
	_, _ = k.Create(t.Context(), of("p"), session.CreateRequest{ID: "x",
		Spec: session.Spec{NetworkMode: "bridge", Env: []string{"PASSWORD=hidden"}}})
	mu.Lock()
	if text := fmt.Sprintf("%+v", entries); strings.Contains(text, "hidden") || !strings.Contains(text, "bridge") {
		t.Errorf("recorded: %s", text)
	}
	mu.Unlock()
	want("a refused create", "token of p create x policy_denied")
	_ = everything(t.Context(), k.ContainerService, of("q"), "s")
	want("what is asked of another project's session", strings.Join([]string{
		"token of q attach s session_not_found", "token of q delete s session_not_found",
		"token of q exec s session_not_found", "token of q exec s session_not_found",
		"token of q get s session_not_found", "token of q get s session_not_found",
		"token of q logs s session_not_found", "token of q pause s session_not_found",
		"token of q restart s session_not_found", "token of q signal s session_not_found",
		"token of q start s session_not_found", "token of q stats s session_not_found",
		"token of q stop s session_not_found", "token of q top s session_not_found",
		"token of q unpause s session_not_found",
		"token of q update s session_not_found",
		"token of q wait s session_not_found"}, "\n"))
	_, _ = k.Get(t.Context(), of("p"), "s")
	_, _ = k.List(t.Context(), of("p"), session.ListRequest{})
	want("reading", "")
	_, _ = k.List(t.Context(), of("p"), session.ListRequest{ProjectID: "q"})
	_, _ = k.Subscribe(of("p"), session.EventSelection{ProjectID: "q"})
	_, _ = k.ReconcilePass(t.Context(), of("p"), session.ReconcileOptions{})
	_, _, _ = k.CreateToken(t.Context(), of("p"), "t", "", 0)
	want("what is not one's to have", "token of p create token  forbidden\ntoken of p events  forbidden\n"+
		"token of p list  forbidden\ntoken of p reconcile  forbidden")
	_, secret, err := k.CreateToken(t.Context(), admin, "t", "p", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = k.Authenticate(t.Context(), secret)
	_ = k.DeleteToken(t.Context(), admin, "t")
	_, authErr := k.Authenticate(t.Context(), secret)
	k.AuditRefusal(t.Context(), session.Principal{Address: "192.0.2.1"}, authErr)
	want("tokens", "admin create token\nadmin delete token\nauthenticate  unauthenticated")
}
