package session

import (
	"os"
	"path/filepath"
	"testing"
)

func TestResolveBinds(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, outside := filepath.Join(base, "root"), filepath.Join(base, "outside")
	for _, dir := range []string{filepath.Join(root, "data", "deep"), outside, root + "-beside"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"inside": "data", "out": outside, "up": "..", "broken": "data/missing", "broken-out": outside + "/missing",
		"loop": "loop", "etc": "/etc", "proc": "/proc", "slash": "/",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(base, "linked")
	if err := os.Symlink(root, linked); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		bind string
		want string
		code Code
	}{
		{root + ":/x", root + ":/x", ""},
		{root + "/data:/x:ro", root + "/data:/x:ro", ""},
		{root + "/data/:/x:rw", root + "/data:/x", ""},
		{linked + "/data:/x", root + "/data:/x", ""},
		{root + "/inside/deep:/x", root + "/data/deep:/x", ""},
		{root + "/missing:/x", "", CodePathNotFound},
		{root + "/data/missing/more:/x", "", CodePathNotFound},
		{root + "/out:/x", "", CodeForbidden},
		{root + "/out/missing:/x", "", CodeForbidden},
		{root + "/up:/x", "", CodeForbidden},
		{root + "/etc/passwd:/x", "", CodeForbidden},
		{root + "/proc:/x", "", CodeForbidden},
		{root + "/slash:/x", "", CodeForbidden},
		{root + "/slash" + root + "/data:/x", root + "/data:/x", ""},
		{root + "/loop:/x", "", CodeForbidden},
		{root + "/broken-out:/x", "", CodeForbidden},
		{root + "/broken:/x", "", CodeForbidden},
		{root + "-beside:/x", "", CodeForbidden},
		{outside + ":/x", "", CodeForbidden},
		{outside + "/missing:/x", "", CodeForbidden},
		{base + ":/x", "", CodeForbidden},
		{root + "/data/../../outside:/x", "", CodeInvalidArgument},
		{"/:/x", "", CodeInvalidArgument},
		{"relative/path:/x", "", CodeInvalidArgument},
		{"volume:/x", "", CodeForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.bind, func(t *testing.T) {
			got, err := resolveBinds([]string{linked, filepath.Join(base, "no-such-root")}, []string{tt.bind})
			code := Code("")
			if err != nil {
				code = toError(t.Context(), "create", "", err).Code
			}
			if code != tt.code {
				t.Fatalf("got %q (%v), want %q", code, err, tt.code)
			}
			if err == nil && got[0] != tt.want {
				t.Errorf("got %q, want %q", got[0], tt.want)
			}
		})
	}
	t.Run("a directory becomes a link", func(t *testing.T) {
		binds, err := resolveBinds([]string{root}, []string{root + "/data/deep:/x"})
		if err != nil {
			t.Fatal(err)
		}
		if err := checkBinds([]string{root}, binds); err != nil {
			t.Errorf("unchanged: %v", err)
		}
		if err := os.Remove(root + "/data/deep"); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{outside, root + "/data"} {
			if err := os.Symlink(target, root+"/data/deep"); err != nil {
				t.Fatal(err)
			}
			if err := checkBinds([]string{root}, binds); CodeOf(err) != CodeForbidden {
				t.Errorf("a link to %s: %v", target, err)
			}
			if err := os.Remove(root + "/data/deep"); err != nil {
				t.Fatal(err)
			}
		}
	})
	// A session that may write to a root must not choose where another root is.
	t.Run("a root in another", func(t *testing.T) {
		inner := filepath.Join(root, "inner")
		far := filepath.Join(base, "far")
		for name, target := range map[string]string{inner: outside, far: inner} {
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
		}
		for _, other := range []string{inner, far} {
			for _, roots := range [][]string{{root, other}, {other, linked}} {
				if _, err := resolveBinds(roots, []string{outside + ":/x"}); CodeOf(err) != CodeForbidden {
					t.Errorf("%q: %v", roots, err)
				}
				if _, err := resolveBinds(roots, []string{root + "/data:/x"}); err != nil {
					t.Errorf("%q: %v", roots, err)
				}
			}
		}
		// Alone it is the operator's own, and so is a directory in another root.
		for _, roots := range [][]string{{far}, {inner}, {far, base + "/beside"}} {
			if _, err := resolveBinds(roots, []string{outside + ":/x"}); err != nil {
				t.Errorf("%q: %v", roots, err)
			}
		}
		for _, roots := range [][]string{{root, root + "/data"}, {root, root}} {
			if _, err := resolveBinds(roots, []string{root + "/data:/x"}); err != nil {
				t.Errorf("%q: %v", roots, err)
			}
		}
	})
	t.Run("no roots", func(t *testing.T) {
		for _, roots := range [][]string{nil, {""}, {"."}} {
			if _, err := resolveBinds(roots, []string{root + ":/x"}); CodeOf(err) != CodeForbidden {
				t.Errorf("%q: %v", roots, err)
			}
		}
	})
}
