package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// secretPrefix makes a token's secret easy to recognise where it does not belong.
const secretPrefix = "octo_"

// CreateToken makes a token for a project's sessions, or an admin's where projectID is
// empty, that expires after ttl; 0: never. The secret is returned once and kept nowhere.
// A name that is taken: token_exists.
func (s *ContainerService) CreateToken(
	ctx context.Context, who Principal, name, projectID string, ttl time.Duration,
) (t Token, secret string, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "create token", "", start, &err) }(time.Now())
	if err := who.RequireAdmin(); err != nil {
		return Token{}, "", err
	}
	if container.ValidateSessionID(name) != nil {
		return Token{}, "", invalid("name: %.64q is not 1 to 63 letters, digits, '_', '.' or '-', the first a letter or digit", name)
	}
	if projectID != "" && container.ValidateSessionID(projectID) != nil {
		return Token{}, "", invalid("project: %.64q is not 1 to 63 letters, digits, '_', '.' or '-', the first a letter or digit", projectID)
	}
	if ttl < 0 {
		return Token{}, "", invalid("ttl: %v is negative", ttl)
	}
	var random [32]byte
	rand.Read(random[:]) // never fails
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	hash := sha256.Sum256([]byte(secret))
	t = Token{Name: name, Hash: hash[:], ProjectID: projectID, CreatedAt: now()}
	if ttl > 0 {
		t.ExpiresAt = t.CreatedAt.Add(ttl)
	}
	err = s.store.createToken(ctx, t)
	if errors.Is(err, ErrExists) {
		err = refuse(CodeTokenExists, "choose another name, or remove it first: octobot token rm",
			"there is a token %q already", name)
	}
	if err != nil {
		return Token{}, "", err
	}
	return t, secret, nil
}

// Authenticate gives the token of a secret. One that is unknown, deleted or expired:
// unauthenticated. A deletion through another process bites within a second, one through this
// service at once.
func (s *ContainerService) Authenticate(ctx context.Context, secret string) (t Token, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, Principal{}, "authenticate", "", start, &err) }(time.Now())
	if len(secret) != len(secretPrefix)+base64.RawURLEncoding.EncodedLen(32) ||
		!strings.HasPrefix(secret, secretPrefix) {
		return Token{}, errUnauthenticated
	}
	return s.tokenOf(ctx, sha256.Sum256([]byte(secret)))
}

// tokenOf gives the token whose secret has that hash, if it is valid now.
func (s *ContainerService) tokenOf(ctx context.Context, hash [sha256.Size]byte) (Token, error) {
	t, cached, epoch := s.tokens.get(hash)
	if !cached {
		asked := time.Now()
		var err error
		t, err = s.store.tokenByHash(ctx, hash[:])
		if errors.Is(err, ErrNotFound) {
			return Token{}, errUnauthenticated
		}
		if err != nil {
			return Token{}, err
		}
		s.tokens.put(hash, t, asked, epoch)
	}
	if subtle.ConstantTimeCompare(t.Hash, hash[:]) != 1 {
		return Token{}, errUnauthenticated
	}
	if !t.ExpiresAt.IsZero() && !time.Now().Before(t.ExpiresAt) {
		return Token{}, errExpired(t.Name)
	}
	return t, nil
}

// WhileValid returns a ctx that ends with parent, and at once when t is deleted through this
// service or expires: unauthenticated, as its cause. The caller calls release once it needs ctx no
// longer. A token that is not valid any more: unauthenticated.
func (s *ContainerService) WhileValid(
	parent context.Context, t Token,
) (ctx context.Context, release func(), err error) {
	defer func(start time.Time) { s.finishOperation(parent, Principal{}, "authenticate", "", start, &err) }(time.Now())
	held, end := context.WithCancelCause(parent)
	forget := s.holders.add(t.Name, end)
	stop := func() bool { return true }
	if !t.ExpiresAt.IsZero() {
		expired := toError(parent, "authenticate", "", errExpired(t.Name))
		stop = time.AfterFunc(time.Until(t.ExpiresAt), func() { end(expired) }).Stop
	}
	// Who is added too late to be ended by a deletion finds the token gone here: it makes that
	// known before it ends anybody.
	if _, err := s.tokenOf(held, [sha256.Size]byte(t.Hash)); err != nil {
		stop()
		forget()
		end(nil)
		return nil, nil, err
	}
	return held, func() { stop(); forget(); end(nil) }, nil
}

