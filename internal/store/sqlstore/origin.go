package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// newID makes an ID at random: 128 bits in 32 hexadecimal digits.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func formatOrigin(generation string, seq int64) string {
	return generation + ":" + strconv.FormatInt(seq, 10)
}

// parseOrigin takes exactly what formatOrigin gives.
func parseOrigin(origin string) (generation string, seq int64, ok bool) {
	generation, digits, _ := strings.Cut(origin, ":")
	if raw, err := hex.DecodeString(generation); err != nil || len(raw) != 16 {
		return "", 0, false
	}
	seq, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || seq < 1 || formatOrigin(generation, seq) != origin {
		return "", 0, false
	}
	return generation, seq, true
}

// ledger remembers which generation an open store counts in and how far callers have seen it count.
// A database that counts behind that was put back in time under the running store.
type ledger struct {
	mu         sync.Mutex
	generation string
	handed     int64 // highest number of generation that a caller got
}

func (l *ledger) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

func (l *ledger) start(generation string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation, l.handed = generation, 0
}

// fresh reports whether seq is one that generation has not given to a caller yet.
func (l *ledger) fresh(generation string, seq int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return generation == l.generation && seq > l.handed
}

// hand notes that a caller gets seq.
func (l *ledger) hand(generation string, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if generation == l.generation {
		l.handed = max(l.handed, seq)
	}
}

// errRewound: the generation is gone, or counts behind what callers have seen.
var errRewound = errors.New("the database was put back in time meanwhile")

// allot takes the next number of the generation, as part of tx: without a
// commit it was never taken.
func (s *Store) allot(ctx context.Context, tx *sql.Tx, generation string) (seq int64, err error) {
	err = s.stmts.allot.row(ctx, tx, generation).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !s.ledger.fresh(generation, seq) {
		return 0, errRewound
	}
	return seq, err
}

// replaceGeneration opens a new generation after stale, unless another caller
// has done that already, and returns the current one.
func (s *Store) replaceGeneration(ctx context.Context, stale string) (string, error) {
	select {
	case s.replacing <- struct{}{}:
		defer func() { <-s.replacing }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if current := s.ledger.current(); current != stale {
		return current, nil
	}
	if err := s.openGeneration(ctx); err != nil {
		return "", err
	}
	return s.ledger.current(), nil
}

// openGeneration records a new generation and counts in it from now on.
func (s *Store) openGeneration(ctx context.Context) error {
	id := newID()
	err := s.write(ctx, func(tx *sql.Tx) error {
		const insert = `INSERT INTO generations (id, opened_at, last_seq) VALUES ($1, $2, 0)`
		_, err := tx.ExecContext(ctx, insert, id, time.Now().UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("record a new generation: %w", err)
	}
	s.ledger.start(id)
	return nil
}

// Allotted implements session.Store.
func (s *Store) Allotted(ctx context.Context, origin string) (given bool, err error) {
	err = s.runCall(ctx, "look up origin", origin, func() error {
		generation, seq, ok := parseOrigin(origin)
		if !ok {
			return nil
		}
		var last int64
		err := s.db.Read.QueryRowContext(ctx, `SELECT last_seq FROM generations WHERE id = $1`, generation).Scan(&last)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		given = err == nil && seq <= last
		return err
	})
	return given, err
}
