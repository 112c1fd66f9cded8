package trail

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Each step of fit has its limits: a text of that length keeps its text, and one that is a byte longer does not.
func TestFitCutsEachTextAtItsLimit(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return strings.Repeat("x", n) }
	texts := map[string]func(r *audit.Record, m *more) *string{
		"agent":   func(r *audit.Record, _ *more) *string { return &r.UserAgent },
		"program": func(_ *audit.Record, m *more) *string { return &m.program },
		"message": func(r *audit.Record, _ *more) *string { return &r.ErrorMessage },
		"cause":   func(_ *audit.Record, m *more) *string { return &m.cause },
		"cure":    func(_ *audit.Record, m *more) *string { return &m.cure },
		"arn":     func(r *audit.Record, _ *more) *string { return &r.Identity.ARN },
		"user":    func(r *audit.Record, _ *more) *string { return &r.Identity.UserName },
		"idp":     func(r *audit.Record, _ *more) *string { return &r.Identity.IdentityProvider },
		"id":      func(r *audit.Record, _ *more) *string { return &r.Identity.PrincipalID },
		"issuer":  func(r *audit.Record, _ *more) *string { return &r.Identity.Session.Issuer.ARN },
		"role":    func(r *audit.Record, _ *more) *string { return &r.Identity.Session.Issuer.UserName },
		"source":  func(r *audit.Record, _ *more) *string { return &r.Identity.Session.SourceIdentity },
		"login":   func(r *audit.Record, _ *more) *string { return &r.Identity.Session.FederatedProvider },
		"target":  func(r *audit.Record, _ *more) *string { return &r.Resources[0].ARN },
	}
	build := func() (audit.Record, more) {
		r := audit.Record{EventID: audit.NewID(), Resources: []audit.Resource{{ARN: "arn"}},
			Identity: audit.Identity{Type: audit.AssumedRole, Session: &audit.Session{}}}
		return r, more{client: true, cause: "c", cure: "d"}
	}
	for _, step := range []struct {
		what, long string // what needs the step
		limits     map[string]int
		request    int // the longest parameters that are kept
	}{
		{"the texts of the client", "message", map[string]int{"agent": 96, "program": 96, "cause": 200, "cure": 200}, 256},
		{"the texts of the client", "agent", map[string]int{"message": 400, "program": 96}, 256},
		{"the names of the caller", "arn", map[string]int{"agent": 48, "program": 48, "message": 160, "user": 128, "idp": 128,
			"id": 128, "issuer": 128, "role": 128, "source": 128, "login": 128, "target": 300, "cause": 200, "cure": 200}, 128},
		{"the names of the caller", "user", map[string]int{"arn": 128}, 128},
		{"more than is left", "", map[string]int{"agent": 16, "program": 16, "message": 30, "arn": 32, "user": 32, "idp": 32, "id": 96,
			"issuer": 32, "role": 32, "source": 32, "login": 32, "cause": 100, "cure": 100, "target": 256}, 128},
	} {
		grow := func(r *audit.Record, m *more) {
			long := strings.Repeat("\x01", 700)      // six bytes each
			if r.RequestID = long; step.long != "" { // an id is not cut
				r.RequestID, *texts[step.long](r, m) = requestID(1), long
			}
		}
		for what, limit := range step.limits {
			for _, n := range []int{limit, limit + 1} {
				r, m := build()
				grow(&r, &m)
				*texts[what](&r, &m) = text(n)
				fit(&r, &m)
				got := *texts[what](&r, &m)
				if kept := got == text(n); kept != (n == limit) && (what != "target" || limit == 256) || len(got) > n {
					t.Errorf("%s, %s of %d bytes: got %d bytes, want it kept %t", step.what, what, n, len(got), n == limit)
				}
				if size := r.LineLen(); step.long != "" && size > maxFailedLine {
					t.Errorf("%s, %s of %d bytes: the line has %d bytes", step.what, what, n, size)
				}
			}
		}
		for _, n := range []int{step.request, step.request + 1} {
			r, m := build()
			grow(&r, &m)
			var p audit.Params
			for k := 1; p.Len() < n; k++ {
				p = audit.Params{}
				p.String("a", text(k))
			}
			r.Request = p
			fit(&r, &m)
			if kept := !strings.Contains(r.Request.JSON(), `"sha256"`); kept != (n == step.request) {
				t.Errorf("%s, parameters of %d bytes: got %s, want them kept %t", step.what, n, r.Request.JSON(), n == step.request)
			}
		}
	}
}

