package daemon

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd of the daemon's state, where systemd started it.
func notify(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("systemd was not notified", "state", state, "error", err)
	}
}

// watchdog tells systemd that the daemon lives, for as long as its API answers. It
// returns when ctx ends, or at once where systemd does not watch.
func watchdog(ctx context.Context, log *slog.Logger, api http.Handler) {
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is not served", "error", err)
	}
	if err != nil || limit <= 0 {
		return
	}
	tick := time.NewTicker(limit / 3)
	defer tick.Stop()
	for {
		if alive(ctx, limit/3, api) {
			notify(log, systemd.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// alive asks the API for its health, as a client would.
func alive(ctx context.Context, limit time.Duration, api http.Handler) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/healthz", nil)
	if err != nil {
		return false
	}
	w := statusWriter{header: http.Header{}}
	api.ServeHTTP(&w, r)
	return w.status == http.StatusOK
}

// statusWriter keeps a response's status, and drops the rest.
type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header { return w.header }

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}
