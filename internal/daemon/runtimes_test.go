package daemon

import (
	"maps"
	"slices"
	"testing"

	"github.com/octobot-run/octobot/internal/config"
)

func TestEveryRuntimeHasItsKind(t *testing.T) {
	if got := slices.Sorted(maps.Keys(runtimeKinds)); !slices.Equal(got,
		slices.Sorted(slices.Values(config.Runtimes))) {
		t.Errorf("kinds %q; configured can be %q", got, config.Runtimes)
	}
}
