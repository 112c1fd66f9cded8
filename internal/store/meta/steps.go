package meta

import "context"

// Step is a moment at which a call of the store can be stopped: nothing else of the call happens in between.
type Step string

// The steps. What a transaction reads and writes is one step.
const (
	BeforeRead  Step = "before a read"
	AfterRead   Step = "after a read"
	BeforeWrite Step = "before a write"
	AfterWrite  Step = "after a write" // its commit is durable, and the caches have dropped what it made stale
)

// ObserveSteps makes the store call f at each step, with the context of the call. f may wait. It is for tests of calls that overlap, and is
// called before the store is used.
func (s *Store) ObserveSteps(f func(context.Context, Step)) {
	s.read.step = f
	s.write = observed{s.write, f}
}

// observed is a writer with steps.
type observed struct {
	writer
	step func(context.Context, Step)
}

func (o observed) do(ctx context.Context, fn func(*tx) error) error { return o.doMany(ctx, 1, fn) }

func (o observed) doMany(ctx context.Context, cost int, fn func(*tx) error) error {
	o.step(ctx, BeforeWrite)
	defer o.step(ctx, AfterWrite)
	return o.writer.doMany(ctx, cost, fn)
}
