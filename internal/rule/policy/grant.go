package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// PullActions returns the actions that are needed to pull from a repository and to inspect it, in the order in which
// deployment platforms print them. ecr:GetAuthorizationToken has no effect in a repository policy; it is included so
// that the policy is the same as the policies of the platforms.
func PullActions() []string {
	return []string{
		"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories",
		"ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy", "ecr:ListImages",
	}
}

// PushActions returns the actions that are needed to push to a repository. Source: ECR user guide, pushing an image,
// IAM permissions.
func PushActions() []string {
	return []string{
		"ecr:CompleteLayerUpload", "ecr:UploadLayerPart", "ecr:InitiateLayerUpload", "ecr:BatchCheckLayerAvailability",
		"ecr:PutImage", "ecr:BatchGetImage",
	}
}

// The Sids of the statements that allow these actions.
const (
	PullSid = "AllowReleasePull"
	PushSid = "AllowPush"
)

// ParsePrincipal reads one principal in the forms that a repository policy allows: an account of 12 digits, an ARN of
// an account, user, role, role session or federated user, a service such as codebuild.amazonaws.com, or *. The text of
// an account of 12 digits becomes its ARN in the partition aws, as AWS shows it.
//
// Errors: fault.InvalidParameter.
// Source: IAM user guide, policy element Principal.
func ParsePrincipal(s string) (Principal, error) {
	if p, reason := readPrincipal("Service", s); reason == "" {
		return p, nil
	}
	p, reason := readPrincipal("AWS", s)
	if reason != "" {
		return Principal{}, fault.InvalidParameter.New("%s, or a service; got %q", reason, name.Clip(s))
	}
	if p.Kind == Account && p.Partition == "" {
		p.Partition = name.DefaultPartition
		p.Text = name.Entity{Kind: name.AccountRoot}.ARN(p.Partition, p.Account).String()
	}
	return p, nil
}

// Grant returns a repository policy that allows the actions, such as [PullActions], to a principal of [ParsePrincipal]:
// existing with the permission added. existing is nil when there is no policy; it is not modified.
//
// If existing allows the actions already, in any form, Grant returns an equal policy, and changed is false;
// ecr:GetAuthorizationToken is not considered, because it has no effect in a repository policy. Otherwise the principal
// is added to the statement that has the Sid and exactly these actions, for the whole repository and without
// conditions; if there is no such statement, a new statement is added. The warnings name each statement that denies
// some of the actions to the principal: an explicit deny wins over every allow.
//
// The result may exceed the maximum length of a policy; parsing its text checks that.
func Grant(existing *Document, to Principal, actions []string, sid string) (_ *Document, changed bool, _ []Warning) {
	patterns := make([]Pattern, len(actions))
	for i, a := range actions {
		patterns[i] = wildcards(Fold(a))
		patterns[i].Text = a
	}
	d := &Document{Kind: Repository, Version: Version2012}
	if existing != nil {
		copied := *existing
		d = &copied
	}
	warnings := d.denials(to, actions)
	if d.allows(to, patterns) {
		return d, false, warnings
	}
	d.Statements = slices.Clone(d.Statements)
	for i := range d.Statements {
		if s := &d.Statements[i]; s.fits(patterns, sid) {
			s.Principal = s.Principal.plus(to)
			return d, true, warnings
		}
	}
	d.Single = false
	d.Statements = append(d.Statements, Statement{
		Sid: sid, Effect: Allow, Principal: Principals{}.plus(to), Action: Patterns{List: true, Of: patterns},
	})
	return d, true, warnings
}

// plain reports whether a statement allows its actions on the whole repository for all requests of its principals. An
// Allow has no NotPrincipal: [Parse] refuses it.
func (s *Statement) plain() bool {
	everywhere := len(s.Resource.Of) == 0 ||
		!s.Resource.Not && slices.ContainsFunc(s.Resource.Of, func(p Pattern) bool { return p.Text == "*" })
	return s.Effect == Allow && everywhere && len(s.Conditions) == 0
}

