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
		if s != nil {
			due = append(due, s)
		}
	}
	for i := range 20_000 { // one principal, many resources
		send(reason{account: account(1), principal: "one", action: "a", code: "c", resource: fmt.Sprint(i % 1000)})
	}
	if n := len(c.reasons); n != maxReasonsOfPrincipal+1 || written != (maxReasonsOfPrincipal+1)*maxAlike {
		t.Errorf("one principal: got %d reasons and %d lines, want %d and %d", n, written, maxReasonsOfPrincipal+1,
			(maxReasonsOfPrincipal+1)*maxAlike)
	}
	for i := range 20_000 { // one account, many principals
		send(reason{account: account(1), principal: fmt.Sprint(i % 1000), action: "a", code: "c", resource: "r"})
	}
	if n := c.account[account(1)]; n != maxReasonsOfAccount {
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
	if len(c.reasons)+len(c.principal)+len(c.account)+c.overflows != 0 {
		t.Errorf("after the period: got %d reasons, %d principals, %d accounts and %d overflows, want none", len(c.reasons),
			len(c.principal), len(c.account), c.overflows)
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
			if write != (i < maxAlike) || (keep != nil) != (i == maxAlike-1) || (due != nil) != (period > 0 && i == 0) {
				t.Fatalf("period %d, request %d: got line %t, keep %t, due %t", period, i, write, keep != nil, due != nil)
			}
			if keep != nil {
				keep(&failed{})
			}
			first := 100*period - 100 + maxAlike
			if due != nil && (due.requests != 5 || due.first != requestID(first) || due.last != requestID(first+4)) {
				t.Errorf("period %d: got %+v, want 5 requests", period, due.counted)
			}
			if want := requestID(100*period + maxAlike - 1); i >= maxAlike && c.representative(id) != want {
				t.Errorf("request %d is explained by %q, want %q", i, c.representative(id), want)
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
	if c.representative("x") != "" || c.representative(requestID(99)) != "" {
		t.Error("an unknown request is explained")
	}
}

// A client chooses the id that it has explained: a text of the length of an id that is none has no explanation.
func TestTextsThatAreNoRequestIDs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("a", 36), strings.Repeat("-", 36), "aaaaaaaa-aaaa-aaaa-aaaaaaaaaaaaaaaaa",
		"aaaaaaaa-aaaa-aaaa-aaaa-aaaa-aaaaaaa"} {
		c := counter{ids: map[[16]byte][16]byte{}}
		c.remember(audit.ID{}.String(), requestID(1)) // the id that a text without one is decoded to
		if got := c.representative(text); got != "" {
			t.Errorf("%q is explained by %q", text, got)
		}
	}
}
