package docker

import (
	"context"
	"errors"
	"strings"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/octobot-run/octobot/internal/container"
)

// toError makes err the error of the call.
func (c *call) toError(err error) error {
	return c.Error(err, func(err error) (string, error) { return engineText(err), classify(err) })
}

// Words by which engines tell apart what has the same status code. Each list holds those of
// Docker and of Podman.
var (
	saysNoContainer = []string{"no such container", "no container with name or id"}
	saysNoImage     = []string{"no such image", "image not known", "manifest unknown", "pull access denied",
		"repository does not exist", "no matching manifest", "manifest for", "unable to find image"}
	saysNoNetwork     = []string{"network not found", "unable to find network", "could not find network"}
	saysNetworkExists = []string{"network already exists"}
	saysSubnetTaken   = []string{"overlap", "already used on the host", "conflicts with network"}
	saysNotRunning    = []string{"is not running", "is restarting", "container state improper",
		"marked for removal",
		"cannot exec in a stopped", "can only create exec sessions on running", "not in running state"}
	saysPaused    = []string{"is paused"}
	saysExists    = []string{"is already in use by"}
	saysPortTaken = []string{"port is already allocated", "address already in use", "ports are not available"}
	saysNoCommand = []string{"executable file not found", "oci runtime exec failed",
		"unable to start container process: exec:",
		"attempted to invoke a command that was not found", "oci permission denied", "exec format error",
		"unable to find user", "no matching entries in passwd file", "chdir to cwd"}
	saysNoPath = []string{"could not find the file", "not a directory", "extraction point is not a directory",
		"no such file or directory", "could not be found on container", "could not find file"}
	saysNoInit = []string{"container-init binary not found", "init binary not found"}
)

func errorSays(err error, words []string) bool {
	text := strings.ToLower(err.Error())
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// isNoNetwork recognises a network that is gone, or whose name stands for two: Docker names it
// between the words.
func isNoNetwork(err error) bool {
	text := strings.ToLower(err.Error())
	return errorSays(err, saysNoNetwork) || strings.Contains(text, "network ") &&
		(strings.Contains(text, " not found") || strings.Contains(text, " is ambiguous"))
}

// classify finds the class of an error of the SDK or of this package. What is not
// known to mean something else is ErrUnavailable: nothing was learnt of the container.
func classify(err error) error {
	for _, class := range container.Classes() {
		if errors.Is(err, class) && !errors.Is(class, context.Canceled) && !errors.Is(class, context.DeadlineExceeded) {
			return class
		}
	}
	notFound := cerrdefs.IsNotFound(err)
	switch {
	case !isEngineAnswer(err):
		return container.ErrUnavailable
	case notFound && errorSays(err, saysNoContainer):
		return container.ErrContainerNotFound
	case lacksImage(err):
		return container.ErrImageNotFound
	case errorSays(err, saysPortTaken):
		return container.ErrPortTaken
	case errorSays(err, saysNoCommand):
		return container.ErrExecFailed
	case errorSays(err, saysExists):
		return container.ErrContainerExists
	case errorSays(err, saysPaused):
		return container.ErrContainerPaused
	case errorSays(err, saysNotRunning):
		return container.ErrContainerStopped
	case cerrdefs.IsInvalidArgument(err), notFound && isNoNetwork(err):
		return container.ErrInvalidArgument
	case cerrdefs.IsNotImplemented(err):
		return container.ErrUnsupported
	}
	return container.ErrUnavailable
}

// isEngineAnswer reports whether err is an answer of the engine, as against none having come.
func isEngineAnswer(err error) bool {
	return cerrdefs.IsNotFound(err) || cerrdefs.IsInvalidArgument(err) || cerrdefs.IsConflict(err) ||
		cerrdefs.IsInternal(err) || cerrdefs.IsNotImplemented(err) || cerrdefs.IsUnavailable(err) ||
		cerrdefs.IsUnauthorized(err) || cerrdefs.IsPermissionDenied(err) || cerrdefs.IsNotModified(err) ||
		cerrdefs.IsUnknown(err)
}

// engineText is the error in the engine's words.
func engineText(err error) string {
	if words := silenceInWords(err); words != "" {
		return words
	}
	return strings.TrimSpace(strings.TrimPrefix(err.Error(), "Error response from daemon: "))
}
