package trail

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Only what makes a line too long is shortened: first the parameters, then the texts of the client, the names of the caller
// later, and unique ids never.
func TestFitShortensTheLeastImportantFirst(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return strings.Repeat("x", n) }
	short := func() (audit.Record, more) {
		r := audit.Record{EventID: audit.NewID(), RequestID: requestID(1), Source: invokedBy, Name: "PutImage", UserAgent: text(40),
			ErrorCode: "AccessDenied", ErrorMessage: text(100), Resources: []audit.Resource{{ARN: "arn:" + text(60)}},
			Identity: audit.Identity{Type: audit.AssumedRole, PrincipalID: "AROAEXAMPLE:" + text(20), ARN: "arn:" + text(60), UserName: text(20),
				Session: &audit.Session{Issuer: audit.Issuer{PrincipalID: "AROAEXAMPLE", ARN: "arn:" + text(40)}}}}
		r.Request.String("repositoryName", text(60))
		return r, more{client: true, address: "192.0.2.7", program: text(40), cause: text(60), cure: text(60)}
	}
	digested := func(r *audit.Record) bool { return strings.Contains(r.Request.JSON(), `"sha256"`) }
	for what, c := range map[string]struct {
		grow func(r *audit.Record, m *more)
		same string // the parts that keep their text
	}{
		"nothing": {func(*audit.Record, *more) {}, "request agent message identity session resource cause"},
		"request": {func(r *audit.Record, _ *more) { r.Request.Strings("list", []string{text(700), text(700)}) },
			"agent message identity session resource cause"},
		"agent": {func(r *audit.Record, m *more) { m.program, r.UserAgent = text(1000), text(1000) },
			"request message identity session resource cause"},
		"message": {func(r *audit.Record, _ *more) { r.ErrorMessage = text(2000) }, "request agent identity session resource cause"},
		"cause":   {func(_ *audit.Record, m *more) { m.cause = text(1020) }, "request agent message identity session resource"},
		"identity": {func(r *audit.Record, _ *more) { r.Identity.ARN, r.Identity.UserName = text(700), text(700) },
			"request agent message resource cause"},
		"session": {func(r *audit.Record, _ *more) {
			r.Identity.Session.Issuer.ARN, r.Identity.Session.SourceIdentity = text(700), text(700)
		},
			"request agent message resource cause"},
		"provider": {func(r *audit.Record, _ *more) {
			r.Identity.Session.FederatedProvider, r.Identity.IdentityProvider = text(700), text(700)
		}, "request agent message resource cause"},
		"resource": {func(r *audit.Record, _ *more) { r.Resources[0].ARN = text(600) }, "resource"},
		"all": {func(r *audit.Record, m *more) {
			r.Request.Strings("list", []string{text(700), text(700)})
			m.program, r.UserAgent, r.ErrorMessage, m.cause, m.cure = text(1000), text(1000), text(2000), text(1000), text(1000)
			r.Identity.ARN, r.Identity.UserName, r.Identity.Session.Issuer.ARN = text(700), text(700), text(700)
			r.Resources[0].ARN = text(1000)
		}, ""},
	} {
		r, m := short()
		c.grow(&r, &m)
		before, beforeMore := r, m
		session := *r.Identity.Session
		resource := r.Resources[0]
		fit(&r, &m)
		if n := r.LineLen(); n > maxFailedLine || n < 700 {
			t.Errorf("%s: the line has %d bytes, want at most %d, and not much less than it may have", what, n, maxFailedLine)
		}
		got := map[string]bool{
			"request": !digested(&r), "agent": r.UserAgent == before.UserAgent && m.program == beforeMore.program,
			"message": r.ErrorMessage == before.ErrorMessage, "session": cmp.Equal(*r.Identity.Session, session),
			"identity": r.Identity.ARN == before.Identity.ARN && r.Identity.UserName == before.Identity.UserName,
			"resource": r.Resources[0] == resource, "cause": m.cause == beforeMore.cause && m.cure == beforeMore.cure,
		}
		for _, part := range strings.Fields(c.same) {
			if !got[part] {
				t.Errorf("%s is long: %s was shortened too: %+v", what, part, r)
			}
		}
		if r.Identity.PrincipalID != before.Identity.PrincipalID || r.Identity.Session.Issuer.PrincipalID != "AROAEXAMPLE" ||
			r.RequestID != before.RequestID {
			t.Errorf("%s: unique ids were shortened: %+v", what, r)
		}
		if !cmp.Equal(before.Identity.Session, &session) {
			t.Errorf("%s: the session of the caller itself was changed", what)
		}
		if diff := cmp.Diff(new(m.params()).JSON(), r.Additional.JSON()); diff != "" {
			t.Errorf("%s: the additional data is not what it was shortened to (-want +got):\n%s", what, diff)
		}
	}
}

