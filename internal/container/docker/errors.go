package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"

	"github.com/octobot-run/octobot/internal/container"
)

// toError makes err the error of the call.
func (c *call) toError(err error) error {
	if err != nil && context.Cause(c.Ctx) == error(errSilent) {
		err = errSilent
	}
	return c.Error(err, func(err error) (string, error) { return engineText(err), classify(err) })
}

// phrase is how engines word what their status alone does not tell.
type phrase struct {
	words string // in lower case
	// says names the engines, with their versions, that were seen to answer so.
	says []string
}

const (
	docker20 = "docker 20.10"
	docker29 = "docker 29" // of moby 2.0.0-beta.24
	podman4  = "podman 4.3"
)

var (
	saysNoContainer   = []phrase{{"no such container", []string{docker20, docker29, podman4}}}
	saysNoImage       = []phrase{{"no such image", []string{docker20, docker29, podman4}}}
	saysOtherPlatform = []phrase{
		{"does not match the specified platform", []string{docker20}},
		{"does not provide the specified platform", []string{docker29}},
	}
	saysNoNetwork     = []phrase{{"unable to find network", []string{podman4}}}
	saysNetworkExists = []phrase{{"network already exists", []string{podman4}}}
	saysSubnetTaken   = []phrase{
		{"overlap", []string{docker20, docker29}},
		{"already used on the host", []string{podman4}},
	}
	saysNotRunning = []phrase{
		{"is not running", []string{docker20, docker29, podman4}},
		{"container state improper", []string{podman4}},
		{"is restarting", []string{docker20, docker29}},
		{"marked for removal", []string{docker20, docker29}},
		saysExecStopped,
	}
	// saysExecStopped comes behind words that are of saysNoCommand.
	saysExecStopped = phrase{"cannot exec in a stopped", []string{docker20}}
	saysPaused      = []phrase{{"is paused", []string{docker20, docker29, podman4}}}
	saysExists      = []phrase{{"is already in use by", []string{docker20, docker29, podman4}}}
	saysPortTaken   = []phrase{
		{"port is already allocated", []string{docker20, docker29}},
		{"address already in use", []string{docker20, docker29, podman4}},
		{"ports are not available", []string{"docker desktop 4"}},
	}
	saysNoCommand = []phrase{
		{"executable file not found", []string{docker20, docker29, podman4}},
		{"oci runtime exec failed", []string{docker20, docker29}},
		{"unable to start container process: exec", []string{docker20, podman4}},
		{"error during container init: exec", []string{docker29}},
		{"attempted to invoke a command that was not found", []string{podman4}},
		{"oci permission denied", []string{podman4}},
		{"exec format error", []string{docker20, docker29, podman4}},
		{"chdir to cwd", []string{docker20, docker29, podman4}},
		// Of the user, or of the group.
		{"no matching entries in", []string{docker20, docker29, podman4}},
	}
	// saysNoProgram is of reasons that are the command's, or its user's or directory's.
	saysNoProgram = []phrase{
		{"executable file not found", []string{docker20, docker29, podman4}},
		{": stat : no such file or directory", []string{docker20, docker29, podman4}},
		{"permission denied", []string{docker20, docker29, podman4}},
		{"is a directory", []string{docker20, docker29, podman4}},
		{"chdir to cwd", []string{docker20, docker29, podman4}},
		{"unable to find user", []string{docker20, docker29, podman4}},
		{"no matching entries in", []string{docker20, docker29, podman4}},
	}
	saysNotDirectory = []phrase{{"not a directory", []string{docker20, docker29, podman4}}}
	saysNoInit       = []phrase{{"init binary not found", []string{podman4}}}
	saysRemoving     = []phrase{{"already in progress", []string{docker20, docker29}}}
	// saysNoPs is what Docker says where its host's ps is missing, or another than procps'.
	saysNoPs = []phrase{{"error running ps", []string{docker20, docker29}}}
	// saysInUse is what runc says of a limit of memory, on cgroup v1, that is below what is in use,
	// and Docker of one below what it takes itself.
	saysInUse = []phrase{
		{"device or resource busy", []string{docker20}},
		{"minimum memory limit", []string{docker20, docker29}},
	}
)

// errorSays reports whether an error says one of the phrases.
func errorSays(err error, phrases []phrase) bool {
	text := strings.ToLower(err.Error())
	for _, p := range phrases {
		if strings.Contains(text, p.words) {
			return true
		}
	}
	return false
}

