// Package vendorpolicy makes documents of IAM of the policies that tools of vendors have: lists of names that are allowed and denied.
//
// A name, such as kots/app/APP/release/create, is a permission. Rules are names in which * stands for one part and ** for one or more. Of
// the rules that match a name the most specific decides; what no rule matches is denied. IAM has no such order: what is denied stays
// denied. A definition that therefore means something else in IAM is refused.
package vendorpolicy

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of definitions.
const (
	MaxDefinition = 16 << 10 // bytes
	maxRules      = 100      // of a list
	maxParts      = 20       // of a rule
)

// Statement is a statement of a document of IAM.
type Statement struct {
	Effect    string
	Action    []string
	Resource  []string
	Condition Condition `json:",omitempty"`
}

// Condition is an element of a statement: values of condition keys, by operator.
type Condition map[string]map[string][]string

// ChannelKey is the condition key of actions on a channel: its id.
const ChannelKey = "ecrin:ChannelId"

// grant is an action of IAM on resources of an account. Their names have the parts of a permission in braces.
type grant struct {
	action, resource string
	lists            bool // on all resources it answers about each, also about one on which it is denied
	channel          bool // it has the condition key ChannelKey
}

// onChannel returns the grants of actions on a channel.
func onChannel(actions ...string) (all []grant) {
	for _, action := range actions {
		all = append(all, grant{action: action, resource: ofApp, channel: true})
	}
	return all
}

func on(resource string, actions ...string) (all []grant) {
	for _, action := range actions {
		all = append(all, grant{action: action, resource: resource})
	}
	return all
}

// permission is a name of a permission with what it is in IAM. A part in braces stands for any text.
type permission struct {
	name   string
	grants []grant
}

const (
	ofApp       = "application/{app}"
	ofLicense   = "customer/{app}/{license}"
	ofCustomers = "customer/{app}/*"
	ofRegistry  = "integration/*"
)

// permissions are the names that this server has a permission for. An action belongs to one of them.
var permissions = []permission{
	{"kots/app/create", on("application/*", "CreateApplication")},
	{"kots/app/{app}/read", []grant{{action: "DescribeApplications", resource: ofApp, lists: true}}},
	{"kots/app/{app}/update", on(ofApp, "PutApplicationHost", "ListApplicationHosts", "DeleteApplicationHost")},
	{"kots/app/{app}/delete", on(ofApp, "DeleteApplication")},
	{"kots/app/{app}/channel/create", on(ofApp, "CreateChannel")},
	{"kots/app/{app}/channel/{channel}/read", append(onChannel("ListPromotions"), grant{"ListChannels", ofApp, true, true})},
	{"kots/app/{app}/channel/{channel}/update", onChannel("UpdateChannel")},
	{"kots/app/{app}/channel/{channel}/archive", onChannel("ArchiveChannel")},
	{"kots/app/{app}/channel/{channel}/promote", onChannel("PromoteRelease", "DemoteRelease")},
	{"kots/app/{app}/release/create", on(ofApp, "CreateRelease")},
	{"kots/app/{app}/release/{sequence}/read", on(ofApp, "DescribeRelease", "ListReleases")},
	{"kots/app/{app}/release/{sequence}/update", on(ofApp, "UpdateRelease", "PutReleaseCompatibility")},
	{"kots/app/{app}/license/create", on(ofCustomers, "CreateCustomer")},
	{"kots/app/{app}/license/{license}/read", slices.Concat(on(ofLicense, "DescribeCustomer", "GetLicense"),
		on(ofCustomers, "ListCustomers", "ListInstances"))},
	{"kots/app/{app}/license/{license}/update", on(ofLicense, "UpdateCustomer")},
	{"kots/license/{license}/archive", on("customer/*/{license}", "ArchiveCustomer")},
	{"kots/license/{license}/unarchive", on("customer/*/{license}", "UnarchiveCustomer")},
	{"kots/externalregistry/list", slices.Concat(on(ofRegistry, "DescribeIntegrations"), on("application/*", "ListSharedIntegrations"))},
	{"kots/externalregistry/create", slices.Concat(on(ofRegistry, "CreateIntegration", "UseIntegration"),
		on("application/*", "ShareIntegration"))},
	{"kots/externalregistry/update", slices.Concat(on(ofRegistry, "UpdateIntegration"), on("application/*", "UnshareIntegration"))},
	{"kots/externalregistry/{registry}/delete", on("integration/{registry}", "DeleteIntegration")},
	{"kots/externalregistry/test", on(ofRegistry, "TestIntegration")},
	{"kots/externalregistry/logs/read", on("customer/*/*", "ListPulls")},
	// Names that policies have beside others, which decide.
	{"kots/app/{app}/list", nil},
	{"kots/app/{app}/channel/{channel}/list", nil},
	{"kots/app/{app}/release/{sequence}/list", nil},
	{"kots/app/{app}/license/{license}/list", nil},
	{"kots/app/{app}/licensefields/list", nil},
	{"kots/app/{app}/licensefields/read", nil},
}

