package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/name"
)

// WarningCode tells warnings apart.
type WarningCode string

// The warnings.
const (
	WarnAnyone      WarningCode = "anyone"         // an Allow for all the world
	WarnToken       WarningCode = "token-action"   // GetAuthorizationToken, which only identity policies grant
	WarnRegion      WarningCode = "other-region"   // an ARN of another region than the registry's
	WarnAccount     WarningCode = "other-account"  // likewise of another account, in a policy of ECR
	WarnUnreachable WarningCode = "unreachable"    // a statement that changes nothing
	WarnAction      WarningCode = "unknown-action" // an action that ECR does not have
	WarnResource    WarningCode = "never-granted"  // actions without a repository, on repositories only
	WarnDenied      WarningCode = "denied"         // a statement that denies what [Grant] is to allow
)

// Warning is something in a valid policy that its author hardly meant.
type Warning struct {
	Code WarningCode
	Path string // such as Statement[0].Action[1]; the index counts from 0 also where there is no array
	Text string // one sentence without a full stop
}

// Warnings looks for what a policy cannot be meant to say, in the order of the statements. registry is that which the
// policy is for; its zero value leaves out what needs to know it. A document without warnings gives nil.
func Warnings(d *Document, registry name.Registry) []Warning {
	w := warner{Document: d, registry: registry}
	for i := range d.Statements {
		w.at, w.Statement = i, &d.Statements[i]
		w.principals()
		w.actions()
		w.resources()
		w.reach()
	}
	return w.all
}

// warner gathers the warnings of a document, statement by statement.
type warner struct {
	*Document
	*Statement
	registry name.Registry
	at       int // index of the statement
	all      []Warning
}

func (w *warner) add(code WarningCode, element string, format string, args ...any) {
	path := fmt.Sprintf("Statement[%d]", w.at)
	if element != "" {
		path += "." + element
	}
	w.all = append(w.all, Warning{Code: code, Path: path, Text: fmt.Sprintf(format, args...)})
}

func (w *warner) principals() {
	if w.Effect == Deny || w.Kind == ResourceControl {
		return
	}
	for p := range w.Principal.All() {
		if p.Kind != Anyone {
			continue
		}
		if len(w.Conditions) > 0 {
			w.add(WarnAnyone, "Principal", "allows everyone in every account that meets the conditions")
		} else {
			w.add(WarnAnyone, "Principal", "allows everyone in every account, and callers without credentials where they are let in")
		}
		return
	}
}

const tokenAction = "ecr:GetAuthorizationToken"

func (w *warner) actions() {
	element := not(w.Action.Not) + "Action"
	for i := range w.Action.Of {
		p := &w.Action.Of[i]
		if !strings.HasPrefix(strings.ToLower(p.Text), "ecr:") {
			continue
		}
		path := fmt.Sprintf("%s[%d]", element, i)
		known := expand(p)
		switch {
		case len(known) > 0:
		case strings.ContainsAny(p.Text, "*?"):
			w.add(WarnAction, path, "no action of ECR is like %q", name.Clip(p.Text))
		case strings.EqualFold(p.Text, "ecr:ListImageReferrers"):
			w.add(WarnAction, path, "%q is no right of its own: ecr:BatchGetImage is asked for", p.Text)
		default:
			w.add(WarnAction, path, "ECR has no action %q; the nearest is %q", name.Clip(p.Text), nearest(name.Clip(p.Text)))
		}
		if w.Action.Not || len(known) == 0 {
			continue
		}
		switch {
		case (w.Kind == Repository || w.Kind == Registry) && len(known) == 1 && known[0] == tokenAction:
			w.add(WarnToken, path, "%s is granted by identity policies only; here it has no effect", tokenAction)
		case w.Kind == Identity && w.Effect == Allow && w.onlyRepositories() && !slices.ContainsFunc(known, ofRepository):
			w.add(WarnResource, path, "%s has no repository: it needs the resource *", name.Clip(p.Text))
		}
	}
}

// expand lists the actions of ECR that a pattern stands for.
func expand(p *Pattern) []string {
	g := newGlob(p.Parts, true)
	return slices.DeleteFunc(Actions(), func(a string) bool { return !g.stands(a, nil) })
}

func ofRepository(action string) bool {
	return slices.Contains(repositoryActions, strings.TrimPrefix(action, "ecr:"))
}

// onlyRepositories tells whether no resource of the statement stands for actions without one.
func (w *warner) onlyRepositories() bool {
	return !w.Resource.Not && !slices.ContainsFunc(w.Resource.Of, func(p Pattern) bool {
		return strings.Trim(p.Text, "*") == ""
	})
}

