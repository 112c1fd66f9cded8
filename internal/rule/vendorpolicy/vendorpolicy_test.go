package vendorpolicy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/vendorpolicy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	licence = "2HKXWE5CM7bqkR5T2sKfVniMJfD"
	stable  = "2PZpZwXQxmoDvcWqZKDFLTZHXbT"
	beta    = "2PZpZwXQxmoDvcWqZKDFLTZHXbU"
	arn     = "arn:aws:ecrin::111122223333:"
)

var account = name.MustAccount("111122223333")

// slug knows two applications by slug, and one of them by its id.
func slug(app string) (string, error) {
	switch app {
	case "shop", "billing":
		return app, nil
	case "2PZpZwXQxmoDvcWqZKDFLTZHXbS":
		return "shop", nil
	}
	return "", fault.ObjectNotFound.New("there is no application %s in this account", app)
}

func define(allowed, denied []string) string {
	list := func(rules []string) string {
		text, _ := json.Marshal(append([]string{}, rules...))
		return string(text)
	}
	return fmt.Sprintf(`{"v1":{"name":"x","resources":{"allowed":%s,"denied":%s}}}`, list(allowed), list(denied))
}

// summary returns statements without what is in each name.
func summary(all []vendorpolicy.Statement) string {
	var out []string
	for _, s := range all {
		text := s.Effect + " " + strings.Join(s.Action, " ") + " on " + strings.Join(s.Resource, " ")
		if s.Condition != nil {
			text += " for " + strings.Join(s.Condition["StringEquals"][vendorpolicy.ChannelKey], " ")
		}
		out = append(out, strings.NewReplacer("ecrin:", "", arn, "").Replace(text))
	}
	return strings.Join(out, "; ")
}

func TestStatements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ allowed, denied, want string }{
		{"kots/app/*/release/create", "", "Allow CreateRelease on application/*"},
		{"kots/app/*/release/create", "**/*", "Allow CreateRelease on application/*"},
		{"kots/app/2PZpZwXQxmoDvcWqZKDFLTZHXbS/delete kots/app/billing/delete kots/app/shop/delete", "**",
			"Allow DeleteApplication on application/billing application/shop"},
		{"kots/app/*/delete", "kots/app/billing/delete",
			"Allow DeleteApplication on application/*; Deny DeleteApplication on application/billing"},
		{"kots/app/*/channel/*/promote kots/app/*/channel/create", "kots/app/*/channel/*/promote", "Allow CreateChannel on application/*; " +
			"Deny DemoteRelease PromoteRelease on application/*"},
		{"kots/app/shop/license/" + licence + "/update", "team/**", "Allow UpdateCustomer on customer/shop/" + licence},
		{"kots/license/*/archive", "kots/license/" + licence + "/archive",
			"Allow ArchiveCustomer on customer/*/*; Deny ArchiveCustomer on customer/*/" + licence},
		{"kots/externalregistry/hub/delete", "", "Allow DeleteIntegration on integration/hub"},
		{"kots/app/*/license/**", "kots/app/shop/license/create", "Allow CreateCustomer DescribeCustomer GetLicense ListCustomers " +
			"ListInstances UpdateCustomer on customer/*/*; Deny CreateCustomer on customer/shop/*"},
		{"kots/app/shop/channel/" + stable + "/promote kots/app/*/channel/" + beta + "/read", "", "Allow DemoteRelease PromoteRelease on " +
			"application/shop for " + stable + "; Allow ListChannels ListPromotions on application/* for " + beta},
		{"kots/app/*/channel/**", "kots/app/*/channel/" + stable + "/promote", "Allow ArchiveChannel CreateChannel DemoteRelease ListChannels " +
			"ListPromotions PromoteRelease UpdateChannel on application/*; Deny DemoteRelease PromoteRelease on application/* for " + stable},
		{"", "kots/app/*/delete", "Deny DeleteApplication on application/*"},
		{"** kots/app/*/delete", "**/*", "Allow DeleteApplication on application/*"},
		{"kots/app/**/promote", "kots/app/**/update", "Allow DemoteRelease PromoteRelease on application/*; Deny DeleteApplicationHost " +
			"ListApplicationHosts PutApplicationHost PutReleaseCompatibility UpdateChannel UpdateRelease on application/*; " +
			"Deny UpdateCustomer on customer/*/*"},
		// The examples of the vendor's documentation.
		{"**/read **/list", "**/*", "Allow DescribeApplications DescribeRelease ListChannels ListPromotions ListReleases " +
			"ListSharedIntegrations on application/*; Allow DescribeCustomer GetLicense ListCustomers ListInstances ListPulls on " +
			"customer/*/*; Allow DescribeIntegrations on integration/*"},
		{"kots/app/*/read kots/app/*/channel/*/read kots/app/*/licensefields/read kots/app/*/license/**", "**/*", "Allow CreateCustomer " +
			"DescribeCustomer GetLicense ListCustomers ListInstances UpdateCustomer on customer/*/*; Allow DescribeApplications " +
			"ListChannels ListPromotions on application/*"},
		{"kots/app/*/license/*/read kots/app/*/license/*/list kots/app/*/read kots/app/*/list", "**/*", "Allow DescribeApplications on " +
			"application/*; Allow DescribeCustomer GetLicense ListCustomers ListInstances on customer/*/*"},
	} {
		got, err := vendorpolicy.Statements(define(strings.Fields(c.allowed), strings.Fields(c.denied)), account, slug)
		if err != nil || summary(got) != c.want {
			t.Errorf("allowed %s, denied %s: got %s, %v\nwant %s", c.allowed, c.denied, summary(got), err, c.want)
		}
	}
	got, err := vendorpolicy.Statements(define([]string{"**/*"}, nil), account, slug)
	var actions []string
	for _, s := range got {
		actions = append(actions, s.Action...)
	}
	if err != nil || len(actions) != len(vendorpolicy.Grants()) || strings.Contains(summary(got), "iam") {
		t.Errorf("everything is allowed: got %s, %v", summary(got), err)
	}
}

