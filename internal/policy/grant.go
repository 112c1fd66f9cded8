package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// PullActions are what somebody needs to pull from a repository and to look at it, in the order in which deployment
// platforms print them. ecr:GetAuthorizationToken has no effect there; it stands so that the policy is the same as theirs.
func PullActions() []string {
	return []string{
		"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories",
		"ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy", "ecr:ListImages",
	}
}

// PushActions are what somebody needs to push to a repository. Source: ECR user guide, pushing an image, IAM permissions.
func PushActions() []string {
	return []string{
		"ecr:CompleteLayerUpload", "ecr:UploadLayerPart", "ecr:InitiateLayerUpload", "ecr:BatchCheckLayerAvailability",
		"ecr:PutImage", "ecr:BatchGetImage",
	}
}

// The Sids of statements that grant these actions.
const (
	PullSid = "AllowReleasePull"
	PushSid = "AllowPush"
)

// ParsePrincipal reads one principal as a repository policy may name it: an account of 12 digits, an ARN of an account,
// user, role, role session or federated user, a service such as codebuild.amazonaws.com, or *. The text of an account
// becomes its ARN in the partition aws, as AWS shows it. Errors: fault.InvalidParameter.
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

// Grant merges a permission into a repository policy; existing is nil when there is none, and is not changed. The
// result allows the actions, such as [PullActions], to a principal of [ParsePrincipal].
//
// A policy that allows them already, in whatever words, is returned as it is, and changed is false; that it lacks
// ecr:GetAuthorizationToken does not count, for it has no effect in such a policy. Otherwise the principal joins the
// statement that has the Sid and exactly these actions, for the whole repository and without conditions, or a new
// statement is added. The warnings name each statement that denies some of the actions to the principal: a deny wins
// whatever is granted.
//
// The result may be longer than a policy can be: only reading its text again tells.
func Grant(existing *Document, to Principal, actions []string, sid string) (_ *Document, changed bool, _ []Warning) {
	patterns := make([]Pattern, len(actions))
	for i, a := range actions {
		patterns[i] = wildcards(strings.ToLower(a))
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

// plain tells whether a statement allows something on the whole repository, whatever the request. An Allow has no
// NotPrincipal: [Parse] refuses it.
func (s *Statement) plain() bool {
	everywhere := len(s.Resource.Of) == 0 ||
		!s.Resource.Not && slices.ContainsFunc(s.Resource.Of, func(p Pattern) bool { return p.Text == "*" })
	return s.Effect == Allow && everywhere && len(s.Conditions) == 0
}

// allows tells whether each action is allowed to the principal, or to everyone. An account that is allowed them delegates
// only: that is less than its user needs.
func (d *Document) allows(to Principal, actions []Pattern) bool {
	for i := range actions {
		if strings.EqualFold(actions[i].Text, tokenAction) {
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

// names tells whether the principal, or everyone, is among them.
func (p Principals) names(one Principal) bool {
	for q := range p.All() {
		if q.Kind == Anyone || samePrincipal(q, one) {
			return true
		}
	}
	return false
}

// covers tells whether the actions of a statement hold an action, which has no wildcards.
func (p Patterns) covers(action string) bool {
	return p.Not != slices.ContainsFunc(p.Of, func(one Pattern) bool {
		g := newGlob(one.Parts, true)
		return g.stands(action, nil)
	})
}

// fits tells whether a statement is one that [Grant] wrote for the same actions, in whatever order they stand now. It is
// not one for everyone: that would allow them to the principal, and nothing would be left to grant.
func (s *Statement) fits(actions []Pattern, sid string) bool {
	if !s.plain() || s.Sid != sid || s.Action.Not || len(s.Action.Of) != len(actions) {
		return false
	}
	for i := range actions {
		if !slices.ContainsFunc(s.Action.Of, func(p Pattern) bool { return strings.EqualFold(p.Text, actions[i].Text) }) {
			return false
		}
	}
	return true
}

// plus adds a principal to the group of its type, which becomes an array with the second one.
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

// denials warns of each statement that denies some of the actions to the principal. Which repository the policy is of is
// not known here, so that a Resource counts for nothing.
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

// caller is somebody whom the principal names: of an account its root user, of a role a session that no policy names.
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
