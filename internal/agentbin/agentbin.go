// Package agentbin holds the agent's binaries, one for each architecture, compressed, as "make
// agent" built them.
package agentbin

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// ErrMissing means that this build has no agent for an architecture.
var ErrMissing = errors.New("this build has no agent")

// A binary's name in dist has its architecture between these.
const prefix, suffix = "octobot-agent-linux-", ".gz"

// maxSize bounds a binary. scripts/agent.sh lets none pass that is larger.
const maxSize = 4 << 20

// Architectures lists those that this build has an agent for, in order.
func Architectures() []string { return list(dist) }

func list(files fs.FS) []string {
	names, err := fs.Glob(files, "dist/"+prefix+"*"+suffix)
	if err != nil {
		panic(err) // the pattern is malformed
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(strings.TrimPrefix(name, "dist/"+prefix), suffix)
	}
	return names
}

// Binary returns the agent for an architecture as Go names it ("amd64"), which is decompressed at
// each call and not kept. The same sources give the same bytes. No agent for arch: [ErrMissing].
func Binary(arch string) ([]byte, error) { return read(dist, arch) }

func read(files fs.FS, arch string) ([]byte, error) {
	packed, err := fs.ReadFile(files, "dist/"+prefix+arch+suffix)
	if err != nil {
		return nil, fmt.Errorf("%w for %q; \"make agent\" builds those that there are", ErrMissing, arch)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("the agent for %s: %w", arch, err)
	}
	// gzip ends with the size, so that one allocation suffices.
	size := binary.LittleEndian.Uint32(packed[len(packed)-4:])
	if size > maxSize {
		return nil, fmt.Errorf("the agent for %s: %d bytes, more than %d", arch, size, maxSize)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("the agent for %s: %w", arch, err)
	}
	// The checksum is looked at when the end is read.
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, fmt.Errorf("the agent for %s is corrupt: %w", arch, err)
	}
	return b, nil
}
