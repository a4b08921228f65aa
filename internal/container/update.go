package container

import "context"

// Updater changes the limits of containers that exist.
type Updater interface {
	// Update gives the container, whether it runs or not, the limits that are named, at once and
	// for its further starts; zero ones stay as they are, so that none can be taken away. All or
	// none of them change: a limit that can't be had, as of less memory than what is in use, is
	// [ErrInvalidArgument]. An engine that can't: [ErrUnsupported].
	//
	// When ctx ends, they may have changed or not. A repeated call is as good as one.
	Update(ctx context.Context, sessionID string, limits Resources) error
}

// Validate checks the limits; an error is an [ErrInvalidArgument].
func (r Resources) Validate() error { return r.validate() }
