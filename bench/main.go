// Command bench measures what Octobot promises about speed and memory, on a real engine and on the
// mock. It prints one table row a figure: medians, and ratios of runs that were interleaved, so
// that a noisy machine disturbs both sides alike. Nothing fails for being slow; docs/benchmarks.md
// keeps the figures.
//
//	make bench                    # every figure
//	make bench ARGS='-run exec'   # those whose name matches
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// A figure is one thing to measure.
type figure struct {
	name    string
	promise string
	measure func(ctx context.Context, e env) (string, error)
}

// env is what the figures measure on.
type env struct {
	dockerHost string // the engine's address
	image      string // an image it has
	binary     string // the built octobot
	rounds     int    // of interleaved runs
}

var figures = []figure{
	{"create+start runtime", "≤ 1.05 × the raw Engine API calls", createStartRuntime},
	{"create+start API", "≤ 1.10 × the raw Engine API calls", createStartAPI},
	{"exec runtime", "≤ 1.05 × the raw Engine API calls", execRuntime},
	{"agent: exec", "≥ 40 × faster than the raw Engine API calls, ≤ 1.6 × fork, exec and wait on the host; p99 ≤ 3 × p50",
		execAgent},
	{"agent: exec API", "≥ 30 × and ≤ 2.0 ×, through the Unix socket", execAgentAPI},
	{"agent: exec CLI", "≤ 15 ms, ≥ 5 × faster than docker exec", execCommandLine},
	{"agent: 64 callers", "≥ 2,000/s and ≥ 0.8 × the floor's rate", execAgentMany},
	{"agent: output", "≥ the engine's exec through the same API", agentOutput},
	{"agent: input", "1 GiB through stdin and back, hashes equal, ≤ 16 MiB more memory", agentInput},
	{"agent: start", "≤ 1.02 × without the agent; a first command 100 ms later as fast as any", agentStart},
	{"agent: idle", "≤ 6 MiB resident, no CPU in a minute", agentIdle},
	{"terminal: new", "≥ 20 × faster than the engine's, ≤ 1.9 ms to the first output", newTerminal},
	{"terminal: echo", "p50 ≤ 0.3 ms, p99 ≤ 2 ms; p50 ≤ 1 ms beside 32 loops of exec, and beside a stream of 300 MB/s",
		echo},
	{"terminal: back", "≤ 20 ms with 1 MiB of tail", comeBack},
	{"terminal: viewers", "1,000 idle ones ≤ 100 MiB; 50 at yes wait for no slow one", manyViewers},
	{"files: one", "1 MiB written ≤ 2 ms, read ≤ 1 ms; 64 MiB ≤ 80 ms and ≤ 47 ms", oneFile},
	{"files: 10,000", "in and out ≥ 3 × faster than the engine's archive calls", manyFiles},
	{"files: beside a copy of 1 GiB", "p50 of exec and echo ≤ 1.5 × without it", besideCopy},
	{"files: watch", "≤ 20 ms from a change to its event", watchEvent},
	{"port: bulk", "≥ 250 MB/s, of the 190–330 that an engine's stream carries", portBulk},
	{"port: round trip", "≤ 0.5 ms added", portRoundTrip},
	{"port: 1,000 connections", "at once, each used", portMany},
	{"reconcile 10,000 mock sessions", "≤ 250 ms, one List, one query", reconcileMock},
	{"reconcile 200 real containers", "≤ 1 s", reconcileReal},
	{"GET session", "≥ 8,000 requests/s", getSession},
	{"POST exec with the mock", "≥ 3,000 requests/s", postExec},
	{"daemon ready", "≤ 150 ms after start", daemonReady},
	{"daemon memory", "≤ 40 MiB with 1,000 idle mock sessions", daemonMemory},
	{"held output", "≤ 256 MiB above idle with 200 commands that write 2 × 16 MiB of NULs; the admin's ls ≤ 1 s",
		heldOutput},
	{"neighbour of an attacker", "create, exec and rm ≤ 2 × their time alone", neighbour},
	{"deleted tokens", "500 streams of 50 tokens end ≤ 1 s after", deletedTokens},
}

func main() {
	e := env{dockerHost: os.Getenv("OCTOBOT_TEST_DOCKER_HOST"), image: os.Getenv("OCTOBOT_TEST_IMAGE")}
	if e.image == "" {
		e.image = "octobot-test:busybox"
	}
	only := flag.String("run", "", "measure only the figures whose name matches this regular expression")
	flag.IntVar(&e.rounds, "rounds", 30, "interleaved runs a side")
	flag.StringVar(&e.binary, "octobot", "bin/octobot", "the built binary")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: -run: %v\n", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	fmt.Println("| figure | promise | measured |\n| --- | --- | --- |")
	failed := false
	for _, f := range figures {
		if !match.MatchString(f.name) {
			continue
		}
		measured, err := f.measure(ctx, e)
		if err != nil {
			failed = true
			measured = "failed: " + err.Error()
		}
		fmt.Printf("| %s | %s | %s |\n", f.name, f.promise, measured)
	}
	if failed {
		os.Exit(1)
	}
}

// interleave runs the sides in turn, rounds times, each round beginning with another one, and
// returns each side's durations. One round before them warms up and is dropped.
func interleave(
	ctx context.Context, rounds int, sides ...func(context.Context) (time.Duration, error),
) ([][]time.Duration, error) {
	took := make([][]time.Duration, len(sides))
	for round := range rounds + 1 {
		for i := range sides {
			side := (round + i) % len(sides)
			d, err := sides[side](ctx)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				took[side] = append(took[side], d)
			}
		}
	}
	return took, nil
}

func median[T int | int64 | float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratios gives each round's second side by its first.
func ratios(first, second []time.Duration) []float64 {
	r := make([]float64, len(first))
	for i := range first {
		r[i] = float64(second[i]) / float64(first[i])
	}
	return r
}

// compare words the medians of two interleaved sides and of their ratios.
func compare(took [][]time.Duration) string {
	return fmt.Sprintf("%s against raw %s: × %.3f (medians; median of the rounds' ratios × %.3f; %d rounds)",
		short(median(took[1])), short(median(took[0])), float64(median(took[1]))/float64(median(took[0])),
		median(ratios(took[0], took[1])), len(took[0]))
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// timed runs f and tells how long it took.
func timed(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}
