package docker

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/config"
)

var (
	// record has TestRecordAnswers ask the engines of OCTOBOT_TEST_DOCKER_HOST and
	// OCTOBOT_TEST_PODMAN_HOST anew, and write what they answer to recordedAnswers, where the
	// answers of others stay. scripts/with-engines.sh has such engines.
	record        = flag.Bool("record", false, "record the answers of the engines that OCTOBOT_TEST_…_HOST name")
	recordVersion = flag.String("record-version", "",
		"with -record: the version of an engine that was built without one")
)

const (
	recordedAnswers = "testdata/answers.json"
	recordLabel     = "octobot-record"
)

// recordedAnswer is what an engine answered in a situation.
type recordedAnswer struct {
	Engine    string `json:"engine"` // "docker 20.10"
	Situation string `json:"situation"`
	Request   string `json:"request"`
	Status    int    `json:"status"`
	Type      string `json:"type"`
	Body      string `json:"body"`
}

// TestRecordAnswers records, where it is told to.
func TestRecordAnswers(t *testing.T) {
	if !*record {
		return
	}
	answers := readAnswers(t)
	for name, variable := range map[string]string{"docker": "OCTOBOT_TEST_DOCKER_HOST",
		"podman": "OCTOBOT_TEST_PODMAN_HOST"} {
		host := os.Getenv(variable)
		if host == "" {
			continue
		}
		r := newAnswerRecorder(t, name, host)
		answers = slices.DeleteFunc(answers, func(a recordedAnswer) bool { return a.Engine == r.engine })
		for i, s := range situations {
			answer, refused := r.ask(fmt.Sprintf("octobot-record-%d", i), s)
			if refused {
				answers = append(answers, answer)
			}
			if refused == (s.except == name) {
				t.Errorf("%s: %s: refused: %v: %d %s", r.engine, s.name, refused, answer.Status, answer.Body)
			}
			r.clean()
		}
	}
	order := make(map[string]int)
	for i, s := range situations {
		order[s.name] = i
	}
	slices.SortStableFunc(answers, func(a, b recordedAnswer) int {
		return cmp.Or(cmp.Compare(order[a.Situation], order[b.Situation]), strings.Compare(a.Engine, b.Engine))
	})
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answers); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recordedAnswers, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readAnswers(t *testing.T) (answers []recordedAnswer) {
	t.Helper()
	b, err := os.ReadFile(recordedAnswers)
	if err == nil {
		err = json.Unmarshal(b, &answers)
	}
	if err != nil && !(*record && os.IsNotExist(err)) {
		t.Fatal(err)
	}
	return answers
}

// answerRecorder asks an engine past the provider.
type answerRecorder struct {
	t      *testing.T
	p      *DockerProvider
	engine string
}

func newAnswerRecorder(t *testing.T, name, host string) *answerRecorder {
	p, err := NewDockerProvider(&config.Config{Docker: config.Docker{Host: host}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	info, err := p.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	version := strings.SplitN(info.Version, ".", 3)
	if len(version) < 3 {
		version = []string{*recordVersion}
	}
	return &answerRecorder{t: t, p: p, engine: name + " " + strings.Join(version[:min(len(version), 2)], ".")}
}

// ask makes the requests of a situation, and gives the first answer that refuses one.
func (r *answerRecorder) ask(name string, s situation) (recordedAnswer, bool) {
	image := cmp.Or(os.Getenv("OCTOBOT_TEST_IMAGE"), "octobot-test:busybox")
	spec := fmt.Sprintf(`{"Image":%q,"Cmd":["sleep","60"],"Labels":{%q:""}`, image, recordLabel)
	exec := ""
	for _, text := range s.requests {
		text = strings.NewReplacer("NAME", name, "SPEC", spec, "/exec/ID/", "/exec/"+exec+"/").Replace(text)
		method, rest, _ := strings.Cut(text, " ")
		path, body, _ := strings.Cut(rest, " ")
		if method == "LISTEN" {
			listener, err := net.Listen("tcp", path)
			if err != nil {
				r.t.Fatal(err)
			}
			defer listener.Close()
			continue
		}
		answer := r.send(method, path, body)
		if answer.Status >= http.StatusBadRequest {
			answer.Situation, answer.Request = s.name, method+" "+path
			return answer, true
		}
		var made struct{ ID string }
		if strings.HasSuffix(path, "/exec") && json.Unmarshal([]byte(answer.Body), &made) == nil {
			exec = made.ID
		}
	}
	return recordedAnswer{}, false
}

func (r *answerRecorder) send(method, path, body string) recordedAnswer {
	r.t.Helper()
	var content io.Reader = strings.NewReader(body)
	kind := "application/json"
	if body == "TAR" {
		archive, err := tarOf("file", []byte("content"))
		if err != nil {
			r.t.Fatal(err)
		}
		content, kind = archive, "application/x-tar"
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.p.url("", nil)+path, content)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := r.p.raw.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return recordedAnswer{Engine: r.engine, Status: resp.StatusCode, Type: resp.Header.Get("Content-Type"),
		Body: strings.TrimSpace(string(said))}
}

// clean removes what a situation has made.
func (r *answerRecorder) clean() {
	list, err := r.p.client.ContainerList(r.t.Context(), client.ContainerListOptions{All: true,
		Filters: make(client.Filters).Add("label", recordLabel)})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range list.Items {
		_, _ = r.p.client.ContainerUnpause(r.t.Context(), c.ID, client.ContainerUnpauseOptions{})
		_, err := r.p.client.ContainerRemove(r.t.Context(), c.ID, client.ContainerRemoveOptions{Force: true})
		if err != nil {
			r.t.Errorf("clean up: %v", err)
		}
	}
}
