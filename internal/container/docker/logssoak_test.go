package docker_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
)

// TestFollowedLogsAreWhole follows the logs of containers that end, of which nothing is lost or
// told twice. OCTOBOT_TEST_SOAK says how many; make soak has 200.
func TestFollowedLogsAreWhole(t *testing.T) {
	count := soak(t, 4)
	for engine := range engineVariables {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			p := open(t, config.Config{Instance: "follow",
				Docker: config.Docker{Host: engineHost(t, engine), Network: sharedNetwork(engine)}})
			var next, lost atomic.Int64
			var callers sync.WaitGroup
			for range 4 {
				callers.Go(func() {
					for i := next.Add(1); i <= int64(count) && !t.Failed(); i = next.Add(1) {
						lost.Add(int64(followToTheEnd(t, p, fmt.Sprint("s", i), i%2 == 0, i/2%2 == 0)))
					}
				})
			}
			callers.Wait()
			t.Logf("%d logs followed; %d bytes lost", count, lost.Load())
		})
	}
}

// followToTheEnd gives how many bytes are missing. Where it is to begin with nothing of the past,
// it may begin anywhere.
func followToTheEnd(t *testing.T, p container.Runtime, id string, tty, fromNow bool) (lost int) {
	pause := "0.3"
	if fromNow {
		pause = "3" // by when it has begun
	}
	script := "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i; done; " +
		"sleep " + pause + "; head -c 20000 /dev/zero; echo; yes much | head -n 50000; printf world"
	var want strings.Builder
	for i := range 200 {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	want.WriteString(strings.Repeat("\x00", 20000) + "\n" + strings.Repeat("much\n", 50000) + "world")
	expected := want.String()
	if tty {
		expected = strings.ReplaceAll(expected, "\n", "\r\n")
	}
	opts := container.Options{Image: image, Cmd: []string{"sh", "-c", script}, Tty: tty}
	if _, err := p.Create(t.Context(), id, opts); err != nil {
		t.Error(err)
		return 0
	}
	defer func() {
		if err := p.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}()
	if err := p.Start(t.Context(), id); err != nil {
		t.Error(err)
		return 0
	}
	tail := -1
	if fromNow {
		tail = 0
	}
	logs, _ := container.As[container.LogReader](p)
	var out strings.Builder
	err := logs.Logs(t.Context(), id, container.LogOptions{Follow: true, Tail: tail}, &out, &out)
	got := out.String()
	switch {
	case err != nil:
		t.Error(err)
	case !fromNow && got == expected || fromNow && strings.HasSuffix(expected, got) && strings.HasSuffix(got, "world"):
	default:
		t.Errorf("log is %d bytes, ending in %q; want %d, ending in %q", len(got), got[max(0, len(got)-20):],
			len(expected), expected[len(expected)-20:])
		return max(1, len(expected)-len(got))
	}
	return 0
}
