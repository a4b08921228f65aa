package process

import (
	"os"
	"path/filepath"
	"testing"
)

// TestKillAmidExec kills what all ties but its tag are gone of, and which executes programs all the
// time: its environment is empty in one look of many.
func TestKillAmidExec(t *testing.T) {
	m := newManager(t)
	again := filepath.Join(t.TempDir(), "execute-again")
	if err := os.WriteFile(again, []byte("#!/bin/sh\nexec \"$0\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		p := start(t, m, sh("setsid "+again+" & exit"), nil)
		code(t, p)
		poll(t, "the one that is left", func() bool { return len(processes(t, again)) > 0 })
		if err := p.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := processes(t, again); len(left) > 0 {
			t.Fatalf("%d is left", left)
		}
	}
}

// TestKillBesideEmpty has a stranger without any environment, which must not be killed, nor be
// waited for.
func TestKillBesideEmpty(t *testing.T) {
	m := newManager(t)
	stranger := start(t, m, sh("exec env -i sleep 1000"), nil)
	poll(t, "the stranger", func() bool {
		_, doubt := tagged(stranger.Pid(), []string{stranger.tag}, make([]byte, 4096))
		return doubt == isEmpty
	})
	p := start(t, m, sh("sleep 1000 & wait"), nil)
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e, ok := look(stranger.Pid(), make([]byte, 4096)); !ok || e.dead {
		t.Error("the stranger was killed")
	}
}
