package docker

import (
	"os"
	"testing"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
)

// TestRemoveOutdated removes volumes of other versions, and nothing else.
func TestRemoveOutdated(t *testing.T) {
	for engine, variable := range map[string]string{
		"docker": "OCTOBOT_TEST_DOCKER_HOST", "podman": "OCTOBOT_TEST_PODMAN_HOST",
	} {
		t.Run(engine, func(t *testing.T) {
			host := os.Getenv(variable)
			if host == "" {
				t.Skipf("%s is not set", variable)
			}
			p, err := NewDockerProvider(&config.Config{Instance: "outdated", Docker: config.Docker{Host: host}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			ours := map[string]string{container.LabelOctobot: "true", container.LabelProgram: "0123"}
			volumes := map[string]map[string]string{
				volumePrefix + "0-test":        ours,
				volumePrefix + "1-test":        ours, // the current one
				volumePrefix + "2-test":        {container.LabelProgram: "0123"},
				volumePrefix + "3-test":        nil,
				"somebodys-octobot-agent-test": ours,
			}
			for name, labels := range volumes {
				if _, err := p.client.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: name,
					Labels: labels}); err != nil {
					t.Fatal(err)
				}
				defer func() { _, _ = p.client.VolumeRemove(t.Context(), name, client.VolumeRemoveOptions{}) }()
			}
			exists := func(name string) bool {
				_, err := p.client.VolumeInspect(t.Context(), name, client.VolumeInspectOptions{})
				return err == nil
			}
			c, err := p.beginCall(t.Context(), "test", "x", func() error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer c.Done()
			c.removeOutdated(volumePrefix+"1-test", outdatedAge)
			if !exists(volumePrefix + "0-test") {
				t.Error("one that was just made, maybe by another daemon, is removed")
			}
			c.removeOutdated(volumePrefix+"1-test", 0)
			for name := range volumes {
				if want := name != volumePrefix+"0-test"; exists(name) != want {
					t.Errorf("%s: is there %t, want %t", name, exists(name), want)
				}
			}
		})
	}
}
