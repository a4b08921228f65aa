package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/daemon"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asOctobot makes the test binary be octobot: for tests that need a process.
const asOctobot = "OCTOBOT_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asOctobot) != "" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "OCTOBOT_") || strings.HasPrefix(name, "OTEL_") {
			_ = os.Unsetenv(name) // the tests have a daemon of their own
		}
	}
	goleak.VerifyTestMain(m)
}

// startDaemon runs a daemon with the mock for as long as the test, and returns its data directory.
func startDaemon(t *testing.T) string {
	t.Helper()
	dir, _ := runDaemon(t)
	return dir
}

// runDaemon is startDaemon for tests that stop the daemon before their end.
func runDaemon(t *testing.T) (dir string, stop func()) {
	t.Helper()
	dir = shortDir(t)
	cfg := config.Default()
	cfg.DataDir, cfg.Runtime, cfg.Listen = dir, "mock", ""
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, cfg, daemon.Options{Version: "devel", Log: t.Output(),
			Ready: func(daemon.Addresses) { close(ready) }})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("daemon: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("daemon: %v", err)
	}
	return dir, stop
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "octobot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// result is how a run of octobot ended.
type result struct {
	code           int
	stdout, stderr string
}

// octobot runs a command against the daemon of the data directory.
func octobot(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return octobotWith(t, dir, "", args...)
}

func octobotWith(t *testing.T, dir, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if dir != "" {
		args = append([]string{"--data-dir", dir}, args...)
	}
	code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// must fails the test unless the command succeeds, and returns its output.
func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	r := octobot(t, dir, args...)
	if r.code != 0 {
		t.Fatalf("octobot %s: exit code %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// volatile is what differs from run to run.
var volatile = []struct {
	pattern *regexp.Regexp
	stable  string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`), "TIME"},
	{regexp.MustCompile(`\d+ (second|minute)s? ago`), "AGE"},
	{regexp.MustCompile(`(\.0\.1:|"host_port": )\d{5}`), "${1}PORT"},
	{regexp.MustCompile(`instance [0-9a-f]{32}`), "instance ID"},
	{regexp.MustCompile(`go1[.\d]+, \w+/\w+`), "GO"},
	{regexp.MustCompile(`agent: (none|\w+ [0-9a-f]{12}(, \w+ [0-9a-f]{12})*)`), "agent: HASHES"},
	{regexp.MustCompile(`octo_[\w-]{43}`), "SECRET"},
}

// golden compares text with testdata/name, or writes it.
func golden(t *testing.T, name, text string) {
	t.Helper()
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.stable)
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs; if that is meant, run with -update.\ngot:\n%s\nwant:\n%s", path, text, want)
	}
}

// transcript runs commands one after the other, and gives what a person would have seen.
func transcript(t *testing.T, dir string, commands ...string) string {
	t.Helper()
	var b strings.Builder
	for _, c := range commands {
		r := octobot(t, dir, strings.Fields(c)...)
		b.WriteString("$ octobot " + c + "\n" + r.stdout + r.stderr)
		if r.code != 0 {
			fmt.Fprintf(&b, "exit code %d\n", r.code)
		}
	}
	// A column is as wide as what is in it, and that may be an age.
	text := regexp.MustCompile(`(\S) {3,}(\S)`).ReplaceAllString(b.String(), "$1   $2")
	return strings.ReplaceAll(text, dir, "DIR")
}
