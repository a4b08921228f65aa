package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// TestStoreIsRemoved removes the database under the daemon: that is noticed and said, nothing is
// taken that would be lost, and what there was can be put back.
func TestStoreIsRemoved(t *testing.T) {
	cfg := testConfig(t)
	at, stop := start(t, cfg)
	c := connect(t, client.Options{Socket: at.Socket})
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "demo"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.Database()); err != nil {
		t.Fatal(err)
	}
	_, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "lost"}, nil)
	if client.CodeOf(err) != v1.CodeStoreUnavailable || !strings.Contains(err.Error(), "removed or replaced") {
		t.Errorf("create: %v", err)
	}
	if err := waitFor(t, func() error { return c.Ready(t.Context()) }); !strings.Contains(err.Error(),
		"removed or replaced") {
		t.Errorf("ready: %v", err)
	}
	var saved []string
	_ = waitFor(t, func() error {
		if saved, _ = filepath.Glob(cfg.Database() + ".rescued-*"); len(saved) > 0 {
			return os.ErrExist
		}
		return nil
	})
	if err := stop(); err != nil {
		t.Error(err)
	}

	for _, beside := range []string{"-wal", "-shm"} {
		if err := os.Remove(cfg.Database() + beside); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(saved[0], cfg.Database()); err != nil {
		t.Fatal(err)
	}
	at, _ = start(t, cfg)
	c = connect(t, client.Options{Socket: at.Socket})
	if s, err := c.GetSession(t.Context(), "demo"); err != nil || s.ID != "demo" {
		t.Errorf("the session is %+v, error %v", s, err)
	}
}

// waitFor waits until call fails.
func waitFor(t *testing.T, call func() error) error {
	t.Helper()
	for {
		if err := call(); err != nil {
			return err
		}
		select {
		case <-t.Context().Done():
			t.Fatal("it never failed")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
