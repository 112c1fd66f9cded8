package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// standing is a clock that stands still between calls of pass.
type standing struct {
	begin time.Time
	after atomic.Int64
}

func newStanding() *standing { return &standing{begin: time.Now()} }

func (c *standing) now() time.Time { return c.begin.Add(time.Duration(c.after.Load())) }

func (c *standing) pass(d time.Duration) { c.after.Add(int64(d)) }

// licensed makes a customer, and returns the id of its licence.
func licensed(t *testing.T, v *visitor) string {
	t.Helper()
	_, customer := shop(t, v)
	return regexp.MustCompile(`licenseID: (\S+)`).FindStringSubmatch(v.get(customer + "/licence").body)[1]
}

// untilRefused repeats a request until it is answered with 429, and returns how many were answered before.
func untilRefused(t *testing.T, limit int, ask func() got) int {
	t.Helper()
	for n := range limit + 1 {
		g := ask()
		if g.status != http.StatusTooManyRequests {
			continue
		}
		if g.header.Get("Retry-After") == "" {
			t.Errorf("429 without Retry-After: %v", g.header)
		}
		has(t, g.body, "There were too many requests")
		return n
	}
	t.Errorf("%d requests, and none was refused", limit+1)
	return limit + 1
}

// An address without a licence may ask for the page of a customer so many times a minute, whatever it asks for and with whatever cookie;
// another address, and who has signed in at the first one, are served meanwhile.
func TestRateOfStrangersAtThePageOfACustomer(t *testing.T) {
	t.Parallel()
	clock := newStanding()
	s := apptest.Start(t, apptest.Options{Now: clock.now, Config: func(c *config.Config) { c.TrustedProxies = []string{"127.0.0.1"} }})
	v := visit(t, s).in(s.Root(t))
	id := licensed(t, v)
	customer := visit(t, s)
	if g := customer.asCustomer(id); g.status != http.StatusSeeOther {
		t.Fatalf("signing in: got %d\n%s", g.status, g.body)
	}
	clock.pass(time.Minute)
	stranger, n := visit(t, s), 0
	ways := []func() got{
		func() got { return stranger.get("/console/customer") },
		func() got { return stranger.get("/console/customer/licence") },
		func() got { return stranger.get("/console/customer/versions/stable/1") },
		func() got {
			return stranger.send(http.MethodGet, "/console/customer", nil, "Cookie", "ecrin-customer=forged")
		},
	}
	if n = untilRefused(t, 1000, func() got { n++; return ways[n%len(ways)]() }); n != 120 {
		t.Errorf("a stranger was answered %d times in a minute, want 120", n)
	}
	for i, ask := range ways {
		if g := ask(); g.status != http.StatusTooManyRequests {
			t.Errorf("way %d beyond the limit: got %d", i, g.status)
		}
	}
	if g := stranger.asCustomer(id); g.status != http.StatusTooManyRequests {
		t.Errorf("signing in beyond the limit: got %d", g.status)
	}
	if g := stranger.send(http.MethodGet, "/console/customer", nil, "X-Forwarded-For", "192.0.2.7"); g.status != http.StatusOK {
		t.Errorf("another address: got %d", g.status)
	}
	if g := customer.get("/console/customer"); g.status != http.StatusOK || !strings.Contains(g.body, "Northwind Freight") {
		t.Errorf("a customer at the address of the stranger: got %d", g.status)
	}
	clock.pass(time.Second)
	if g := stranger.get("/console/customer"); g.status != http.StatusOK {
		t.Errorf("a second later: got %d", g.status)
	}
}

// The requests of a customer for its page count with those at other doors, by its licence and from all addresses; those of others do not.
func TestRateOfACustomerAtItsPage(t *testing.T) {
	t.Parallel()
	clock := newStanding()
	s := apptest.Start(t, apptest.Options{Now: clock.now, Config: func(c *config.Config) { c.CustomerRequests = 10 }})
	v := visit(t, s).in(s.Root(t))
	id := licensed(t, v)
	one, two := visit(t, s), visit(t, s)
	for _, of := range []*visitor{one, two} {
		if g := of.asCustomer(id); g.status != http.StatusSeeOther {
			t.Fatalf("signing in: got %d\n%s", g.status, g.body)
		}
	}
	if got := one.pull(id, "first/only:1"); got == http.StatusTooManyRequests {
		t.Errorf("the first pull: got %d", got)
	}
	n := 0
	if n = untilRefused(t, 100, func() got {
		n++
		return []*visitor{one, two}[n%2].get([]string{"/console/customer", "/console/customer/licence"}[n/2%2])
	}); n > 9 {
		t.Errorf("a customer was answered %d times after a pull, want at most 9", n)
	}
	if got := one.pull(id, "first/only:1"); got != http.StatusTooManyRequests {
		t.Errorf("a pull beyond the limit: got %d", got)
	}
	if g := visit(t, s).get("/console/customer"); g.status != http.StatusOK {
		t.Errorf("a stranger meanwhile: got %d", g.status)
	}
	clock.pass(time.Minute)
	if g := one.get("/console/customer"); g.status != http.StatusOK {
		t.Errorf("a minute later: got %d", g.status)
	}
}

// Passwords of customers are not tried without end: after 50 wrong ones of an address none is looked at for the rest of a quarter of an
// hour. Those that are right do not count.
func TestGuessingOfLicences(t *testing.T) {
	t.Parallel()
	clock := newStanding()
	clock.begin = clock.begin.Round(15 * time.Minute) // where failures begin to be counted anew
	s := apptest.Start(t, apptest.Options{Now: clock.now})
	v := visit(t, s).in(s.Root(t))
	id := licensed(t, v)
	for range 60 {
		if g := visit(t, s).asCustomer(id); g.status != http.StatusSeeOther {
			t.Fatalf("signing in again: got %d", g.status)
		}
	}
	clock.pass(time.Minute)
	stranger := visit(t, s)
	wrong := func(i int) string { return strings.Repeat(string(rune('A'+i%26)), 27) }
	for i := range 50 {
		if g := stranger.asCustomer(wrong(i)); g.status != http.StatusForbidden {
			t.Fatalf("wrong licence %d: got %d", i, g.status)
		}
	}
	for what, password := range map[string]string{"a wrong licence": wrong(51), "the right one": id} {
		g := stranger.asCustomer(password)
		if g.status != http.StatusTooManyRequests || g.header.Get("Retry-After") != "900" || len(g.header["Set-Cookie"]) != 0 {
			t.Errorf("%s after 50 wrong ones: got %d %v", what, g.status, g.header)
		}
		has(t, g.body, "wait for 15 minutes")
	}
	clock.pass(15 * time.Minute)
	if g := stranger.send(http.MethodPost, "/console/customer", url.Values{"password": {id}}); g.status != http.StatusSeeOther {
		t.Errorf("in the next quarter of an hour: got %d", g.status)
	}
}
