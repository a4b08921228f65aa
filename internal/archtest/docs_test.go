package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// link is a link of a Markdown file, without what it is within the file that it leads to.
var link = regexp.MustCompile(`\]\(([^)#]+)`)

// mapped is what reads like a path of the tree.
var mapped = regexp.MustCompile(`\b(api|bench|client|cmd|internal|scripts)(/[\w.-]*\w)+\b|\b(bench|scripts)\b`)

// TestLinks follows the links of every Markdown file to files of the tree.
func TestLinks(t *testing.T) {
	followed := 0
	walk(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, ".md") {
			return
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			to := found[1]
			if strings.Contains(to, "://") {
				continue
			}
			followed++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), to)); err != nil {
				t.Errorf("%s links to %s: %v", path, to, err)
			}
		}
	})
	if followed < 50 {
		t.Errorf("only %d links were found", followed)
	}
}

// TestArchitecture holds the map in docs/architecture.md to the tree: every layer is on it, and
// nothing that is not there.
func TestArchitecture(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := mapped.FindAllString(string(page), -1)
	for _, l := range layers {
		if !slices.ContainsFunc(named, func(name string) bool { return isBelow(name, l.dir) }) {
			t.Errorf("docs/architecture.md does not name %s", l.dir)
		}
	}
	for _, name := range named {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("docs/architecture.md names %s: %v", name, err)
		}
	}
}
