// Package keeper is what outlives an agent in its container: one process, which owns the terminals
// that have names and the processes that nobody waits for, and serves whichever agent is there,
// over a socket of the container's own.
package keeper

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	// look is how often a keeper sees whether it is needed, and idleLooks after how many of them
	// without anything to keep it ends.
	look      = time.Second
	idleLooks = 3
	// acceptPause is after an attempt to accept that failed.
	acceptPause = 10 * time.Millisecond
	// maxOperations bounds what is under way at once.
	maxOperations = 4096
	// here is what a keeper says first to who connects: from then on it takes a request, and has
	// not taken any before.
	here = 'k'
)

// Serve serves what agents pass on, until there is nothing to keep, or ctx ends: nil. It returns
// when all operations have ended, and gives the place up.
func (p *Place) Serve(ctx context.Context, server *agent.Server, kept func() int) error {
	defer p.Close()
	ctx, cancel := context.WithCancel(ctx)
	var operations sync.WaitGroup
	defer operations.Wait()
	defer cancel()
	var underWay atomic.Int64
	for idle := 0; idle < idleLooks && ctx.Err() == nil; {
		_ = p.listener.SetDeadline(time.Now().Add(look))
		conn, err := p.listener.AcceptUnix()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if idle++; underWay.Load() > 0 || kept() > 0 {
				idle = 0
			}
			continue
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // as with no descriptors left: what is kept does not end with that
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		case !isOurs(conn), underWay.Load() >= maxOperations:
			_ = conn.Close()
			continue
		}
		idle = 0
		underWay.Add(1)
		operations.Go(func() {
			defer underWay.Add(-1)
			operate(ctx, server, conn)
		})
	}
	return nil
}

func operate(ctx context.Context, server *agent.Server, conn *net.UnixConn) {
	stream := agentproto.NewStream(conn)
	defer context.AfterFunc(ctx, stream.Reset)()
	if _, err := conn.Write([]byte{here}); err != nil {
		stream.Reset()
		return
	}
	server.Operate(ctx, stream)
}
