package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// The texts of contract §1.10, one for each layer and verdict.
func TestDecisionText(t *testing.T) {
	t.Parallel()
	const (
		did     = "User: " + alice + " is not authorized to perform: ecr:BatchGetImage on resource: " + webARN
		allows  = " allows the ecr:BatchGetImage action"
		denied  = " with an explicit deny in "
		because = " because no "
		denyAll = `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`
	)
	for _, test := range []struct {
		caller string
		p      texts
		want   string
	}{
		{alice, texts{identity: pull}, ""},
		{alice, texts{}, did + because + "identity-based policy" + allows},
		{alice, texts{identity: pull, boundary: listOnly}, did + because + "permissions boundary" + allows},
		{alice, texts{identity: pull, session: listOnly}, did + because + "session policy" + allows},
		{alice, texts{identity: pull, scp: []string{listOnly}}, did + because + "service control policy" + allows},
		{alice, texts{identity: pull, rcp: []string{`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`}},
			did + because + "resource control policy" + allows},
		{alice, texts{identity: noPull}, did + denied + "an identity-based policy"},
		{alice, texts{repository: pullBy("Deny", `"*"`)}, did + denied + "a resource-based policy"},
		{alice, texts{boundary: noPull}, did + denied + "a permissions boundary policy"},
		{alice, texts{session: noPull}, did + denied + "a session policy"},
		{alice, texts{scp: []string{noPull}}, did + denied + "a service control policy"},
		{alice, texts{rcp: []string{denyAll}}, did + denied + "a resource control policy"},
		{foreign, texts{identity: pull}, "User: " + foreign + " is not authorized to perform: ecr:BatchGetImage on resource: " +
			webARN + because + "resource-based policy" + allows},
		{"anonymous", texts{}, "User: anonymous is not authorized to perform: ecr:BatchGetImage on resource: " +
			webARN + because + "resource-based policy" + allows},
		{alice, texts{trust: `{"Effect":"Deny","Principal":"*","NotAction":"sts:TagSession"}`}, did + denied + "the role trust policy"},
		{alice, texts{trust: `{"Effect":"Allow","Principal":"*","Action":"sts:TagSession"}`}, did + because + "role trust policy" + allows},
	} {
		r := pullRequest(t, test.caller)
		if got := policy.Evaluate(test.p.compile(t), r).Text(r); got != test.want {
			t.Errorf("%s with %+v:\n got %s\nwant %s", test.caller, test.p, got, test.want)
		}
	}
	p := texts{scp: []string{noPull}}.compile(t)
	p.SCP[0][0].ARN = "arn:aws:organizations::111111111111:policy/o-1/service_control_policy/p-1"
	r := pullRequest(t, alice)
	if got, want := policy.Evaluate(p, r).Text(r), did+denied+"a service control policy: "+p.SCP[0][0].ARN; got != want {
		t.Errorf("with the ARN of the policy:\n got %s\nwant %s", got, want)
	}
}

