package ecrin

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Of an event that concerns two accounts, the account of the caller sees what its policies gave and the owner of the resource what
// the others gave. Neither sees condition keys, which have tags of both. This holds for lines with a decision and for those of earlier
// versions, with an explanation.
func TestEachAccountSeesItsSide(t *testing.T) {
	t.Parallel()
	const callers, owners = "111122223333", "444455556666"
	layers := []policy.Layer{policy.LayerSCP, policy.LayerIdentity, policy.LayerBoundary, policy.LayerSession, policy.LayerRCP,
		policy.LayerResource}
	r := audit.Record{EventID: audit.NewID(), SharedEventID: audit.NewID(), ErrorCode: denied, Identity: audit.Identity{Account: callers}}
	e := ecrintypes.Explanation{Context: []ecrintypes.ContextEntry{{Key: "aws:PrincipalTag/team", Values: []string{"secret"}}}}
	k := explain.Kept{Action: "ecr:PutImage", Context: []explain.KeptKey{{Key: "aws:ResourceTag/team", Values: []string{"secret"}}}}
	for _, l := range layers {
		e.Layers = append(e.Layers, ecrintypes.LayerVerdict{Layer: l.String()})
		e.Findings = append(e.Findings, ecrintypes.Finding{Layer: l.String()})
		e.Statements = append(e.Statements, ecrintypes.Finding{Layer: l.String()})
		e.Changes = append(e.Changes, ecrintypes.PolicyChange{Layer: l.String()})
		k.Statements = append(k.Statements, explain.KeptStatement{Layer: l.String()})
	}
	for member, v := range map[string]any{explanationMember: e, explain.KeptMember: k, "other": "kept"} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		r.Additional.Raw(member, text)
	}
	for account, want := range map[string][]string{
		callers: {policy.LayerSCP.String(), policy.LayerIdentity.String(), policy.LayerBoundary.String(), policy.LayerSession.String()},
		owners:  {policy.LayerRCP.String(), policy.LayerResource.String()},
	} {
		line, err := ownSide(r, account)
		if err != nil {
			t.Fatal(err)
		}
		back, err := audit.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		got, err := keptOf(&back)
		if err != nil || got.explanation == nil || got.decision == nil || string(got.members["other"]) != `"kept"` {
			t.Fatalf("%s: got %s, %v, want all members of the line", account, line, err)
		}
		seen := map[string][]string{}
		for _, one := range got.explanation.Layers {
			seen["layers"] = append(seen["layers"], one.Layer)
		}
		for _, one := range got.explanation.Findings {
			seen["findings"] = append(seen["findings"], one.Layer)
		}
		for _, one := range got.explanation.Statements {
			seen["statements"] = append(seen["statements"], one.Layer)
		}
		for _, one := range got.explanation.Changes {
			seen["changes"] = append(seen["changes"], one.Layer)
		}
		for _, one := range got.decision.Statements {
			seen["kept"] = append(seen["kept"], one.Layer)
		}
		for _, what := range []string{"layers", "findings", "statements", "changes", "kept"} {
			if d := cmp.Diff(want, seen[what]); d != "" {
				t.Errorf("%s: %s (-want +got):\n%s", account, what, d)
			}
		}
		if len(got.explanation.Context)+len(got.decision.Context) > 0 {
			t.Errorf("%s: got the condition keys %v and %v, want none", account, got.explanation.Context, got.decision.Context)
		}
	}
}

// The operator sees both sides of a request, and so does everybody of one that concerns one account.
func TestWhoSharesATrail(t *testing.T) {
	t.Parallel()
	shared := &audit.Record{SharedEventID: audit.NewID()}
	for _, test := range []struct {
		kind identity.Kind
		line *audit.Record
		want bool
	}{
		{identity.Operator, shared, false}, {identity.Operator, &audit.Record{}, false},
		{identity.Root, shared, true}, {identity.Root, &audit.Record{}, false}, {identity.User, shared, true},
	} {
		by := identity.Caller{Kind: test.kind, Account: name.MustAccount("111122223333")}
		if got := sharesTrail(by, test.line); got != test.want {
			t.Errorf("%v of an event that concerns two accounts %t: got %t, want %t", test.kind, test.line == shared, got, test.want)
		}
	}
}
