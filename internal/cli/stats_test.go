package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestCPUPercent(t *testing.T) {
	sample := func(at, used time.Duration) v1.SessionStats {
		return v1.SessionStats{Time: time.Unix(0, 0).Add(at), CPUTime: v1.Duration(used)}
	}
	old := sample(time.Second, time.Second)
	for _, tt := range []struct {
		name string
		next v1.SessionStats
		want float64 // negative: none
	}{
		{"idle", sample(2*time.Second, time.Second), 0},
		{"a quarter of a core", sample(3*time.Second, 1500*time.Millisecond), 25},
		{"three cores", sample(2*time.Second, 4*time.Second), 300},
		{"the same sample", old, -1},
		{"a clock set back", sample(0, 2*time.Second), -1},
		{"started anew", sample(2*time.Second, 0), -1},
	} {
		got := cpuPercent(old, tt.next)
		if (got == nil) != (tt.want < 0) || got != nil && *got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestStatsRows(t *testing.T) {
	percent := 12.345
	uses := []sessionUse{
		{SessionStats: v1.SessionStats{SessionID: "busy", MemoryUsed: 16 << 20, MemoryLimit: 64 << 20, PIDs: 3,
			NetworkReceived: 1 << 10, NetworkSent: 2 << 10, BlockRead: 3 << 20, BlockWritten: 4 << 30},
			CPUPercent: &percent},
		{SessionStats: v1.SessionStats{SessionID: "no-limit"}},
		{SessionStats: v1.SessionStats{SessionID: "ended"}, err: errText("it does not run")},
	}
	want := []string{
		"busy|12.35%|16.0 MiB / 64.0 MiB|25.00%|1.0 KiB / 2.0 KiB|3.0 MiB / 4.0 GiB|3",
		"no-limit|-|0 B / -|-|0 B / 0 B|0 B / 0 B|0",
		"ended|-|- / -|-|- / -|- / -|-",
	}
	for i, row := range statsRows(uses) {
		if got := strings.Join(row, "|"); got != want[i] {
			t.Errorf("got %s, want %s", got, want[i])
		}
	}
	columns := strings.Count(statsHeader, ",")
	if n := strings.Count(want[0], "|"); n != columns {
		t.Errorf("%d columns under a header of %d", n+1, columns+1)
	}
}

func TestFrame(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rows, cols int
		want       string
	}{
		{"unknown size", 0, 0, "head 1|first 22|second|third"},
		{"enough room", 5, 9, "head 1|first 22|second|third"},
		{"narrow", 5, 5, "head|firs|seco|thir"},
		{"low", 4, 80, "head 1|first 22|and 2 more"},
		{"hardly there", 2, 80, "and 4 more"},
	} {
		got := frame("head 1\nfirst 22\nsecond\nthird\n", tt.rows, tt.cols)
		want := "\x1b[H" + strings.ReplaceAll(tt.want, "|", "\x1b[K\n") + "\x1b[K\n\x1b[J"
		if got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
	}
}

// TestStatsOfSilentEngine checks that sessions which may run are not passed over in silence.
func TestStatsOfSilentEngine(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/stats"):
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"status":503,"code":"engine_unavailable","detail":"the engine does not answer"}`)
		case slices.Contains(r.URL.Query()["status"], "unknown"):
			_, _ = io.WriteString(w, `{"sessions":[{"id":"demo","status":"unknown"}]}`)
		default:
			_, _ = io.WriteString(w, `{"sessions":[]}`)
		}
	}))
	defer server.Close()
	r := octobot(t, "", "--url", server.URL, "stats")
	if r.code != exitError || r.stderr != "octobot: stats demo: the engine does not answer\n" {
		t.Errorf("%+v", r)
	}
}
