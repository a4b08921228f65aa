package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/octobot-run/octobot/internal/container"
)

// What files on their way into archives may hold on the disk, one of them and all.
const (
	maxSpooled  = 1 << 30
	allSpooled  = 4 << 30
	spoolMemory = 64 << 10 // so much is kept in memory instead
)

// spools keep content until its length is known.
type spools struct {
	dir  string       // of the files; empty: the system's for temporary ones
	held atomic.Int64 // bytes in files
}

// spool is content whose length is known.
type spool struct {
	of     *spools
	size   int64
	memory []byte
	file   *os.File // without a name; nil while memory is enough
}

// fill reads r to its end. When ctx ends, a Read that blocks is abandoned.
func (s *spools) fill(ctx context.Context, r io.Reader) (*spool, error) {
	type filled struct {
		content *spool
		err     error
	}
	done := make(chan filled)
	go func() {
		content := &spool{of: s}
		_, err := io.CopyBuffer(onlyWriter{content}, &untilReader{ctx, r}, make([]byte, copyBuffer))
		if err != nil {
			content.close()
		}
		select {
		case done <- filled{content, err}:
		case <-ctx.Done():
			content.close()
		}
	}()
	select {
	case f := <-done:
		return f.content, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// untilReader reads until ctx ends.
type untilReader struct {
	ctx context.Context
	io.Reader
}

func (u *untilReader) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(b)
}

func (c *spool) Write(b []byte) (int, error) {
	if c.file == nil && len(c.memory)+len(b) <= spoolMemory {
		c.memory = append(c.memory, b...)
		c.size += int64(len(b))
		return len(b), nil
	}
	if c.size+int64(len(b)) > maxSpooled {
		return 0, container.Errorf("write file", "", container.ErrLimitReached,
			"without an agent, a file of more than %d bytes goes in as an archive only: octobot cp", maxSpooled)
	}
	if c.of.held.Add(int64(len(b))) > allSpooled {
		c.of.held.Add(-int64(len(b)))
		return 0, refuse(CodeBusy, "try again in a moment",
			"other files that are being written take all the room for them")
	}
	if c.file == nil {
		var err error
		if c.file, err = unnamedFile(c.of.dir); err != nil {
			c.of.held.Add(-int64(len(b)))
			return 0, err
		}
	}
	n, err := c.file.Write(b)
	c.of.held.Add(int64(n - len(b)))
	c.size += int64(n)
	return n, err
}

// read gives the content, from its beginning.
func (c *spool) read() io.Reader {
	if c.file == nil {
		return bytes.NewReader(c.memory)
	}
	return io.MultiReader(bytes.NewReader(c.memory), io.NewSectionReader(c.file, 0, c.size-int64(len(c.memory))))
}

// close gives back what the content has taken.
func (c *spool) close() {
	if c.file == nil {
		return
	}
	_ = c.file.Close() // nobody reads it any more
	c.file = nil
	c.of.held.Add(int64(len(c.memory)) - c.size)
}

// unnamedFile makes a file that ends with its descriptor, however the process ends.
func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "file-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
