package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

// Benchmark measures the calls that the daemon's speed depends on, on an empty store.
func Benchmark(b *testing.B, s session.Store) {
	typical := session.Session{
		ProjectID: "project", CreatedAt: start, StartedAt: start, ActiveAt: start, Desired: session.DesiredRunning,
		ContainerID: "8dfafdbc3a40c9ab1b6b5f7a4b9c1e0fd1f7a0d2b0b6c2f9d7c1a2b3c4d5e6f7",
		Spec: session.Spec{Image: "octobot/session:latest", Env: []string{"LANG=C.UTF-8"},
			Labels: map[string]string{"team": "one"}, CPUs: 1, Memory: 1 << 30, PIDs: 4096,
			OnExpire: session.ExpiryStop},
	}
	const population = 10_000
	for i := range population {
		typical.ID = fmt.Sprint("s", i)
		typical.CreatedAt = start.Add(time.Duration(i) * time.Second)
		if _, err := s.CreateSession(b.Context(), typical); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("GetSession", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := s.GetSession(b.Context(), fmt.Sprint("s", i%population)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("GetSession parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := s.GetSession(b.Context(), fmt.Sprint("s", i%population)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("AllSessions of 10000", func(b *testing.B) {
		for b.Loop() {
			if all, err := s.AllSessions(b.Context()); err != nil || len(all) < population {
				b.Fatalf("%d sessions, %v", len(all), err)
			}
		}
	})
	b.Run("ListSessions of 50", func(b *testing.B) {
		for b.Loop() {
			if page, err := s.ListSessions(b.Context(), session.Filter{Limit: 50}); err != nil || len(page) != 50 {
				b.Fatalf("%d sessions, %v", len(page), err)
			}
		}
	})
	b.Run("UpdateSession", func(b *testing.B) {
		sess, err := s.GetSession(b.Context(), "s0")
		for b.Loop() {
			if err != nil {
				b.Fatal(err)
			}
			sess, err = s.UpdateSession(b.Context(), sess)
		}
	})
	b.Run("TouchSessions of 1000", func(b *testing.B) {
		active := make(map[string]time.Time)
		for n := 1; b.Loop(); n++ {
			for i := range 1000 {
				active[fmt.Sprint("s", i)] = start.Add(time.Duration(n) * time.Second)
			}
			if err := s.TouchSessions(b.Context(), active); err != nil {
				b.Fatal(err)
			}
		}
	})
	created := 0
	b.Run("CreateSession", func(b *testing.B) {
		for b.Loop() {
			created++
			typical.ID = fmt.Sprint("new", created)
			if _, err := s.CreateSession(b.Context(), typical); err != nil {
				b.Fatal(err)
			}
		}
	})
}
