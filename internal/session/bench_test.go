package session_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/octobot-run/octobot/internal/session"
)

// newBenchKit is a kit with n running sessions.
func newBenchKit(b *testing.B, n int) *kit {
	b.Helper()
	k := newKit(b)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				if _, err := k.Create(b.Context(), admin,
					session.CreateRequest{ID: fmt.Sprintf("s%05d", i), Start: true}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return k
}

func BenchmarkReconcile(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := newBenchKit(b, n)
			b.ReportAllocs()
			for b.Loop() {
				r, err := k.ReconcilePass(b.Context(), admin, session.ReconcileOptions{})
				if err != nil || r.Sessions != n || len(r.Fates) != 0 {
					b.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	k := newBenchKit(b, 1000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v, err := k.Get(b.Context(), admin, "s00500"); err != nil || v.Status != session.StatusRunning {
				b.Error(v.Status, err)
				return
			}
		}
	})
}

func BenchmarkList(b *testing.B) {
	k := newBenchKit(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if p, err := k.List(b.Context(), admin, session.ListRequest{Limit: 100}); err != nil || len(p.Sessions) != 100 {
			b.Fatal(err)
		}
	}
}