// What IAM cannot say, and what is no definition, is refused with the rule and the reason.
func TestDefinitionsAreRefused(t *testing.T) {
	t.Parallel()
	lists := func(allowed, denied string) string { return define(strings.Fields(allowed), strings.Fields(denied)) }
	for definition, want := range map[string]string{
		lists("**/*", "kots/app/*/channel/123456/promote"):                                 "no id of a channel",
		lists("**/*", "kots/app/*/channel/"+stable+"/read"):                                "shows with the others",
		lists("kots/app/*/release/7/read", ""):                                             "about one sequence",
		lists("kots/app/*/license/"+licence+"/read", ""):                                   "ListCustomers cannot be limited",
		lists("kots/app/*/license/crm-1/update", ""):                                       "no id of a license",
		lists("kots/app/*/channel/*/promote", "kots/app/**"):                               "it is not sure",
		lists("kots/app/** kots/app/shop/delete", "kots/app/*/delete"):                     "kots/app/shop/delete is allowed",
		lists("**/*", "kots/app/shop/read"):                                                "shows with the others",
		lists("kots/app/sh*/delete", ""):                                                   "wildcard within a part",
		lists("kots/app/{a,b}/delete", ""):                                                 "wildcard within a part",
		lists("kots/app/$x/delete", ""):                                                    "no text of letters",
		lists("kots//delete", ""):                                                          "no text of letters",
		lists("kots/app/../delete", ""):                                                    "no text of letters",
		lists("kots/app/*/eat", ""):                                                        "is allowed, and is no name",
		lists("**/*", "kots/app/*/chanel/*/promote"):                                       "is denied, and is no name",
		lists("team/policy/update", ""):                                                    "are those of IAM",
		lists("kots/app/none/delete", ""):                                                  "there is no application none",
		lists("", ""):                                                                      "allows nothing",
		lists("**/*", "**/*"):                                                              "",
		lists("kots/app/*/list", ""):                                                       "allows nothing",
		lists("**/a/**/b/**/c/**", ""):                                                     "more than three",
		lists(strings.Repeat("a/", 20)+"b", ""):                                            "more than 20 parts",
		lists(strings.Repeat("kots/app/create ", 101), ""):                                 "at most 100 rules",
		`{"v1":{"name":"x","resources":{"allowed":["**/*"],"denied":[],"conditions":[]}}}`: "unknown field",
		`{"v1":{"name":"x","resources":{"allowed":["**/*"]}},"v2":{}}`:                     "unknown field",
		`{"v1":{"name":"x","resources":{"allowed":"**/*"}}}`:                               "JSON like",
		`{"v1":{"name":"x","resources":{"allowed":[7]}}}`:                                  "JSON like",
		`{"v1":{"name":"x"}}`:                                                              "must have the lists",
		`{}`:                                                                               "must have the lists",
		`[]`:                                                                               "JSON like",
		``:                                                                                 "JSON like",
		`null`:                                                                             "must have the lists",
		`{"v1":{"name":"x","resources":{"allowed":["**/*"],"denied":[]}}}{}`:               "one object",
		`"` + strings.Repeat("x", vendorpolicy.MaxDefinition) + `"`:                        "at most 16384 bytes",
	} {
		got, err := vendorpolicy.Statements(definition, account, slug)
		if want == "" {
			if err != nil || len(got) == 0 || got[0].Effect != "Deny" {
				t.Errorf("%.200s: got %s, %v, want denials", definition, summary(got), err)
			}
			continue
		}
		if !errors.Is(err, fault.InvalidParameter) && !errors.Is(err, fault.ObjectNotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s: got %s, %v, want an error with %q", definition, summary(got), err, want)
		}
	}
}

