package web

import "time"

// SetIdleTimeout sets the time for which a client may send no bytes of a body.
func (s *Server) SetIdleTimeout(d time.Duration) { s.idleTimeout = d }

// SetSlowStart sets the time before a body received by Receive must keep its rate.
func (s *Server) SetSlowStart(d time.Duration) { s.slowStart = d }

// Origin is origin.
var Origin = origin
