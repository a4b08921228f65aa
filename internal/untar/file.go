package untar

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
)

// file makes a file when all of it is there: a short one when it was read, a long one beside its
// place.
func (u *unpacker) file(dir *os.Root, archive *tar.Reader, h *tar.Header, base string) error {
	if h.Size > int64(len(u.buf)) {
		return u.longFile(dir, archive, h, base)
	}
	content := u.buf[:h.Size]
	if _, err := io.ReadFull(archive, content); err != nil {
		return err
	}
	return place(dir, base, func(name string) error {
		return u.create(dir, name, h, func(f *os.File) error {
			end, err := writeData(f, content, 0)
			if err == nil && end < h.Size {
				err = f.Truncate(h.Size)
			}
			return err
		})
	})
}

func (u *unpacker) longFile(dir *os.Root, archive *tar.Reader, h *tar.Header, base string) error {
	return replace(dir, base, func(name string) error {
		return u.create(dir, name, h, func(f *os.File) error { return u.fill(f, archive) })
	})
}

// create makes a new file, and gives it its content and what is known of it. Where that fails it
// leaves none.
func (u *unpacker) create(dir *os.Root, name string, h *tar.Header, fill func(*os.File) error) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = u.complete(f, h, fill)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = setTime(dir, name, h.ModTime)
	}
	if err != nil {
		_ = dir.Remove(name) // there is an error already
	}
	return err
}

func (u *unpacker) complete(f *os.File, h *tar.Header, fill func(*os.File) error) error {
	if err := fill(f); err != nil {
		return err
	}
	if u.opts.Owners {
		if err := f.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	return f.Chmod(u.mode(h))
}

// fill writes a file's content, leaving holes where there are only zeros.
func (u *unpacker) fill(f *os.File, content io.Reader) error {
	var at, written int64 // where the file is read, and where what was written ends
	for {
		n, err := readFull(content, u.buf)
		end, writeErr := writeData(f, u.buf[:n], at)
		if writeErr != nil {
			return writeErr
		}
		written = max(written, end)
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF) && written < at:
			return f.Truncate(at)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// readFull reads until b is full, or r says why not. Unlike io.ReadFull, it tells an end from a
// cut.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	return n, err
}

var zeros [blockSize]byte

// allZeros looks at no more than blockSize bytes.
func allZeros(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }

// writeData writes b at a place of a new file but for its blocks of zeros, and gives where the last
// of it ends that was written.
func writeData(f *os.File, b []byte, at int64) (end int64, err error) {
	for len(b) > 0 {
		n := 0 // of b, up to the next hole
		for n < len(b) {
			block := b[n:min(n+blockSize, len(b))]
			if len(block) == blockSize && allZeros(block) {
				break
			}
			n += len(block)
		}
		if n > 0 {
			if _, err := f.WriteAt(b[:n], at); err != nil {
				return end, err
			}
			end = at + int64(n)
		}
		skip := n
		for len(b)-skip >= blockSize && allZeros(b[skip:skip+blockSize]) {
			skip += blockSize
		}
		b, at = b[skip:], at+int64(skip)
	}
	return end, nil
}
