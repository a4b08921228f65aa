package docker_test

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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
