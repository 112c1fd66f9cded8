package tlsauto

// MaxLeafs is the maximum number of cached leaves.
const MaxLeafs = maxLeafs

// Busy makes the authority busy as if it issued a leaf, until done is called.
func (a *Authority) Busy() (done func()) {
	a.issuing.Lock()
	return a.issuing.Unlock
}

// Cached returns the number of cached leaves.
func (a *Authority) Cached() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.leaves)
}
