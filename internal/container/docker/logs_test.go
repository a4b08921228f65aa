package docker_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// forgetfulLog is the log of a container that ends, in entries of one line. Who follows it is told
// what is there up to an entry, and no more, as Docker 20.10 does at times. Meanwhile, the first
// ones are rotated away.
type forgetfulLog struct {
	lines         int
	past          int // written before anybody follows
	told, rotated int

	begin    time.Time
	followed bool
}

func (l *forgetfulLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	first, last := 0, l.past
	if l.followed {
		first, last = l.rotated, l.lines
	}
	if tail, err := strconv.Atoi(query.Get("tail")); err == nil {
		first = max(first, last-tail)
	}
	if query.Get("follow") == "1" {
		l.followed, last = true, l.told
	}
	since, _ := strconv.ParseFloat(query.Get("since"), 64) // none is 0
	for i := first; i < last; i++ {
		at := l.begin.Add(time.Duration(i) * time.Second)
		if float64(at.Unix()) < since {
			continue
		}
		text := fmt.Sprintf("%s line %d\n", at.UTC().Format("2006-01-02T15:04:05.000000000Z"), i)
		if i == l.lines-1 {
			text = strings.TrimSuffix(text, "\n")
		}
		header := []byte{byte(1 + i%2), 0, 0, 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
		_, _ = w.Write(append(header, text...))
	}
}

func TestFollowedLogIsWhole(t *testing.T) {
	for _, tt := range []struct{ lines, past, told, rotated, tail, first int }{
		{10, 4, 10, 0, -1, 0}, // all is told
		{10, 4, 7, 0, -1, 0},
		{10, 4, 4, 0, -1, 0},
		{10, 4, 7, 6, -1, 0}, // the last one that was told is there still
		{10, 4, 6, 6, -1, 0}, // it is not
		{10, 4, 10, 0, 0, 4},
		{10, 4, 7, 0, 0, 4},
		{10, 4, 4, 0, 0, 4}, // nothing is told
		{10, 4, 4, 4, 0, 4},
		{10, 0, 0, 0, 0, 0},
		{10, 4, 7, 5, 2, 2},
		{10, 4, 4, 0, 20, 0},
		{1, 0, 0, 0, 0, 0},
		{3000, 2000, 2500, 1000, 0, 2000}, // more than is looked at at once
		{3000, 100, 200, 0, 0, 100},
		{3000, 2000, 2001, 0, 1500, 500},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			log := &forgetfulLog{lines: tt.lines, past: tt.past, told: tt.told, rotated: tt.rotated,
				begin: time.Unix(1_700_000_000, 0)}
			name := container.Name("a")
			engine := newFakeEngine(t, map[string]http.HandlerFunc{
				"GET /containers/" + name + "/logs": log.ServeHTTP,
				"GET /containers/" + name + "/json": func(w http.ResponseWriter, _ *http.Request) {
					state := "running"
					if log.followed {
						state = "exited"
					}
					answer(w, http.StatusOK, map[string]any{
						"Id": name, "Name": "/" + name, "State": map[string]any{"Status": state},
						"Config": map[string]any{"Labels": container.Labels("fake", "a", container.Options{})},
					})
				},
			})
			p := engine.open(t)
			var out, want strings.Builder
			if err := p.Logs(t.Context(), "a", container.LogOptions{Follow: true, Tail: tt.tail}, &out,
				&out); err != nil {
				t.Fatal(err)
			}
			for i := tt.first; i < tt.lines; i++ {
				fmt.Fprintf(&want, "line %d\n", i)
			}
			if got := out.String() + "\n"; got != want.String() {
				t.Errorf("got %d bytes %.60q…; want %d %.60q…", len(got), got, want.Len(), want.String())
			}
		})
	}
}

// endingLog is the log of a Podman's container that ends while it is followed. Who follows it is
// told a part; what comes then is not to be relied on.
type endingLog struct {
	past, told, whole string // as the engine sends them

	mu       sync.Mutex
	followed bool
	ended    chan struct{}
}

func (l *endingLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.followed = l.followed || r.URL.Query().Get("follow") == "1"
	followed := l.followed
	l.mu.Unlock()
	switch {
	case !followed:
		_, _ = io.WriteString(w, l.past)
	case r.URL.Query().Get("follow") == "1" && l.told != "":
		_, _ = io.WriteString(w, l.told)
		w.(http.Flusher).Flush()
		select {
		case <-l.ended:
		case <-r.Context().Done():
		}
	default:
		_, _ = io.WriteString(w, l.whole)
	}
}

