package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestCopyCompletion(t *testing.T) {
	url := playServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/v1/sessions":
			_, _ = io.WriteString(w, `{"sessions":[{"id":"demo","status":"running"},{"id":"other","status":"stopped"}]}`)
		case r.URL.Path == "/v1/sessions/demo/files/list" && r.URL.Query().Get("path") == "/work/":
			_, _ = io.WriteString(w, `{"entries":[{"name":"src","type":"directory"},{"name":"sum.txt","type":"file"},
				{"name":".git","type":"directory"},{"name":"s$(reboot)","type":"file"},{"name":"s\u001b[2J","type":"file"},{"name":"s;x","type":"file"},{"name":"a","type":"file"}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{""}, "demo:\trunning other:\tstopped :6"},
		{[]string{"d"}, "demo:\trunning :6"},
		{[]string{"./d"}, ":0"},
		{[]string{"/etc/pa"}, ":0"},
		{[]string{"demo:"}, "demo:/ :6"},
		{[]string{"demo:/work/s"}, "demo:/work/src/ demo:/work/sum.txt :6"},
		{[]string{"demo:work/.g"}, "demo:work/.git/ :6"},
		{[]string{"demo:/work/.g"}, "demo:/work/.git/ :6"},
		{[]string{"demo:/none/"}, ":6"},
		{[]string{"demo:/work/a", ""}, ":0"},
		{[]string{"file", "o"}, "other:\tstopped :6"},
		{[]string{"file", "demo:/work/a"}, "demo:/work/a :6"},
		{[]string{"file", "demo:/work/a", ""}, ":4"},
	} {
		r := octobot(t, "", append([]string{"--url", url, "__complete", "cp"}, c.args...)...)
		if got := strings.Join(strings.Split(strings.TrimSpace(r.stdout), "\n"), " "); r.code != 0 || got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
}
