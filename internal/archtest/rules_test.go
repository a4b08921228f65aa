package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

const module = "github.com/octobot-run/octobot"

// layer says what of this module the product code below a directory may import.
type layer struct {
	dir    string   // with everything below it, unless a longer dir fits
	may    []string // directories with everything below them
	reason string
}

// layers place every package. A package may always import what is below itself.
var layers = []layer{
	{"cmd/octobot", []string{"internal/cli"},
		"main only calls internal/cli, which tests can call too"},
	{"cmd/octobot-agent", []string{"internal/agent", "internal/agentproto"},
		"the agent is small, and knows nothing of who uses it"},
	{"internal/agent", []string{"internal/agentproto", "internal/vtmode", "internal/untar", "internal/relay"},
		"the agent faces hostile code: what it is made of must be easy to see"},
	{"internal/agentproto", nil,
		"both sides of the agent's connection speak it, and know nothing of each other"},
	{"internal/untar", nil,
		"an archive is unpacked as safely on both ends of a copy, by the same code"},
	{"internal/vtmode", nil,
		"what escape sequences mean is the same on both ends of a terminal"},
	{"internal/relay", nil,
		"what joins two connections knows nothing of where they lead"},
	{"internal/agentbin", nil,
		"the agent's binaries are data"},
	{"internal/container/agented", []string{"internal/container", "internal/container/provider", "internal/agentproto"},
		"the agent is put around any provider, and knows none"},
	{"api/v1", nil,
		"the wire types are public: what they import, every caller of the API depends on"},
	{"client", []string{"api/v1"},
		"the client is public: it sees of the daemon what the wire shows"},
	{"internal/cli", []string{"client", "api/v1", "internal/config", "internal/daemon", "internal/vtmode",
		"internal/untar", "internal/relay"},
		"the commands talk to the daemon as everybody else does, through the client"},
	{"internal/daemon", []string{"internal/audit", "internal/front", "internal/httpapi", "internal/session",
		"internal/store", "internal/container", "internal/agentbin", "internal/hostmount", "internal/recording",
		"internal/config", "api/v1"},
		"the daemon is the composition root, and nothing composes the daemon"},
	{"internal/front", []string{"internal/problem", "internal/session", "api/v1"},
		"what every request passes knows none of the sites behind it"},
	{"internal/audit", []string{"internal/session"},
		"what is recorded is what sessions tell"},
	{"internal/problem", []string{"internal/session", "internal/container", "api/v1"},
		"refusals look alike wherever they are made"},
	{"internal/httpapi", []string{"internal/front", "internal/problem", "internal/session", "internal/container",
		"internal/relay", "api/v1"},
		"the API serves sessions: it knows no provider, no store and no configuration file"},
	{"internal/session", []string{"internal/container", "internal/keylock", "internal/untar"},
		"sessions live over any Runtime and any Store: both are handed in; archives end for them as for who unpacks them"},
	{"internal/store", []string{"internal/session", "internal/container"},
		"a store implements what session declares, and nothing else"},
	{"internal/container", nil,
		"the seam is what every provider and caller depends on, so it depends on nothing of ours"},
	{"internal/container/provider", []string{"internal/container"},
		"the frame of every provider's calls knows no provider"},
	{"internal/container/docker", []string{"internal/container", "internal/container/provider", "internal/config",
		"internal/keylock"},
		"a provider knows the seam and its own settings, no other provider"},
	{"internal/container/mock", []string{"internal/container", "internal/container/provider", "internal/config",
		"internal/untar"},
		"a provider knows the seam and its own settings, no other provider"},
	{"internal/container/mock/toybox", nil,
		"a Unix knows nothing of the containers that it plays: it could stand in a module of its own"},
	{"internal/container/containertest", []string{"internal/container"},
		"the suite tests the seam, and so knows nothing but the seam"},
	{"internal/hostmount", nil,
		"a mount knows nothing of what it is for"},
	{"internal/recording", nil,
		"a recording knows nothing of what is recorded"},
	{"internal/keylock", nil,
		"a lock knows nothing of what it locks"},
	{"internal/config", []string{"api/v1"},
		"configuration is read by many: what it imports, all of them do; it reads durations as the API does"},
	{"internal/archtest", nil,
		"it reads the tree and takes no part in it"},
	{"internal/systemtest", nil,
		"it tests the built program from outside"},
	{"bench", []string{"internal", "client", "api/v1"},
		"the benchmark measures every layer"},
	{"scripts", nil,
		"the build's own programs must work while the product does not build"},
}

// seamOnly are packages whose directory may not be reached through a permission for one above it.
var seamOnly = []string{
	"internal/container/provider", "internal/container/docker", "internal/container/mock",
	"internal/container/agented",
	"internal/container/containertest", "internal/store/storetest",
}

