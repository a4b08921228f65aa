package provider

import (
	"context"
	"time"
)

// WaitError says what was waited for when the ctx ended.
type WaitError struct {
	What string
	Err  error // the ctx's
}

// Error gives: waited for the container to stop: context deadline exceeded.
func (e *WaitError) Error() string { return "waited for " + e.What + ": " + e.Err.Error() }

// Unwrap gives the ctx's error.
func (e *WaitError) Unwrap() error { return e.Err }

// Poll calls look until it is done or fails, whose error it returns. After the first time it waits
// for first, then for twice as long each time, up to most. Where ctx ends meanwhile, it is a
// [*WaitError] about what.
func Poll(ctx context.Context, what string, first, most time.Duration, look func() (done bool, err error)) error {
	for wait := first; ; wait = min(2*wait, most) {
		if done, err := look(); done || err != nil {
			return err
		}
		if err := Sleep(ctx, what, wait); err != nil {
			return err
		}
	}
}

// Sleep waits for a moment of a wait for something, or for the end of ctx: a [*WaitError] then.
func Sleep(ctx context.Context, what string, moment time.Duration) error {
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return &WaitError{What: what, Err: ctx.Err()}
	}
}
