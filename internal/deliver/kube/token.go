package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// The pauses after failures: each is twice the one before.
const (
	firstPause = 2 * time.Second
	lastPause  = 5 * time.Minute
)

// sourceTimeout is the time for getting a credential of one host, and for trying it.
const sourceTimeout = time.Minute

// token is the credential of one host, which all namespaces get.
type token struct {
	host     string
	cred     credential.Credential // zero until there is one
	next     time.Time             // when another one is got
	failures int                   // since the last success
	err      error                 // of the last attempt
}

// renew gets another credential if it is time. The one that it has stays if the source fails, or if the registry refuses what the source
// gives.
func (t *token) renew(ctx context.Context, o *Options) (renewed bool) {
	now := o.Now()
	if now.Before(t.next) {
		return false
	}
	cred, err := t.get(ctx, o)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		t.err, t.failures = err, t.failures+1
		t.next = now.Add(pause(t.failures))
		o.Log.Warn("no new credential", "host", t.host, "failures", t.failures, "next", t.next, "error", err)
		return false
	}
	t.cred, t.err, t.failures = cred, nil, 0
	t.next = early(cred.From, cred.RenewAt(), now)
	o.Log.Info("new credential", "host", t.host, "ends", cred.ExpiresAt, "next", t.next)
	return true
}

// get gets a credential and tries it. A registry that cannot be reached from here does not make it unusable.
func (t *token) get(ctx context.Context, o *Options) (credential.Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	cred, err := o.Source.Credential(ctx, t.host)
	if err != nil {
		return cred, fmt.Errorf("getting a credential for %s: %w", t.host, err)
	}
	cred.Host = t.host
	cred.From = cmpTime(cred.From, o.Now())
	switch {
	case cred.Username == "" || cred.Password.Reveal() == "":
		return cred, fmt.Errorf("the source gives an empty credential for %s", t.host)
	case !cred.ExpiresAt.IsZero() && !o.Now().Before(cred.ExpiresAt):
		return cred, fmt.Errorf("the source gives a credential for %s that has ended at %s", t.host, cred.ExpiresAt.UTC().Format(time.RFC3339))
	case !t.cred.ExpiresAt.IsZero() && !cred.ExpiresAt.IsZero() && cred.ExpiresAt.Before(t.cred.ExpiresAt):
		return cred, fmt.Errorf("the source gives a credential for %s that ends before the one in use", t.host)
	}
	if o.Try == nil {
		return cred, nil
	}
	switch err := o.Try(ctx, cred); {
	case errors.Is(err, credential.ErrRefused):
		return cred, fmt.Errorf("trying the new credential for %s: %w", t.host, err)
	case err != nil:
		o.Log.Warn("the new credential could not be tried", "host", t.host, "error", err)
	}
	return cred, nil
}

func cmpTime(t, without time.Time) time.Time {
	if t.IsZero() {
		return without
	}
	return t
}

// early returns a time up to a tenth of the whole before the end, so that many refreshers do not call at once. A credential that does not
// end is read again each 6 hours, since a source may rotate it.
func early(from, end, now time.Time) time.Time {
	if end.IsZero() {
		end = now.Add(6 * time.Hour)
	}
	span := end.Sub(from)
	if tenth := int64(span / 10); tenth > 0 {
		end = end.Add(-time.Duration(rand.Int64N(tenth)))
	}
	if least := now.Add(firstPause); end.Before(least) { // lives of seconds do not make a loop without pauses
		return least
	}
	return end
}

// pause returns the time to wait after a number of failures, from 1: 2 s, 4 s, … 5 min, less up to a fifth.
func pause(failures int) time.Duration {
	p := lastPause
	if failures < 9 {
		p = min(lastPause, firstPause<<(max(1, failures)-1))
	}
	return p - time.Duration(rand.Int64N(cmp.Or(int64(p/5), 1)))
}
