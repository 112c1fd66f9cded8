package web

import "time"

// SetIdleTimeout sets the time for which a client may send no bytes of a body.
func (s *Server) SetIdleTimeout(d time.Duration) { s.idleTimeout = d }

// Origin is origin.
var Origin = origin
