package main

import (
	"context"
	"errors"
	"sync"
)

// group runs until its context ends, or one of it fails; then all of it ends.
type group struct {
	ctx     context.Context
	fail    context.CancelCauseFunc
	running sync.WaitGroup
}

func newGroup(ctx context.Context) *group {
	ctx, fail := context.WithCancelCause(ctx)
	return &group{ctx: ctx, fail: fail}
}

func (g *group) run(one func(context.Context) error) {
	g.running.Go(func() {
		if err := one(g.ctx); err != nil && g.ctx.Err() == nil {
			g.fail(err)
		}
	})
}

// wait is for all of them. That the time was over is no failure.
func (g *group) wait() error {
	g.running.Wait()
	err := context.Cause(g.ctx)
	g.fail(nil)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