// The line of a sum has what is common to its requests: all of one reason, the caller of one principal, the account of one account.
func TestLineOfASum(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0).UTC()
	f := &failed{record: audit.Record{EventID: audit.NewID(), Name: "PutImage", RequestID: requestID(9), SourceIP: "192.0.2.7",
		UserAgent: "docker", ErrorCode: "AccessDenied", ErrorMessage: "no", Resources: []audit.Resource{{ARN: "arn:aws:ecr:r"}},
		Identity: audit.Identity{Type: audit.IAMUser, PrincipalID: "AIDA", Account: "111122223333"}},
		more: more{client: true, address: "192.0.2.7", program: "docker", cause: "c", cure: "d"}}
	f.record.Request.String("repositoryName", "app")
	n := counted{requests: 7, first: requestID(1), last: requestID(8), from: now, to: now.Add(time.Second)}
	const sum = `"counted":{"requests":7,"scope":%q,"from":"2027-01-15T08:00:00Z","to":"2027-01-15T08:00:01Z",` +
		`"firstRequestID":"01000000-0000-0000-0000-000000000000","lastRequestID":"08000000-0000-0000-0000-000000000000"}`
	for of, want := range map[scope]audit.Record{
		byCause: {Name: "PutImage", SourceIP: "192.0.2.7", UserAgent: "docker", ErrorMessage: "no", Resources: f.record.Resources,
			Identity: f.record.Identity, Request: f.record.Request},
		byPrincipal: {Name: audit.CountedTogether, SourceIP: "192.0.2.7", UserAgent: "docker", Identity: f.record.Identity},
		byAccount:   {Name: audit.CountedTogether, Identity: audit.Identity{Type: audit.Unknown, Account: "111122223333"}},
	} {
		n.scope = of
		n.first, n.last = audit.ID{1}.String(), audit.ID{8}.String()
		got := (&summary{f, n, nil}).record(now.Add(time.Minute))
		want.Time, want.RequestID, want.ErrorCode = now.Add(time.Minute), n.first, "AccessDenied"
		additional := got.Additional.JSON()
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(audit.Params{}),
			cmpopts.IgnoreFields(audit.Record{}, "EventID", "Additional")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", of, diff)
		}
		if got.EventID == f.record.EventID || got.EventID == (audit.ID{}) {
			t.Errorf("%s: the event id is %s, want a new one", of, got.EventID)
		}
		whole := `{` + fmt.Sprintf(sum, of) + `}`
		if of == byCause {
			whole = `{"clientAddress":"192.0.2.7","clientUserAgent":"docker",` + fmt.Sprintf(sum, of) + `,"cause":"c","cure":"d"}`
		}
		if diff := cmp.Diff(whole, additional); diff != "" {
			t.Errorf("%s: additionalEventData (-want +got):\n%s", of, diff)
		}
		if f.more.counted != nil {
			t.Errorf("%s: the kept line of the last request was changed", of)
		}
	}
}