func (w *warner) resources() {
	if w.registry == (name.Registry{}) {
		return
	}
	for i := range w.Resource.Of {
		parts := splitARN(w.Resource.Of[i].Text)
		if len(parts) != arnParts || parts[2] != "ecr" {
			continue
		}
		path := fmt.Sprintf("%sResource[%d]", not(w.Resource.Not), i)
		if r := parts[3]; !strings.ContainsAny(r, "*?$") && r != w.registry.Region.String() {
			w.add(WarnRegion, path, "the ARN is of %s, the registry of %s", name.Clip(r), w.registry.Region)
		}
		own := w.Kind == Repository || w.Kind == Registry
		if a := parts[4]; own && !strings.ContainsAny(a, "*?$") && a != w.registry.Account.String() {
			w.add(WarnAccount, path, "the ARN is of account %s, the registry of %s", name.Clip(a), w.registry.Account)
		}
	}
}

// reach warns of a statement that says what another one says, or allows only what another one denies. Order counts for
// nothing in a policy, so that the denying statement may also follow.
func (w *warner) reach() {
	for i := range w.Statements {
		other := &w.Statements[i]
		switch {
		case i == w.at:
		case i < w.at && other.Effect == w.Effect && covers(other, w.Statement):
			w.add(WarnUnreachable, "", "Statement[%d] says the same or more", i)
			return
		case other.Effect == Deny && w.Effect == Allow && covers(other, w.Statement):
			w.add(WarnUnreachable, "", "Statement[%d] denies all that this allows", i)
			return
		}
	}
}

// covers tells whether a matches every request that b matches. It may miss some, and claims none falsely.
func covers(a, b *Statement) bool {
	return coversPrincipals(&a.Principal, &b.Principal, a.Effect == Deny) && coversPatterns(&a.Action, &b.Action) &&
		coversPatterns(&a.Resource, &b.Resource) && (len(a.Conditions) == 0 || sameConditions(a.Conditions, b.Conditions))
}

// coversPrincipals takes everyone, and an account, for all that belong to them only when they are denied: what an Allow
// is worth depends on how it names the caller.
func coversPrincipals(a, b *Principals, denied bool) bool {
	if a.Not || b.Not {
		return a.Not == b.Not && slices.EqualFunc(slices.Collect(a.All()), slices.Collect(b.All()), samePrincipal)
	}
	all := slices.Collect(a.All())
	for p := range b.All() {
		if !slices.ContainsFunc(all, func(q Principal) bool {
			belongs := q.Kind == Anyone || q.Kind == Account && q.Account == p.Account
			return samePrincipal(p, q) || denied && belongs
		}) {
			return false
		}
	}
	return true
}

// samePrincipal takes the two ways to write an account for the same.
func samePrincipal(a, b Principal) bool {
	return a.Kind == b.Kind && a.Account == b.Account && (a.Kind == Account || a.Text == b.Text)
}

func coversPatterns(a, b *Patterns) bool {
	if a.Not || b.Not {
		return a.Not == b.Not && slices.EqualFunc(a.Of, b.Of, func(p, q Pattern) bool { return slices.Equal(p.Parts, q.Parts) })
	}
	if len(a.Of) == 0 || len(b.Of) == 0 { // an absent Resource: the repository itself
		return len(a.Of) == 0
	}
	for i := range b.Of {
		if !slices.ContainsFunc(a.Of, func(p Pattern) bool { return coversPattern(&p, &b.Of[i]) }) {
			return false
		}
	}
	return true
}

// coversPattern compares a with the text of b, in which wildcards stand for themselves. A run of a may take them; its ?
// may not, for it would take a run for one character.
func coversPattern(a, b *Pattern) bool {
	if slices.Equal(a.Parts, b.Parts) {
		return true
	}
	var text strings.Builder
	for _, p := range b.Parts {
		switch p.Kind {
		case Literal:
			text.WriteString(p.Text)
		case AnyOne:
			text.WriteByte('?')
		case AnyRun:
			text.WriteByte('*')
		case Variable: // only a run alone is sure to take it
			return len(a.Parts) == 1 && a.Parts[0].Kind == AnyRun
		}
	}
	for _, p := range a.Parts {
		if p.Kind == AnyOne || p.Kind == Variable || strings.ContainsAny(p.Text, "*?") {
			return false
		}
	}
	g := newARNGlob(a.Parts)
	return g.match(text.String(), nil) == matches
}

func sameConditions(a, b []Condition) bool {
	return slices.EqualFunc(a, b, func(x, y Condition) bool {
		return x.Operator == y.Operator && slices.EqualFunc(x.Keys, y.Keys, func(k, l ConditionKey) bool {
			return k.Folded == l.Folded && slices.EqualFunc(k.Values, l.Values, func(v, u Value) bool { return v.Text == u.Text })
		})
	})
}
