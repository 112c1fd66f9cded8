package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// FuzzEvaluate checks, for any policy and any request, that decisions terminate, do not panic, and are equal with and
// without reasons.
func FuzzEvaluate(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[`+pull+`]}`, uint8(policy.Identity), "ecr:BatchGetImage", webARN, "aws:x", "a")
	f.Add(`{"Version":"2012-10-17","Statement":[`+notBy(alice, root)+`]}`, uint8(policy.Repository), "ecr:PutImage", "*", "aws:x", "")
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*a?*","NotResource":"arn:aws:s3:::${aws:x}*?",
		"Condition":{"ForAllValues:ArnLike":{"aws:x":"arn:*:${aws:y, 'z'}:*"},"NumericLessThan":{"aws:x":1},"DateEquals":{"aws:x":"2026"},
		"IpAddress":{"aws:x":"::1"},"BinaryEquals":{"aws:x":"QQ=="},"Null":{"aws:x":true},"StringEqualsIgnoreCase":{"aws:x":"\u212a"}}}}`,
		uint8(policy.Session), "s3:Get", "arn:aws:s3:::a:b", "aws:x", "k")
	f.Fuzz(func(t *testing.T, text string, kind uint8, action, resource, key, value string) {
		k := policy.Kind(kind%uint8(policy.Entitlement)) + 1
		d, err := policy.Parse(text, k)
		if err != nil {
			return
		}
		roundTrip(t, d)
		policy.Warnings(d, name.Registry{Account: name.MustAccount(owner), Region: name.MustRegion("eu-west-1")})
		c := policy.Compile(d, nil)
		named := []policy.Named{{Policy: c}}
		p := &policy.Policies{Identity: named}
		switch k {
		case policy.Repository:
			p.Repository = c
		case policy.Registry:
			p.Registry = c
		case policy.Trust:
			p.Trust = c
		case policy.Session:
			p.Session = named
		case policy.Boundary:
			p.Boundary = named
		case policy.ServiceControl:
			p.SCP = [][]policy.Named{named}
		case policy.ResourceControl:
			p.RCP = [][]policy.Named{named}
		}
		for _, caller := range []string{alice, session, foreign, root, "anonymous", "codebuild.amazonaws.com"} {
			r := pullRequest(t, caller)
			r.Action, r.Resource = action, resource
			r.Context.Set(key, value)
			r.Context.SetList("aws:TagKeys", key, value)
			got, why := policy.Evaluate(p, r), policy.Explain(p, r)
			if why.Decision != got {
				t.Fatalf("%s: Explain decides %+v, Evaluate %+v", caller, why.Decision, got)
			}
			if (got.Text(r) == "") != got.Allowed() {
				t.Fatalf("%s: %+v has the text %q", caller, got, got.Text(r))
			}
		}
	})
}

// FuzzParse checks, for any text, that the document is equal after String and Parse, or that the error has a place in
// the text.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), false)
		f.Add(string(text), true)
	}
	f.Add(statement(`"Resource":"arn:aws:ecr:*:*:repository/${aws:x, 'y'}${*}"`), true)
	f.Add(statement(`"Condition":{"ForAnyValue:StringLikeIfExists":{"aws:x":["a*",1,true]},"Null":{}}`), false)
	f.Add(statement(`"Condition":{"DateLessThan":{"aws:x":1e3},"IpAddress":{"aws:y":"::ffff:1.2.3.4/97"},"BinaryEquals":{"aws:z":"AA=="}}`), false)
	f.Add(statement(`"Sid":"\ud83d\ude00\u0000\ufffd"`), false)
	f.Fuzz(func(t *testing.T, text string, registry bool) {
		kind := policy.Repository
		if registry {
			kind = policy.Registry
		}
		d, err := policy.Parse(text, kind)
		if err == nil {
			roundTrip(t, d)
			return
		}
		var p *policy.Problem
		if !errors.Is(err, fault.InvalidParameter) || !errors.As(err, &p) {
			t.Fatalf("Parse(%q): %v, want fault.InvalidParameter because of a Problem", text, err)
		}
		lines := strings.Split(text, "\n")
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 || p.Reason == "" {
			t.Fatalf("Parse(%q): the problem %q is not in the text", text, p)
		}
		if !utf8.ValidString(p.Error()) {
			t.Fatalf("Parse(%q): the problem %q is not UTF-8", text, p)
		}
	})
}
