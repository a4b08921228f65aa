package front

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
)

// What requests' bodies may take of the memory at once. Reading one as JSON takes about ten times
// its size for a moment. The default size of the largest body goes in several times.
const (
	smallBody = 64 << 10 // is not counted: as many as there are connections may be small
	allBodies = 32 << 20
	oneOwners = 16 << 20
	bodyWait  = 10 * time.Second
)

// bodies is how many bytes of bodies are held. What is taken is held until its request ends, since
// a command's input is too. The zero value is ready.
type bodies struct {
	mu     sync.Mutex
	all    *semaphore.Weighted   // guarded by mu
	owners map[Owner]*bodyBudget // guarded by mu
}

type bodyBudget struct {
	*semaphore.Weighted
	users int // guarded by bodies.mu
}

// acquire waits for room for size bytes of an owner's, for so long; the caller calls free once.
func (b *bodies) acquire(ctx context.Context, of Owner, size int64, wait time.Duration) (free func(), err error) {
	if size <= smallBody {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	mine, all, leave := b.budgets(of)
	// One's own first: whoever waits for that holds nothing of what others wait for.
	size = min(size, oneOwners)
	if err := mine.Acquire(ctx, size); err != nil {
		leave()
		return nil, errBodies
	}
	if err := all.Acquire(ctx, size); err != nil {
		mine.Release(size)
		leave()
		return nil, errBodies
	}
	return func() { all.Release(size); mine.Release(size); leave() }, nil
}

var errBodies = problem.New(v1.CodeBusy, "the bodies of other requests take all the room there is for them").
	WithHint("try again later; stream a command's large input through the exec WebSocket")

func (b *bodies) budgets(of Owner) (mine *bodyBudget, all *semaphore.Weighted, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all, b.owners = semaphore.NewWeighted(allBodies), make(map[Owner]*bodyBudget)
	}
	mine = b.owners[of]
	if mine == nil {
		mine = &bodyBudget{Weighted: semaphore.NewWeighted(oneOwners)}
		b.owners[of] = mine
	}
	mine.users++
	return mine, b.all, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(b.owners, of)
		}
	}
}
