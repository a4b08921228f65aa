package docker

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		code int // of the engine's answer; 0 where there was none
		text string
		want error
	}{
		{404, "No such container: octobot-session-a", container.ErrContainerNotFound},
		{404, `no container with name or ID "a" found: no such container`, container.ErrContainerNotFound},
		{404, "No such image: a:latest", container.ErrImageNotFound},
		{404, "no such image: docker.io/library/a:b: image not known", container.ErrImageNotFound},
		{404, "network octobot-x not found", container.ErrInvalidArgument},
		{404, "page not found", container.ErrUnavailable},
		{409, `Conflict. The container name "/a" is already in use by container "b"`, container.ErrContainerExists},
		{500, `creating container storage: the container name "a" is already in use by b`,
			container.ErrContainerExists},
		{409, "Container abc is not running", container.ErrContainerStopped},
		{409, "Container abc is paused, unpause the container before exec", container.ErrContainerPaused},
		{409, "can only create exec sessions on running containers: container state improper",
			container.ErrContainerStopped},
		{500, "driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: port is already allocated", container.ErrPortTaken},
		{500, "rootlessport listen tcp 127.0.0.1:80: bind: address already in use", container.ErrPortTaken},
		{400, `OCI runtime create failed: unable to start container process: exec: "nope": executable file not found in $PATH`, container.ErrExecFailed},
		{400, "invalid mount config", container.ErrInvalidArgument},
		{500, "something broke", container.ErrUnavailable},
		{501, "not implemented", container.ErrUnsupported},
		{503, "proxy has no backend", container.ErrUnavailable},
		{0, "connection refused: no such container", container.ErrUnavailable},
	} {
		err := errors.New(tt.text)
		if tt.code != 0 {
			err = &answerError{code: tt.code, text: tt.text}
		}
		if got := classify(fmt.Errorf("wrapped: %w", err)); got != tt.want {
			t.Errorf("%d %q is %v; want %v", tt.code, tt.text, got, tt.want)
		}
	}
}

func TestEngineErrorStaysInside(t *testing.T) {
	begun, err := provider.NewCalls().BeginEngine(t.Context(), "list")
	if err != nil {
		t.Fatal(err)
	}
	defer begun.Done()
	c := &call{Call: begun}
	down := &answerError{code: http.StatusInternalServerError, text: "down"}
	if err := c.toError(down); err.Error() != "list: engine unavailable: down" {
		t.Errorf("error is %q", err)
	}
	if errors.As(c.toError(down), new(*answerError)) {
		t.Error("the engine's error crosses the seam")
	}
}
