package session

import (
	"context"
	"errors"
	"time"
)

// records is the store with a bound on every call, and with errors told apart: what comes
// back is one of the store's three answers, the error of the caller's ctx, or store_unavailable.
type records struct {
	store   Store
	timeout time.Duration
}

// bulk is how many times as long a call about every session may take. No caller of the API waits
// for those.
const bulk = 30

func callStore[T any](ctx context.Context, timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := call(bounded)
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.Is(err, ErrConflict):
		return v, err
	case errors.Is(err, ErrDisplaced):
		return v, &Error{
			Code:   CodeStoreUnavailable,
			Detail: "the store's database was removed or replaced under the daemon, and nothing is written to it",
			Hint:   "the daemon's log says where its content is, and how to put it back", cause: err,
		}
	case ctx.Err() != nil:
		return v, ctx.Err()
	}
	return v, &Error{
		Code: CodeStoreUnavailable, Detail: "the store does not answer",
		Hint: "see the daemon's log; nothing is lost, try again", cause: err,
	}
}

func (r records) create(ctx context.Context, s Session) (Session, error) {
	return callStore(ctx, r.timeout,
		func(ctx context.Context) (Session, error) { return r.store.CreateSession(ctx, s) })
}

func (r records) get(ctx context.Context, id string) (Session, error) {
	return callStore(ctx, r.timeout, func(ctx context.Context) (Session, error) { return r.store.GetSession(ctx, id) })
}

// update begins a change: it is the caller's to give up.
func (r records) update(ctx context.Context, s Session) (Session, error) {
	return callStore(ctx, r.timeout,
		func(ctx context.Context) (Session, error) { return r.store.UpdateSession(ctx, s) })
}

// updateOutcome writes what came of a change. The engine has acted, so the end of the caller's ctx
// does not keep it from being written.
func (r records) updateOutcome(ctx context.Context, s Session) (Session, error) {
	return callStore(context.WithoutCancel(ctx), r.timeout, func(ctx context.Context) (Session, error) {
		return r.store.UpdateSession(ctx, s)
	})
}

func (r records) list(ctx context.Context, f Filter) ([]Session, error) {
	return callStore(ctx, r.timeout,
		func(ctx context.Context) ([]Session, error) { return r.store.ListSessions(ctx, f) })
}

func (r records) all(ctx context.Context) ([]Session, error) {
	return callStore(ctx, bulk*r.timeout, r.store.AllSessions)
}

func (r records) allotted(ctx context.Context, origin string) (bool, error) {
	return callStore(ctx, r.timeout, func(ctx context.Context) (bool, error) { return r.store.Allotted(ctx, origin) })
}

func (r records) touch(ctx context.Context, active map[string]time.Time) error {
	_, err := callStore(ctx, bulk*r.timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.store.TouchSessions(ctx, active)
	})
	return err
}

func (r records) prune(ctx context.Context, t time.Time) (int, error) {
	return callStore(ctx, bulk*r.timeout,
		func(ctx context.Context) (int, error) { return r.store.PruneSessions(ctx, t) })
}

func (r records) ping(ctx context.Context) error {
	_, err := callStore(ctx, r.timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.store.Ping(ctx)
	})
	return err
}

func (r records) createToken(ctx context.Context, t Token) error {
	_, err := callStore(ctx, r.timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.store.CreateToken(ctx, t)
	})
	return err
}

func (r records) tokenByHash(ctx context.Context, hash []byte) (Token, error) {
	return callStore(ctx, r.timeout, func(ctx context.Context) (Token, error) { return r.store.TokenByHash(ctx, hash) })
}

func (r records) listTokens(ctx context.Context) ([]Token, error) {
	return callStore(ctx, r.timeout, r.store.ListTokens)
}

func (r records) deleteToken(ctx context.Context, name string) error {
	_, err := callStore(ctx, r.timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.store.DeleteToken(ctx, name)
	})
	return err
}

func (r records) setProject(ctx context.Context, p Project) error {
	_, err := callStore(ctx, r.timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.store.SetProject(ctx, p)
	})
	return err
}

func (r records) listProjects(ctx context.Context) ([]Project, error) {
	return callStore(ctx, r.timeout, r.store.ListProjects)
}

func (r records) deleteProject(ctx context.Context, id string) error {
	_, err := callStore(ctx, r.timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.store.DeleteProject(ctx, id)
	})
	return err
}
