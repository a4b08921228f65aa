package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// filesOf is what a runtime can do with files.
type filesOf struct {
	container.Files
	container.FileArchiver
	container.FileWatcher
	container.Copier
	container.StreamExecer
}

func filesSession(
	ctx context.Context, e env, id string,
) (rt container.Runtime, fs filesOf, end func() error, err error) {
	rt, _, _, end, err = agentSessions(ctx, e, id)
	if err != nil {
		return nil, fs, nil, err
	}
	fs.Files, _ = container.As[container.Files](rt)
	fs.FileArchiver, _ = container.As[container.FileArchiver](rt)
	fs.FileWatcher, _ = container.As[container.FileWatcher](rt)
	fs.StreamExecer, _ = container.As[container.StreamExecer](rt)
	fs.Copier, _ = container.As[container.Copier](rt.(container.Wrapper).Unwrap()) // the engine's own
	return rt, fs, end, nil
}

func (fs filesOf) write(ctx context.Context, id, path string, data []byte) error {
	_, err := fs.WriteFile(ctx, id, path, bytes.NewReader(data), container.WriteFileOptions{})
	return err
}

func (fs filesOf) read(ctx context.Context, id, path string, want int) error {
	_, content, err := fs.ReadFile(ctx, id, path, container.ReadFileOptions{})
	if err != nil {
		return err
	}
	defer content.Close()
	n, err := io.Copy(io.Discard, content)
	if err == nil && n != int64(want) {
		err = fmt.Errorf("%d bytes were read", n)
	}
	return err
}

// oneFile measures a file in and out, beside what the engine's stream carries and its own archive
// calls take.
func oneFile(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-file"
	rt, fs, end, err := filesSession(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	words := ""
	for _, size := range []int{1 << 20, 64 << 20} {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(data)
		rounds := max(e.rounds/3, 1)
		if size > 1<<20 {
			rounds = 1
		}
		below, _ := container.As[container.StreamExecer](rt.(container.Wrapper).Unwrap())
		took, err := inTurns(ctx, rounds,
			func(ctx context.Context) (time.Duration, error) {
				return timed(func() error { return fs.write(ctx, id, "/tmp/f", data) })
			},
			func(ctx context.Context) (time.Duration, error) {
				return timed(func() error { return fs.read(ctx, id, "/tmp/f", size) })
			},
			func(ctx context.Context) (time.Duration, error) {
				return timed(func() error { return fs.CopyTo(ctx, id, "/tmp", packOne("g", data)) })
			},
			func(ctx context.Context) (time.Duration, error) {
				return timed(func() error {
					_, err := below.ExecStream(ctx, id, []string{"cat", "/tmp/f"}, container.ExecOptions{}, io.Discard,
						nil)
					return err
				})
			})
		if err != nil {
			return "", err
		}
		words += fmt.Sprintf("%d MiB: written %s, read %s (the engine's archive call writes it in %s, its exec of cat gives it in %s); ",
			size>>20, precise(median(took[0])), precise(median(took[1])), precise(median(took[2])),
			precise(median(took[3])))
	}
	return words, nil
}

func packOne(name string, data []byte) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
	_, _ = w.Write(data)
	_ = w.Close()
	return &b
}