// matches reports whether a rule matches a name.
func matches(rule, of []string) bool {
	switch {
	case len(rule) == 0 || len(of) == 0:
		return len(rule) == len(of)
	case rule[0] == "**":
		return matches(rule[1:], of[1:]) || matches(rule, of[1:])
	}
	return (rule[0] == "*" || rule[0] == of[0]) && matches(rule[1:], of[1:])
}

// decide returns what lists say about a name, where less reports whether a rule is less specific than another one.
func decide(allowed, denied []string, of string, less func(a, b string) bool) bool {
	best, yes := "", false
	for i, list := range [][]string{denied, allowed} {
		for _, r := range list {
			if matches(strings.Split(r, "/"), strings.Split(of, "/")) && (best == "" || less(best, r)) {
				best, yes = r, i == 1
			}
		}
	}
	return yes
}

// readings are what the specificity of rules can mean: the number of asterisks, or first of all whether there is a **, or how many. In
// each, **/* is the least specific rule.
var readings = []func(a, b string) bool{
	func(a, b string) bool { return a == "**/*" && b != a || b != "**/*" && stars(a) > stars(b) },
	func(a, b string) bool {
		if deep := strings.Contains(a, "**"); deep != strings.Contains(b, "**") {
			return deep
		}
		return a == "**/*" && b != a || b != "**/*" && stars(a) > stars(b)
	},
	func(a, b string) bool {
		if d, e := strings.Count(a, "**"), strings.Count(b, "**"); a != "**/*" && b != "**/*" && d != e {
			return d > e
		}
		return a == "**/*" && b != a || b != "**/*" && stars(a) > stars(b)
	},
}

func stars(s string) int { return strings.Count(s, "*") }

// A definition that is accepted means in IAM what it means to the vendor, by each reading of what is more specific.
func TestStatementsMeanTheSame(t *testing.T) {
	t.Parallel()
	var names []string
	for _, g := range vendorpolicy.Grants() {
		if !slices.Contains(names, g.Permission) {
			names = append(names, g.Permission)
		}
	}
	parts := map[string][]string{"{app}": {"shop", "billing"}, "{channel}": {stable, beta}, "{sequence}": {"1"}, "{license}": {licence},
		"{registry}": {"hub", "other"}}
	accepted, refused := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		rule := rapid.Custom(func(r *rapid.T) string {
			if rapid.IntRange(0, 9).Draw(r, "all") == 0 {
				return "**/*"
			}
			all := strings.Split(rapid.SampledFrom(names).Draw(r, "name"), "/")
			for i, p := range all {
				values := append([]string{"*", "*"}, parts[p]...)
				if parts[p] != nil {
					all[i] = rapid.SampledFrom(values).Draw(r, "value")
				} else if rapid.IntRange(0, 5).Draw(r, "any") == 0 {
					all[i] = "*"
				}
			}
			if from := rapid.IntRange(0, 2*len(all)).Draw(r, "from"); from < len(all) {
				to := rapid.IntRange(from+1, len(all)).Draw(r, "to")
				all = slices.Replace(all, from, to, "**")
			}
			return strings.Join(all, "/")
		})
		allowed := rapid.SliceOfN(rule, 0, 3).Draw(r, "allowed")
		denied := rapid.SliceOfN(rule, 0, 3).Draw(r, "denied")
		for _, list := range [][]string{allowed, denied} {
			for i, one := range list {
				if one == "**" || one == "*/**" || one == "**/**" {
					list[i] = "**/*"
				}
			}
		}
		all, err := vendorpolicy.Statements(define(allowed, denied), account, slug)
		if err != nil {
			refused++
			return
		}
		accepted++
		text, err := vendorpolicy.Document(all, vendorpolicy.Details{})
		if err != nil {
			r.Fatal(err)
		}
		parsed, err := policy.Parse(text, policy.Identity)
		if err != nil {
			r.Fatalf("the document %s: %v", text, err)
		}
		policies := &policy.Policies{Identity: []policy.Named{{Policy: policy.Compile(parsed, nil)}}}
		caller := policy.Caller{ARN: "arn:aws:iam::111122223333:user/x", Account: account, Kind: policy.User}
		for _, g := range vendorpolicy.Grants() {
			// Each value once, the others as they come: no grant is limited by two of them but application and licence.
			for _, app := range parts["{app}"] {
				for i, registry := range parts["{registry}"] {
					channel := parts["{channel}"][i]
					fill := strings.NewReplacer("{app}", app, "{channel}", channel, "{sequence}", "1", "{license}", licence, "{registry}", registry)
					resource := fill.Replace(g.Resource)
					if strings.Contains(resource, "customer/*/") { // the application of the licence
						resource = strings.Replace(resource, "*", app, 1)
					}
					request := &policy.Request{Caller: caller, Action: g.Action, Resource: arn + resource, ResourceAccount: account}
					if g.Channel {
						request.Context = new(policy.Context)
						request.Context.Set(vendorpolicy.ChannelKey, channel)
					}
					got := policy.Evaluate(policies, request).Allowed()
					for i, less := range readings {
						if want := decide(allowed, denied, fill.Replace(g.Permission), less); got != want {
							r.Fatalf("allowed %q, denied %q: %s (%s on %s): IAM says %t, and the definition by reading %d says %t", allowed, denied,
								fill.Replace(g.Permission), g.Action, resource, got, i, want)
						}
					}
				}
			}
		}
	})
	if accepted == 0 || refused == 0 {
		t.Errorf("%d definitions were accepted and %d refused, want both", accepted, refused)
	}
}

