package fsblob

// MaxSpareBuffers is the upper bound of SpareBuffers.
const MaxSpareBuffers = maxSpareBuffers

// SpareBuffers returns the number of large buffers that uploads hold now beyond the first of each.
func (s *Store) SpareBuffers() int { return len(s.spare) }
