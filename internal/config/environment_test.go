package config

import (
	"strings"
	"testing"
)

func TestStrayVariables(t *testing.T) {
	environ := []string{"PATH=/bin", "OCTOBOT_LISTEN=x", "OCTOBOT_URL=", "OCTOBOT_TOKEN=t", "OCTOBOT_CONFIG=c",
		"OCTOBOT_TEST_DOCKER_HOST=h", "OCTOBOT_DATADIR=/x", "OCTOBOT_LISTN=x", "OCTOBOT_ULR=x", "OCTOBOT_MEMORY=1g",
		"OCTOBOT_DEFAULT_MEMROY=1g", "OCTOBOT_=", "OCTOBOT_X", "OCTOBOT_\x1b[2J=x", "OCTOBOT_IDLE_TIME_OUT=1h",
		"OCTOBOT_FEATURES=", "octobot_listen=x"}
	want := map[string]string{"OCTOBOT_DATADIR": "OCTOBOT_DATA_DIR", "OCTOBOT_LISTN": "OCTOBOT_LISTEN",
		"OCTOBOT_ULR": "OCTOBOT_URL", "OCTOBOT_MEMORY": "", "OCTOBOT_DEFAULT_MEMROY": "OCTOBOT_DEFAULT_MEMORY",
		"OCTOBOT_": "", "OCTOBOT_X": "", `"OCTOBOT_\x1b[2J"`: "", "OCTOBOT_IDLE_TIME_OUT": "OCTOBOT_IDLE_TIMEOUT",
		"OCTOBOT_FEATURES": ""}
	got := StrayVariables(environ)
	for _, v := range got {
		near, ok := want[v.Name]
		if !ok || v.Near != near || strings.Contains(v.String(), "did you mean") != (near != "") {
			t.Errorf("%s: %s; want %q", v.Name, v, near)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%q", got)
	}
	for _, s := range Settings() {
		if stray := StrayVariables([]string{s.Env() + "=x"}); len(stray) > 0 {
			t.Errorf("%s is stray", s.Env())
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "axc", 1}, {"ab", "ba", 2}, {"kitten",
		"sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
