package docker

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// TestRecordedAnswers gives what engines have answered to the provider again, by the SDK and past
// it.
func TestRecordedAnswers(t *testing.T) {
	byName := make(map[string]situation)
	for _, s := range situations {
		byName[s.name] = s
	}
	answers := readAnswers(t)
	engines := make(map[string]int)
	for _, a := range answers {
		engines[a.Engine]++
		t.Run(a.Engine+"/"+a.Situation, func(t *testing.T) {
			s, ok := byName[a.Situation]
			if !ok {
				t.Fatal("there is no such situation any more: record the answers anew")
			}
			want := s.want
			if other := s.others[a.Engine]; other != nil {
				want = other
			}
			for how, err := range answeredBy(t, a) {
				if s.refine != nil {
					err = s.refine(err)
				}
				if got := classify(err); got != want {
					t.Errorf("%s: %d %s is %v; want %v", how, a.Status, a.Body, got, want)
				}
				text := engineText(err)
				if text == "" || strings.Contains(text, "daemon") || strings.Contains(text, "octobot-engines") {
					t.Errorf("%s: its words are %q", how, text)
				}
			}
		})
	}
	for _, engine := range []string{docker20, docker29, podman4} {
		if engines[engine] < len(situations)*3/4 {
			t.Errorf("%s: %d answers are recorded, of %d situations", engine, engines[engine], len(situations))
		}
	}
}

// open makes a provider of an engine that answers as handle does.
func open(t *testing.T, handle http.HandlerFunc) *DockerProvider {
	t.Helper()
	server := httptest.NewServer(handle)
	p, err := NewDockerProvider(&config.Config{Docker: config.Docker{
		Host: "tcp://" + server.Listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		server.Close()
	})
	return p
}

func (a recordedAnswer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.Type)
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(a.Body))
}

// answeredBy gives the errors that are made of an engine's answer.
func answeredBy(t *testing.T, a recordedAnswer) map[string]error {
	t.Helper()
	p := open(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("Api-Version", "1.41")
			return
		}
		a.write(w)
	})
	made := make(map[string]error)
	if strings.HasPrefix(a.Request, http.MethodHead) {
		_, made["SDK"] = p.client.ContainerStatPath(t.Context(), "a", client.ContainerStatPathOptions{Path: "/"})
	} else {
		_, made["SDK"] = p.client.ContainerStart(t.Context(), "a", client.ContainerStartOptions{})
		made["past it"] = p.post(t.Context(), p.url("/containers/a/start", nil), nil)
	}
	for how, err := range made {
		if statusOf(err) != a.Status {
			t.Fatalf("%s: the status of %v is %d; want %d", how, err, statusOf(err), a.Status)
		}
		made[how] = fmt.Errorf("wrapped: %w", err)
	}
	return made
}

// unrecorded are phrases that no engine can be made to say for a recording.
var unrecorded = map[string]string{
	"is restarting":                      "we restart nothing; it is the word of the moment between two starts",
	"marked for removal":                 "a start that meets a removal",
	"already in progress":                "a removal that meets another",
	"cannot exec in a stopped":           "an exec that meets the end of the container",
	"exec format error":                  "the OCI runtime says it in the command's place, on its output",
	"ports are not available":            "Docker Desktop",
	"init binary not found":              "an engine without an init",
	": stat : no such file or directory": "runc says it of an empty command, in the command's place on its output",
	"is a directory":                     "the OCI runtime says it in the command's place, on its output",
	"error running ps":                   "an engine on a host without a ps, or with another than procps'",
	"device or resource busy":            "a limit of memory, on cgroup v1, below what the container uses",
}

// TestPhrases: what is matched is what the engines say that are named for it.
func TestPhrases(t *testing.T) {
	answers := readAnswers(t)
	for _, p := range slices.Concat(saysNoContainer, saysNoImage, saysOtherPlatform, saysNoNetwork, saysNetworkExists,
		saysSubnetTaken, saysNotRunning, saysExists, saysPortTaken, saysNoCommand, saysNotDirectory, saysNoInit,
		saysRemoving, saysPaused, saysNoProgram, saysNoPs, saysInUse) {
		if p.words != strings.ToLower(p.words) || len(p.says) == 0 {
			t.Errorf("%+v", p)
		}
		for _, engine := range p.says {
			said := slices.ContainsFunc(answers, func(a recordedAnswer) bool {
				return a.Engine == engine && strings.Contains(strings.ToLower(a.Body), p.words)
			})
			if said == (unrecorded[p.words] != "") {
				t.Errorf("%s says %q: recorded %v", engine, p.words, said)
			}
		}
	}
}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		code int // of the engine's answer; 0 where there was none
		text string
		want error
	}{
		{409, "Container abc is restarting, wait until the container is running", container.ErrContainerStopped},
		{409, "container is marked for removal and cannot be started", container.ErrContainerStopped},
		{400, "OCI runtime exec failed: exec failed: cannot exec in a stopped container: unknown",
			container.ErrContainerStopped},
		{500, "Ports are not available: exposing port TCP 127.0.0.1:80", container.ErrPortTaken},
		{400, "network octobot-x is ambiguous (2 matches found on name)", container.ErrInvalidArgument},
		{404, "page not found", container.ErrRefused},
		{500, "something broke", container.ErrRefused},
		{503, "network plugin is away", container.ErrRefused},
		{418, "no coffee", container.ErrRefused},
		{429, "slow down", container.ErrRefused},
		{403, "authorization denied by plugin", container.ErrRefused},
		{405, "", container.ErrRefused},
		{500, "", container.ErrUnavailable},
		{503, "", container.ErrUnavailable},
		{400, "invalid mount config", container.ErrInvalidArgument},
		{501, "not implemented", container.ErrUnsupported},
		{0, "connection refused: no such container", container.ErrUnavailable},
	} {
		err := errors.New(tt.text)
		if tt.code != 0 {
			err = &answerError{code: tt.code, words: tt.text}
		}
		if got := classify(fmt.Errorf("wrapped: %w", err)); got != tt.want {
			t.Errorf("%d %q is %v; want %v", tt.code, tt.text, got, tt.want)
		}
		if tt.code != 0 && (statusOf(err) != tt.code || engineText(err) == "") {
			t.Errorf("%d %q: status %d, text %q", tt.code, tt.text, statusOf(err), engineText(err))
		}
	}
}

