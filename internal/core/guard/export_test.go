package guard

import "context"

// TakeTurn holds the turn of expensive decisions until release is called.
func (g *Guard) TakeTurn(ctx context.Context) (release func(), err error) { return g.turn.take(ctx) }
