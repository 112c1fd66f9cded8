package policy

// Why will hold the reasons of a decision.
type Why struct{}

func (w *Why) note(*decision, Layer, Named, *statement, bool) {}
