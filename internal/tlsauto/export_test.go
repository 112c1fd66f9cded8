package tlsauto

// MaxLeafs is the bound of the cache.
const MaxLeafs = maxLeafs

// Cached is how many leaves are held.
func (a *Authority) Cached() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.leaves)
}
