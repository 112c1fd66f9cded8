package fsblob

// MaxSpareBuffers bounds what SpareBuffers gives.
const MaxSpareBuffers = spareBuffers

// SpareBuffers is the number of large buffers that uploads hold now beyond their first.
func (s *Store) SpareBuffers() int { return len(s.spare) }
