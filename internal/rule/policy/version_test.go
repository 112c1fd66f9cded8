package policy_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestVersionInRange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		condition string
		tags      []string
		want      bool
	}{
		{`{"VersionInRange":{"ecrin:ImageTag":"2.x"}}`, []string{"2.1.0"}, true},
		{`{"VersionInRange":{"ecrin:ImageTag":"2.x"}}`, []string{"v2.1.0"}, true},
		{`{"VersionInRange":{"ecrin:ImageTag":"2.x"}}`, []string{"3.0.0"}, false},
		{`{"VersionInRange":{"ecrin:ImageTag":"2.x"}}`, []string{"latest"}, false},
		{`{"VersionInRange":{"ecrin:ImageTag":["1.x",">=3 <4"]}}`, []string{"3.9.1"}, true},
		{`{"VersionInRange":{"ecrin:ImageTag":"*"}}`, nil, false},
		{`{"ForAnyValue:VersionInRange":{"ecrin:ImageTag":"2.x"}}`, []string{"latest", "2.0.1"}, true},
		{`{"ForAnyValue:VersionInRange":{"ecrin:ImageTag":"2.x"}}`, []string{"latest", "1.0.1"}, false},
	} {
		d, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*","Condition":`+
			tt.condition+`}}`, policy.Entitlement)
		if err != nil {
			t.Fatal(err)
		}
		var c policy.Context
		switch len(tt.tags) {
		case 0:
		case 1:
			c.Set("ecrin:ImageTag", tt.tags[0])
		default:
			c.SetList("ecrin:ImageTag", tt.tags...)
		}
		account := name.MustAccount(owner)
		got := policy.Evaluate(&policy.Policies{Identity: []policy.Named{{Policy: policy.Compile(d, nil)}}}, &policy.Request{
			Caller: policy.Caller{Kind: policy.Customer, Account: account, ARN: "arn:aws:ecrin::" + owner + ":customer/shop/c1"},
			Action: "ecr:BatchGetImage", Resource: webARN, ResourceAccount: account, Context: &c}).Allowed()
		if got != tt.want {
			t.Errorf("%s with the tags %v: got %v", tt.condition, tt.tags, got)
		}
	}
}

// What AWS does not know must not be in the policies of users: they would be stored here and refused there.
func TestOnlyEntitlementsTestVersions(t *testing.T) {
	t.Parallel()
	const text = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*",
		"Condition":{"VersionInRange":{"ecrin:ImageTag":"2.x"}}}}`
	for k := policy.Identity; k < policy.Entitlement; k++ {
		if k == policy.Trust || k == policy.ResourceControl {
			continue // these need other elements
		}
		if _, err := policy.Parse(text, k); err == nil || !strings.Contains(err.Error(), "VersionInRange") {
			t.Errorf("%v: got %v, want an error that names the operator", k, err)
		}
	}
	_, err := policy.Parse(strings.Replace(text, "2.x", "two", 1), policy.Entitlement)
	if err == nil || !strings.Contains(err.Error(), "range of versions") {
		t.Errorf("a range that is none: got %v", err)
	}
}

// A customer has what its entitlements allow, and not what a policy allows everyone.
func TestCustomersAreDeniedByDefault(t *testing.T) {
	t.Parallel()
	const (
		customer = "arn:aws:ecrin::" + owner + ":customer/shop/c1"
		entitled = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*"}}`
	)
	statement := func(effect, principal string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"ecr:BatchGetImage"}}`
	}
	for _, tt := range []struct {
		name                   string
		entitlements, resource string
		account                string
		want                   bool
	}{
		{"nothing", "", "", owner, false},
		{"an entitlement", entitled, "", owner, true},
		{"an entitlement, in another account", entitled, "", "222222222222", false},
		{"everyone may", "", statement("Allow", `"*"`), owner, false},
		{"the vendor's account may", "", statement("Allow", `{"AWS":"arn:aws:iam::`+owner+`:root"}`), owner, false},
		{"this customer may", "", statement("Allow", `{"AWS":"`+customer+`"}`), owner, true},
		{"another customer may", "", statement("Allow", `{"AWS":"arn:aws:ecrin::`+owner+`:customer/shop/c2"}`), owner, false},
		{"entitled, and this customer may not", entitled, statement("Deny", `{"AWS":"`+customer+`"}`), owner, false},
		{"entitled, and nobody may", entitled, statement("Deny", `"*"`), owner, false},
	} {
		p := &policy.Policies{}
		if tt.entitlements != "" {
			d, err := policy.Parse(tt.entitlements, policy.Entitlement)
			if err != nil {
				t.Fatal(err)
			}
			p.Identity = []policy.Named{{Name: "entitlement", Policy: policy.Compile(d, nil)}}
		}
		if tt.resource != "" {
			d, err := policy.Parse(tt.resource, policy.Repository)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			p.Repository = policy.Compile(d, nil)
		}
		account, err := name.ParseAccount(tt.account)
		if err != nil {
			t.Fatal(err)
		}
		r := &policy.Request{Caller: policy.Caller{Kind: policy.Customer, Account: name.MustAccount(owner), ARN: customer},
			Action: "ecr:BatchGetImage", Resource: webARN, ResourceAccount: account}
		got, why := policy.Evaluate(p, r), policy.Explain(p, r)
		if got.Allowed() != tt.want || why.Decision != got {
			t.Errorf("%s: got %+v, explained as %+v", tt.name, got, why.Decision)
		}
		if !tt.want && tt.resource == "" && tt.account == owner && len(why.Changes) == 0 {
			t.Errorf("%s: no change would allow it", tt.name)
		}
	}
}
