package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, errors.New("the file is too long")
	}
	return text, nil
}

// yaml reads the file's text. Keys that are not settings are refused, and so are
// anchors, aliases and merges, which a file of settings does not need.
func (l *loader) yaml(path string, text []byte) {
	var doc yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // nothing but comments
	case err != nil:
		l.refuse(path, "", "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.refuse(path, "one document", "holds more than one document")
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	settings := map[string]Setting{}
	for _, s := range Settings() {
		settings[s.Key] = s
	}
	l.mapping(path, "", root, settings)
}

// mapping reads one level of the file; prefix is the section's name with a dot.
func (l *loader) mapping(path, prefix string, node *yaml.Node, settings map[string]Setting) {
	if node.Kind != yaml.MappingNode {
		l.refuse(at(path, node, strings.TrimSuffix(prefix, ".")), keys(prefix, settings),
			"is not a mapping of settings to values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := prefix + name.Value
		where := at(path, name, key)
		s, known := settings[key]
		switch {
		case seen[key]:
			l.refuse(where, "", "is set twice")
		case known:
			l.keepSecret(s, path, where)
			l.node(s, where, value)
		case prefix == "" && section(key, settings):
			l.mapping(path, key+".", value, settings)
		default:
			l.refuse(where, keys(prefix, settings), "is not a setting")
		}
		seen[key] = true
	}
}

// keepSecret refuses a secret in a file that everybody can read. The daemon closes those of its
// data directory itself.
func (l *loader) keepSecret(s Setting, path, where string) {
	if !s.Secret || filepath.Dir(path) == filepath.Clean(l.config.DataDir) {
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		l.refuse(where, "", "is a secret, and every user can read the file (mode %04o); chmod 600 %s, or 640 for a group",
			info.Mode().Perm(), path)
	}
}

func (l *loader) node(s Setting, where string, node *yaml.Node) {
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		l.refuse(where, s.Allowed, "has no value")
	case node.Kind == yaml.ScalarNode:
		l.set(s, where, []string{node.Value})
	case node.Kind == yaml.SequenceNode && s.List:
		values := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				l.refuse(where, s.Allowed, "item %d is not a single value", i+1)
				return
			}
			values[i] = item.Value
		}
		l.set(s, where, values)
	default:
		l.refuse(where, s.Allowed, "is not a single value")
	}
}

func at(path string, node *yaml.Node, key string) string {
	where := fmt.Sprintf("%s:%d", path, node.Line)
	if key != "" {
		where += ": " + quoteKey(key)
	}
	return where
}

// quoteKey leaves keys as they are written, unless they hold what would spoil a terminal.
func quoteKey(key string) string {
	if word(key) {
		return key
	}
	return quote(key)
}

func section(name string, settings map[string]Setting) bool {
	for key := range settings {
		if strings.HasPrefix(key, name+".") {
			return true
		}
	}
	return false
}

// keys lists what a section may hold.
func keys(prefix string, settings map[string]Setting) string {
	var names []string
	for key := range settings {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			first, _, _ := strings.Cut(rest, ".")
			names = append(names, first)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
