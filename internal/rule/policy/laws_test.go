package policy_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// scenario is a caller and the statements that apply to it, by layer. A layer without statements has no policy.
type scenario struct {
	caller     string
	statements map[policy.Layer][]string
}

// drawnLayers are the layers for which a scenario has random statements.
var drawnLayers = []policy.Layer{policy.LayerRCP, policy.LayerSCP, policy.LayerResource, policy.LayerIdentity,
	policy.LayerBoundary, policy.LayerSession}

func withPrincipal(l policy.Layer) bool { return l == policy.LayerRCP || l == policy.LayerResource }

func drawScenario(t *rapid.T) scenario {
	sc := scenario{
		caller:     rapid.SampledFrom([]string{alice, session, fed, root, foreign, "anonymous", "codebuild.amazonaws.com"}).Draw(t, "caller"),
		statements: map[policy.Layer][]string{},
	}
	for _, l := range drawnLayers {
		maxStatements := 3
		if l == policy.LayerRCP || l == policy.LayerSCP || l == policy.LayerBoundary {
			maxStatements = rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "limits")
		}
		for range rapid.IntRange(0, maxStatements).Draw(t, "statements") {
			sc.statements[l] = append(sc.statements[l], drawRule(t, l, rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect")))
		}
	}
	return sc
}

// drawRule draws a statement that matches the request with a fair probability.
func drawRule(t *rapid.T, l policy.Layer, effect string) string {
	members := []string{
		`"Effect":"` + effect + `"`,
		rapid.SampledFrom([]string{`"Action":"*"`, `"Action":"ecr:Batch*"`, `"Action":["ecr:PutImage","ECR:batchgetimage"]`,
			`"Action":"ecr:ListImages"`, `"NotAction":"ecr:Put*"`, `"NotAction":"ecr:*"`}).Draw(t, "action"),
		rapid.SampledFrom([]string{`"Resource":"*"`, `"Resource":"*"`, `"Resource":"arn:aws:ecr:*:*:repository/team/*"`,
			`"NotResource":"arn:aws:ecr:*:*:repository/prod/*"`, `"Resource":"arn:aws:ecr:*:*:repository/${aws:username}/*"`,
			`"NotResource":"arn:aws:ecr:*:*:repository/${aws:username}/*"`}).Draw(t, "resource"),
	}
	principals := []string{`"Principal":"*"`}
	if l == policy.LayerResource {
		for _, arn := range []string{"*", alice, session, role, root, fed, foreign, foreigns, other} {
			principals = append(principals, `"Principal":`+aws(arn))
		}
		principals = append(principals, `"Principal":{"Service":"codebuild.amazonaws.com"}`)
		if effect == "Deny" {
			principals = append(principals, `"NotPrincipal":{"AWS":["`+alice+`","`+root+`"]}`)
		}
	}
	if withPrincipal(l) {
		members = append(members, rapid.SampledFrom(principals).Draw(t, "principal"))
	}
	if rapid.IntRange(0, 2).Draw(t, "condition") == 0 {
		members = append(members, `"Condition":`+rapid.SampledFrom([]string{
			`{"StringEquals":{"aws:PrincipalTag/team":"core"}}`, `{"StringNotEqualsIfExists":{"aws:x":"y"}}`,
			`{"ForAllValues:StringLike":{"aws:TagKeys":["e*"]}}`, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`,
			`{"Null":{"aws:PrincipalTag/team":"true"}}`}).Draw(t, "test"))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (sc scenario) clone() scenario {
	c := scenario{caller: sc.caller, statements: map[policy.Layer][]string{}}
	for l, s := range sc.statements {
		c.statements[l] = slices.Clone(s)
	}
	return c
}

// compile returns the policies and a request. The statements of a layer are one policy, except in the identity layer,
// where each statement is a policy.
func (sc scenario) compile(t *testing.T) (*policy.Policies, *policy.Request) {
	join := func(l policy.Layer) string { return strings.Join(sc.statements[l], ",") }
	x := texts{boundary: join(policy.LayerBoundary), session: join(policy.LayerSession), repository: join(policy.LayerResource)}
	if s := join(policy.LayerSCP); s != "" {
		x.scp = []string{s}
	}
	if s := join(policy.LayerRCP); s != "" {
		x.rcp = []string{s}
	}
	p := x.compile(t)
	for i, s := range sc.statements[policy.LayerIdentity] {
		p.Identity = append(p.Identity, policy.Named{Name: strconv.Itoa(i), Policy: compile(t, s, policy.Identity)})
	}
	r := pullRequest(t, sc.caller)
	r.Context.Set("aws:PrincipalTag/team", "core")
	r.Context.Set("aws:SourceIp", "10.1.2.3")
	r.Context.SetList("aws:TagKeys", "env", "team")
	return p, r
}

func (sc scenario) verdict(t *testing.T) policy.Verdict {
	return policy.Evaluate(sc.compile(t)).Verdict
}

// counts reports whether the layer takes part in decisions about the caller.
func (sc scenario) counts(l policy.Layer) bool {
	switch {
	case withPrincipal(l):
		return true
	case sc.caller == root:
		return l == policy.LayerSCP
	}
	return sc.caller != "anonymous" && !strings.HasSuffix(sc.caller, ".amazonaws.com")
}

// Properties of every decision, whatever the policies.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScenario(rt)
		before := sc.verdict(t)
		layer := rapid.SampledFrom(drawnLayers).Draw(rt, "layer")
		more := sc.clone()

		// An explicit deny always wins.
		principal := ""
		if withPrincipal(layer) {
			principal = `"Principal":"*",`
		}
		more.statements[layer] = append(more.statements[layer], `{"Effect":"Deny",`+principal+`"Action":"*","Resource":"*"}`)
		if got := more.verdict(t); got != policy.ExplicitlyDenied && sc.counts(layer) {
			rt.Fatalf("%+v: got %s with a deny of everything as %s policy", more, got, layer)
		}

		// Adding a Deny never allows, and adding an Allow never denies. The first policy of a limiting layer is excluded:
		// it can deny.
		if layer == policy.LayerIdentity || layer == policy.LayerResource || len(sc.statements[layer]) > 0 {
			for effect, never := range map[string]policy.Verdict{"Deny": policy.Allowed, "Allow": policy.ExplicitlyDenied} {
				more = sc.clone()
				more.statements[layer] = append(more.statements[layer], drawRule(rt, layer, effect))
				after := more.verdict(t)
				if after == never && before != never || effect == "Allow" && before == policy.Allowed && after != before {
					rt.Fatalf("%+v: %s became %s with %s more in %s", sc, before, after, effect, layer)
				}
			}
		}

		// The order of statements has no effect.
		mixed := sc.clone()
		for l, s := range mixed.statements {
			mixed.statements[l] = rapid.Permutation(s).Draw(rt, "order")
		}
		if got := mixed.verdict(t); got != before {
			rt.Fatalf("%+v: %s became %s in another order", sc, before, got)
		}

		// Explain and Evaluate return the same decision.
		p, r := sc.compile(t)
		if why, got := policy.Explain(p, r), policy.Evaluate(p, r); why.Decision != got {
			rt.Fatalf("%+v: Explain decides %+v, Evaluate %+v", sc, why.Decision, got)
		}
	})
}

// The request is allowed after the changes that Explain returns, with either alternative.
func TestChangesAllow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sc := drawScenario(rt)
		why := policy.Explain(sc.compile(t))
		if why.Allowed() != (len(why.Changes) == 0) {
			rt.Fatalf("%+v: %s with %d changes", sc, why.Verdict, len(why.Changes))
		}
		for _, identity := range []bool{true, false} {
			changed := sc.clone()
			for _, c := range slices.Backward(why.Changes) { // so that the indexes of the remaining removals stay valid
				if c.Remove == nil {
					continue
				}
				at := c.Remove.Statement
				if c.Layer == policy.LayerIdentity {
					at, _ = strconv.Atoi(c.Remove.Policy)
				}
				changed.statements[c.Layer] = slices.Delete(changed.statements[c.Layer], at, at+1)
			}
			for _, c := range why.Changes {
				if c.Add == "" || c.Alternative && (c.Layer == policy.LayerIdentity) != identity {
					continue
				}
				var document struct{ Statement []json.RawMessage }
				if err := json.Unmarshal([]byte(c.Add), &document); err != nil || len(document.Statement) != 1 {
					rt.Fatalf("%+v: %s does not have one statement in an array: %v", sc, c.Add, err)
				}
				changed.statements[c.Layer] = append(changed.statements[c.Layer], string(document.Statement[0]))
			}
			// A limiting layer whose only statement was removed has no policy any more, and so does not restrict.
			if got := changed.verdict(t); got != policy.Allowed {
				rt.Fatalf("%+v: got %s after\n%+v\nwhich is %+v", sc, got, why.Changes, changed)
			}
		}
	})
}
