package daemon

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/octobot-run/octobot/internal/agentbin"
	"github.com/octobot-run/octobot/internal/config"
)

func TestEveryRuntimeHasItsKind(t *testing.T) {
	if got := slices.Sorted(maps.Keys(runtimeKinds)); !slices.Equal(got,
		slices.Sorted(slices.Values(config.Runtimes))) {
		t.Errorf("kinds %q; configured can be %q", got, config.Runtimes)
	}
}

func TestAgentHashes(t *testing.T) {
	hashes, err := AgentHashes()
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(hashes)); !slices.Equal(got, agentbin.Architectures()) {
		t.Errorf("hashes for %q, agents for %q", got, agentbin.Architectures())
	}
	for arch, hash := range hashes {
		if !regexp.MustCompile("^[0-9a-f]{12}$").MatchString(hash) {
			t.Errorf("%s: %q", arch, hash)
		}
	}
}