// elsewhere are the first parts of names for which this server has no permission: people, tokens and policies are those of IAM. They may be
// denied, and not allowed.
var elsewhere = []string{"team", "user", "integration", "registry"}

// The forms of parts.
var (
	partText     = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	idText       = lazyregexp.New(`^[A-Za-z0-9]{27}$`) // of channels and customers
	registryText = lazyregexp.New(`^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$`)
)

// values are the values of parts in braces. A part without one has any.
type values map[string]string

// contains reports whether v has all that w has.
func (v values) contains(w values) bool {
	for k, one := range w {
		if v[k] != one {
			return false
		}
	}
	return true
}

// meets reports whether something has the values of both.
func (v values) meets(w values) bool {
	for k, one := range w {
		if had, ok := v[k]; ok && had != one {
			return false
		}
	}
	return true
}

// rule is a rule with what it matches.
type rule struct {
	text    string
	parts   []string
	matches map[int][]values // by the index of the permission
}

func bad(format string, a ...any) error {
	return fault.InvalidParameter.New("Invalid parameter at 'definition' failed to satisfy constraint: '"+format+"'", a...)
}

// everything is a rule that matches every name, for all names have two parts at least. It decides where no other rule does.
const everything = "**/*"

func (r rule) all() bool { return r.text == everything }

