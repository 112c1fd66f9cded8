package rancher

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ServeHTTP answers:
//
//   - /ping: 200 and pong!, as long as the program runs. Failures of others are none of it.
//   - /readyz: 200 if the last attempt wrote all tokens and none has ended, else 503 with what is wrong.
//   - /metrics: the text format of Prometheus.
func (u *Updater) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	switch q.URL.Path {
	case "/ping":
		_, _ = io.WriteString(w, "pong!") // the client may have gone
	case "/readyz":
		if err := u.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n") // the client may have gone
	case "/metrics":
		_, _ = io.WriteString(w, u.metrics()) // the client may have gone
	default:
		http.NotFound(w, q)
	}
}

func (u *Updater) ready() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lastErr != nil {
		return u.lastErr
	}
	if len(u.delivered) == 0 {
		return errors.New("no credential was written yet")
	}
	for _, host := range slices.Sorted(maps.Keys(u.delivered)) {
		if c := u.delivered[host]; c.Ended(u.now()) {
			return fmt.Errorf("the credential of %s has ended at %s", host, c.ExpiresAt.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// metrics returns when each credential was last written, how old it is and when it ends.
func (u *Updater) metrics() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var b strings.Builder
	for _, family := range []struct {
		name, help string
		value      func(from, end time.Time) float64
	}{
		{"ecrin_credential_age_seconds", "Time since the credential that Rancher has was got.",
			func(from, _ time.Time) float64 { return u.now().Sub(from).Seconds() }},
		{"ecrin_credential_remaining_seconds", "Time until the credential that Rancher has ends, negative afterwards.",
			func(_, end time.Time) float64 { return end.Sub(u.now()).Seconds() }},
		{"ecrin_credential_refreshed_timestamp_seconds", "When the credential that Rancher has was got.",
			func(from, _ time.Time) float64 { return float64(from.Unix()) }},
	} {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", family.name, family.help, family.name)
		for _, host := range slices.Sorted(maps.Keys(u.delivered)) {
			c := u.delivered[host]
			fmt.Fprintf(&b, "%s{host=%q} %.0f\n", family.name, host, family.value(c.From, c.ExpiresAt))
		}
	}
	return b.String()
}