// Each limit of the counter widens the reason by one step, and the last ones are for all other accounts together.
func TestWhichRequestsAreCountedTogether(t *testing.T) {
	t.Parallel()
	account := func(n int) name.Account {
		a, err := name.ParseAccount(fmt.Sprintf("%012d", n))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	now := time.Unix(1_800_000_000, 0)
	var c counter
	scopes := func(a, principal, n int) (got [3]int, nobody int) {
		for i := range n {
			r := reason{account: account(a), principal: fmt.Sprint(a, "-", principal), action: "a", resource: fmt.Sprint(i)}
			wide := c.room(r)
			c.take(r, requestID(i), now)
			switch {
			case wide.account == (name.Account{}):
				nobody++
			case wide.scope == byCause:
				got[0]++
			case wide.scope == byPrincipal && wide.principal == r.principal && wide.resource == "" && wide.action == "":
				got[1]++
			case wide.scope == byAccount && wide.principal == "":
				got[2]++
			default:
				t.Errorf("request %d is counted as %+v", i, wide)
			}
		}
		return got, nobody
	}
	for p := range 4 { // four principals have all that one account may have
		if got, _ := scopes(1, p, 70); got != [3]int{64, 6, 0} {
			t.Errorf("principal %d: got %v requests by cause, principal and account, want 64, 6 and 0", p, got)
		}
	}
	if got, _ := scopes(1, 4, 5); got != [3]int{0, 0, 5} {
		t.Errorf("another principal of that account: got %v, want 0, 0 and 5", got)
	}
	for a := 2; a < 9; a++ { // with the first account these have all reasons
		for p := range 4 {
			scopes(a, p, 64)
		}
	}
	if n := len(c.reasons) - c.overflows; n != maxReasons || c.overflows != 5 {
		t.Fatalf("got %d reasons and %d overflows, want %d and 5", n, c.overflows, maxReasons)
	}
	for a := 9; c.overflows < maxOverflows-2; a++ {
		if got, nobody := scopes(a, 0, 1); got != [3]int{0, 0, 1} || nobody != 0 {
			t.Fatalf("account %d: got %v and %d, want one request by account", a, got, nobody)
		}
	}
	if got, nobody := scopes(5000, 0, 3); got != [3]int{} || nobody != 3 {
		t.Errorf("one account more: got %v and %d, want three requests of all other accounts", got, nobody)
	}
	if got, _ := scopes(1, 0, 80); got != [3]int{64, 16, 0} {
		t.Errorf("the first principal again: got %v, want its own reasons and sum", got)
	}
	if c.ended(now.Add(countPeriod), false); len(c.reasons)+len(c.pairs)+len(c.accounts)+len(c.wide)+c.overflows != 0 {
		t.Errorf("after the period: got %d reasons, want none", len(c.reasons))
	}
}

// Of more counted requests than the counter remembers, the last ones are explained.
func TestTheLastCountedRequestsAreRemembered(t *testing.T) {
	t.Parallel()
	c := counter{ids: map[[16]byte]stand{}}
	const all = 2*maxCountedIDs + 100
	for i := range all {
		c.remember(requestID(i), requestID(i/2), false)
	}
	for i := range all {
		want := ""
		if i >= all-maxCountedIDs {
			want = requestID(i / 2)
		}
		if got, _ := c.representative(requestID(i)); got != want {
			t.Fatalf("request %d is explained by %q, want %q", i, got, want)
		}
	}
	if len(c.ids) != maxCountedIDs || len(c.recent) != maxCountedIDs {
		t.Errorf("the counter has %d and %d ids, want %d", len(c.ids), len(c.recent), maxCountedIDs)
	}
	for _, bad := range []string{"", "x", requestID(1)[1:], requestID(1) + "0", strings.Repeat("g", 36)} {
		c.remember(bad, requestID(1), false)
		c.remember(requestID(1), bad, false)
		if got, _ := c.representative(bad); got != "" {
			t.Errorf("%q is explained by %q, want none", bad, got)
		}
	}
	if got, _ := c.representative(requestID(1)); got != "" {
		t.Errorf("a request without a line to explain it is explained by %q", got)
	}
}

// Refused credentials are counted for each access key of an account; those of no account, together, whatever they name.
func TestRefusedCredentialsAreCountedByKey(t *testing.T) {
	t.Parallel()
	logs, err := audit.OpenLogs(t.TempDir(), audit.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	now := time.Unix(1_800_000_000, 0)
	tr := New(logs, nil, nil, func() time.Time { return now })
	known := name.MustAccount("111122223333")
	n := 0
	for range maxAlike + 5 {
		for key, account := range map[string]name.Account{"AKIAONE": known, "AKIATWO": known, "AKIATHREE": {}, "AKIAFOUR": {}} {
			ev := &guard.Event{RequestID: requestID(n), Err: &identity.Refusal{Err: fault.SignatureMismatch.New("no"), Account: account,
				AccessKey: key, Cause: "the secret is another", Cure: "use the right one"}}
			tr.End(t.Context(), ev)
			n++
		}
	}
	tr.End(t.Context(), &guard.Event{RequestID: requestID(n), Err: fault.SignatureMismatch.New("of no credentials")})
	page, err := logs.Search(t.Context(), audit.Query{}, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, e := range page.Events {
		key := e.Record.Identity.AccessKeyID
		if e.Record.Account == "" {
			key = "nobody"
		}
		got[key]++
		if e.Record.Name != refusedName || e.Record.ErrorCode != errorCode(fault.SignatureMismatch) || !e.Record.ReadOnly ||
			e.Record.Additional.JSON() != `{"cause":"the secret is another","cure":"use the right one"}` {
			t.Errorf("got the line %s", e.Line)
		}
	}
	if diff := cmp.Diff(map[string]int{"AKIAONE": maxAlike, "AKIATWO": maxAlike, "nobody": maxAlike}, got); diff != "" {
		t.Errorf("the lines of each key (-want +got):\n%s", diff)
	}
	if page, err := logs.Owners.Search(t.Context(), audit.Query{}, "", 10); err != nil || len(page.Events) != 0 {
		t.Errorf("got %d lines in the log of owners, %v, want none: anyone can name the key of another", len(page.Events), err)
	}
}
