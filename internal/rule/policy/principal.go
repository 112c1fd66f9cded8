package policy

import (
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// principals reads "*" or an object with the members AWS and Service. Federated is allowed only in trust policies.
// CanonicalUser is refused, because only policies of S3 have it. Source: IAM user guide, policy element Principal.
func (p *parser) principals(n node, not bool) (Principals, error) {
	out := Principals{Not: not}
	if p.rules.onlyAll && (not || n.shape != text || n.text != "*") {
		return out, p.fail(n, `the principal of a %s policy must be "*"`, p.kind)
	}
	if n.shape == text && n.text == "*" {
		out.Bare = true
		out.Groups = []PrincipalGroup{{Type: "AWS", Of: []Principal{{Kind: Anyone, Text: "*"}}}}
		return out, nil
	}
	if n.shape != object {
		return out, p.fail(n, `must be "*" or an object`)
	}
	known := []string{"AWS", "Service", "Federated"}
	if p.kind != Trust {
		known = known[:2]
	}
	if err := p.elements(n, known...); err != nil {
		return out, err
	}
	if len(n.members) == 0 {
		return out, p.fail(n, "the object must not be empty")
	}
	for _, m := range n.members {
		all, list := m.value.list()
		g := PrincipalGroup{Type: m.key, List: list}
		if len(all) == 0 {
			return out, p.fail(m.value, "the array must not be empty")
		}
		for _, n := range all {
			if n.shape != text {
				return out, p.fail(n, "must be a string, is %s", n.shape)
			}
			one, reason := readPrincipal(m.key, n.text)
			if reason != "" {
				return out, p.fail(n, "%s, got %q", reason, name.Clip(n.text))
			}
			g.Of = append(g.Of, one)
		}
		out.Groups = append(out.Groups, g)
	}
	return out, nil
}

// The forms of names in the IAM and STS models. A path is "/" or begins and ends with "/"; it has no wildcards.
var (
	servicePattern  = lazyregexp.New(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	providerPattern = lazyregexp.New(`^(arn:aws(-[a-z]+)*:iam::[0-9]{12}:(oidc|saml)-provider/[!-~]+|[a-z0-9-]+(\.[a-z0-9-]+)+)$`)
	pathPattern     = lazyregexp.New(`^/([!-~]{1,510}/)?$`)
	namePattern     = lazyregexp.New(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
)

// readPrincipal reads one principal of a member of a Principal object. If s is not a principal, reason says why, else
// it is "".
func readPrincipal(member, s string) (_ Principal, reason string) {
	if member == "Service" {
		if len(s) > 255 || !servicePattern.MatchString(s) {
			return Principal{}, "a service looks like codebuild.amazonaws.com"
		}
		return Principal{Kind: Service, Text: s, Name: s}, ""
	}
	if member == "Federated" {
		if len(s) > 2048 || !providerPattern.MatchString(s) {
			return Principal{}, "an identity provider is a host or the ARN of an oidc-provider or saml-provider"
		}
		return Principal{Kind: Federated, Text: s, Name: s}, ""
	}
	if s == "*" {
		return Principal{Kind: Anyone, Text: s}, ""
	}
	if account, err := name.ParseAccount(s); err == nil {
		return Principal{Kind: Account, Text: s, Account: account}, ""
	}
	if strings.ContainsAny(s, "*?") {
		return Principal{}, "a principal other than * has no wildcard"
	}
	arn, err := name.ParseARN(s)
	switch {
	case err == nil && arn.Region == "" && arn.Account != (name.Account{}):
	case errors.Is(err, name.ErrARNAccount), err == nil && arn.Region == "":
		return Principal{}, "the ARN of a principal has an account of 12 digits"
	default:
		return Principal{}, "a principal is *, an account of 12 digits, or an ARN of IAM or STS"
	}
	named, complete := arn.Entity()
	one := Principal{Text: s, Partition: arn.Partition, Account: arn.Account, Path: named.Path, Name: named.Name, Session: named.Session}
	switch named.Kind {
	case name.AccountRoot:
		if one.Kind = Account; complete {
			return one, ""
		}
		return Principal{}, "the ARN of an account ends with :root"
	case name.IAMUser, name.IAMRole:
		one.Kind = User
		if named.Kind == name.IAMRole {
			one.Kind = Role
		}
		if complete && pathPattern.MatchString(one.Path) && namePattern.MatchString(one.Name) {
			return one, ""
		}
		return Principal{}, "the path or the name of the " + string(named.Kind) + " is not valid"
	case name.AssumedRole:
		one.Kind = RoleSession
		if complete && namePattern.MatchString(one.Name) && namePattern.MatchString(one.Session) {
			return one, ""
		}
		return Principal{}, "a session looks like arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION"
	case name.Customer:
		application, customer, _ := strings.Cut(one.Name, "/")
		one.Kind = Customer
		if complete && namePattern.MatchString(application) && namePattern.MatchString(customer) {
			return one, ""
		}
		return Principal{}, "a customer looks like arn:aws:ecrin::ACCOUNT:customer/APPLICATION/CUSTOMER"
	case name.FederatedUser:
		one.Kind = FederatedUser
		if complete && namePattern.MatchString(one.Name) {
			return one, ""
		}
		return Principal{}, "the name of the federated user is not valid"
	}
	return Principal{}, "a principal is an account, user, role, role session or federated user, no group and no other resource"
}
