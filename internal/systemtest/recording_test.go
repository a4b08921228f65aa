package systemtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestRecordingOutlivesDaemons kills daemons amid a terminal's output: what was recorded is what
// was written, to the byte.
func TestRecordingOutlivesDaemons(t *testing.T) {
	onEachEngine(t, func(t *testing.T, host string) {
		d := newDaemon(t, host)
		d.start()
		instance := d.instance()
		engine := engineClient(t, host)
		t.Cleanup(func() { removeAll(t, engine, instance) })
		id, ctx := sessionID(t, 0), t.Context()
		if _, err := d.api.CreateSession(ctx, v1.CreateSessionRequest{ID: id,
			Spec: v1.Spec{Cmd: []string{"sleep", "3600"}, Record: true}}, nil); err != nil {
			t.Fatal(err)
		}
		const rounds, lines = 200, 300
		script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo "ä€ $i"; seq %d; i=$((i+1)); sleep 0.03; done; exit 7`,
			rounds, lines)
		terminal, err := d.api.CreateTerminal(ctx, id, v1.CreateTerminalRequest{Name: "main",
			Cmd: []string{"sh", "-c", script}, Rows: 30, Cols: 100})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
			d.kill()
			d.start()
		}
		eventually(t, time.Minute, "the end of the recording", func(ctx context.Context) error {
			list, err := d.api.ListRecordings(ctx, id)
			if err == nil && (len(list) != 1 || !list[0].Ended) {
				err = fmt.Errorf("%+v", list)
			}
			return err
		})
		if err := d.api.DeleteSession(ctx, id); err != nil {
			t.Fatal(err)
		}
		cast, err := d.api.ReadRecording(ctx, id, terminal.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer cast.Close()
		output, markers := playCast(t, cast)
		var want strings.Builder
		for i := range rounds {
			fmt.Fprintf(&want, "ä€ %d\r\n", i)
			for n := range lines {
				fmt.Fprintf(&want, "%d\r\n", n+1)
			}
		}
		if output != want.String() {
			t.Errorf("%d bytes were recorded, %d written", len(output), want.Len())
		}
		if len(markers) != 1 || markers[0] != "exited with code 7" {
			t.Errorf("markers %q", markers)
		}
	})
}

// playCast gives all that a recording shows, and its markers.
func playCast(t *testing.T, cast io.Reader) (output string, markers []string) {
	t.Helper()
	lines := bufio.NewReader(cast)
	if _, err := lines.ReadBytes('\n'); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	last := 0.0
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return b.String(), markers
		}
		var event [3]any
		if err != nil || json.Unmarshal(line, &event) != nil {
			t.Fatalf("%v: %.100q", err, line)
		}
		if at := event[0].(float64); at < last {
			t.Errorf("an event at %v follows one at %v", at, last)
		} else {
			last = at
		}
		switch text := event[2].(string); event[1] {
		case "o":
			b.WriteString(text)
		case "m":
			markers = append(markers, text)
		}
	}
}
