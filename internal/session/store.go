package session

import (
	"context"
	"errors"
	"time"
)

// What a Store answers with. Every other error of a Store means that the store did not answer: it
// is never read as "not found".
var (
	// ErrNotFound: the store answered that it has no such session or token.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is a session of that ID that is not to be replaced, or a token of that name.
	ErrExists = errors.New("already exists")
	// ErrConflict: the record changed since it was read.
	ErrConflict = errors.New("changed meanwhile")
)

// ErrDisplaced is of a store that did not write because its database is not the one any more that
// was opened, or is not where the next opening will look for it: what is written would be lost.
var ErrDisplaced = errors.New("the database was removed or replaced meanwhile")

// Store records sessions. It is safe for use from many goroutines. A call returns when its change
// is durable; a failed one may have changed the record or not, but never half of it. Times are kept
// to the microsecond, in UTC.
//
// Opening a store records a new generation, an ID made at random. Every session is counted within
// the generation that recorded it, so that a container whose session the store does not know can be
// told apart: either the store recorded it once and has dropped it since, or this store never did,
// because it is empty, was restored from a backup, or is another's. See Allotted.
type Store interface {
	// Instance returns the ID of the installation, made when the database was.
	Instance(ctx context.Context) (string, error)

	// CreateSession records a new session, with Version 1 and an Origin that it allots, and returns
	// it so. A closed session of the same ID and project is replaced; one of another project, whose
	// record that would hide, or an unclosed one: ErrExists.
	CreateSession(ctx context.Context, s Session) (Session, error)
	// GetSession returns the session, closed or not; ErrNotFound.
	GetSession(ctx context.Context, id string) (Session, error)
	// UpdateSession replaces the record if its Version is still s.Version (else ErrConflict;
	// ErrNotFound where it is gone), and returns it with the next one. ID, ProjectID, Origin and
	// CreatedAt never change; ActiveAt never goes back.
	UpdateSession(ctx context.Context, s Session) (Session, error)
	// TouchSessions moves ActiveAt of the sessions forward, in one transaction,
	// and leaves Version alone. Unknown IDs are passed over.
	TouchSessions(ctx context.Context, active map[string]time.Time) error
	// ListSessions returns sessions, newest first (CreatedAt, then ID, both descending).
	ListSessions(ctx context.Context, f Filter) ([]Session, error)
	// AllSessions returns every session with one query, closed ones too, in any order. It is for
	// reconciliation.
	AllSessions(ctx context.Context) ([]Session, error)
	// Allotted reports whether this store gave out origin: its generation is
	// known here and its number is not past what that generation reached. A
	// malformed origin is not.
	Allotted(ctx context.Context, origin string) (bool, error)
	// PruneSessions forgets closed sessions with nothing pending that were closed before t,
	// and returns how many.
	PruneSessions(ctx context.Context, t time.Time) (int, error)

	TokenStore
	ProjectStore

	// Ping reports whether the store can be read and written now; [ErrDisplaced].
	Ping(ctx context.Context) error
	// Close waits for calls under way; afterwards every call fails. A repeated
	// Close: nil.
	Close() error
}

// AdoptingStore is a Store that can take the place of one that is lost.
type AdoptingStore interface {
	Store
	// AdoptInstance makes the store that of another installation, and records its sessions, in one
	// transaction: with their own Origin, as no store of this kind has allotted. Closed sessions of
	// their IDs make room. A store with unclosed sessions of its own is refused: [ErrInUse]. No
	// other call may be under way, and Close alone may follow.
	AdoptInstance(ctx context.Context, instance string, sessions []Session) error
}

// ErrInUse: the store has sessions, so that it can't become another installation's.
var ErrInUse = errors.New("the store has sessions of its own")

// Filter selects sessions. The zero value is all that are not closed.
type Filter struct {
	ProjectID string // empty: every project
	Closed    bool   // closed ones as well
	// After continues behind a session that an earlier call returned; zero: from the start.
	After Cursor
	Limit int // at most so many; 0: no limit
}

// Cursor is a place in the list of sessions.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// TokenStore records API tokens.
type TokenStore interface {
	// CreateToken records a token; a name that is there already: ErrExists.
	CreateToken(ctx context.Context, t Token) error
	// TokenByHash finds a token, expired or not, by the hash of its secret; ErrNotFound.
	TokenByHash(ctx context.Context, hash []byte) (Token, error)
	// ListTokens returns all tokens by name.
	ListTokens(ctx context.Context) ([]Token, error)
	// DeleteToken removes the token of that name; ErrNotFound.
	DeleteToken(ctx context.Context, name string) error
}

// ProjectStore records what projects may have.
type ProjectStore interface {
	// SetProject records a project, in place of one of that ID.
	SetProject(ctx context.Context, p Project) error
	// ListProjects returns all projects by ID.
	ListProjects(ctx context.Context) ([]Project, error)
	// DeleteProject removes the project of that ID; ErrNotFound.
	DeleteProject(ctx context.Context, id string) error
}

// Token lets its bearer use the API. The secret itself is never stored.
type Token struct {
	Name      string
	Hash      []byte // SHA-256 of the secret, which has 256 random bits
	ProjectID string // the one project it reaches; empty: it is an admin's
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}
