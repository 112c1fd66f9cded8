package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// WarningCode is the kind of a warning.
type WarningCode string

// The warnings.
const (
	WarnAnyone      WarningCode = "anyone"         // an Allow for everyone
	WarnToken       WarningCode = "token-action"   // GetAuthorizationToken, which only identity policies can allow
	WarnRegion      WarningCode = "other-region"   // an ARN of another region than the registry's
	WarnAccount     WarningCode = "other-account"  // an ARN of another account, in a policy of ECR
	WarnUnreachable WarningCode = "unreachable"    // a statement without effect
	WarnAction      WarningCode = "unknown-action" // an action that ECR does not have
	WarnResource    WarningCode = "never-granted"  // actions that have no repository, with repositories as the only resources
	WarnDenied      WarningCode = "denied"         // a statement that denies actions that [Grant] shall allow
)

// Warning is a part of a valid policy that its author probably did not intend.
type Warning struct {
	Code WarningCode
	Path string // such as Statement[0].Action[1]; the index is 0 where there is no array
	Text string // one sentence without a full stop
}

// Warnings returns the parts of a policy that its author probably did not intend, in the order of the statements.
// registry is the registry of the policy; with the zero value the checks that need it are left out. The result is nil
// when there are no warnings.
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

// warner collects the warnings of a document, statement by statement.
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
			w.add(WarnAnyone, "Principal", "allows everyone in every account, and callers without credentials where anonymous access is allowed")
		}
		return
	}
}

const tokenAction = "ecr:GetAuthorizationToken"

func (w *warner) actions() {
	element := not(w.Action.Not) + "Action"
	for i := range w.Action.Of {
		p := &w.Action.Of[i]
		if !strings.HasPrefix(Fold(p.Text), "ecr:") {
			continue
		}
		path := fmt.Sprintf("%s[%d]", element, i)
		known := expand(p)
		switch {
		case len(known) > 0:
		case strings.ContainsAny(p.Text, "*?"):
			w.add(WarnAction, path, "no action of ECR matches %q", name.Clip(p.Text))
		case equalFold(p.Text, "ecr:ListImageReferrers"):
			w.add(WarnAction, path, "%q is not an action: the operation of that name requires ecr:BatchGetImage", p.Text)
		default:
			w.add(WarnAction, path, "ECR has no action %q; the nearest is %q", name.Clip(p.Text), Nearest(name.Clip(p.Text), Actions()))
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

// expand returns the actions of ECR that a pattern matches.
func expand(p *Pattern) []string {
	g := newGlob(p.Parts, true)
	return slices.DeleteFunc(Actions(), func(a string) bool { return !g.matchKnown(a, unmetered()) })
}

func ofRepository(action string) bool {
	return slices.Contains(repositoryActions, strings.TrimPrefix(action, "ecr:"))
}

// onlyRepositories reports whether no resource of the statement matches actions without a repository.
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

// reach warns of a statement that another statement covers, and of an Allow that a Deny covers. The order of statements
// has no effect on decisions, so that the Deny may also follow.
func (w *warner) reach() {
	for i := range w.Statements {
		other := &w.Statements[i]
		switch {
		case i == w.at:
		case i < w.at && other.Effect == w.Effect && covers(other, w.Statement):
			w.add(WarnUnreachable, "", "Statement[%d] has the same effect on the same or more requests", i)
			return
		case other.Effect == Deny && w.Effect == Allow && covers(other, w.Statement):
			w.add(WarnUnreachable, "", "Statement[%d] denies everything that this statement allows", i)
			return
		}
	}
}

// covers reports whether a matches every request that b matches. The result true is always right; the result false may
// be wrong.
func covers(a, b *Statement) bool {
	return coversPrincipals(&a.Principal, &b.Principal, a.Effect == Deny) && coversPatterns(&a.Action, &b.Action) &&
		coversPatterns(&a.Resource, &b.Resource) && (len(a.Conditions) == 0 || sameConditions(a.Conditions, b.Conditions))
}

// coversPrincipals treats everyone, and an account, as covering the principals that belong to them only in a Deny: the
// effect of an Allow depends on how it names the caller.
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

// samePrincipal reports whether a and b are equal. The two forms of an account are equal.
func samePrincipal(a, b Principal) bool {
	return a.Kind == b.Kind && a.Account == b.Account && (a.Kind == Account || a.Text == b.Text)
}

func coversPatterns(a, b *Patterns) bool {
	if a.Not || b.Not {
		return a.Not == b.Not && slices.EqualFunc(a.Of, b.Of, func(p, q Pattern) bool { return slices.Equal(p.Parts, q.Parts) })
	}
	if len(a.Of) == 0 || len(b.Of) == 0 { // a statement without Resource applies to the repository itself
		return len(a.Of) == 0
	}
	for i := range b.Of {
		if !slices.ContainsFunc(a.Of, func(p Pattern) bool { return coversPattern(&p, &b.Of[i]) }) {
			return false
		}
	}
	return true
}

// coversPattern compares a with the text of b, in which wildcards are plain characters. A * in a may match them. A ? in
// a may not, because it would match the * of b as one character.
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
		case Variable: // only * alone is certain to match its value
			return len(a.Parts) == 1 && a.Parts[0].Kind == AnyRun
		}
	}
	for _, p := range a.Parts {
		if p.Kind == AnyOne || p.Kind == Variable || strings.ContainsAny(p.Text, "*?") {
			return false
		}
	}
	g := newARNGlob(a.Parts)
	return g.match(text.String(), unmetered()) == matches
}

func sameConditions(a, b []Condition) bool {
	return slices.EqualFunc(a, b, func(x, y Condition) bool {
		return x.Operator == y.Operator && slices.EqualFunc(x.Keys, y.Keys, func(k, l ConditionKey) bool {
			return k.Folded == l.Folded && slices.EqualFunc(k.Values, l.Values, func(v, u Value) bool { return v.Text == u.Text })
		})
	})
}
