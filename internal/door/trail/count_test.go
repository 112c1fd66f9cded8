package trail

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// requestID returns the id of request i.
func requestID(i int) string { return audit.ID{0: byte(i >> 16), 1: byte(i >> 8), 2: byte(i)}.String() }

// The memory of the counter is bounded: reasons beyond the limits are counted for the principal, then for the account, and no
// request is left out.
func TestCountingIsBounded(t *testing.T) {
	t.Parallel()
	var c counter
	now := time.Unix(1_800_000_000, 0)
	account := func(n int) name.Account {
		a, err := name.ParseAccount(fmt.Sprintf("%012d", n))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	written, all := 0, 0
	var due []*summary
	send := func(r reason) {
		write, keep, s := c.take(r, requestID(all), now)
		if all++; write {
			written++
		}
		if keep != nil {
			keep(&failed{})
		}
		due = append(due, s...)
	}
	for i := range 20_000 { // one principal, many resources
		send(reason{account: account(1), principal: "one", action: "a", code: "c", resource: fmt.Sprint(i % 1000)})
	}
	if n := len(c.reasons); n != maxReasonsOfPair+1 || written != (maxReasonsOfPair+1)*maxAlike {
		t.Errorf("one principal: got %d reasons and %d lines, want %d and %d", n, written, maxReasonsOfPair+1,
			(maxReasonsOfPair+1)*maxAlike)
	}
	for i := range 20_000 { // one account, many principals
		send(reason{account: account(1), principal: fmt.Sprint(i % 1000), action: "a", code: "c", resource: "r"})
	}
	if n := c.accounts[account(1)]; n != maxReasonsOfAccount {
		t.Errorf("one account: got %d reasons, want %d", n, maxReasonsOfAccount)
	}
	for i := range 100_000 { // many accounts
		send(reason{account: account(2 + i%5000), principal: fmt.Sprint(i % 50_000), action: "a", code: "c", resource: "r"})
	}
	if n := len(c.reasons); n > maxReasons+maxOverflows || len(c.ids) != maxCountedIDs || len(c.recent) != maxCountedIDs {
		t.Errorf("many accounts: got %d reasons and %d ids, want at most %d and %d", n, len(c.ids), maxReasons+maxOverflows, maxCountedIDs)
	}
	counted := 0
	for _, s := range append(due, c.ended(now.Add(countPeriod), false)...) {
		counted += int(s.requests)
	}
	if written+counted != all {
		t.Errorf("got %d lines and %d counted requests of %d", written, counted, all)
	}
	if len(c.reasons)+len(c.pairs)+len(c.accounts)+len(c.wide)+c.overflows != 0 {
		t.Errorf("after the period: got %d reasons, %d pairs, %d accounts and %d overflows of %d, want none", len(c.reasons),
			len(c.pairs), len(c.accounts), c.overflows, len(c.wide))
	}
}

// Each period has its own lines and its own sum, with the ids of the first and the last counted request.
func TestEachPeriodIsCountedAlone(t *testing.T) {
	t.Parallel()
	var c counter
	now := time.Unix(1_800_000_000, 0)
	r := reason{principal: "p", action: "a", code: "c", resource: "r"}
	for period := range 3 {
		for i := range maxAlike + 5 {
			id := requestID(100*period + i)
			write, keep, due := c.take(r, id, now)
			if write != (i < maxAlike) || (keep != nil) != (i == maxAlike-1) || (len(due) == 1) != (period > 0 && i == 0) {
				t.Fatalf("period %d, request %d: got line %t, keep %t, due %t", period, i, write, keep != nil, len(due) == 1)
			}
			if keep != nil {
				keep(&failed{})
			}
			first := 100*period - 100 + maxAlike
			if len(due) == 1 && (due[0].requests != 5 || due[0].first != requestID(first) || due[0].last != requestID(first+4)) {
				t.Errorf("period %d: got %+v, want 5 requests", period, due[0].counted)
			}
			if want := requestID(100*period + maxAlike - 1); i >= maxAlike {
				if of, alike := c.representative(id); of != want || !alike {
					t.Errorf("request %d is explained by %q, alike %t, want %q", i, of, alike, want)
				}
			}
		}
		now = now.Add(countPeriod)
	}
	if got := c.ended(now.Add(-time.Second), false); len(got) != 0 {
		t.Errorf("before the end of the period: got %d lines, want none", len(got))
	}
	if got := c.ended(now.Add(-time.Second), true); len(got) != 1 {
		t.Errorf("at the end: got %d lines, want 1", len(got))
	}
	for _, unknown := range []string{"x", requestID(99)} {
		if of, _ := c.representative(unknown); of != "" {
			t.Errorf("the unknown request %q is explained by %q", unknown, of)
		}
	}
}

// A client chooses the id that it has explained: a text of the length of an id that is none has no explanation.
func TestTextsThatAreNoRequestIDs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("a", 36), strings.Repeat("-", 36), "aaaaaaaa-aaaa-aaaa-aaaaaaaaaaaaaaaaa",
		"aaaaaaaa-aaaa-aaaa-aaaa-aaaa-aaaaaaa"} {
		c := counter{ids: map[[16]byte]stand{}}
		c.remember(audit.ID{}.String(), requestID(1), false) // the id that a text without one is decoded to
		if got, _ := c.representative(text); got != "" {
			t.Errorf("%q is explained by %q", text, got)
		}
	}
}

// Whatever else fails, on however many accounts, each account has the number of the requests that concern it.
func TestEachOwnerHasASum(t *testing.T) {
	t.Parallel()
	var c counter
	now := time.Unix(1_800_000_000, 0)
	account := func(n int) name.Account {
		a, err := name.ParseAccount(fmt.Sprintf("%012d", n))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	id := 0
	written, counted := map[string]int{}, map[string]int{}
	send := func(caller, owner int, resource string) {
		r := reason{account: account(caller), owner: account(owner), principal: fmt.Sprint("p", caller), action: "a", code: "c",
			resource: resource, party: strangers}
		both := []string{r.owner.String(), r.account.String()}
		write, keep, due := c.take(r, requestID(id), now)
		if id++; len(due) != 0 {
			t.Fatalf("request %d ended a period", id)
		}
		if keep != nil {
			keep(&failed{accounts: both})
		}
		if write {
			written[both[0]]++
		}
	}
	const callers, owners, victim = 4, 800, 999_999
	for owner := range owners {
		for n := range 15 * callers {
			send(owners+n%callers, owner, "r")
		}
	}
	for n := range 50 {
		send(owners, victim, fmt.Sprint("r", n))
	}
	if n := len(c.reasons); n > maxReasons+maxOverflows {
		t.Errorf("got %d reasons, want at most %d", n, maxReasons+maxOverflows)
	}
	for _, s := range c.ended(now, true) {
		counted[s.accounts[0]] += int(s.requests)
		if s.scope == byNothing && len(s.accounts) != 1 {
			t.Errorf("the sum of all accounts is in the trails of %q, want one", s.accounts)
		}
	}
	for owner, want := range map[int]int{0: 15 * callers, owners / 2: 15 * callers, owners - 1: 15 * callers, victim: 50} {
		if a := account(owner).String(); written[a]+counted[a] != want {
			t.Errorf("account %s has %d lines and %d counted requests, want %d together", a, written[a], counted[a], want)
		}
	}
}
