package docker

import (
	"errors"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"github.com/octobot-run/octobot/internal/container"
)

// Docker refuses to make a container from an image of another platform than the one that was asked
// for. Podman takes what has the name, and so does Docker before API 1.41.

// createFor is create, of the platform that was asked for.
func (c *call) createFor(opts container.Options, spec client.ContainerCreateOptions) (string, error) {
	if err := c.checkPlatform(opts); err != nil {
		return "", err
	}
	return c.create(spec)
}

// checkPlatform does what the engine does not: it refuses an image, in Docker's words, that is
// there for another platform alone.
func (c *call) checkPlatform(opts container.Options) error {
	if opts.Platform == "" || !c.p.podman() && versions.GreaterThanOrEqualTo(c.p.client.ClientVersion(), "1.41") {
		return nil
	}
	image, err := c.p.client.ImageInspect(c.Ctx, opts.Image)
	switch {
	case cerrdefs.IsNotFound(err):
		return nil // as the create will say
	case err != nil:
		return err
	}
	want := platform(opts.Platform)
	if strings.EqualFold(image.Os, want.OS) && architecture(image.Architecture) == architecture(want.Architecture) &&
		(want.Variant == "" || image.Variant == "" || image.Variant == want.Variant) {
		return nil
	}
	have := strings.TrimSuffix(strings.Join([]string{image.Os, image.Architecture, image.Variant}, "/"), "/")
	return cerrdefs.ErrNotFound.WithMessage("image " + opts.Image + " does not match the specified platform: wanted " +
		opts.Platform + ", actual: " + have)
}

// architecture is an architecture by the name that images bear.
func architecture(name string) string {
	name = strings.ToLower(name)
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "i386", "i486", "i586", "i686":
		return "386"
	case "armhf", "armel":
		return "arm"
	}
	return name
}

// pullFor gets what the engine lacked, as it said.
func (c *call) pullFor(opts container.Options, lack error) error {
	err := c.pull(opts)
	e, ok := errors.AsType[*container.Error](err)
	if !ok || e.Class != container.ErrImageNotFound || !errorSays(lack, saysOtherPlatform) {
		return err
	}
	return container.Errorf("", "", container.ErrImageNotFound,
		"the engine does not have it for %s (%s), and can't pull it: %s", opts.Platform, engineText(lack), e.Detail)
}