// lacksImage recognises the engine's refusal to make a container from an image that has to be
// pulled first: it has none of that name, or none for that platform.
func lacksImage(err error) bool {
	return cerrdefs.IsNotFound(err) && (errorSays(err, saysNoImage) || errorSays(err, saysOtherPlatform))
}

// isForgotten recognises an exec that the engine does not know any more: it has ended.
func isForgotten(err error) bool {
	return err != nil && cerrdefs.IsNotFound(err) && wordsOf(err) != ""
}

// isNoNetwork recognises a network that is gone, or whose name stands for two: Docker names it
// between the words.
func isNoNetwork(err error) bool {
	if errorSays(err, saysNoNetwork) {
		return true
	}
	text := strings.ToLower(err.Error())
	return statusOf(err)/100 == 4 && strings.Contains(text, "network ") &&
		(strings.Contains(text, " not found") || strings.Contains(text, " is ambiguous"))
}

// classify finds the class of an error of the SDK or of this package. An answer with words that are
// not known to mean something else is a refusal; where there is none, nothing was learnt of the
// container, and that is [container.ErrUnavailable].
func classify(err error) error {
	for _, class := range container.Classes() {
		if errors.Is(err, class) && !errors.Is(class, context.Canceled) && !errors.Is(class, context.DeadlineExceeded) {
			return class
		}
	}
	switch {
	case !isEngineAnswer(err):
		return container.ErrUnavailable
	case isNoContainer(err):
		return container.ErrContainerNotFound
	case lacksImage(err):
		return container.ErrImageNotFound
	case errorSays(err, saysPortTaken):
		return container.ErrPortTaken
	case errorSays(err, saysNoCommand) && !errorSays(err, []phrase{saysExecStopped}):
		return container.ErrExecFailed
	case errorSays(err, saysExists):
		return container.ErrContainerExists
	case errorSays(err, saysPaused):
		return container.ErrContainerPaused
	case errorSays(err, saysNotRunning):
		return container.ErrContainerStopped
	case cerrdefs.IsInvalidArgument(err), isNoNetwork(err):
		return container.ErrInvalidArgument
	case cerrdefs.IsNotImplemented(err):
		return container.ErrUnsupported
	}
	return container.ErrRefused
}

// isEngineAnswer reports whether err is an answer of the engine, as against none having come. A
// fault of it that it has no words for tells as little as its silence, and may be the word of a
// proxy that did not reach it.
func isEngineAnswer(err error) bool {
	status := statusOf(err)
	return status != 0 && (status < http.StatusInternalServerError || wordsOf(err) != "")
}

// madeNothing reports whether the engine has answered so that it is certain to have changed
// nothing: it found fault with the request. A fault of its own may have come half way.
func madeNothing(err error) bool {
	return isEngineAnswer(err) && statusOf(err) < http.StatusInternalServerError
}

// statusOf is the HTTP status of an engine's answer that is an error; 0 of what is no answer.
func statusOf(err error) int {
	if answer, ok := errors.AsType[*answerError](err); ok {
		return answer.code
	}
	// The SDK keeps the status to itself, but knows it again.
	for status := http.StatusBadRequest; status < 600; status++ {
		if errors.Is(err, errhttp.ToNative(status)) {
			return status
		}
	}
	return 0
}

// sdkAnswer is what the SDK puts before the words of an engine.
const sdkAnswer = "Error response from daemon: "

// sdkWordless is what the SDK says of an answer without a body, of one that is no JSON, and, behind
// sdkAnswer, of JSON without a message.
var sdkWordless = regexp.MustCompile(`^(request returned \d|error reading JSON: |` + sdkAnswer + `API returned a \d)`)

// wordsOf are the words of an engine's answer that is an error; empty where it has none.
func wordsOf(err error) string {
	if answer, ok := errors.AsType[*answerError](err); ok {
		return answer.words
	}
	text := err.Error()
	if sdkWordless.MatchString(text) {
		return ""
	}
	if _, words, ok := strings.Cut(text, sdkAnswer); ok {
		return words
	}
	return text
}

// engineRoot is where an engine keeps a container's root file system, which is nobody's business.
var engineRoot = regexp.MustCompile(`/[^\s"']*/(?:overlay|overlay2|overlayfs|vfs/dir)/[0-9a-f]{32,64}(?:/merged|/diff)?`)

// engineText is the error in the engine's words.
func engineText(err error) string {
	if words := noAnswerInWords(err); words != "" {
		return words
	}
	words := wordsOf(err)
	if words == "" {
		status := statusOf(err)
		words = fmt.Sprintf("it answered %d %s", status, http.StatusText(status))
	}
	return engineRoot.ReplaceAllString(strings.TrimSpace(words), "")
}