// No action belongs to two permissions, for then IAM could not tell them apart.
func TestActionsBelongToOnePermission(t *testing.T) {
	t.Parallel()
	of := map[string]string{}
	for _, g := range vendorpolicy.Grants() {
		if before := of[g.Action]; before != "" && before != g.Permission {
			t.Errorf("the action %s belongs to %s and %s", g.Action, before, g.Permission)
		}
		of[g.Action] = g.Permission
	}
}

func TestDetailsComeBack(t *testing.T) {
	t.Parallel()
	definition := "{\n\t\"v1\": {\"name\":\"Ä\", \"resources\": {\"allowed\": [\"**/*\"], \"denied\": []}}\n}\n"
	all, err := vendorpolicy.Statements(definition, account, slug)
	if err != nil {
		t.Fatal(err)
	}
	text, err := vendorpolicy.Document(all, vendorpolicy.Details{Name: "New Pölicy ☃", Description: "<b>&\"", Definition: definition})
	if err != nil {
		t.Fatal(err)
	}
	d, ok := vendorpolicy.DetailsOf(text)
	if !ok || d.Name != "New Pölicy ☃" || d.Description != "<b>&\"" || d.Definition != definition {
		t.Errorf("got %+v, %t from %s", d, ok, text)
	}
	if d, ok = vendorpolicy.DetailsOf(strings.ReplaceAll(text, `","`, "\",\n \"")); !ok {
		t.Errorf("with other white space: got %+v", d)
	}
	for _, other := range []string{strings.Replace(text, "ecrin:CreateRelease", "ecrin:*", 1), strings.Replace(text, "Allow", "Deny", 1),
		strings.Replace(text, `"Id":"ecrin-vendor-policy:`, `"Id":"x`, 1), strings.Replace(text, "policy:", "policy:AAAA", 1),
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "", "x", "[]", "{}"} {
		if d, ok := vendorpolicy.DetailsOf(other); ok {
			t.Errorf("a document that is not as it was made: got %+v from %s", d, other)
		}
	}
}

func FuzzStatements(f *testing.F) {
	f.Add(define([]string{"**/read", "kots/app/shop/license/**"}, []string{"**/*"}))
	f.Add(define([]string{"**/*"}, []string{"kots/app/*/delete", "team/**"}))
	f.Fuzz(func(t *testing.T, text string) {
		all, err := vendorpolicy.Statements(text, account, slug)
		if err != nil {
			return
		}
		made, err := vendorpolicy.Document(all, vendorpolicy.Details{Name: text, Definition: text})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Parse(made, policy.Identity); err != nil {
			t.Errorf("the document %s: %v", made, err)
		}
		if d, ok := vendorpolicy.DetailsOf(made); !ok || d.Definition != strings.ToValidUTF8(text, "\ufffd") && d.Definition != text {
			t.Errorf("the definition %q came back as %q", text, d.Definition)
		}
	})
}

func FuzzDetails(f *testing.F) {
	text, _ := vendorpolicy.Document([]vendorpolicy.Statement{{Effect: "Allow"}}, vendorpolicy.Details{Name: "x"})
	f.Add(text)
	f.Fuzz(func(_ *testing.T, text string) { vendorpolicy.DetailsOf(text) })
}
