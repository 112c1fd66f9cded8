package credential

import "errors"

// ErrNone says that a source has no credentials for a host, so that another source or an anonymous request may be tried.
var ErrNone = errors.New("no credentials for this host")
