package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The classes of our advisory locks, which are of one database each. Their second key is the
// schema, for a database can hold an installation in each, or a hold's mark.
const (
	classOwner   = 0x0c70b070 + iota // exclusive, for as long as a daemon owns the installation
	classMark                        // exclusive, beside it: says which hold of the owner it is
	classWriting                     // shared by the owner's transactions while they write
)

const (
	// openPatience is how long Open waits for an owner that has just been killed: the server sees
	// it when the connection ends.
	openPatience = 5 * time.Second
	// takeTimeout bounds one attempt to take the lock, and one look at its connection.
	takeTimeout = 5 * time.Second
	// lookInterval is how often a connection on which nothing comes is looked at.
	lookInterval = 5 * time.Second
	// Between attempts, by themselves and where writes ask for one.
	firstRetry, lastRetry, minRetry = 100 * time.Millisecond, 5 * time.Second, 50 * time.Millisecond
)

// owner keeps the installation in the database for this process: no other daemon can open it. It
// holds a lock of the server's, on a connection of its own, and takes it again when that breaks.
//
// A process may learn late that the server has ended its connection, and another may own the
// database by then. Therefore each transaction that writes proves to the server that its hold
// stands, and a new owner waits for the transactions that had done so before it.
type owner struct {
	config *pgx.ConnConfig
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	wake chan struct{} // holds one token: somebody wants the lock soon

	mu    sync.Mutex
	held  *hold         // nil where the lock is lost
	why   error         // what the last attempt met, where it is lost
	tried chan struct{} // closed when an attempt ends
}

// hold is one time that the lock was had.
type hold struct {
	conn         *pgx.Conn // used by one goroutine
	schema, mark int32
	ended        chan struct{} // closed where a transaction found that it has
}

// errOwned is wrapped by what says who owns the database.
var errOwned = errors.New("another octobot is running on the database")

// ownerName is what the server shows of this process to others.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	const longest = 63 // bytes that the server keeps
	end := fmt.Sprintf(" pid %d", os.Getpid())
	name := "octobot " + host
	return name[:min(len(name), longest-len(end))] + end
}

