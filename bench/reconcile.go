package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/sqlite"
)

func reconcileMock(ctx context.Context, e env) (string, error) {
	return reconcile(ctx, mock.NewMockProvider(), e, 10_000, 16)
}

func reconcileReal(ctx context.Context, e env) (string, error) {
	cfg := config.Default()
	cfg.Instance = benchInstance
	cfg.Docker.Host = e.dockerHost
	runtime, err := docker.NewDockerProvider(&cfg)
	if err != nil {
		return "", err
	}
	defer runtime.Close()
	return reconcile(ctx, runtime, e, 200, 4)
}

// reconcile fills a store and an engine with n running sessions, and takes the median of passes
// that find nothing to do.
func reconcile(ctx context.Context, runtime container.Runtime, e env, n, workers int) (_ string, err error) {
	dir, err := os.MkdirTemp("", "octobot-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	store, err := sqlite.Open(ctx, filepath.Join(dir, "octobot.db"))
	if err != nil {
		return "", err
	}
	defer store.Close()
	service := session.NewContainerService(runtime, store, session.Config{
		DefaultImage: e.image, Creates: workers, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})

	ids := make(chan string)
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	defer func() {
		for i := range n {
			err = errors.Join(err, service.Delete(context.WithoutCancel(ctx),
				session.Principal{Name: "bench", Admin: true}, benchID(i)))
		}
	}()
	for range workers {
		wg.Go(func() {
			for id := range ids {
				_, err := service.Create(ctx, session.Principal{Name: "bench", Admin: true},
					session.CreateRequest{ID: id, Start: true,
						Spec: session.Spec{Image: e.image, Cmd: []string{"sleep", "3600"}}})
				if err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		ids <- benchID(i)
	}
	close(ids)
	wg.Wait()
	select {
	case err := <-errs:
		return "", err
	default:
	}

	var passes []time.Duration
	for range max(e.rounds/2, 5) {
		took, err := timed(func() error { return service.Reconcile(ctx) })
		if err != nil {
			return "", err
		}
		passes = append(passes, took)
	}
	return fmt.Sprintf("%s (median of %d passes, %d sessions)", short(median(passes)), len(passes), n), nil
}

func benchID(i int) string { return fmt.Sprintf("bench-%d-%d", os.Getpid(), i) }
