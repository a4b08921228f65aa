package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// listener is a place where the API is served.
type listener struct {
	net.Listener
	server *http.Server
}

// listen opens the socket, and the TCP address if there is one.
func (d *daemon) listen(ctx context.Context) error {
	socket, err := listenUnix(ctx, d.cfg.Socket())
	if err != nil {
		return err
	}
	d.serveOn(socket, true)
	tcp, err := listenTCP(ctx, d.cfg)
	if err != nil {
		return err
	}
	if tcp != nil {
		d.serveOn(tcp, false)
	}
	return nil
}

// serveOn will serve the API on l. Whoever can open a trusted listener is admin.
func (d *daemon) serveOn(l net.Listener, trusted bool) {
	d.listeners = append(d.listeners, listener{l, d.front.Server(trusted)})
	d.onClose(func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
}

func (d *daemon) addresses() Addresses {
	at := Addresses{Socket: d.cfg.Socket()}
	for _, l := range d.listeners {
		if l.Addr().Network() != "tcp" {
			continue
		}
		at.URL = "http://" + l.Addr().String()
		if d.cfg.TLSCert != "" {
			at.URL = "https://" + l.Addr().String()
		}
	}
	return at
}

// run serves until ctx ends or a part of the daemon fails, and closes everything.
func (d *daemon) run(ctx context.Context, ready func(Addresses)) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	// The reconciler outlives the requests that are under way when ctx ends.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()

	var serving, working sync.WaitGroup
	for _, l := range d.listeners {
		serving.Go(func() {
			if err := l.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fail(&failure{fmt.Errorf("serve on %s: %w", l.Addr(), err)})
			}
		})
	}
	var reconciled error // read after working.Wait
	working.Go(func() {
		if err := d.service.Run(life); err != nil && !errors.Is(err, context.Canceled) {
			reconciled = fmt.Errorf("reconciler: %w", err)
		}
	})
	working.Go(func() { watchStore(life, d.store, d.log) })
	working.Go(func() { watchdog(life, d.log, d.listeners[0].server.Handler) })

	at := d.addresses()
	d.log.Info("serving", "socket", at.Socket, "url", at.URL, "instance", d.cfg.Instance, "runtime", d.cfg.Runtime)
	notify(d.log, systemd.SdNotifyReady)
	if ready != nil {
		ready(at)
	}
	<-ctx.Done()
	notify(d.log, systemd.SdNotifyStopping)
	d.log.Info("shutting down", "reason", context.Cause(ctx))

	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Limits.Shutdown)
	defer cancel()
	var errs []error
	if f, ok := errors.AsType[*failure](context.Cause(ctx)); ok {
		errs = append(errs, f.error)
	}
	errs = append(errs, d.drain(limit, d.cfg.Limits.Shutdown/2))
	errs = append(errs, bounded(limit, func() error {
		serving.Wait()
		end()
		working.Wait()
		return errors.Join(reconciled, d.closeAll())
	}))
	return errors.Join(errs...)
}

// failure is a part of the daemon that ended though nobody told it to.
type failure struct{ error }

// drain stops accepting, ends streams and terminals, and waits for the requests under
// way; what is left after patience is cut.
func (d *daemon) drain(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	errs := make([]error, 1+len(d.listeners))
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = d.front.Shutdown(ctx) })
	for i, l := range d.listeners {
		wg.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				_ = l.server.Close() // the reason is known
				errs[1+i] = fmt.Errorf("shutdown: requests on %s were cut: %w", l.Addr(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