// own takes the lock. The caller closes the owner.
func own(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) (*owner, error) {
	config = config.Copy()
	config.RuntimeParams["application_name"] = ownerName()
	o := &owner{config: config, log: log, done: make(chan struct{}), wake: make(chan struct{}, 1),
		tried: make(chan struct{})}
	for began := time.Now(); ; {
		h, err := o.take(ctx)
		if err == nil {
			var running context.Context
			running, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
			o.held = h
			go o.run(running, h)
			return o, nil
		}
		if !errors.Is(err, errOwned) || time.Since(began) > openPatience {
			return nil, err
		}
		select {
		case <-time.After(firstRetry):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// take makes one attempt.
func (o *owner) take(ctx context.Context) (_ *hold, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, o.config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeConn(conn)
		}
	}()
	h := &hold{conn: conn, mark: rand.Int32(), ended: make(chan struct{})}
	const tries = 10 // where whoever had it is gone by the time that it is asked for
	for try, got := 1, false; ; try++ {
		err = conn.QueryRow(ctx, `SELECT k, pg_try_advisory_lock($1, k)
			FROM (SELECT coalesce(hashtext(current_schema()), 0) AS k) AS schema`, int32(classOwner)).Scan(&h.schema, &got)
		if err != nil {
			return nil, err
		}
		if got {
			break
		}
		if holder, gone := h.holder(ctx); !gone || try == tries {
			return nil, fmt.Errorf("%w: %s; stop that one, or name another database", errOwned, holder)
		}
	}
	if _, err = conn.Exec(ctx, `SELECT pg_advisory_lock($1, $2)`, int32(classMark), h.mark); err != nil {
		return nil, err
	}
	// Whoever had the lock before may be in the middle of a transaction.
	for _, call := range []string{"pg_advisory_lock", "pg_advisory_unlock"} {
		if _, err = conn.Exec(ctx, `SELECT `+call+`($1, $2)`, int32(classWriting), h.schema); err != nil {
			return nil, fmt.Errorf("wait for the last writes of the daemon that had the database before: %w", err)
		}
	}
	return h, nil
}

// holder says who has the lock; gone where nobody has it any more.
func (h *hold) holder(ctx context.Context) (_ string, gone bool) {
	var name, address string
	var pid int
	var since time.Time
	// Of another user's connection the server shows less.
	err := h.conn.QueryRow(ctx, `
		SELECT coalesce(nullif(a.application_name, ''), 'a program without a name'),
			coalesce(host(a.client_addr), 'the same host'), l.pid, coalesce(a.backend_start, now())
		FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = $1 AND l.objid::bigint = $2
			AND l.objsubid = 2
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
		int64(classOwner), int64(uint32(h.schema))).Scan(&name, &address, &pid, &since)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "the server does not tell which", true
	case err != nil:
		return fmt.Sprintf("the server does not tell which (%v)", err), false
	}
	return fmt.Sprintf("%s, from %s, since %s (process %d of the server)",
		name, address, since.UTC().Format(time.RFC3339), pid), false
}

// run keeps the lock until ctx ends.
func (o *owner) run(ctx context.Context, h *hold) {
	defer close(o.done)
	for h != nil {
		err := h.watch(ctx)
		o.mu.Lock()
		o.held, o.why = nil, err
		o.mu.Unlock()
		closeConn(h.conn)
		h = o.retake(ctx)
	}
}

// watch returns when the connection has ended, and with it the lock.
func (h *hold) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var dropping sync.WaitGroup
	defer dropping.Wait()
	defer cancel()
	dropping.Go(func() {
		defer cancel()
		select {
		case <-h.ended:
		case <-ctx.Done():
		}
	})
	for {
		// Nothing is ever notified: this ends when the time is up or the server hangs up.
		waiting, done := context.WithTimeout(ctx, lookInterval)
		err := h.conn.PgConn().WaitForNotification(waiting)
		done()
		if ctx.Err() != nil {
			return errors.New("the server has ended the connection that held the lock")
		}
		if err != nil && !pgconn.Timeout(err) {
			return err
		}
		looking, done := context.WithTimeout(ctx, takeTimeout)
		err = h.conn.Ping(looking)
		done()
		if err != nil {
			return err
		}
	}
}

// retake tries until it has the lock again; nil where ctx has ended.
func (o *owner) retake(ctx context.Context) *hold {
	said := ""
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		h, err := o.take(ctx)
		o.mu.Lock()
		o.held, o.why = h, err
		close(o.tried)
		o.tried = make(chan struct{})
		o.mu.Unlock()
		switch {
		case err == nil && said != "":
			o.log.InfoContext(ctx, "This daemon owns its database again")
		case err != nil && said != err.Error() && ctx.Err() == nil:
			said = err.Error()
			o.log.ErrorContext(ctx, "This daemon does not own its database any more, and writes nothing to it", "error",
				err)
		}
		if err == nil {
			return h
		}
		// Writes that keep asking must not make this a busy loop.
		for _, pause := range []struct {
			wait time.Duration
			wake <-chan struct{}
		}{{minRetry, nil}, {wait - minRetry, o.wake}} {
			timer := time.NewTimer(pause.wait)
			select {
			case <-timer.C:
			case <-pause.wake:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	}
	return nil
}

// current gives the hold. Where the lock is lost, it waits for an attempt to take it again.
func (o *owner) current(ctx context.Context) (*hold, error) {
	for tries := 0; ; tries++ {
		o.mu.Lock()
		held, why, tried := o.held, o.why, o.tried
		o.mu.Unlock()
		switch {
		case held != nil:
			return held, nil
		case tries > 0:
			return nil, fmt.Errorf("nothing is written, for this daemon does not own its database any more: %w", why)
		}
		select {
		case o.wake <- struct{}{}:
		default:
		}
		select {
		case <-tried:
		case <-o.done:
			return nil, errors.New("the store is closed")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begin begins a transaction that writes.
func (o *owner) begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	for tries := 0; ; tries++ {
		h, err := o.current(ctx)
		if err != nil {
			return nil, err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		// The mark can be had where the hold has ended. It is asked for after the other lock:
		// either the hold stands, and the next owner will wait for this transaction, or it is over.
		var ended bool
		err = tx.QueryRowContext(ctx, `
			WITH writing AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared($1, $2))
			SELECT pg_try_advisory_xact_lock_shared($3, $4) FROM writing`,
			int32(classWriting), h.schema, int32(classMark), h.mark).Scan(&ended)
		if err == nil && !ended {
			return tx, nil
		}
		_ = tx.Rollback() // what went wrong says more
		if err != nil {
			return nil, err
		}
		o.drop(h)
		if tries > 0 {
			return nil, errors.New("the server keeps ending the connection by which this daemon owns its database")
		}
	}
}

// drop gives up a hold that has ended.
func (o *owner) drop(h *hold) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held != h {
		return
	}
	o.held, o.why = nil, errors.New("its connection has ended")
	close(h.ended) // once: it is not the held one any more
}

// close gives the lock up.
func (o *owner) close() error {
	o.cancel()
	<-o.done
	return nil
}

// closeConn says goodbye to a server that may be silent.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is gone in any case
}

// endDeadPeers makes the server notice within half a minute that a client's machine is gone, unless
// the URL says otherwise: its locks are in the way of the next owner.
func endDeadPeers(config *pgx.ConnConfig) {
	for name, value := range map[string]string{
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4",
	} {
		if _, ok := config.RuntimeParams[name]; !ok && !strings.HasPrefix(config.Host, "/") {
			config.RuntimeParams[name] = value
		}
	}
}