// allows reports whether each action is allowed to the principal or to everyone. A statement for the account of the
// principal does not count: it delegates to the account, so that the principal would also need an identity policy.
func (d *Document) allows(to Principal, actions []Pattern) bool {
	for i := range actions {
		if equalFold(actions[i].Text, tokenAction) {
			continue
		}
		if !slices.ContainsFunc(d.Statements, func(s Statement) bool {
			return s.plain() && s.Action.covers(actions[i].Text) && s.Principal.names(to)
		}) {
			return false
		}
	}
	return true
}

// names reports whether the principal, or everyone, is one of the principals.
func (p Principals) names(one Principal) bool {
	for q := range p.All() {
		if q.Kind == Anyone || samePrincipal(q, one) {
			return true
		}
	}
	return false
}

// covers reports whether the actions of a statement include an action, which has no wildcards.
func (p Patterns) covers(action string) bool {
	return p.Not != slices.ContainsFunc(p.Of, func(one Pattern) bool {
		g := newGlob(one.Parts, true)
		return g.matchKnown(action, unmetered())
	})
}

// fits reports whether [Grant] can add a principal to the statement: it has the Sid and exactly the actions, in any
// order. Its principal is not *, for then the actions would be allowed already.
func (s *Statement) fits(actions []Pattern, sid string) bool {
	if !s.plain() || s.Sid != sid || s.Action.Not || len(s.Action.Of) != len(actions) {
		return false
	}
	for i := range actions {
		if !slices.ContainsFunc(s.Action.Of, func(p Pattern) bool { return equalFold(p.Text, actions[i].Text) }) {
			return false
		}
	}
	return true
}

// plus returns the principals with one more in the group of its type. A group with more than one principal is written
// as an array.
func (p Principals) plus(one Principal) Principals {
	member := "AWS"
	if one.Kind == Service {
		member = "Service"
	}
	groups := slices.Clone(p.Groups)
	at := slices.IndexFunc(groups, func(g PrincipalGroup) bool { return g.Type == member })
	if at < 0 {
		p.Groups = append(groups, PrincipalGroup{Type: member, Of: []Principal{one}})
		return p
	}
	groups[at].List = true
	groups[at].Of = append(slices.Clone(groups[at].Of), one)
	p.Groups = groups
	return p
}

// denials returns a warning for each statement that denies some of the actions to the principal. The repository of the
// policy is not known here, so that Resource elements are ignored.
func (d *Document) denials(to Principal, actions []string) []Warning {
	var all []Warning
	caller := to.caller()
	c := Compile(d, nil)
	for i := range c.statements {
		s := &c.statements[i]
		if !s.deny {
			continue
		}
		_, named := s.principal(&caller, false)
		var denied []string
		for _, a := range actions {
			if named && a != tokenAction && s.source.Action.covers(a) {
				denied = append(denied, a)
			}
		}
		if len(denied) == 0 {
			continue
		}
		when := ""
		if len(s.tests) > 0 {
			when = ", under its conditions"
		}
		all = append(all, Warning{Code: WarnDenied, Path: fmt.Sprintf("Statement[%d]", i),
			Text: fmt.Sprintf("denies %s to %s%s: a deny wins over every grant", strings.Join(denied, ", "), to.Text, when)})
	}
	return all
}

// caller returns a caller that the principal names: for an account its root user, for a role a session that no policy
// names.
func (p *Principal) caller() Caller {
	c := Caller{Kind: p.Kind, Account: p.Account, ARN: p.Text}
	switch p.Kind {
	case Role:
		c.Kind, c.Issuer, c.ARN = RoleSession, p.Text, ""
	case RoleSession: // the path of the role is not known
		c.Issuer = name.Entity{Kind: name.IAMRole, Name: p.Name}.ARN(p.Partition, p.Account).String()
	}
	return c
}

// Grantee is a principal that a statement of a policy allows something.
type Grantee struct {
	Principal   string // as the policy writes it
	Conditional bool   // only in requests that meet conditions, or only for some resources
}

// Grantees returns whom the statements of a policy allow an action, in their order. Statements that deny it are not considered.
func Grantees(d *Document, action string) []Grantee {
	var all []Grantee
	for i := range d.Statements {
		s := &d.Statements[i]
		if s.Effect != Allow || !s.Action.covers(action) {
			continue
		}
		for p := range s.Principal.All() {
			if g := (Grantee{p.Text, !s.plain()}); !slices.Contains(all, g) {
				all = append(all, g)
			}
		}
	}
	return all
}
