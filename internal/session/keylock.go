package session

import (
	"context"
	"sync"
)

// keyLock is a mutual exclusion for each key. The zero value is ready. It holds
// memory only for keys that are locked or waited for.
type keyLock struct {
	mu   sync.Mutex
	keys map[string]*keyState // guarded by mu
}

type keyState struct {
	held chan struct{} // holds an element while locked
	refs int           // holders and waiters; guarded by keyLock.mu
}

// lock waits for the key, or for the end of ctx, whose error it returns then. The caller calls unlock once.
func (l *keyLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	k := l.ref(key)
	select {
	case k.held <- struct{}{}:
		return func() { l.release(key, k) }, nil
	case <-ctx.Done():
		l.unref(key, k)
		return nil, ctx.Err()
	}
}

// tryLock locks the key if that needs no waiting.
func (l *keyLock) tryLock(key string) (unlock func(), ok bool) {
	k := l.ref(key)
	select {
	case k.held <- struct{}{}:
		return func() { l.release(key, k) }, true
	default:
		l.unref(key, k)
		return nil, false
	}
}

func (l *keyLock) release(key string, k *keyState) {
	<-k.held
	l.unref(key, k)
}

func (l *keyLock) ref(key string) *keyState {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[key]
	if k == nil {
		k = &keyState{held: make(chan struct{}, 1)}
		if l.keys == nil {
			l.keys = make(map[string]*keyState)
		}
		l.keys[key] = k
	}
	k.refs++
	return k
}

func (l *keyLock) unref(key string, k *keyState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.refs--; k.refs == 0 {
		delete(l.keys, key)
	}
}
