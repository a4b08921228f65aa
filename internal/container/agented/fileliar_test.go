package agented

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// TestLiarsAboutFiles has agents that lie about files. Callers hear of it, in bounded time.
func TestLiarsAboutFiles(t *testing.T) {
	then := func(first, m agentproto.Message) func(*agentproto.Stream) {
		return func(s *agentproto.Stream) {
			_ = s.Send(first)
			_ = s.Send(m)
		}
	}
	info := &agentproto.FileInfo{Name: "f"}
	read := func(ctx context.Context, r *Runtime) error {
		_, content, err := r.ReadFile(ctx, "s", "/f", container.ReadFileOptions{})
		if err != nil {
			return err
		}
		defer content.Close()
		_, err = io.Copy(io.Discard, content)
		return err
	}
	write := func(ctx context.Context, r *Runtime) error {
		_, err := r.WriteFile(ctx, "s", "/f", zeros{}, container.WriteFileOptions{})
		return err
	}
	list := func(ctx context.Context, r *Runtime) error {
		return r.ListFiles(ctx, "s", "/f", "", func(container.FileInfo) error { return nil })
	}
	search := func(ctx context.Context, r *Runtime) error {
		_, err := r.SearchFiles(ctx, "s", "/f", container.SearchFilesOptions{Name: "*", Limit: 3},
			func(container.FileMatch) error { return nil })
		return err
	}
	watch := func(ctx context.Context, r *Runtime) error {
		return r.WatchFiles(ctx, "s", "/f", container.WatchFilesOptions{},
			func(container.FileEvent) error { return nil })
	}
	pack := func(ctx context.Context, r *Runtime) error {
		_, err := r.PackFiles(ctx, "s", "/f", "")
		return err
	}
	forever := func(m agentproto.Message) func(*agentproto.Stream) {
		return func(s *agentproto.Stream) {
			for s.Send(m) == nil {
			}
		}
	}
	var cases sync.WaitGroup
	defer cases.Wait()
	for name, tt := range map[string]struct {
		answer func(*agentproto.Stream)
		do     func(ctx context.Context, r *Runtime) error
		want   error
	}{
		"read: another answer": {then(&agentproto.Entries{}, info), read, container.ErrUnavailable},
		"read: no content":     {then(info, info), read, container.ErrUnavailable},
		"read: no end":         {func(s *agentproto.Stream) { _ = s.Send(info) }, read, container.ErrUnavailable},
		"read: never": {func(s *agentproto.Stream) {
			_ = s.Send(info)
			_, _ = s.Next()
		}, read, context.DeadlineExceeded},
		"read: escapes": {func(s *agentproto.Stream) {
			_ = s.Send(agentproto.Errorf(agentproto.PermissionDenied, "\x1b[2J"))
		}, read, container.ErrPermission},
		"write: done before all came": {func(s *agentproto.Stream) { _ = s.Send(info) }, write,
			container.ErrUnavailable},
		"write: no word": {func(*agentproto.Stream) {}, write, container.ErrUnavailable},
		"write: never reads": {func(s *agentproto.Stream) { <-t.Context().Done() }, write,
			context.DeadlineExceeded},
		"list: no end": {forever(&agentproto.Entries{Files: make([]agentproto.FileInfo, 60000)}), list,
			container.ErrLimitReached},
		"list: nothing":    {forever(&agentproto.Entries{}), list, container.ErrUnavailable},
		"list: another":    {forever(info), list, container.ErrUnavailable},
		"search: too many": {forever(&agentproto.Match{Path: "/f"}), search, container.ErrUnavailable},
		"watch: not on":    {forever(&agentproto.FileEvent{}), watch, container.ErrUnavailable},
		"watch: no words": {then(&agentproto.Watching{}, &agentproto.FileEvent{Change: 99}), watch,
			container.ErrUnavailable},
		"pack: nothing": {func(*agentproto.Stream) {}, pack, container.ErrUnavailable},
		"pack: an error": {func(s *agentproto.Stream) { _ = s.Send(agentproto.Errorf(agentproto.NotFound, "x")) },
			pack, container.ErrPathNotFound},
		"pack: empty frame": {forever(&agentproto.Done{}), pack, nil},
	} {
		r := withLiar(t, operations(tt.answer))
		cases.Go(func() { // each waits for a while
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
			defer cancel()
			err := tt.do(ctx, r)
			if !errors.Is(err, tt.want) || err != nil && strings.ContainsAny(err.Error(), "\x1b\a") {
				t.Errorf("%s: error %q; want %v", name, err, tt.want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestLiarsInfo: what a file is said to be is taken for no more than that.
func TestLiarsInfo(t *testing.T) {
	r := withLiar(t, operations(func(s *agentproto.Stream) {
		_ = s.Send(&agentproto.FileInfo{Name: "../x", Type: 200, Mode: math.MaxUint32, Owner: "\x1b]0;x\a", Size: -1,
			Modified: math.MinInt64, Version: "1\"\r\nSet-Cookie: x"})
	}))
	info, err := r.StatFile(t.Context(), "s", "/f", container.StatFileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode > 0o7777 || info.Size != 0 || info.Version != "" || strings.ContainsAny(info.Owner, "\x1b\a") {
		t.Errorf("%+v", info)
	}
}

// TestLiarsWhoReadNothing: an upload to one ends by itself, though nobody leaves.
func TestLiarsWhoReadNothing(t *testing.T) {
	r := withLiar(t, operations(func(*agentproto.Stream) { <-t.Context().Done() }))
	r.cfg.stallTime = 100 * time.Millisecond
	_, err := r.WriteFile(t.Context(), "s", "/f", zeros{}, container.WriteFileOptions{})
	if !errors.Is(err, container.ErrUnavailable) {
		t.Errorf("error is %v", err)
	}
}

// TestLiarsNames: what callers may hold is bounded.
func TestLiarsNames(t *testing.T) {
	long := strings.Repeat("x", 900<<10)
	r := withLiar(t, operations(func(s *agentproto.Stream) {
		for s.Send(&agentproto.Entries{Files: []agentproto.FileInfo{{Name: long}}}) == nil {
		}
	}))
	err := r.ListFiles(t.Context(), "s", "/", "", func(container.FileInfo) error { return nil })
	if !errors.Is(err, container.ErrLimitReached) {
		t.Errorf("listing: %v", err)
	}
	r = withLiar(t, operations(func(s *agentproto.Stream) {
		for s.Send(&agentproto.Match{Path: long}) == nil {
		}
	}))
	incomplete, err := r.SearchFiles(t.Context(), "s", "/", container.SearchFilesOptions{Name: "*"},
		func(container.FileMatch) error { return nil })
	if incomplete == "" || err != nil {
		t.Errorf("search: %q, %v", incomplete, err)
	}
}