func errExpired(name string) *Error {
	return refuse(CodeUnauthenticated, "make a new one: octobot token create", "the token %q has expired", name)
}

// holders are the contexts that live as long as their token does, by the token's name. The zero
// value is ready.
type holders struct {
	mu     sync.Mutex
	byName map[string]map[*context.CancelCauseFunc]struct{} // guarded by mu
}

func (h *holders) add(name string, end context.CancelCauseFunc) (forget func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byName[name] == nil {
		if h.byName == nil {
			h.byName = make(map[string]map[*context.CancelCauseFunc]struct{})
		}
		h.byName[name] = make(map[*context.CancelCauseFunc]struct{})
	}
	h.byName[name][&end] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.byName[name], &end)
		if len(h.byName[name]) == 0 {
			delete(h.byName, name)
		}
	}
}

func (h *holders) end(name string, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for end := range h.byName[name] {
		(*end)(cause)
	}
}

var errUnauthenticated = refuse(CodeUnauthenticated, "octobot token create makes a token",
	"the token is not known here")

// ListTokens returns all tokens by name, expired ones too.
func (s *ContainerService) ListTokens(ctx context.Context, who Principal) (tokens []Token, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list tokens", "", start, &err) }(time.Now())
	if err := who.RequireAdmin(); err != nil {
		return nil, err
	}
	return s.store.listTokens(ctx)
}

// DeleteToken removes a token, and ends what goes on by its right; see WhileValid. One that is not
// there: token_not_found.
func (s *ContainerService) DeleteToken(ctx context.Context, who Principal, name string) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "delete token", "", start, &err) }(time.Now())
	if err := who.RequireAdmin(); err != nil {
		return err
	}
	err = ErrNotFound
	if container.ValidateSessionID(name) == nil {
		err = s.store.deleteToken(ctx, name)
		s.tokens.clear()
	}
	if err == nil || errors.Is(err, ErrNotFound) { // an earlier deletion's answer may have been lost
		s.holders.end(name, toError(ctx, "authenticate", "", refuse(CodeUnauthenticated,
			"octobot token create makes another", "the token %q was deleted", name)))
	}
	if errors.Is(err, ErrNotFound) {
		return refuse(CodeTokenNotFound, "octobot token ls shows those that there are", "there is no token %.64q", name)
	}
	return err
}

const (
	tokenCacheSize = 256
	tokenCacheTime = 900 * time.Millisecond
)

// tokenCache keeps tokens for a moment, for clients that ask many times a second. The zero value is
// ready.
type tokenCache struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]tokenEntry // guarded by mu
	epoch   int                              // counts clearings; guarded by mu
}

type tokenEntry struct {
	token Token
	asked time.Time // before the store was
}

func (c *tokenCache) get(hash [sha256.Size]byte) (t Token, ok bool, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[hash]
	return e.token, ok && time.Since(e.asked) < tokenCacheTime, c.epoch
}

// put keeps a token that the store gave, unless the cache was cleared since epoch.
func (c *tokenCache) put(hash [sha256.Size]byte, t Token, asked time.Time, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch {
		return
	}
	if c.entries == nil || len(c.entries) >= tokenCacheSize {
		c.entries = make(map[[sha256.Size]byte]tokenEntry)
	}
	c.entries[hash] = tokenEntry{token: t, asked: asked}
}

func (c *tokenCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
	c.epoch++
}
