package tlsauto

// MaxLeafs is the maximum number of cached leaves.
const MaxLeafs = maxLeafs

// Cached returns the number of cached leaves.
func (a *Authority) Cached() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.leaves)
}
