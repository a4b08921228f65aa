package agentbin

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"slices"
	"testing"
	"testing/fstest"
)

func TestBinary(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		b, err := Binary(arch)
		if err != nil {
			t.Fatalf("%v: run \"make agent\" first", err)
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine {
			t.Errorf("the agent for %s is for %v", arch, f.Machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("the agent for %s needs a dynamic linker, which images may lack", arch)
			}
		}
	}
}

func TestArchitectures(t *testing.T) {
	if got := Architectures(); !slices.Equal(got, []string{"amd64", "arm64"}) {
		t.Errorf("this build has agents for %q: run \"make agent\" first", got)
	}
	if got := list(fstest.MapFS{"dist/.gitignore": {}}); len(got) > 0 {
		t.Errorf("a build without agents has them for %q", got)
	}
}

func TestBinaryMissing(t *testing.T) {
	for _, arch := range []string{"", "riscv64", "../dist/octobot-agent-linux-amd64", "amd64.gz/.."} {
		if _, err := Binary(arch); !errors.Is(err, ErrMissing) {
			t.Errorf("Binary(%q): %v, want ErrMissing", arch, err)
		}
	}
}

func TestBinaryCorrupt(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(bytes.Repeat([]byte("octobot"), 1000))
	_ = w.Close()
	whole := packed.Bytes()
	for name, change := range map[string]func(b []byte) []byte{
		"empty":      func([]byte) []byte { return nil },
		"cut":        func(b []byte) []byte { return b[:len(b)-5] },
		"checksum":   func(b []byte) []byte { b[len(b)-8] ^= 1; return b },
		"no size":    func(b []byte) []byte { copy(b[len(b)-4:], "\xff\xff\xff\xff"); return b },
		"small size": func(b []byte) []byte { b[len(b)-4]--; return b },
		"large size": func(b []byte) []byte { b[len(b)-4]++; return b },
	} {
		files := fstest.MapFS{"dist/octobot-agent-linux-x.gz": {Data: change(bytes.Clone(whole))}}
		if b, err := read(files, "x"); err == nil {
			t.Errorf("%s: %d bytes and no error", name, len(b))
		}
	}
	files := fstest.MapFS{"dist/octobot-agent-linux-x.gz": {Data: whole}}
	if b, err := read(files, "x"); err != nil || len(b) != 7000 {
		t.Errorf("whole: %d bytes, %v", len(b), err)
	}
}
