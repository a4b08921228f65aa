package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/octobot-run/octobot/internal/session"
)

// rescued is what the names of saved databases have behind the store's own.
const rescued = ".rescued-"

// file is the one that was opened. SQLite goes on with it wherever it is, and what is written then
// is lost with the process; as is what it writes over another's content, which it does not notice.
type file struct {
	path string
	// f is open as long as any connection: to close it takes away their locks.
	f    *os.File
	info os.FileInfo

	mu     sync.Mutex
	mark   uint32 // what tells its content, at markAt; guarded by mu
	marked bool   // the mark was seen in the file itself; guarded by mu
	// version is SQLite's data_version, which moves when another connection commits; guarded by mu
	version int64
}

// markAt is where a database file holds its user_version, which SQLite leaves to applications.
const markAt = 60

// openFile makes sure that the file is there, can be written, and is closed to others. SQLite gives
// the files that it makes beside it the same mode; those that a killed process has left keep
// theirs. An empty one is not made in the place of one that was saved, and not put back.
func openFile(path string) (_ *file, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if saved, _ := filepath.Glob(escapeGlob(path) + rescued + "*"); len(saved) > 0 {
			return nil, fmt.Errorf("the file is not there, and what it held before is in %s: move that to its place, "+
				"or somewhere else to begin with an empty store", saved[len(saved)-1])
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err := errors.Join(err, f.Chmod(0o600)); err != nil {
		return nil, err
	}
	for _, beside := range []string{path + "-wal", path + "-shm"} {
		if err := os.Chmod(beside, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return &file{path: path, f: f, info: info}, nil
}

// escapeGlob makes a path a pattern that matches it alone.
func escapeGlob(path string) string {
	var b []rune
	for _, r := range path {
		switch r {
		case '*', '?', '[', '\\':
			b = append(b, '\\')
		}
		b = append(b, r)
	}
	return string(b)
}

// setMark puts a mark at random into the file, by which its content is known from then on.
func (f *file) setMark(ctx context.Context, db *sql.DB) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mark = 1 + rand.Uint32N(math.MaxInt32)
	for _, statement := range []string{
		fmt.Sprintf("PRAGMA user_version = %d", f.mark),
		"PRAGMA wal_checkpoint(PASSIVE)", // where somebody reads, a later one takes it there
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if err := db.QueryRowContext(ctx, "PRAGMA data_version").Scan(&f.version); err != nil {
		return err
	}
	found, _, err := f.readMark()
	f.marked = err == nil && found == f.mark
	return err
}

// readMark reads the mark that is in the file itself, if it is long enough to have one.
func (f *file) readMark() (mark uint32, ok bool, err error) {
	var b [4]byte
	n, err := f.f.ReadAt(b[:], markAt)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return binary.BigEndian.Uint32(b[:]), n == len(b), err
}

// check fails where the file is not in its place, is not as this process and SQLite have left it,
// or nobody can tell.
func (f *file) check(ctx context.Context, db *sql.DB) error {
	if err := f.inPlace(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found, whole, err := f.readMark()
	switch {
	case err != nil:
		return err
	case whole && found == f.mark:
		f.marked = true
		return nil
	case !f.marked:
		return nil
	}
	// SQLite's backup may have restored another content, mark and all. That is a commit.
	var mark uint32
	var version int64
	err = db.QueryRowContext(ctx, "SELECT user_version, data_version FROM pragma_user_version, pragma_data_version").
		Scan(&mark, &version)
	if err == nil && whole && mark == found && version != f.version {
		f.mark, f.version = mark, version
		return nil
	}
	return fmt.Errorf("%w: %s", errOverwritten, f.path)
}

// errOverwritten: what the file held is nowhere any more.
var errOverwritten = fmt.Errorf("%w: its file was overwritten", session.ErrDisplaced)

// inPlace fails where the file is not in its place, or nobody can tell.
func (f *file) inPlace() error {
	now, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s was removed", session.ErrDisplaced, f.path)
	case err != nil:
		return err
	case !os.SameFile(now, f.info):
		return fmt.Errorf("%w: %s was replaced by another file", session.ErrDisplaced, f.path)
	}
	return nil
}

// rescue writes what the opened file holds to another one beside its place.
func (f *file) rescue(ctx context.Context, db *sql.DB) (path string, err error) {
	if err := f.check(ctx, db); errors.Is(err, errOverwritten) {
		return "", err
	}
	path = f.path + rescued + time.Now().UTC().Format("20060102T150405.000Z")
	made, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, made.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, path); err != nil {
		return "", err
	}
	return path, made.Sync()
}

// connector opens connections to the file, and to no other one that has its name.
type connector struct {
	dsn   string
	check func() error
}

// Connect implements [driver.Connector].
func (c connector) Connect(context.Context) (driver.Conn, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	conn, err := c.Driver().Open(c.dsn)
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Driver implements [driver.Connector].
func (connector) Driver() driver.Driver { return &sqlite.Driver{} }
