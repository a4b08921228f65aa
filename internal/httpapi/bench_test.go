package httpapi_test

import (
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// BenchmarkAPI measures whole requests, client included, with SQLite and the mock: requests/s at
// the concurrency that a busy platform has.
func BenchmarkAPI(b *testing.B) {
	f := newFixture(b, settings{})
	f.running(b, "s", "")
	_, tcp := f.token(b, "bench", "")
	exec := v1.ExecRequest{Cmd: []string{"true"}}
	for _, via := range []struct {
		name string
		c    *client.Client
	}{{"socket", f.admin}, {"tcp", tcp}} {
		for name, do := range map[string]func() error{
			"get":  func() error { _, err := via.c.GetSession(b.Context(), "s"); return err },
			"exec": func() error { _, err := via.c.Exec(b.Context(), "s", exec); return err },
		} {
			b.Run(name+"/"+via.name, func(b *testing.B) {
				b.SetParallelism(16)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := do(); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			})
		}
	}
}