// status is what the engine says of the container: that it runs until what is told is believed.
func (l *endingLog) status() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ended:
		return "exited"
	default:
	}
	if !l.followed {
		return "running"
	}
	close(l.ended)
	if l.told == "" {
		return "exited"
	}
	return "running"
}

// entry is one of a log as Podman sends it, of the n-th second.
func entry(stream byte, n int, text string) string {
	text = fmt.Sprintf("2026-01-01T00:00:%02dZ %s", n, text)
	header := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header) + text
}

// Podman's entries have the time of a whole second, and those of a TTY have none.
func TestFollowedLogOfPodmanIsWhole(t *testing.T) {
	long := entry(1, 0, strings.Repeat("p", 200)+"\n")
	part := long[:120]
	hello := entry(1, 0, "past\n") + entry(1, 0, "hello ")
	three := long + entry(1, 0, "a\n") + entry(1, 0, "b\n")
	for name, tt := range map[string]struct {
		tty                     bool
		tail                    int
		past, told, whole, want string
	}{
		"TTY, a line goes on": {true, 0, "past\r\nprompt> ", "past\r\nprompt> world", "past\r\nprompt> world", "world"},
		"TTY, told in part": {true, 0, "past\r\nprompt> ", "past\r\nprompt> wo", "past\r\nprompt> world\r\n",
			"world\r\n"},
		"TTY, told the past":       {true, 0, "past\r\nprompt> ", "past\r\nprompt> ", "past\r\nprompt> world", "world"},
		"TTY, told part of it":     {true, 0, "past\r\nprompt> ", "past\r\nprom", "past\r\nprompt> world", "world"},
		"TTY, told nothing":        {true, 0, "past\r\nprompt> ", "", "past\r\nprompt> world", "world"},
		"TTY, no past":             {true, -1, "", "", "a\r\nb", "a\r\nb"},
		"TTY, no past and no tail": {true, 0, "", "", "a\r\nb", "a\r\nb"},
		"TTY, the last line":       {true, 1, "a\r\nb\r\n", "", "a\r\nb\r\nc", "b\r\nc"},
		"a line goes on": {false, 0, hello, hello + entry(1, 0, "world"), hello + entry(1, 0, "world"),
			"world"},
		"a line goes on, not told": {false, 0, hello, hello, hello + entry(1, 0, "world"), "world"},
		"nothing told":             {false, 0, hello, "", hello + entry(1, 0, "world"), "world"},
		"part of the past":         {false, 0, long, part, long + entry(1, 5, "new\n"), "new\n"},
		"part of what is before the tail": {false, 1, three, part, three + entry(1, 0, "new\n"),
			"b\nnew\n"},
		"nothing of the tail":     {false, 1, three, "", three + entry(1, 5, "new\n"), "b\nnew\n"},
		"another stream":          {false, 1, three, three, three + entry(2, 0, "error\n"), "b\nerror\n"},
		"another stream, no tail": {false, 0, three, three, three + entry(2, 0, "error\n"), "error\n"},
		"all": {false, -1, three, three, three + entry(2, 0, "error\n"),
			strings.Repeat("p", 200) + "\na\nb\nerror\n"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &endingLog{past: tt.past, told: tt.told, whole: tt.whole, ended: make(chan struct{})}
			name := container.Name("a")
			engine := newFakeEngine(t, map[string]http.HandlerFunc{
				"GET /_ping": func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Api-Version", "1.41")
					w.Header().Set("Libpod-Api-Version", "4.3.1")
				},
				"GET /containers/" + name + "/logs": log.ServeHTTP,
				"GET /containers/" + name + "/json": func(w http.ResponseWriter, _ *http.Request) {
					answer(w, http.StatusOK, map[string]any{
						"Id": name, "Name": "/" + name, "State": map[string]any{"Status": log.status()},
						"Config": map[string]any{"Tty": tt.tty,
							"Labels": container.Labels("fake", "a", container.Options{})},
					})
				},
			})
			var out strings.Builder
			err := engine.open(t).Logs(t.Context(), "a", container.LogOptions{Follow: true, Tail: tt.tail}, &out, &out)
			if err != nil || out.String() != tt.want {
				t.Errorf("got %q, %v; want %q", out.String(), err, tt.want)
			}
		})
	}
}