// A line that has the most bytes that it may have is not shortened, and one that has one more is.
func TestFitKeepsALineOfTheGreatestLength(t *testing.T) {
	t.Parallel()
	for _, more1 := range []int{0, 1} {
		r := audit.Record{EventID: audit.NewID(), ErrorMessage: "x", UserAgent: strings.Repeat("a", 500)}
		r.ErrorMessage = strings.Repeat("x", maxFailedLine-r.LineLen()+1+more1)
		before := r.ErrorMessage
		m := more{}
		if n := r.LineLen(); n != maxFailedLine+more1 {
			t.Fatalf("the line has %d bytes, want %d", n, maxFailedLine+more1)
		}
		fit(&r, &m)
		if kept := r.ErrorMessage == before; kept != (more1 == 0) {
			t.Errorf("a line of %d bytes: kept %t", maxFailedLine+more1, kept)
		}
	}
}

// Requests that fail are counted apart for those who may do something in the account of the owner, for other accounts, and for
// anyone.
func TestPartiesOfCallers(t *testing.T) {
	t.Parallel()
	own, other := name.MustAccount("111122223333"), name.MustAccount("444455556666")
	for what, test := range map[string]struct {
		caller identity.Caller
		owned  bool
		want   party
	}{
		"the operator":     {identity.Caller{Kind: identity.Operator}, true, insiders},
		"anonymous":        {identity.Caller{Kind: identity.Anonymous}, true, nobody},
		"of the owner":     {identity.Caller{Kind: identity.User, Account: own}, true, insiders},
		"of another":       {identity.Caller{Kind: identity.User, Account: other}, true, strangers},
		"without an owner": {identity.Caller{Kind: identity.User, Account: own}, false, strangers},
	} {
		ev := guard.Event{}
		ev.Caller = test.caller
		if test.owned {
			ev.Owner = guard.OwnedBy(own)
		}
		if got := partyOf(&ev); got != test.want {
			t.Errorf("%s: got party %d, want %d", what, got, test.want)
		}
	}
}

// A sum of all accounts is in the trail of each account that its requests concern, once, and of no account if they concern none.
func TestSharesOfTheSumOfAllAccounts(t *testing.T) {
	t.Parallel()
	a, b := name.MustAccount("111122223333"), name.MustAccount("444455556666")
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		owner, account name.Account
		want           []string
	}{{a, b, []string{a.String(), b.String()}}, {a, a, []string{a.String()}}, {a, name.Account{}, []string{a.String()}},
		{name.Account{}, b, []string{b.String()}}, {name.Account{}, name.Account{}, []string{""}}} {
		e := entry{line: &failed{accounts: []string{"line"}}}
		for i := range 3 {
			e.share(&reason{owner: test.owner, account: test.account}, requestID(i), now.Add(time.Duration(i)*time.Second))
		}
		var got []string
		for _, s := range e.due() {
			got = append(got, strings.Join(s.accounts, " "))
			if s.requests != 3 || s.first != requestID(0) || s.last != requestID(2) || !s.from.Equal(now) ||
				!s.to.Equal(now.Add(2*time.Second)) || s.scope != byNothing {
				t.Errorf("owner %q, caller %q: got %+v, want three requests in two seconds", test.owner, test.account, s.counted)
			}
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			t.Errorf("owner %q, caller %q: got the trails %q, want %q", test.owner, test.account, got, test.want)
		}
		e.line = nil
		if got := e.due(); len(got) != 0 {
			t.Errorf("before there is a line: got %d sums, want none", len(got))
		}
	}
	e := entry{line: &failed{accounts: []string{"line"}}}
	if got := e.due(); len(got) != 0 {
		t.Errorf("without counted requests: got %d sums, want none", len(got))
	}
	for _, scope := range []scope{byCause, byPrincipal, byAccount} {
		e.counted = counted{}
		e.counted.add(scope, requestID(1), now)
		if got := e.due(); len(got) != 1 || !slices.Equal(got[0].accounts, []string{"line"}) || got[0].scope != scope || got[0].requests != 1 {
			t.Errorf("%s: got %+v, want one sum in the trails of the line", scope, got)
		}
	}
}
