package untar

import (
	"archive/tar"
	"errors"
	"io"
)

// block is what archives are made of.
const block = 512

// Reader is a [tar.Reader] that does not take an archive for whole which ends without its end, as
// one does that was cut between two entries, or is empty. One block of zeros is an end, too.
type Reader struct {
	*tar.Reader
	from *blockReader
}

// NewReader reads the archive r.
func NewReader(r io.Reader) *Reader {
	from := &blockReader{from: r}
	return &Reader{tar.NewReader(from), from}
}

// Next is [tar.Reader.Next], with [io.ErrUnexpectedEOF] where the end is missing.
func (r *Reader) Next() (*tar.Header, error) {
	filled := (r.from.read + block - 1) / block * block // the entry's last block is no header
	h, err := r.Reader.Next()
	if errors.Is(err, io.EOF) && (!r.from.zeros || r.from.read < filled+block) {
		err = io.ErrUnexpectedEOF
	}
	return h, err
}

// blockReader remembers whether the last whole block that was read, or the part of one since, is
// all zeros.
type blockReader struct {
	from  io.Reader
	read  int64
	zeros bool
}

func (b *blockReader) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		at := int(b.read % block)
		part := rest[:min(len(rest), block-at)]
		b.zeros = (b.zeros || at == 0) && allZeros(part)
		b.read += int64(len(part))
		rest = rest[len(part):]
	}
	return n, err
}
