package cli

import (
	"context"
	"errors"
	"fmt"
)

// changesAtOnce is how many sessions one command changes at a time.
const changesAtOnce = 16

// changeEach does something with every ID, several at a time, and goes on after an error. tell is
// called with what came of each, in the order of the IDs and no sooner than all before are done;
// the errors are joined in that order, too. An ID that is named again waits for its first.
func changeEach[T any](
	ctx context.Context, what string, ids []string, do func(id string) (T, error), tell func(id string, got T),
) error {
	type outcome struct {
		got  T
		err  error
		done chan struct{}
	}
	outcomes := make([]outcome, len(ids))
	for i := range outcomes {
		outcomes[i].done = make(chan struct{})
	}
	go func() { // it ends before the last outcome is told
		free := make(chan struct{}, changesAtOnce)
		last := make(map[string]chan struct{}, len(ids))
		for i, id := range ids {
			o, before := &outcomes[i], last[id]
			last[id] = o.done
			free <- struct{}{}
			go func() {
				defer func() {
					<-free
					close(o.done)
				}()
				if before != nil {
					<-before
				}
				if o.err = context.Cause(ctx); o.err == nil {
					o.got, o.err = do(id)
				}
			}()
		}
	}()
	var errs []error
	for i, id := range ids {
		o := &outcomes[i]
		<-o.done
		switch {
		case o.err == nil:
			tell(id, o.got)
		case ctx.Err() == nil || !errors.Is(o.err, context.Cause(ctx)):
			errs = append(errs, fmt.Errorf("%s %s: %w", what, id, o.err))
		}
	}
	if ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	return errors.Join(errs...)
}
