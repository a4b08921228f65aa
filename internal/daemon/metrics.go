package daemon

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/octobot-run/octobot/internal/session"
)

// metrics are what the daemon counts. It is the session service's observer.
type metrics struct {
	registry *prometheus.Registry

	operations *prometheus.HistogramVec
	passes     *prometheus.CounterVec
	passTime   prometheus.Histogram
	removed    prometheus.Counter
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "octobot_operation_duration_seconds",
			Help:    "Time that operations on sessions took, by operation and by the code of their error, ok where there was none.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"operation", "code"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "octobot_reconcile_passes_total",
			Help: "Reconciliations by result: ok, refused (it would have removed too much), or error.",
		}, []string{"result"}),
		passTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "octobot_reconcile_duration_seconds",
			Help:    "Time that reconciliations took.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 10, 60},
		}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "octobot_reconcile_removed_total",
			Help: "Containers that reconciliations removed.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "octobot_build_info", Help: "Always 1; the label tells the version.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	for _, result := range []string{"ok", "refused", "error"} {
		m.passes.WithLabelValues(result) // a counter that is not there yet can't be alerted on
	}
	m.registry.MustRegister(m.operations, m.passes, m.passTime, m.removed, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Operation counts a call to the session service.
func (m *metrics) Operation(op string, code session.Code, d time.Duration) {
	if code == "" {
		code = "ok"
	}
	m.operations.WithLabelValues(op, string(code)).Observe(d.Seconds())
}

// Reconciled counts a reconciliation.
func (m *metrics) Reconciled(r session.Report, err error, d time.Duration) {
	result := "ok"
	switch {
	case r.Refused:
		result = "refused"
	case err != nil:
		result = "error"
	}
	m.passes.WithLabelValues(result).Inc()
	m.passTime.Observe(d.Seconds())
	m.removed.Add(float64(r.Removed))
}

// watch adds the number of sessions by status, as of the last reconciliation.
func (m *metrics) watch(counts func(context.Context) map[session.Status]int) {
	m.registry.MustRegister(sessionCounts{
		desc: prometheus.NewDesc("octobot_sessions", "Sessions by status at the last reconciliation.",
			[]string{"status"}, nil),
		counts: counts,
	})
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

type sessionCounts struct {
	desc   *prometheus.Desc
	counts func(context.Context) map[session.Status]int
}

func (s sessionCounts) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

func (s sessionCounts) Collect(ch chan<- prometheus.Metric) {
	counts := s.counts(context.Background())
	for _, status := range session.Statuses() {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(counts[status]), string(status))
	}
}
