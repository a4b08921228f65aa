package front

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests by route. A nil one does nothing.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(registry prometheus.Registerer, streams func() int) *metrics {
	if registry == nil {
		return nil
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "octobot_http_requests_total", Help: "Requests that ended, by route and status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "octobot_http_request_duration_seconds", Help: "How long requests took, streams apart.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
	}
	registry.MustRegister(m.requests, m.duration, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "octobot_http_streams", Help: "Commands, terminals, logs and event streams under way.",
	}, func() float64 { return float64(streams()) }))
	return m
}

func (m *metrics) observe(route string, w *ResponseWriter, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(route, strconv.Itoa(w.status)).Inc()
	if !w.stream {
		m.duration.WithLabelValues(route).Observe(took.Seconds())
	}
}