// TestNoWordsOfTheEngine: a fault without words, or in those of a proxy, tells nothing; and
// whatever the words are, the SDK's own are none of them.
func TestNoWordsOfTheEngine(t *testing.T) {
	for name, tt := range map[string]struct {
		answer recordedAnswer
		text   string
		want   error
	}{
		"nothing": {recordedAnswer{Status: 500}, "it answered 500 Internal Server Error", container.ErrUnavailable},
		"no message": {recordedAnswer{Status: 500, Type: "application/json", Body: "{}"},
			"it answered 500 Internal Server Error", container.ErrUnavailable},
		"a proxy's text": {recordedAnswer{Status: 503, Type: "text/plain", Body: "no backend: no such container"},
			"it answered 503 Service Unavailable", container.ErrUnavailable},
		"a proxy's page": {recordedAnswer{Status: 502, Type: "text/html", Body: "<h1>Bad Gateway</h1>"},
			"it answered 502 Bad Gateway", container.ErrUnavailable},
		"a proxy's page that forbids": {recordedAnswer{Status: 403, Type: "text/html; charset=utf-8",
			Body: "<h1>403 Forbidden</h1>"}, "it answered 403 Forbidden", container.ErrRefused},
		"no message, but no fault of the engine": {recordedAnswer{Status: 404, Type: "application/json", Body: "{}"},
			"it answered 404 Not Found", container.ErrRefused},
		"text": {recordedAnswer{Status: 404, Type: "text/plain", Body: "Not Found"}, "Not Found", container.ErrRefused},
		"JSON of a character set": {recordedAnswer{Status: 409, Type: "application/json; charset=utf-8",
			Body: `{"message":"Container a is not running"}`}, "Container a is not running",
			container.ErrContainerStopped},
		"words": {recordedAnswer{Status: 503, Type: "application/json", Body: `{"message":"not now"}`}, "not now",
			container.ErrRefused},
	} {
		for how, err := range answeredBy(t, tt.answer) {
			err = errors.Unwrap(err)
			if got, text := classify(err), engineText(err); got != tt.want || text != tt.text {
				t.Errorf("%s: %s: %q of class %v; want %q of %v", name, how, text, got, tt.text, tt.want)
			}
			if madeNothing(err) != (tt.answer.Status < 500) {
				t.Errorf("%s: %s: madeNothing is %v", name, how, madeNothing(err))
			}
		}
	}
}

// TestFaultIsNoEnd: a command has ended when the engine says so, or does not know it any more, and
// not when the engine fails at the look.
func TestFaultIsNoEnd(t *testing.T) {
	for name, last := range map[string]recordedAnswer{
		"says so": {Status: 200, Body: `{"Running":false}`},
		"is gone": {Status: 404, Type: typeJSON, Body: `{"message":"No such exec instance: e"}`},
	} {
		t.Run(name, func(t *testing.T) {
			answers := []recordedAnswer{{Status: 500, Type: typeJSON, Body: `{"message":"database is locked"}`},
				{Status: 500}, {Status: 404, Type: "text/html", Body: "<h1>Not Found</h1>"}, last}
			asked := 0
			p := open(t, func(w http.ResponseWriter, _ *http.Request) {
				answers[min(asked, len(answers)-1)].write(w)
				asked++
			})
			if err := p.awaitEnd(t.Context(), &process{execID: "e"}); err != nil || asked != len(answers) {
				t.Errorf("asked %d times, %v", asked, err)
			}
		})
	}
}

func TestEngineErrorStaysInside(t *testing.T) {
	begun, err := provider.NewCalls().BeginEngine(t.Context(), "list")
	if err != nil {
		t.Fatal(err)
	}
	defer begun.Done()
	c := &call{Call: begun}
	broken := &answerError{code: http.StatusInternalServerError, words: "broken\n\x1b[2J\u202e\xff"}
	if err := c.toError(broken); err.Error() != `list: the engine refused: broken\n\x1b[2J\u202e\xff` {
		t.Errorf("error is %q", err)
	}
	if errors.As(c.toError(broken), new(*answerError)) {
		t.Error("the engine's error crosses the seam")
	}
}
