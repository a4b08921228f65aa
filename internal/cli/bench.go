package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

const (
	// turn is how many commands are timed on a path before it is another's turn. Some untimed ones
	// go before: the first makes connections, and what the engine still clears away after its own
	// exec is not to be taken for a cost of the agent.
	turn, warmUps = 20, 2
	// benchAge is how old a session of ours becomes where octobot is killed before it is removed.
	benchAge = time.Hour
	// benchRemoval bounds the removal of the sessions.
	benchRemoval = time.Minute
)

func (a *app) benchCommand() *cobra.Command {
	var image string
	var count, callers int
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "bench [flags]",
		Short: "Measure how fast commands run here, with the agent and without",
		Long: `Measure how fast commands run here: through the engine's exec, and through Octobot's agent. Two sessions are made
for that, and removed at the end, however it comes.

p50, p90 and p99 are of "true", run and waited for through the daemon, one command after the other and in turn on both
paths. Commands per second are those of several callers at once, on one path after the other.`,
		Example: `  octobot bench
  octobot bench --image debian:12 --callers 64
  octobot bench -o json | jq .agent.p50_ms`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&image, "image", "",
		"`image` of the sessions, with sleep and true; without: the daemon's default")
	flags.IntVar(&count, "count", 200, "time `n` commands on each path, 1 to 10000")
	flags.IntVar(&callers, "callers", 8, "`n` callers at once for commands per second, 1 to 256")
	flags.DurationVar(&duration, "duration", 3*time.Second,
		"how long the callers run commands on each path, a `duration` of at most 5m")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case count < 1 || count > 10000:
			return usageError(cmd, "--count %d is not between 1 and 10000", count)
		case callers < 1 || callers > 256:
			return usageError(cmd, "--callers %d is not between 1 and 256", callers)
		case duration <= 0 || duration > 5*time.Minute:
			return usageError(cmd, "--duration %s is not above 0 and at most 5m", duration)
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		b := &bench{client: c, image: image, count: count, callers: callers, duration: duration,
			status: newStatusLine(a.stderr), pull: newProgress(a.stderr)}
		report, err := b.run(cmd.Context())
		switch {
		case err != nil:
			return err
		case *output == "json":
			return a.printJSON(report)
		}
		return a.printBench(report)
	}
	return cmd
}

// bench compares the paths that a command may take.
type bench struct {
	client         *client.Client
	image          string
	count, callers int
	duration       time.Duration // of the callers, on each path
	status         statusLine
	pull           *progress
	made           []string // the sessions, those that may have been made among them
}

// benchReport is what "octobot bench -o json" prints.
type benchReport struct {
	Commands int         `json:"commands"` // timed, of each path
	Callers  int         `json:"callers"`  // at once
	Engine   benchPath   `json:"engine"`
	Agent    *benchPath  `json:"agent"` // null: no command went through an agent; Reason says more
	Ratio    *benchRatio `json:"ratio"` // of Engine to Agent, how many times better; null with Agent
	Reason   string      `json:"reason,omitempty"`
}

// benchPath is how fast commands were on one path.
type benchPath struct {
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	Rate float64 `json:"commands_per_second"`
}

type benchRatio struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Rate float64 `json:"commands_per_second"`
}

// noAgents is why there is nothing to compare where the daemon does not know of agents.
const noAgents = `the daemon uses no agents; "octobot serve --agent auto" does`

// run makes the sessions, measures, and removes the sessions.
func (b *bench) run(ctx context.Context) (report benchReport, err error) {
	defer func() {
		b.status.set("removing the sessions")
		removeErr := b.remove(ctx)
		b.status.clear()
		if removeErr != nil && ctx.Err() != nil {
			err = removeErr // of the interruption, its author knows
		} else {
			err = errors.Join(err, removeErr)
		}
	}()
	withoutAgent, err := b.create(ctx, v1.AgentOff)
	if err != nil {
		return benchReport{}, err
	}
	withAgent, err := b.create(ctx, v1.AgentAuto)
	if err != nil {
		return benchReport{}, err
	}
	exec, err := b.execOf(ctx, withAgent)
	if err != nil {
		return benchReport{}, err
	}
	paths := []*measuredPath{{name: "engine", command: b.command(withoutAgent)}}
	if exec.Path == v1.ExecAgent {
		paths = append(paths, &measuredPath{name: "agent", command: b.command(withAgent)})
	}
	if err := b.measure(ctx, paths); err != nil {
		return benchReport{}, err
	}
	return b.report(paths, exec), nil
}

// create makes a session, and returns its ID.
func (b *bench) create(ctx context.Context, agent string) (string, error) {
	id := "bench-" + strings.ToLower(rand.Text()[:10])
	b.status.set("creating the session " + id)
	b.made = append(b.made, id)
	_, err := b.client.CreateSession(ctx, v1.CreateSessionRequest{ID: id, Spec: v1.Spec{
		Image: b.image, Cmd: []string{"sleep", "3600"}, Agent: agent,
		MaxAge: new(v1.Duration(benchAge)), OnExpire: v1.ExpireClose,
	}}, b.pull.show)
	b.pull.clear()
	if client.CodeOf(err) == v1.CodeSessionExists {
		b.made = b.made[:len(b.made)-1] // it is another's
	}
	if err != nil {
		return "", fmt.Errorf("bench: create %s: %w", id, err)
	}
	return id, nil
}

