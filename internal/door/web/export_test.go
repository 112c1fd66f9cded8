package web

import "time"

// SetPatience changes how long a client may send nothing.
func (s *Server) SetPatience(d time.Duration) { s.patience = d }

// Origin tells where a request comes from.
var Origin = origin
