package daemon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/octobot-run/octobot/internal/container/agented"
)

// agentMetrics are what is counted of agents in containers.
type agentMetrics struct {
	commands  *prometheus.HistogramVec
	fallbacks *prometheus.CounterVec
	dials     *prometheus.HistogramVec
}

func newAgentMetrics(registry *prometheus.Registry) *agentMetrics {
	m := &agentMetrics{
		commands: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "octobot_exec_duration_seconds",
			Help:    "Time that commands took, their own included, by the path that they took: agent or engine.",
			Buckets: []float64{.001, .002, .005, .01, .025, .05, .1, .25, 1, 10, 60},
		}, []string{"path"}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "octobot_agent_fallbacks_total",
			Help: "Commands and terminals that went through the engine instead of an agent, by reason.",
		}, []string{"reason"}),
		dials: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "octobot_agent_dial_duration_seconds",
			Help:    "Time that starting an agent and connecting to it took, by result: ok or failed.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"result"}),
	}
	for _, why := range agented.Fallbacks() {
		m.fallbacks.WithLabelValues(string(why)) // a counter that is not there yet can't be alerted on
	}
	registry.MustRegister(m.commands, m.fallbacks, m.dials)
	return m
}

// Command implements [agented.Observer].
func (m *agentMetrics) Command(agent bool, d time.Duration) {
	path := "engine"
	if agent {
		path = "agent"
	}
	m.commands.WithLabelValues(path).Observe(d.Seconds())
}

// FellBack implements [agented.Observer].
func (m *agentMetrics) FellBack(why agented.Fallback) { m.fallbacks.WithLabelValues(string(why)).Inc() }

// Dialled implements [agented.Observer].
func (m *agentMetrics) Dialled(ok bool, d time.Duration) {
	result := "failed"
	if ok {
		result = "ok"
	}
	m.dials.WithLabelValues(result).Observe(d.Seconds())
}

// watchAgents adds how many connections to agents there are, and what goes on over them.
func (m *metrics) watchAgents(inUse func() (links, streams int)) {
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value()) })
	}
	m.registry.MustRegister(
		gauge("octobot_agent_links", "Connections to agents.", func() int { links, _ := inUse(); return links }),
		gauge("octobot_agent_streams", "Commands and terminals under way through agents.",
			func() int { _, streams := inUse(); return streams }))
}
