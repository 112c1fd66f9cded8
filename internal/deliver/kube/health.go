package kube

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

// stuckAfter is the time after which a refresher that has not looked what is due counts as stuck. It looks each minute.
const stuckAfter = 10 * time.Minute

// ServeHTTP answers:
//
//   - /healthz: 200 if the refresher works, 503 if it is stuck, so that it is to be restarted. Failures of others are none of it.
//   - /readyz: 200 if all namespaces have credentials that have not ended, else 503 with what is wrong.
//   - /metrics: the text format of Prometheus.
func (r *Refresher) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	switch q.URL.Path {
	case "/healthz":
		answer(w, r.healthy())
	case "/readyz":
		answer(w, r.ready())
	case "/metrics":
		r.metrics(w)
	default:
		http.NotFound(w, q)
	}
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (r *Refresher) healthy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return stuck(r.o.Now().Sub(r.lastRun))
}

// stuck returns an error for a program that has not looked what is due for a time that is too long.
func stuck(since time.Duration) error {
	if since > stuckAfter {
		return fmt.Errorf("nothing has been done for %s", since.Round(time.Second))
	}
	return nil
}

func (r *Refresher) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	var all []error
	for _, t := range r.tokens {
		if !fresh(t.cred.From, t.cred.ExpiresAt, now) {
			all = append(all, errors.Join(fmt.Errorf("there is no credential for %s", t.host), t.err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.places)) {
		if p := r.places[name]; p.active && (p.err != nil || p.served.IsZero()) {
			all = append(all, errors.Join(fmt.Errorf("the namespace %s is not served", name), p.err))
		}
	}
	return errors.Join(all...)
}

func fresh(from, end, now time.Time) bool { return !from.IsZero() && (end.IsZero() || now.Before(end)) }

// metrics writes the metrics. The library of Prometheus is for the server; these are five families.
func (r *Refresher) metrics(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	var b strings.Builder
	family := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	each := func(write func(p *place, labels string, s hostStatus)) {
		for _, name := range slices.Sorted(maps.Keys(r.places)) {
			p := r.places[name]
			for _, s := range p.status {
				if p.active {
					write(p, fmt.Sprintf(`{namespace=%q,secret=%q,host=%q}`, name, r.o.Secret, s.Host), s)
				}
			}
		}
	}
	family("ecrin_credential_age_seconds", "gauge", "Age of the credential in a pull secret.")
	each(func(_ *place, labels string, s hostStatus) {
		fmt.Fprintf(&b, "ecrin_credential_age_seconds%s %.0f\n", labels, now.Sub(s.RefreshedAt).Seconds())
	})
	family("ecrin_credential_remaining_seconds", "gauge", "Time until the credential in a pull secret ends, negative afterwards.")
	each(func(_ *place, labels string, s hostStatus) {
		if !s.ExpiresAt.IsZero() {
			fmt.Fprintf(&b, "ecrin_credential_remaining_seconds%s %.0f\n", labels, s.ExpiresAt.Sub(now).Seconds())
		}
	})
	family("ecrin_credential_source_failures", "gauge", "Attempts to get a credential that failed since the last success.")
	for _, t := range r.tokens {
		fmt.Fprintf(&b, "ecrin_credential_source_failures{host=%q} %d\n", t.host, t.failures)
	}
	family("ecrin_refresh_namespace_failures", "gauge", "Attempts to serve a namespace that failed since the last success.")
	served := 0
	for _, name := range slices.Sorted(maps.Keys(r.places)) {
		if p := r.places[name]; p.active {
			served++
			fmt.Fprintf(&b, "ecrin_refresh_namespace_failures{namespace=%q} %d\n", name, p.failures)
		}
	}
	family("ecrin_refresh_namespaces", "gauge", "Namespaces that get credentials.")
	fmt.Fprintf(&b, "ecrin_refresh_namespaces %d\n", served)
	_, _ = io.WriteString(w, b.String()) // a reader that has gone needs no answer
}
