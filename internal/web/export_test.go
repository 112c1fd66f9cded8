package web

import "time"

// SetPatience changes how long a client may send nothing.
func (s *Server) SetPatience(d time.Duration) { s.patience = d }
