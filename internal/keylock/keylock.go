// Package keylock is a mutual exclusion for each key, whose waiters heed a ctx.
package keylock

import (
	"context"
	"sync"
)

// Locks are a lock for each key. The zero value is ready. It holds memory only for keys that
// are locked or waited for.
type Locks struct {
	mu   sync.Mutex
	keys map[string]*keyState // guarded by mu
}

type keyState struct {
	held chan struct{} // holds an element while locked
	refs int           // holders and waiters; guarded by Locks.mu
}

// Lock waits for the key, or for the end of ctx, whose error it returns then. The caller calls
// unlock once.
func (l *Locks) Lock(ctx context.Context, key string) (unlock func(), err error) {
	k := l.ref(key)
	select {
	case k.held <- struct{}{}:
		return func() { l.release(key, k) }, nil
	case <-ctx.Done():
		l.unref(key, k)
		return nil, ctx.Err()
	}
}

// TryLock locks the key if that needs no waiting.
func (l *Locks) TryLock(key string) (unlock func(), ok bool) {
	k := l.ref(key)
	select {
	case k.held <- struct{}{}:
		return func() { l.release(key, k) }, true
	default:
		l.unref(key, k)
		return nil, false
	}
}

func (l *Locks) release(key string, k *keyState) {
	<-k.held
	l.unref(key, k)
}

func (l *Locks) ref(key string) *keyState {
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

func (l *Locks) unref(key string, k *keyState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.refs--; k.refs == 0 {
		delete(l.keys, key)
	}
}