// A request across accounts: the reasons and changes for the denied caller and for the owner of the resource.
func TestExplain(t *testing.T) {
	t.Parallel()
	x := texts{
		identity: listOnly + `,{"Sid":"Pull","Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"arn:aws:ecr:*:*:repository/prod/*"}`,
		repository: `{"Sid":"Org","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}},` +
			`{"Sid":"No","Effect":"Deny","Principal":{"AWS":"` + owner + `"},"Action":"ecr:*"}`,
		scp: []string{`{"Effect":"Allow","Action":"*","Resource":"*"}`},
	}
	p, r := x.compile(t), pullRequest(t, foreign)
	r.Context.Set("aws:PrincipalOrgID", "o-2")
	got := policy.Explain(p, r)
	implied := func(l policy.Layer) policy.LayerVerdict { return policy.LayerVerdict{Layer: l, Verdict: implicit} }
	if diff := cmp.Diff([]policy.LayerVerdict{{Layer: policy.LayerSCP, Verdict: allowed}, implied(policy.LayerResource),
		implied(policy.LayerIdentity)}, got.Layers); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]policy.Finding{
		{Layer: policy.LayerSCP, Policy: "service control", Kind: policy.ServiceControl, Effect: policy.Allow},
		{Layer: policy.LayerResource, Kind: policy.Repository, Sid: "Org", Effect: policy.Allow, Failed: policy.ElementCondition,
			Detail: `StringEquals aws:PrincipalOrgID: the request has "o-2"`},
		{Layer: policy.LayerResource, Kind: policy.Repository, Statement: 1, Sid: "No", Effect: policy.Deny, Failed: policy.ElementPrincipal},
		{Layer: policy.LayerIdentity, Policy: "identity-based", Kind: policy.Identity, Effect: policy.Allow, Failed: policy.ElementAction},
		{Layer: policy.LayerIdentity, Policy: "identity-based", Kind: policy.Identity, Statement: 1, Sid: "Pull",
			Effect: policy.Allow, Failed: policy.ElementResource},
	}, got.Findings, cmpopts.IgnoreFields(policy.Finding{}, "Source")); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]policy.Change{
		{Layer: policy.LayerIdentity, Add: `{
  "Version" : "2012-10-17",
  "Statement" : [ {
    "Effect" : "Allow",
    "Action" : "ecr:BatchGetImage",
    "Resource" : "` + webARN + `"
  } ]
}`},
		{Layer: policy.LayerResource, Add: `{
  "Version" : "2012-10-17",
  "Statement" : [ {
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "` + foreigns + `"
    },
    "Action" : "ecr:BatchGetImage"
  } ]
}`},
	}, got.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestExplainNotes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		caller string
		p      texts
		layer  policy.Layer
		want   string
	}{
		{alice, texts{repository: pullBy("Allow", aws(root))}, policy.LayerResource, "names only the account, which has to allow it too"},
		{alice, texts{identity: pull}, policy.LayerResource, "is not needed within the account"},
		{session, texts{session: listOnly, repository: pullBy("Allow", aws(session))}, policy.LayerSession,
			"does not count: a resource policy allows the caller itself"},
		{session, texts{session: listOnly, repository: pullBy("Allow", aws(role))}, policy.LayerSession, ""},
		{session, texts{boundary: listOnly, repository: pullBy("Allow", `"*"`)}, policy.LayerBoundary,
			"does not count: a resource policy allows the caller itself"},
		{foreign, texts{identity: pull, repository: pullBy("Allow", aws(other))}, policy.LayerResource, ""},
	} {
		for _, l := range policy.Explain(test.p.compile(t), pullRequest(t, test.caller)).Layers {
			if l.Layer == test.layer && l.Note != test.want {
				t.Errorf("%s with %+v: the note of %s is %q, want %q", test.caller, test.p, l.Layer, l.Note, test.want)
			}
		}
	}
}

// No change to a resource policy is proposed where it could not help: an action without a resource needs an identity
// policy.
func TestExplainToken(t *testing.T) {
	t.Parallel()
	r := pullRequest(t, alice)
	r.Action, r.Resource = "ecr:GetAuthorizationToken", "*"
	for _, c := range policy.Explain(texts{}.compile(t), r).Changes {
		if c.Layer != policy.LayerIdentity {
			t.Errorf("got the change %+v, want one in the identity policies alone", c)
		}
	}
	r = pullRequest(t, "anonymous")
	r.Action = "ecr:CreateRepository"
	changes := policy.Explain(texts{}.compile(t), r).Changes
	if len(changes) != 1 {
		t.Fatalf("got %+v, want one change", changes)
	}
	if _, err := policy.Parse(changes[0].Add, policy.Registry); err != nil {
		t.Errorf("%s\nis not a registry policy: %v", changes[0].Add, err)
	}
}