// remove removes the sessions, also where ctx has ended.
func (b *bench) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), benchRemoval)
	defer cancel()
	var errs []error
	for _, id := range b.made {
		err := b.client.DeleteSession(ctx, id)
		if err != nil && client.CodeOf(err) != v1.CodeSessionNotFound { // which never came to be
			errs = append(errs, fmt.Errorf("bench: %s may be left, for \"octobot rm -f\" to remove: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// execOf tells which way a session's commands take, after one that has tried.
func (b *bench) execOf(ctx context.Context, id string) (v1.Exec, error) {
	if err := b.command(id)(ctx); err != nil {
		return v1.Exec{}, err
	}
	s, err := b.client.GetSession(ctx, id)
	switch {
	case err != nil:
		return v1.Exec{}, fmt.Errorf("bench: inspect %s: %w", id, err)
	case s.Exec == nil:
		return v1.Exec{}, fmt.Errorf("bench: %s does not run any more: %s", id, s.Reason)
	}
	return *s.Exec, nil
}

// command gives what is measured.
func (b *bench) command(id string) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := b.client.Exec(ctx, id, v1.ExecRequest{Cmd: []string{"true"}})
		switch {
		case err != nil:
			return fmt.Errorf("bench: exec %s: %w", id, err)
		case r.ExitCode != 0:
			return fmt.Errorf("bench: exec %s: \"true\" ended with exit code %d; choose another image with --image", id,
				r.ExitCode)
		}
		return nil
	}
}

// measuredPath is a path, and what was measured on it.
type measuredPath struct {
	name    string
	command func(context.Context) error
	times   []time.Duration
	rate    float64 // commands per second
}

// measure times commands in turn, so that what else the host does meets all paths alike, and then
// has several at once.
func (b *bench) measure(ctx context.Context, paths []*measuredPath) error {
	for timed := 0; timed < b.count; timed += turn {
		b.status.set(fmt.Sprintf("timing commands: %d of %d", timed, b.count))
		for _, p := range paths {
			if err := p.timeCommands(ctx, min(turn, b.count-timed)); err != nil {
				return err
			}
		}
	}
	for _, p := range paths {
		b.status.set(fmt.Sprintf("%s for %s: %s", plural(int64(b.callers), "caller"), b.duration, p.name))
		var err error
		if p.rate, err = rateOf(ctx, b.callers, b.duration, p.command); err != nil {
			return err
		}
	}
	return nil
}

// timeCommands times n commands, one after the other.
func (p *measuredPath) timeCommands(ctx context.Context, n int) error {
	for i := range warmUps + n {
		begun := time.Now()
		if err := p.command(ctx); err != nil {
			return err
		}
		if i >= warmUps {
			p.times = append(p.times, time.Since(begun))
		}
	}
	return nil
}

// rateOf has callers run commands for a while, and returns how many a second there were.
func rateOf(
	ctx context.Context, callers int, duration time.Duration, command func(context.Context) error,
) (float64, error) {
	var ended atomic.Int64
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range callers {
		group.Go(func() error {
			for time.Since(begun) < duration {
				if err := command(ctx); err != nil {
					return err
				}
				ended.Add(1)
			}
			return nil
		})
	}
	err := group.Wait()
	return float64(ended.Load()) / time.Since(begun).Seconds(), err
}

// report sums up what was measured, of the engine and, where it can be had, of the agent. exec says
// why it can't.
func (b *bench) report(paths []*measuredPath, exec v1.Exec) benchReport {
	report := benchReport{Commands: b.count, Callers: b.callers, Engine: paths[0].sum()}
	if len(paths) == 1 {
		report.Reason = cmp.Or(exec.Reason, noAgents)
		return report
	}
	e, a := report.Engine, paths[1].sum()
	report.Agent = &a
	report.Ratio = &benchRatio{P50: rounded(e.P50 / a.P50), P90: rounded(e.P90 / a.P90), P99: rounded(e.P99 / a.P99),
		Rate: rounded(a.Rate / e.Rate)}
	return report
}

// rounded leaves out digits that mean nothing.
func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }

func (p *measuredPath) sum() benchPath {
	slices.Sort(p.times)
	ms := func(percent int) float64 {
		return rounded(float64(percentile(p.times, percent)) / float64(time.Millisecond))
	}
	return benchPath{P50: ms(50), P90: ms(90), P99: ms(99), Rate: rounded(p.rate)}
}

// percentile gives the least of the sorted times that so many percent of them do not exceed.
func percentile(sorted []time.Duration, percent int) time.Duration {
	return sorted[int(math.Ceil(float64(len(sorted)*percent)/100))-1]
}

func (a *app) printBench(r benchReport) error {
	rows := [][]string{benchRow("engine", r.Engine)}
	if r.Agent != nil {
		times := func(ratio float64) string { return fmt.Sprintf("%.1f ×", ratio) }
		rows = append(rows, benchRow("agent", *r.Agent),
			[]string{"ratio", times(r.Ratio.P50), times(r.Ratio.P90), times(r.Ratio.P99), times(r.Ratio.Rate)})
	}
	err := table(a.stdout, "PATH,P50,P90,P99,COMMANDS/S", rows)
	if r.Reason != "" {
		fmt.Fprintf(a.stderr, "octobot: bench: nothing to compare: %s\n", r.Reason)
	}
	return err
}

func benchRow(name string, p benchPath) []string {
	ms := func(v float64) string { return fmt.Sprintf("%.2f ms", v) }
	return []string{name, ms(p.P50), ms(p.P90), ms(p.P99), fmt.Sprintf("%.0f", p.Rate)}
}
