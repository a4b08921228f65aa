package containertest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var streamCases = []testCase{
	{"result", testStreamResult},
	{"64 MiB both ways", testStreamLarge},
	{"output as it comes", testStreamDialogue},
	{"an engine's words", testStreamWords},
	{"writer's error", testStreamWriterError},
	{"cancel", testStreamCancel},
	{"slow writer", testStreamSlowWriter},
	{"not executable", testStreamMissing},
	{"Tty", testStreamTty},
}

func testStreamResult(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	var stdout, stderr strings.Builder
	code, err := s.ExecStream(f.ctx, id, []string{"sh", "-c", "echo out; echo err >&2; exit 43"},
		container.ExecOptions{}, &stdout, &stderr)
	f.must(err)
	f.equal("exit code", code, 43)
	f.equal("stdout", stdout.String(), "out\n")
	f.equal("stderr", stderr.String(), "err\n")

	// A nil writer discards, and no limit holds.
	code, err = s.ExecStream(f.ctx, id, []string{"sh", "-c", "echo out; echo err >&2"},
		container.ExecOptions{MaxOutput: 1}, nil, nil)
	f.must(err)
	f.equal("exit code", code, 0)
}

func testStreamLarge(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	const size = 64 << 20
	in := &hashed{hash: sha256.New(), r: io.LimitReader(rand.NewChaCha8([32]byte{1}), size)}
	out := &hashed{hash: sha256.New()}
	code, err := s.ExecStream(f.ctx, id, []string{"cat"}, container.ExecOptions{Stdin: in}, out, nil)
	f.must(err)
	f.equal("exit code", code, 0)
	f.equal("size", out.n, int64(size))
	f.equal("checksum", string(out.hash.Sum(nil)), string(in.hash.Sum(nil)))
}

// hashed sums up what passes.
type hashed struct {
	hash hash.Hash
	r    io.Reader
	n    int64
}

func (h *hashed) Read(b []byte) (int, error) {
	n, err := h.r.Read(b)
	h.hash.Write(b[:n])
	return n, err
}

func (h *hashed) Write(b []byte) (int, error) {
	h.n += int64(len(b))
	return h.hash.Write(b)
}

// testStreamDialogue: each line comes back before the next is sent.
func testStreamDialogue(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.ExecStream(f.ctx, id, []string{"cat"}, container.ExecOptions{Stdin: stdin}, stdout, nil)
		ended <- errors.Join(err, stdout.Close())
	}()
	lines := bufio.NewReader(out)
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		_, err := io.WriteString(in, want)
		f.must(err)
		got, err := lines.ReadString('\n')
		f.must(err)
		f.equal("line", got, want)
	}
	f.must(in.Close())
	_, err := lines.ReadByte()
	f.equal("error", err, io.EOF)
	f.must(<-ended)
}

var errWriter = errors.New("the writer's own")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errWriter }

func testStreamWriterError(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	f.mustBePrompt("exec", func() {
		_, err := s.ExecStream(f.ctx, id, []string{"sh", "-c", "echo x; sleep 4315"}, container.ExecOptions{},
			failing{}, nil)
		if !errors.Is(err, errWriter) {
			f.Fatalf("error is %v; want the writer's", err)
		}
	})
	if f.caps.KillsExec {
		f.awaitGone(id, "4315")
	}
}

func testStreamCancel(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	f.mustBePrompt("exec", func() {
		_, err := s.ExecStream(ctx, id, []string{"yes"}, container.ExecOptions{},
			writerFunc(func(b []byte) (int, error) {
				cancel()
				return len(b), nil
			}), nil)
		f.class(err, context.Canceled)
	})
	if f.caps.KillsExec {
		f.awaitGone(id, "yes")
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }

// testStreamSlowWriter: a writer that stands still holds the command up, and no more is
// read than fits some buffers.
func testStreamSlowWriter(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	first, release := make(chan struct{}), make(chan struct{})
	written := 0
	ended := make(chan error, 1)
	go func() {
		_, err := s.ExecStream(f.ctx, id, []string{"head", "-c", "50000000", "/dev/zero"}, container.ExecOptions{},
			writerFunc(func(b []byte) (int, error) {
				if written == 0 {
					close(first)
					<-release
				}
				written += len(b)
				return len(b), nil
			}), nil)
		ended <- err
	}()
	<-first
	f.awaitProcess(id, "head -c 50000000") // which would be gone, had it been able to write
	close(release)
	f.must(<-ended)
	f.equal("bytes", written, 50_000_000)
}

func testStreamMissing(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	_, err := s.ExecStream(f.ctx, id, []string{"no-such-program"}, container.ExecOptions{}, nil, nil)
	f.class(err, container.ErrExecFailed)
}

func testStreamTty(f *fixture) {
	id := f.shared()
	s, ok := optional[container.StreamExecer](f)
	if !ok {
		return
	}
	var stdout, stderr strings.Builder
	code, err := s.ExecStream(f.ctx, id, []string{"sh", "-c", "echo out; echo err >&2; exit 5"},
		container.ExecOptions{Tty: true}, &stdout, &stderr)
	f.must(err)
	f.equal("exit code", code, 5)
	f.equal("stdout", stdout.String(), "out\r\nerr\r\n")
	f.equal("stderr", stderr.String(), "")
}
