package policy_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/policy"
)

// world is a caller and the statements that apply to it, by layer; a layer without statements has no policy.
type world struct {
	caller     string
	statements map[policy.Layer][]string
}

// drawn are the layers of a world that are drawn.
var drawn = []policy.Layer{policy.LayerRCP, policy.LayerSCP, policy.LayerResource, policy.LayerIdentity, policy.LayerBoundary, policy.LayerSession}

func withPrincipal(l policy.Layer) bool { return l == policy.LayerRCP || l == policy.LayerResource }

func drawWorld(t *rapid.T) world {
	w := world{
		caller:     rapid.SampledFrom([]string{alice, session, fed, root, foreign, "anonymous", "codebuild.amazonaws.com"}).Draw(t, "caller"),
		statements: map[policy.Layer][]string{},
	}
	for _, l := range drawn {
		most := 3
		if l == policy.LayerRCP || l == policy.LayerSCP || l == policy.LayerBoundary {
			most = rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "limits")
		}
		for range rapid.IntRange(0, most).Draw(t, "statements") {
			w.statements[l] = append(w.statements[l], drawRule(t, l, rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect")))
		}
	}
	return w
}

// drawRule draws a statement that has a fair chance to match.
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

func (w world) clone() world {
	c := world{caller: w.caller, statements: map[policy.Layer][]string{}}
	for l, s := range w.statements {
		c.statements[l] = slices.Clone(s)
	}
	return c
}

// compile makes the policies; those of one layer are one policy, but for the identity layer, where each statement is one.
func (w world) compile(t *testing.T) (*policy.Policies, *policy.Request) {
	join := func(l policy.Layer) string { return strings.Join(w.statements[l], ",") }
	x := texts{boundary: join(policy.LayerBoundary), session: join(policy.LayerSession), repository: join(policy.LayerResource)}
	if s := join(policy.LayerSCP); s != "" {
		x.scp = []string{s}
	}
	if s := join(policy.LayerRCP); s != "" {
		x.rcp = []string{s}
	}
	p := x.compile(t)
	for i, s := range w.statements[policy.LayerIdentity] {
		p.Identity = append(p.Identity, policy.Named{Name: strconv.Itoa(i), Policy: compile(t, s, policy.Identity)})
	}
	r := pullRequest(t, w.caller)
	r.Context.Set("aws:PrincipalTag/team", "core")
	r.Context.Set("aws:SourceIp", "10.1.2.3")
	r.Context.SetList("aws:TagKeys", "env", "team")
	return p, r
}

func (w world) verdict(t *testing.T) policy.Verdict {
	return policy.Evaluate(w.compile(t)).Verdict
}

// counts tells whether the layer takes part in decisions about the caller.
func (w world) counts(l policy.Layer) bool {
	switch {
	case withPrincipal(l):
		return true
	case w.caller == root:
		return l == policy.LayerSCP
	}
	return w.caller != "anonymous" && !strings.HasSuffix(w.caller, ".amazonaws.com")
}

// What holds of every decision, whatever the policies.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt)
		before := w.verdict(t)
		layer := rapid.SampledFrom(drawn).Draw(rt, "layer")
		more := w.clone()

		// Deny always wins.
		principal := ""
		if withPrincipal(layer) {
			principal = `"Principal":"*",`
		}
		more.statements[layer] = append(more.statements[layer], `{"Effect":"Deny",`+principal+`"Action":"*","Resource":"*"}`)
		if got := more.verdict(t); got != policy.ExplicitlyDenied && w.counts(layer) {
			rt.Fatalf("%+v: got %s with a deny of everything as %s policy", more, got, layer)
		}

		// Adding a Deny never allows, adding an Allow never denies. A first policy of a layer that limits would.
		if layer == policy.LayerIdentity || layer == policy.LayerResource || len(w.statements[layer]) > 0 {
			for effect, never := range map[string]policy.Verdict{"Deny": policy.Allowed, "Allow": policy.ExplicitlyDenied} {
				more = w.clone()
				more.statements[layer] = append(more.statements[layer], drawRule(rt, layer, effect))
				after := more.verdict(t)
				if after == never && before != never || effect == "Allow" && before == policy.Allowed && after != before {
					rt.Fatalf("%+v: %s became %s with %s more in %s", w, before, after, effect, layer)
				}
			}
		}

		// Order never matters.
		mixed := w.clone()
		for l, s := range mixed.statements {
			mixed.statements[l] = rapid.Permutation(s).Draw(rt, "order")
		}
		if got := mixed.verdict(t); got != before {
			rt.Fatalf("%+v: %s became %s in another order", w, before, got)
		}

		// Reasons tell the same decision.
		p, r := w.compile(t)
		if why, got := policy.Explain(p, r), policy.Evaluate(p, r); why.Decision != got {
			rt.Fatalf("%+v: Explain decides %+v, Evaluate %+v", w, why.Decision, got)
		}
	})
}

// Whoever makes the changes that Explain names gets what was denied, whichever alternative is taken.
func TestChangesAllow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt)
		why := policy.Explain(w.compile(t))
		if why.Allowed() != (len(why.Changes) == 0) {
			rt.Fatalf("%+v: %s with %d changes", w, why.Verdict, len(why.Changes))
		}
		for _, identity := range []bool{true, false} {
			changed := w.clone()
			for _, c := range slices.Backward(why.Changes) { // so that removals do not move what is still to be removed
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
					rt.Fatalf("%+v: %s does not have one statement in an array: %v", w, c.Add, err)
				}
				changed.statements[c.Layer] = append(changed.statements[c.Layer], string(document.Statement[0]))
			}
			// A layer whose only statement was removed is now without a policy, as it was meant to be for those that limit.
			if got := changed.verdict(t); got != policy.Allowed {
				rt.Fatalf("%+v: got %s after\n%+v\nwhich is %+v", w, got, why.Changes, changed)
			}
		}
	})
}
