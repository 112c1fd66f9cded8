package policy_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want []string
	}{
		{`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, nil},
		{
			`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/Cost Center":"a","aws:PrincipalOrgID":"o-1"},"Bool":{"AWS:requesttag/cost center":"true"}}}}`,
			[]string{"aws:RequestTag/Cost Center", "aws:PrincipalOrgID"}},
		{
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":["arn:aws:ecr:*:*:repository/${aws:UserName}/${*}/${aws:PrincipalTag/Team, 'none'}"],"Condition":{"StringLike":{"ecr:ResourceTag/owner":"${aws:UserId}-*"},"NumericLessThan":{"s3:max-keys":"10"}}}}`,
			[]string{"aws:UserName", "aws:PrincipalTag/Team", "ecr:ResourceTag/owner", "aws:UserId", "s3:max-keys"}},
		// Version 2008-10-17 has no variables.
		{`{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:*:*:repository/${aws:username}"}}`, nil},
	} {
		d, err := policy.Parse(c.text, policy.Identity)
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		if diff := cmp.Diff(c.want, d.Keys()); diff != "" {
			t.Errorf("Keys of %s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		test policy.Test
		text string
		want bool
	}{
		{policy.StringEquals, "", true},
		{policy.StringLike, "*", true},
		{policy.ArnLike, "no arn", true},
		{policy.NumericEquals, "-1.5e3", true},
		{policy.NumericEquals, "0x10", false},
		{policy.NumericEquals, "", false},
		{policy.DateEquals, "2026-01-31T00:00:00Z", true},
		{policy.DateEquals, "1790000000", true},
		{policy.DateEquals, "yesterday", false},
		{policy.Bool, "True", true},
		{policy.Bool, "1", false},
		{policy.BinaryEquals, "AAEC", true},
		{policy.BinaryEquals, "AAE", false},
		{policy.IPAddress, "203.0.113.7", true},
		{policy.IPAddress, "2001:db8::/32", true},
		{policy.IPAddress, "203.0.113", false},
		{policy.Test("Unknown"), "x", false},
	} {
		if got := c.test.Reads(c.text); got != c.want {
			t.Errorf("%s.Reads(%q): got %v, want %v", c.test, c.text, got, c.want)
		}
	}
}

func TestParseResource(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}`,
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"ecr:BatchGetImage"}}`,
		`{"Statement":{"Sid":"two words","Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}}`,
	} {
		if _, err := policy.ParseResource(text, policy.MaxLength); err != nil {
			t.Errorf("ParseResource(%s): %v", text, err)
		}
	}
	for _, c := range []struct {
		text         string
		limit        int
		line, column int
	}{
		{`{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`, 1000, 1, 14},
		{"{\n \"Statement\":{\"Effect\":\"Permit\",\"Principal\":\"*\",\"Action\":\"s3:GetObject\"}}", 1000, 2, 24},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}}`, 10, 1, 2},
	} {
		_, err := policy.ParseResource(c.text, c.limit)
		var p *policy.Problem
		if !errors.Is(err, fault.InvalidParameter) || !errors.As(err, &p) || p.Line != c.line || p.Column != c.column {
			t.Errorf("ParseResource(%s, %d): got %v, want fault.InvalidParameter at %d:%d", c.text, c.limit, err, c.line, c.column)
		}
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	at := func(line, column, toLine, toColumn int) policy.Span {
		return policy.Span{From: policy.Place{Line: line, Column: column}, To: policy.Place{Line: toLine, Column: toColumn}}
	}
	for _, c := range []struct {
		text string
		want []policy.Span
	}{
		{`{"Statement":[{"Effect":"Allow"},{}]}`, []policy.Span{at(1, 15, 1, 32), at(1, 34, 1, 35)}},
		{`{"Statement":{"Sid":"é}"}, "Version":"x"}`, []policy.Span{at(1, 14, 1, 25)}},
		{"{\n  \"Statement\": [\n    {\n      \"Sid\": \"a\"\n    },\n    {}\n  ]\n}", []policy.Span{at(3, 5, 5, 5), at(6, 5, 6, 6)}},
		{`{"Version":"2012-10-17"}`, nil},
		{`{"Statement":[]}`, nil},
		{`{"Statement"`, nil},
		{``, nil},
	} {
		if diff := cmp.Diff(c.want, policy.Spans(c.text)); diff != "" {
			t.Errorf("Spans(%q) (-want +got):\n%s", c.text, diff)
		}
	}
}