// order compares how specific two rules are, the more specific first. The vendor's documents can be read in several ways, whose results it
// returns: the number of asterisks, whether there is a ** before that, or the number of ** before that of *.
func order(a, b rule) []int {
	count := func(r rule) (deep, single int) {
		for _, p := range r.parts {
			switch p {
			case "**":
				deep++
			case "*":
				single++
			}
		}
		return deep, single
	}
	if a.all() || b.all() {
		return []int{cmp.Compare(btoi(a.all()), btoi(b.all()))}
	}
	d, s := count(a)
	e, u := count(b)
	stars := cmp.Compare(2*d+s, 2*e+u)
	return []int{stars, cmp.Or(cmp.Compare(btoi(d > 0), btoi(e > 0)), stars), cmp.Or(cmp.Compare(d, e), cmp.Compare(s, u))}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// meets reports whether something of this server is matched by both.
func (r rule) meets(other rule) bool {
	for i, all := range r.matches {
		if permissions[i].grants == nil {
			continue
		}
		for _, v := range all {
			if slices.ContainsFunc(other.matches[i], v.meets) {
				return true
			}
		}
	}
	return false
}

// match appends the values with which the parts of a rule match those of a permission.
func match(rule, of []string, v values, all []values) []values {
	switch {
	case len(rule) == 0 && len(of) == 0:
		for _, had := range all {
			if v.contains(had) {
				return all
			}
		}
		return append(slices.DeleteFunc(all, func(had values) bool { return had.contains(v) }), maps.Clone(v))
	case len(rule) == 0 || len(of) == 0:
		return all
	case rule[0] == "**":
		for n := 1; n <= len(of); n++ {
			all = match(rule[1:], of[n:], v, all)
		}
		return all
	case rule[0] == "*" || rule[0] == of[0]:
		return match(rule[1:], of[1:], v, all)
	case strings.HasPrefix(of[0], "{"):
		with := maps.Clone(v)
		with[of[0]] = rule[0]
		return match(rule[1:], of[1:], with, all)
	}
	return all
}

// parseRule reads a rule of a list. slug returns the slug of an application that is named by its id or slug.
//
// Errors: fault.InvalidParameter, and those of slug.
func parseRule(text string, slug func(string) (string, error)) (rule, error) {
	if text == "**" || text == "*/**" || text == "**/**" {
		text = everything
	}
	r := rule{text: text, parts: strings.Split(text, "/"), matches: map[int][]values{}}
	if len(r.parts) > maxParts {
		return r, bad("%s has more than %d parts", name.Clip(text), maxParts)
	}
	deep := 0
	for _, p := range r.parts {
		switch {
		case p == "**":
			if deep++; deep > 3 {
				return r, bad("%s has more than three parts **", name.Clip(text))
			}
		case p == "*":
		case strings.ContainsAny(p, "*?[]{}!"):
			return r, bad("%s has a wildcard within a part: IAM cannot say it, since there it would match other parts too; * and ** stand alone",
				name.Clip(text))
		case !partText.MatchString(p):
			return r, bad("%s has a part that is no text of letters, digits, dots, hyphens and underscores", name.Clip(text))
		}
	}
	slugs := map[string]string{}
	for i, p := range permissions {
		for _, v := range match(r.parts, strings.Split(p.name, "/"), values{}, nil) {
			if id, ok := v["{app}"]; ok {
				if slugs[id] == "" {
					var err error
					if slugs[id], err = slug(id); err != nil {
						return r, err
					}
				}
				v["{app}"] = slugs[id]
			}
			r.matches[i] = append(r.matches[i], v)
		}
	}
	return r, nil
}

// on returns the resources of a grant with values, and the channel to which it is limited, "" for none.
//
// Errors: fault.InvalidParameter (they cannot be limited to a value).
func (g grant) on(effect string, r rule, v values) (out, channel string, err error) {
	out = g.resource
	for _, k := range slices.Sorted(maps.Keys(v)) {
		one, what := v[k], strings.Trim(k, "{}")
		switch {
		case !strings.Contains(out, k) && !(g.channel && k == "{channel}"):
			return "", "", bad("%s is about one %s, and ecrin:%s cannot be limited to one: * in place of %s is all of them", name.Clip(r.text), what,
				g.action, name.Clip(one))
		case effect == deny && g.lists:
			return "", "", bad("%s is denied for one %s, which ecrin:%s shows with the others: allow the others in place of it", name.Clip(r.text),
				what, g.action)
		case (k == "{license}" || k == "{channel}") && !idText.MatchString(one), k == "{registry}" && !registryText.MatchString(one):
			return "", "", bad("%s has no id of a %s", name.Clip(r.text), what)
		case k == "{channel}":
			channel = one
		}
		out = strings.ReplaceAll(out, k, one)
	}
	return strings.NewReplacer("{app}", "*", "{license}", "*", "{registry}", "*").Replace(out), channel, nil
}

// definition is the JSON of a definition.
type definition struct {
	V1 *struct {
		Name      string `json:"name"`
		Resources *struct {
			Allowed []string `json:"allowed"`
			Denied  []string `json:"denied"`
		} `json:"resources"`
	} `json:"v1"`
}

// parse reads the lists of a definition.
//
// Errors: fault.InvalidParameter.
func parse(text string) (allowed, denied []string, err error) {
	if len(text) > MaxDefinition {
		return nil, nil, bad("at most %d bytes", MaxDefinition)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var def definition
	if err := d.Decode(&def); err != nil {
		return nil, nil, bad(`JSON like {"v1":{"name":"NAME","resources":{"allowed":["**/read"],"denied":["**/*"]}}}: %v`, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, bad("one object of JSON")
	}
	if def.V1 == nil || def.V1.Resources == nil {
		return nil, nil, bad("v1.resources must have the lists allowed and denied")
	}
	allowed, denied = def.V1.Resources.Allowed, def.V1.Resources.Denied
	if len(allowed) > maxRules || len(denied) > maxRules {
		return nil, nil, bad("at most %d rules in a list", maxRules)
	}
	return allowed, denied, nil
}

// Statements returns the statements of IAM that allow and deny in an account exactly what a definition does, as far as this server has
// permissions for it. slug returns the slug of an application that the definition names by its id or slug.
//
// Errors: fault.InvalidParameter with the rule and the reason, and those of slug.
func Statements(text string, account name.Account, slug func(string) (string, error)) ([]Statement, error) {
	allowTexts, denyTexts, err := parse(text)
	if err != nil {
		return nil, err
	}
	var allowed, denied []rule
	texts := map[string]bool{}
	for _, one := range denyTexts {
		r, err := parseRule(one, slug)
		if err != nil {
			return nil, err
		}
		if len(r.matches) == 0 && !slices.Contains(elsewhere, r.parts[0]) {
			return nil, bad("%s is denied, and is no name of a permission of this server", name.Clip(one))
		}
		denied, texts[r.text] = append(denied, r), true
	}
	for _, one := range allowTexts {
		r, err := parseRule(one, slug)
		if err != nil {
			return nil, err
		}
		if len(r.matches) == 0 {
			return nil, bad("%s is allowed, and is no name of a permission of this server: people, tokens and policies are those of IAM",
				name.Clip(one))
		}
		if !texts[r.text] { // what is in both lists is denied
			allowed = append(allowed, r)
		}
	}
	var made statements
	for _, r := range allowed {
		if err := made.add(allow, r, account); err != nil {
			return nil, err
		}
	}
	for _, r := range denied {
		needed, err := mustDeny(r, allowed)
		if err == nil && needed {
			err = made.add(deny, r, account)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(made) == 0 {
		return nil, bad("it allows nothing on this server, and denies nothing")
	}
	return made.grouped(), nil
}

// The effects of statements.
const (
	allow = "Allow"
	deny  = "Deny"
)

// statement is a statement with one action and one resource, and at most one channel.
type statement struct{ effect, action, resource, channel string }

type statements []statement

// add appends what a rule allows or denies.
//
// Errors: fault.InvalidParameter.
func (s *statements) add(effect string, r rule, account name.Account) error {
	for i, p := range permissions {
		for _, v := range r.matches[i] {
			for _, g := range p.grants {
				resource, channel, err := g.on(effect, r, v)
				if err != nil {
					return err
				}
				*s = append(*s, statement{effect, "ecrin:" + g.action,
					name.ARN{Partition: name.DefaultPartition, Service: "ecrin", Account: account, Resource: resource}.String(), channel})
			}
		}
	}
	return nil
}

// grouped returns the statements with as many actions as have the same resources and the same channel. Those without a channel come first.
func (s statements) grouped() (out []Statement) {
	for _, effect := range []string{allow, deny} {
		type limited struct{ channel, action string }
		resources := map[limited][]string{}
		for _, one := range s {
			key := limited{one.channel, one.action}
			if one.effect == effect && !slices.Contains(resources[key], one.resource) {
				resources[key] = append(resources[key], one.resource)
			}
		}
		at := map[string]int{} // of the statement with a channel and resources
		for _, key := range slices.SortedFunc(maps.Keys(resources), func(a, b limited) int {
			return cmp.Or(cmp.Compare(a.channel, b.channel), cmp.Compare(a.action, b.action))
		}) {
			of := slices.Sorted(slices.Values(resources[key]))
			text := key.channel + " " + strings.Join(of, " ")
			i, ok := at[text]
			if !ok {
				i = len(out)
				at[text], out = i, append(out, Statement{Effect: effect, Resource: of})
				if key.channel != "" {
					out[i].Condition = Condition{"StringEquals": {ChannelKey: {key.channel}}}
				}
			}
			out[i].Action = append(out[i].Action, key.action)
		}
	}
	return out
}

// mustDeny reports whether a denied rule must be a statement: unless each allowed rule that meets it decides, for then it is what is denied
// anyway.
//
// Errors: fault.InvalidParameter (some allowed rules decide and others do not, or it is not sure).
func mustDeny(d rule, allowed []rule) (bool, error) {
	var above []rule
	below := false
	for _, a := range allowed {
		if !a.meets(d) {
			continue
		}
		wins := order(d, a) // by each reading
		switch {
		case slices.Max(wins) <= 0: // also one that is as specific
			below = true
		case slices.Min(wins) <= 0:
			return false, bad("%s is allowed, and %s is denied: it is not sure which one is more specific", name.Clip(a.text), name.Clip(d.text))
		default:
			above = append(above, a)
		}
	}
	if len(above) > 0 && below {
		return false, bad("%s is allowed, which is more specific than %s, which is denied: IAM cannot say it, since there what is denied stays "+
			"denied", name.Clip(above[0].text), name.Clip(d.text))
	}
	return len(above) == 0, nil
}
