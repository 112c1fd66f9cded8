package ociapi

import (
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxUploadsPerPrincipal is the maximum number of bodies that one principal may send at the same time. Each body needs
// buffers and an open file. All sessions of a role are one principal.
const maxUploadsPerPrincipal = 256

// maxPassesPerCustomer is the maximum number of layers that are passed on to one customer at the same time without being stored. Each has
// a connection to the other registry for as long as the customer reads.
const maxPassesPerCustomer = 8

// Manifests of more than maxSmallManifest bytes need a place while they are read from the database.
const (
	maxSmallManifest    = 256 << 10
	maxLargeManifests   = 3  // at the same time
	maxManifestsWaiting = 64 // of one principal
	maxManifestWait     = 30 * time.Second
)

// limiter limits the number of concurrent uploads of each principal.
type limiter struct {
	max int // for one principal
	mu  sync.Mutex
	now map[string]int // concurrent uploads by principal
}

// enter counts one more upload of a principal until release is called. principal is identity.Caller.LimitKey.
//
// Errors: fault.Throttled (the principal has max uploads).
func (l *limiter) enter(principal string) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now[principal] >= l.max {
		return nil, fault.Throttled.New("Rate exceeded")
	}
	if l.now == nil {
		l.now = map[string]int{}
	}
	l.now[principal]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.now[principal]--; l.now[principal] == 0 {
			delete(l.now, principal)
		}
	}, nil
}
