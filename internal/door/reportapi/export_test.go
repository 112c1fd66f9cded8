package reportapi

import "time"

// SetHeartbeat sets the interval of the events that show that a report is being made.
func (a *API) SetHeartbeat(d time.Duration) { a.heartbeat = d }
