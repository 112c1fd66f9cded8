package policy

import (
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// parser reads the text of one policy.
type parser struct {
	text  string
	kind  Kind
	rules rules // of the kind
	limit int   // of the length, in characters
	lang  Version
	sids  map[string]bool // read so far, if the kind requires unique Sids
	work  int             // that the patterns read so far can cause in one decision

	stored bool // the text was accepted when it was stored: rules that are newer do not hold for it
}

func (p *parser) document() (*Document, error) {
	root, err := p.tree()
	if err != nil {
		return nil, err
	}
	if err := p.elements(root, "Version", "Id", "Statement"); err != nil {
		return nil, err
	}
	d := &Document{Kind: p.kind}
	if n, ok := root.get("Version"); ok {
		d.Version = Version(n.text)
		if n.shape != text || d.Version != Version2008 && d.Version != Version2012 {
			return nil, p.fail(n, "the version must be %q or %q", Version2012, Version2008)
		}
	}
	p.lang = d.Language()
	if d.ID, err = p.optionalText(root, "Id"); err != nil {
		return nil, err
	}
	n, ok := root.get("Statement")
	if !ok {
		return nil, p.fail(root, "the element Statement is missing")
	}
	all, list := n.list()
	d.Single = !list
	if len(all) == 0 {
		return nil, p.fail(n, "there must be at least one statement")
	}
	for _, n := range all {
		s, err := p.statement(n)
		if err != nil {
			return nil, err
		}
		d.Statements = append(d.Statements, s)
	}
	return d, nil
}

func (p *parser) statement(n node) (s Statement, err error) {
	if err := p.elements(n, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
		"Condition"); err != nil {
		return s, err
	}
	if s.Sid, err = p.sid(n); err != nil {
		return s, err
	}
	effect, ok := n.get("Effect")
	if !ok {
		return s, p.fail(n, "the element Effect is missing")
	}
	s.Effect = Effect(effect.text)
	if effect.shape != text || s.Effect != Allow && s.Effect != Deny {
		return s, p.fail(effect, "the effect must be %q or %q", Allow, Deny)
	}
	principal, not, err := p.either(n, "Principal", p.rules.principal)
	if err != nil {
		return s, err
	}
	// With Allow, everyone but the listed principals would have access. Source: IAM user guide, NotPrincipal.
	if not && s.Effect == Allow {
		return s, p.fail(principal, "NotPrincipal is allowed only with the effect Deny")
	}
	if principal.path != "" {
		if s.Principal, err = p.principals(principal, not); err != nil {
			return s, err
		}
	}
	action, not, err := p.either(n, "Action", required)
	if err != nil {
		return s, err
	}
	if s.Action, err = p.patterns(action, not, p.action); err != nil {
		return s, err
	}
	resource, not, err := p.either(n, "Resource", p.rules.resource)
	if err != nil {
		return s, err
	}
	if resource.path != "" {
		if s.Resource, err = p.patterns(resource, not, p.resource); err != nil {
			return s, err
		}
	}
	if c, ok := n.get("Condition"); ok {
		s.Conditions, err = p.conditions(c)
	}
	return s, err
}

// either reads an element or its opposite; both together are an error. If both are absent and that is allowed, the
// returned node has no path.
func (p *parser) either(of node, element string, want need) (n node, not bool, err error) {
	n, plain := of.get(element)
	opposite, not := of.get("Not" + element)
	if not && !plain {
		n = opposite
	}
	switch {
	case plain && not:
		return n, not, p.fail(opposite, "%s and Not%s exclude each other", element, element)
	case (plain || not) && want == forbidden:
		err := p.fail(n, "%s policies have no %s", p.kind, element)
		if element == "Principal" {
			return n, not, inWords(err, "Policy document should not specify a principal.")
		}
		if not {
			element = "Not" + element
		}
		return n, not, inWords(err, "Has prohibited field %s", element)
	case not:
		return n, true, nil
	case !plain && want == required:
		err := p.fail(of, "the element %s is missing", element)
		if element != "Principal" {
			err = inWords(err, "Policy statement must contain %ss.", strings.ToLower(element))
		}
		return n, false, err
	}
	return n, false, nil
}

// patterns reads one value, or an array of at least one value.
func (p *parser) patterns(n node, not bool, read func(node) (Pattern, error)) (Patterns, error) {
	all, list := n.list()
	out := Patterns{Not: not, List: list}
	if len(all) == 0 {
		return out, p.fail(n, "the array must not be empty")
	}
	for _, n := range all {
		if n.shape != text {
			return out, p.fail(n, "must be a string, is %s", n.shape)
		}
		pattern, err := read(n)
		if err != nil {
			return out, err
		}
		out.Of = append(out.Of, pattern)
	}
	return out, nil
}

// sid reads a Sid by the rules of the kind of policy.
func (p *parser) sid(of node) (string, error) {
	sid, err := p.optionalText(of, "Sid")
	if err != nil || sid == "" || !p.rules.plainSid {
		return sid, err
	}
	n, _ := of.get("Sid")
	if strings.Trim(Fold(sid), alphanumeric) != "" {
		return sid, inWords(p.fail(n, "a Sid must consist of letters and digits, got %q", name.Clip(sid)),
			"Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
	}
	if p.sids[sid] {
		return sid, inWords(p.fail(n, "another statement has the Sid %q", name.Clip(sid)),
			"Statement IDs (SID) in a single policy must be unique.")
	}
	if p.sids == nil {
		p.sids = map[string]bool{}
	}
	p.sids[sid] = true
	return sid, nil
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"

// action reads * or a service prefix with a name, in which wildcards are allowed. Both are case-insensitive. The prefix
// has no wildcards, except that *:* means the same as *. A trust policy does not allow *, which covers more than the
// actions of STS.
func (p *parser) action(n node) (Pattern, error) {
	folded := Fold(n.text)
	service, rest, ok := strings.Cut(folded, ":")
	wanted := p.rules.service
	switch {
	case n.text == "*" && p.kind != Trust, n.text == "*:*" && wanted == "":
		return Pattern{Text: n.text, Parts: []Part{{Kind: AnyRun}}}, nil
	case !ok, rest == "", !p.actionName(rest), wanted != "" && service != wanted,
		service == "", strings.Trim(service, alphanumeric+"-") != "":
		const form = "and a name that may hold * and ?, got %q"
		switch {
		case p.kind == Trust:
			return Pattern{}, inWords(p.fail(n, "an action is sts: "+form, name.Clip(n.text)), onlySTS)
		case wanted == "":
			return Pattern{}, inWords(p.fail(n, "an action is * or SERVICE: "+form, name.Clip(n.text)), "%s", actionWords(n.text))
		}
		return Pattern{}, p.fail(n, "an action is * or "+wanted+": "+form, name.Clip(n.text))
	}
	if p.kind == Trust && !p.stored && !strings.ContainsAny(rest, "*?") && !slices.Contains(assumeActions, rest) {
		return Pattern{}, inWords(p.fail(n, "%q is no action that assumes a role", name.Clip(n.text)), onlySTS)
	}
	pattern := wildcards(folded)
	pattern.Text = n.text
	return pattern, nil
}

const onlySTS = "AssumeRole policy may only specify STS AssumeRole actions."

// assumeActions are the actions of trust policies, folded. Sources: service authorization reference of STS; answers of IAM.
var assumeActions = []string{"assumerole", "assumerolewithsaml", "assumerolewithwebidentity", "setcontext",
	"setsourceidentity", "tagsession"}

// actionName reports whether the part of a folded action behind its service prefix is valid: letters, digits and wildcards, and
// in IAM any other printable character but a colon and a space.
func (p *parser) actionName(s string) bool {
	odd := strings.Trim(s, alphanumeric+"*?")
	return odd == "" || p.rules.loose && p.kind != Trust && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || r == ':'
	})
}

// actionWords returns the sentence of IAM for an action that is not valid.
func actionWords(action string) string {
	switch service, _, ok := strings.Cut(action, ":"); {
	case !ok:
		return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	case strings.Count(action, ":") > 1:
		return "Actions/Condition can contain only one colon."
	default:
		return "Vendor " + name.Clip(service) + " is not valid"
	}
}

// resource reads * or an ARN, which in policies of ECR must be an ARN of ECR. Every part of the ARN but arn and ecr may
// contain wildcards, and the last part also policy variables. It does not check that the ARN names the repository of the policy.
func (p *parser) resource(n node) (Pattern, error) {
	pattern, err := p.pattern(n, true)
	if err != nil || n.text == "*" {
		return pattern, err
	}
	parts := splitARN(n.text)
	// Source: IAM user guide, policy variables, where you can use them.
	for _, part := range parts[:min(len(parts), arnParts-1)] {
		if p.lang == Version2012 && !p.stored && strings.Contains(part, "${") {
			return pattern, p.fail(n, "a policy variable stands only behind the fifth colon of an ARN, got %q", name.Clip(n.text))
		}
	}
	if p.rules.service == "" {
		return pattern, p.anyResource(n, parts)
	}
	if len(parts) != 6 || parts[0] != "arn" {
		return pattern, p.fail(n, `a resource is * or arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME, got %q`, name.Clip(n.text))
	}
	for i, part := range parts {
		open := strings.ContainsAny(part, "*?$") // a wildcard or a variable: the value depends on the request
		switch {
		case part == "":
			return pattern, p.fail(n, "the ARN %q has an empty part", name.Clip(n.text))
		case i == 1 && !open && !name.ValidPartition(part):
			return pattern, p.fail(n, "%q is not a partition", name.Clip(part))
		case i == 2 && part != "ecr":
			return pattern, p.fail(n, "the resource %q is not of ecr", name.Clip(n.text))
		case i == 3 && !open:
			if _, err := name.ParseRegion(part); err != nil {
				return pattern, p.fail(n, "%q is not a region", name.Clip(part))
			}
		case i == 4 && !open:
			if _, err := name.ParseAccount(part); err != nil {
				return pattern, p.fail(n, "%q is not an account of 12 digits", name.Clip(part))
			}
		case i == 5 && !open && !strings.HasPrefix(part, "repository/"):
			return pattern, p.fail(n, "%q does not begin with repository/", name.Clip(part))
		}
	}
	return pattern, nil
}

// anyResource checks an ARN of any service. An ARN with fewer than six parts must end with *, and then stands for all
// ARNs that begin with the same text.
func (p *parser) anyResource(n node, parts []string) error {
	last := parts[len(parts)-1]
	short := len(parts) < 6 && !strings.HasSuffix(last, "*") && !(p.rules.loose && len(parts) > 2)
	if err := p.serviceARN(n, parts); err != nil {
		return err
	}
	if parts[0] != "arn" || len(parts) < 2 || short || last == "" {
		return inWords(p.fail(n, "a resource is * or arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE, got %q", name.Clip(n.text)),
			`Resource %s must be in ARN format or "*".`, name.Clip(n.text))
	}
	if part := parts[1]; !strings.ContainsAny(part, "*?$") && !name.ValidPartition(part) {
		return inWords(p.fail(n, "%q is not a partition", name.Clip(part)), `Partition "%s" is not valid for resource "%s".`,
			name.Clip(part), name.Clip(n.text))
	}
	return nil
}

// serviceARN refuses ARNs with parts that those of their service do not have: S3 and IAM have no regions. A policy that was
// stored before may have them. Source: answers of IAM.
func (p *parser) serviceARN(n node, parts []string) error {
	if p.stored || !p.rules.loose || len(parts) < arnParts || parts[0] != "arn" {
		return nil
	}
	region := parts[3] != "" && parts[3] != "*"
	switch arn := name.Clip(n.text); {
	case parts[2] == "":
		return inWords(p.fail(n, "the ARN %q has no service", arn), "The policy failed legacy parsing")
	case parts[2] == "s3" && region:
		return inWords(p.fail(n, "ARNs of s3 have no region"), "Resource %s can not contain region information.", arn)
	case parts[2] == "iam" && region:
		return inWords(p.fail(n, "ARNs of iam have no region"), "IAM resource %s cannot contain region information.", arn)
	}
	return nil
}

// elements checks that n is an object whose members are all known elements.
func (p *parser) elements(n node, known ...string) error {
	if n.shape != object {
		return p.fail(n, "must be an object, is %s", n.shape)
	}
	for _, m := range n.members {
		if !slices.Contains(known, m.key) {
			return p.problem(m.at, n.path, "unknown element %q", name.Clip(m.key))
		}
	}
	return nil
}

func (p *parser) optionalText(of node, element string) (string, error) {
	n, ok := of.get(element)
	if ok && n.shape != text {
		return "", p.fail(n, "must be a string, is %s", n.shape)
	}
	return n.text, nil
}

// fail returns the error for a node.
func (p *parser) fail(n node, format string, args ...any) error {
	return p.problem(n.at, n.path, format, args...)
}

// get returns the member of an object that has the given key.
func (n node) get(key string) (node, bool) {
	for _, m := range n.members {
		if m.key == key {
			return m.value, true
		}
	}
	return node{}, false
}

// list returns the elements of an array, or a single value as a list of one element.
func (n node) list() (all []node, isArray bool) {
	if n.shape == array {
		return n.elements, true
	}
	return []node{n}, false
}
