package web

import "time"

// SetIdleTimeout sets the time for which a client may send no bytes of a body.
func (s *Server) SetIdleTimeout(d time.Duration) { s.idleTimeout = d }

// SetSlowStart sets the time before a body received by Receive must keep its rate.
func (s *Server) SetSlowStart(d time.Duration) { s.slowStart = d }

// SetWriteTimeout sets the time for which a client may take no bytes of an answer.
func (s *Server) SetWriteTimeout(d time.Duration) { s.writeTimeout = d }

// Origin is origin.
var Origin = origin
