package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

func TestTree(t *testing.T) {
	files := readTree(t)
	if len(files) < 10 {
		t.Fatalf("only %d Go files found", len(files))
	}
	for _, broken := range check(files) {
		t.Error(broken)
	}
}

// TestNoPathOfOneMachine keeps out of the tree where somebody keeps it.
func TestNoPathOfOneMachine(t *testing.T) {
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(here, "/") < 2 {
		t.Logf("%s is too short to look for", here)
		return
	}
	walk(t, func(path string, text []byte) {
		built := bytes.IndexByte(text, 0) >= 0
		if !built && bytes.Contains(text, []byte(here)) {
			t.Errorf("%s names %s, where this tree happens to be", path, here)
		}
	})
}

func TestRulesCanFail(t *testing.T) {
	ok := func(path string, imports ...string) source {
		return source{path: path, imports: imports, doc: true, lines: 10}
	}
	tests := []struct {
		name string
		file source
		want string // part of the one complaint; empty for none
	}{
		{"session uses the seam", ok("internal/session/a.go", module+"/internal/container"), ""},
		{"session knows a provider", ok("internal/session/a.go", module+"/internal/container/docker"),
			"both are handed in"},
		{"session knows the wire", ok("internal/session/a.go", module+"/api/v1"), "both are handed in"},
		{"the seam imports ours", ok("internal/container/a.go", module+"/internal/config"),
			"depends on nothing of ours"},
		{"wire types import ours", ok("api/v1/a.go", module+"/internal/container"), "the wire types are public"},
		{"client sees the inside", ok("client/a.go", module+"/internal/session"), "the client is public"},
		{"httpapi knows a provider", ok("internal/httpapi/a.go", module+"/internal/container/docker"),
			"knows no provider"},
		{"httpapi knows a store", ok("internal/httpapi/a.go", module+"/internal/store/sqlite"), "knows no provider"},
		{"httpapi speaks SQL", ok("internal/httpapi/a.go", "database/sql"), "SQL is the store's"},
		{"a store speaks SQL", ok("internal/store/sqlite/a.go", "database/sql", "database/sql/driver"), ""},
		{"a test speaks SQL", ok("internal/session/a_test.go", "database/sql"), ""},
		{"provider reads its settings", ok("internal/container/docker/a.go", module+"/internal/config"), ""},
		{"provider knows a provider", ok("internal/container/docker/a.go", module+"/internal/container/mock"),
			"no other provider"},
		{"SDK in its provider", ok("internal/container/docker/a.go", "github.com/moby/moby/client"), ""},
		{"SDK elsewhere", ok("internal/session/a.go", "github.com/moby/moby/api/types"), "SDK never leaves"},
		{"daemon composes", ok("internal/daemon/a.go", module+"/internal/container/docker",
			module+"/internal/store/postgres"), ""},
		{"daemon uses a suite", ok("internal/daemon/a.go", module+"/internal/container/containertest"), "test suites"},
		{"test uses a suite", ok("internal/container/mock/a_test.go", module+"/internal/container/containertest"), ""},
		{"serve runs the daemon", ok("internal/cli/serve.go", module+"/internal/daemon"), ""},
		{"ls runs the daemon", ok("internal/cli/ls.go", module+"/internal/daemon"), "only serve runs a daemon"},
		{"product code tests", ok("internal/session/a.go", "testing"), "registers flags"},
		{"vague name", ok("internal/session/util/a.go"), "says nothing"},
		{"no layer", ok("internal/newcomer/a.go"), "no place"},
		{"no comment", source{path: "internal/session/a.go", lines: 10}, "no package comment"},
		{"long", source{path: "internal/session/a.go", doc: true, lines: maxLines + 1}, "read in one sitting"},
		{"long, by a program", source{path: "internal/session/a.go", doc: true, lines: maxLines + 1, machine: true},
			""},
		{"long test", source{path: "internal/session/a_test.go", doc: true, lines: maxLines + 1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			broken := check([]source{tt.file})
			switch {
			case tt.want == "" && len(broken) > 0:
				t.Errorf("complaints about what is allowed: %q", broken)
			case tt.want != "" && (len(broken) != 1 || !strings.Contains(broken[0], tt.want)):
				t.Errorf("complaints %q, want one with %q", broken, tt.want)
			}
		})
	}
}

// readTree reads every Go file of the module.
func readTree(t *testing.T) []source {
	t.Helper()
	var files []source
	walk(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		f := source{
			path:    path,
			doc:     parsed.Doc.Text() != "",
			lines:   bytes.Count(text, []byte("\n")),
			machine: ast.IsGenerated(parsed),
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Errorf("%s: import %s: %v", path, spec.Path.Value, err)
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
	})
	return files
}

// walk visits the files of the tree that are its source: not what was built, not
// other modules, nothing hidden.
func walk(t *testing.T, visit func(path string, text []byte)) {
	t.Helper()
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && (strings.HasPrefix(d.Name(), ".") ||
				slices.Contains([]string{"bin", "tools", "testdata"}, d.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		visit(path, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