// confined are foreign packages that only some directories may import in product code.
var confined = []struct {
	prefixes []string
	dirs     []string
	reason   string
}{
	{[]string{"github.com/moby/", "github.com/docker/"}, []string{"internal/container/docker", "bench"},
		"an engine's SDK never leaves its provider, so that another engine changes nothing else"},
	{[]string{"database/sql", "modernc.org/sqlite", "github.com/jackc/pgx/", "github.com/pressly/goose/"},
		[]string{"internal/store"},
		"SQL is the store's business alone"},
	{[]string{"github.com/spf13/cobra", "github.com/spf13/pflag"}, []string{"internal/cli"},
		"commands and flags are the CLI's business alone"},
	{[]string{"github.com/danielgtaylor/huma/"}, []string{"internal/httpapi"},
		"HTTP's framework is the API's business alone"},
	{[]string{"testing"}, []string{"internal/container/containertest", "internal/store/storetest",
		"internal/store/postgres/pgtest", "internal/relay/relaytest"},
		"the testing package registers flags in every program that imports it"},
}

// suites are for tests to import, never for product code.
var suites = []string{"internal/container/containertest", "internal/store/storetest", "internal/store/postgres/pgtest",
	"internal/relay/relaytest"}

// vague names say nothing of what a package is for.
var vague = []string{"util", "utils", "common", "types", "helper", "helpers", "misc", "shared", "base"}

// maxLines is how long a file of product code may be.
const maxLines = 550

// source is what the rules look at in one Go file.
type source struct {
	path    string // from the module's root, with slashes
	imports []string
	doc     bool // has a package comment
	lines   int
	machine bool // written by a program
}

func (s source) dir() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// check gives what breaks the rules, a line each, with the rule's reason.
func check(files []source) []string {
	var broken []string
	report := func(where, problem, reason string) {
		broken = append(broken, fmt.Sprintf("%s: %s (%s)", where, problem, reason))
	}
	described := map[string]bool{}
	for _, f := range files {
		described[f.dir()] = described[f.dir()] || f.doc
		for _, imported := range f.imports {
			if f.isTest() {
				continue
			}
			if problem, reason := checkImport(f, imported); problem != "" {
				report(f.path, problem, reason)
			}
		}
		if f.lines > maxLines && !f.isTest() && !f.machine {
			report(f.path, fmt.Sprintf("%d lines, more than %d", f.lines, maxLines),
				"a file is one thing, read in one sitting")
		}
	}
	for dir, ok := range described {
		if !ok {
			report(dir, "no package comment", "every package says what it is for")
		}
		if slices.Contains(vague, path.Base(dir)) {
			report(dir, "a name that says nothing", "a package is named after what it provides")
		}
		if _, ok := layerOf(dir); !ok {
			report(dir, "no place in the layout",
				"every package has its layer in internal/archtest, which says what it may import")
		}
	}
	slices.Sort(broken)
	return broken
}

// checkImport says what is wrong with an import of product code, if anything is.
func checkImport(f source, imported string) (problem, reason string) {
	for _, c := range confined {
		if matches(imported, c.prefixes) && !isBelow(f.dir(), c.dirs...) {
			return "imports " + imported, c.reason
		}
	}
	ours, ok := strings.CutPrefix(imported, module+"/")
	if !ok {
		return "", ""
	}
	if isBelow(ours, suites...) && !isBelow(f.dir(), suites...) {
		return "imports " + ours, "product code never depends on test suites"
	}
	if ours == "internal/daemon" && f.dir() == "internal/cli" &&
		!slices.Contains([]string{"serve.go", "doctor.go", "adopt.go", "version.go"}, path.Base(f.path)) {
		return "imports " + ours, "only serve runs a daemon, doctor looks at what one would find, adopt prepares one, and " +
			"version tells what one brings; all other commands talk to one"
	}
	if l, ok := layerOf(f.dir()); ok && !isBelow(ours, l.dir) && !permitted(f.dir(), ours, l.may) {
		return "imports " + ours, l.reason
	}
	return "", ""
}

// permitted reports whether may allows dir to import ours. Permission for the seam is none for
// the providers below it, except for those that put the program together.
func permitted(dir, ours string, may []string) bool {
	if !isBelow(ours, may...) {
		return false
	}
	composes := isBelow(dir, "internal/daemon", "bench")
	return composes || slices.Contains(may, ours) || !isBelow(ours, seamOnly...)
}

// layerOf finds the layer with the longest directory that dir is in.
func layerOf(dir string) (found layer, ok bool) {
	for _, l := range layers {
		if isBelow(dir, l.dir) && len(l.dir) > len(found.dir) {
			found, ok = l, true
		}
	}
	return found, ok
}

func isBelow(dir string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return dir == root || strings.HasPrefix(dir, root+"/")
	})
}

// matches reports whether an import path is one of prefixes, or below one.
func matches(imported string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return imported == p || strings.HasPrefix(imported, strings.TrimSuffix(p, "/")+"/")
	})
}