// manyFiles compares 10,000 small files with the engine's archive calls, which "docker cp" uses.
func manyFiles(ctx context.Context, e env) (_ string, err error) {
	const id, n = "bench-files", 10000
	_, fs, end, err := filesSession(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range n {
		if i%100 == 0 {
			_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("d/%d/", i/100), Mode: 0o755,
				ModTime: time.Now()})
		}
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("d/%d/%d", i/100, i), Mode: 0o644, Size: 100,
			ModTime: time.Now()})
		_, _ = w.Write(bytes.Repeat([]byte{'x'}, 100))
	}
	_ = w.Close()
	for _, dir := range []string{"/tmp/agent", "/tmp/engine"} {
		if _, err := fs.MakeDirectory(ctx, id, dir, container.MakeDirectoryOptions{}); err != nil {
			return "", err
		}
	}
	out := func(r io.ReadCloser, err error) error {
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	took, err := interleave(ctx, max(e.rounds/10, 2),
		func(ctx context.Context) (time.Duration, error) {
			return timed(func() error { return fs.CopyTo(ctx, id, "/tmp/engine", bytes.NewReader(archive.Bytes())) })
		},
		func(ctx context.Context) (time.Duration, error) {
			return timed(func() error {
				return fs.UnpackFiles(ctx, id, "/tmp/agent", bytes.NewReader(archive.Bytes()),
					container.UnpackFilesOptions{Owners: true})
			})
		},
		func(ctx context.Context) (time.Duration, error) {
			return timed(func() error { return out(fs.CopyFrom(ctx, id, "/tmp/engine/d")) })
		},
		func(ctx context.Context) (time.Duration, error) {
			return timed(func() error { return out(fs.PackFiles(ctx, id, "/tmp/agent/d", "")) })
		})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("in %s; out %s", versus(took[:2]), versus(took[2:])), nil
}

// besideCopy measures commands and a terminal's echo while a large file is copied.
func besideCopy(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-beside"
	rt, fs, end, err := filesSession(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	t, err := openEcho(ctx, rt, id)
	if err != nil {
		return "", err
	}
	defer t.Close()
	both := func() (exec, echo time.Duration, err error) {
		var execs, echoes []time.Duration
		for range 10 * e.rounds {
			took, err := timed(func() error {
				_, err := rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
				return err
			})
			if err != nil {
				return 0, 0, err
			}
			execs = append(execs, took)
			if took, err = timed(func() error { return key(t) }); err != nil {
				return 0, 0, err
			}
			echoes = append(echoes, took)
		}
		return median(execs), median(echoes), nil
	}
	words := ""
	execAlone, echoAlone, err := both()
	if err != nil {
		return "", err
	}
	for name, copying := range map[string]func(ctx context.Context) error{
		"in": func(ctx context.Context) error {
			_, err := fs.WriteFile(ctx, id, "/tmp/big", io.LimitReader(zeros{}, 1<<30), container.WriteFileOptions{})
			return err
		},
		"out": func(ctx context.Context) error {
			return fs.read(ctx, id, "/tmp/big", 1<<30)
		},
	} {
		if name == "out" {
			if err := fs.write(ctx, id, "/tmp/big", make([]byte, 1<<30)); err != nil {
				return "", err
			}
		}
		copyCtx, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			for copyCtx.Err() == nil && copying(copyCtx) == nil {
			}
		})
		exec, echo, err := both()
		stop()
		wg.Wait()
		if err != nil {
			return "", err
		}
		words += fmt.Sprintf("; %s: exec × %.2f, echo × %.2f", name, float64(exec)/float64(execAlone),
			float64(echo)/float64(echoAlone))
	}
	return fmt.Sprintf("alone exec %s, echo %s%s", precise(execAlone), precise(echoAlone), words), nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// watchEvent measures how long a change takes to be told.
func watchEvent(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-watch"
	_, fs, end, err := filesSession(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	told := make(chan time.Time, 1)
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() {
		_ = fs.WatchFiles(watch, id, "/tmp", container.WatchFilesOptions{}, func(e container.FileEvent) error {
			if e.Kind == container.FileWatching || e.Kind == container.FileCreated {
				told <- time.Now()
			}
			return nil
		})
	})
	<-told
	var took []time.Duration
	for i := range 10 * e.rounds {
		begun := time.Now()
		if _, err := fs.MakeDirectory(ctx, id, fmt.Sprint("/tmp/", i), container.MakeDirectoryOptions{}); err != nil {
			return "", err
		}
		took = append(took, (<-told).Sub(begun))
	}
	return fmt.Sprintf("p50 %s, p99 %s, from the request that makes the change", precise(median(took)),
		precise(percentile(took, 99))), nil
}
