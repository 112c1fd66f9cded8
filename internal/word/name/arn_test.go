package name_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestParseARN(t *testing.T) {
	t.Parallel()
	owner := name.MustAccount("111122223333")
	for s, want := range map[string]name.ARN{
		"arn:aws:iam::111122223333:user/team/bob":   {Partition: "aws", Service: "iam", Account: owner, Resource: "user/team/bob"},
		"arn:aws-cn:iam::aws:policy/ReadOnlyAccess": {Partition: "aws-cn", Service: "iam", AWS: true, Resource: "policy/ReadOnlyAccess"},
		"arn:aws:iam:::operator":                    {Partition: "aws", Service: "iam", Resource: "operator"},
		"arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/team/app": {
			Partition: "aws-us-gov", Service: "ecr", Region: "us-gov-west-1", Account: owner, Resource: "repository/team/app"},
		"arn:aws:secretsmanager:eu-west-1:111122223333:secret:ecr-pullthroughcache/x": {
			Partition: "aws", Service: "secretsmanager", Region: "eu-west-1", Account: owner, Resource: "secret:ecr-pullthroughcache/x"},
		"arn:aws-iso-b:logs:*:111122223333:*": {Partition: "aws-iso-b", Service: "logs", Region: "*", Account: owner, Resource: "*"},
		"arn:aws:iam::111122223333::":         {Partition: "aws", Service: "iam", Account: owner, Resource: ":"},
	} {
		got, err := name.ParseARN(s)
		if err != nil || got != want {
			t.Errorf("ParseARN(%q) = %+v, %v; want %+v", s, got, err, want)
		}
		if got.String() != s {
			t.Errorf("ParseARN(%q).String() = %q", s, got)
		}
	}
	if got := (name.ARN{}).String(); got != "" {
		t.Errorf("the text of the zero ARN is %q, want none", got)
	}
}

func TestParseARNRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "arn", "arn:", "arn:aws", "arn:aws:iam", "arn:aws:iam::111122223333", "arn:aws:iam::111122223333:",
		"arn:aws:iam:111122223333:user/bob",
		"ARN:aws:iam::111122223333:user/bob", " arn:aws:iam::111122223333:user/bob", "arn::iam::111122223333:user/bob",
		"arn:azure:iam::111122223333:user/bob", "arn:AWS:iam::111122223333:user/bob", "arn:aws2:iam::111122223333:user/bob",
		"arn:aws-:iam::111122223333:user/bob", "arn:aws--cn:iam::111122223333:user/bob", "arn:awscn:iam::111122223333:user/bob",
		"arn:*:iam::111122223333:user/bob", "arn:aws:::111122223333:user/bob", "arn:aws:IAM::111122223333:user/bob",
		"arn:aws:*::111122223333:user/bob",
	} {
		got, err := name.ParseARN(s)
		if !errors.Is(err, fault.InvalidParameter) || errors.Is(err, name.ErrARNAccount) || got != (name.ARN{}) {
			t.Errorf("ParseARN(%q) = %+v, %v; want InvalidParameter, not for the account", s, got, err)
		}
	}
	for _, s := range []string{
		"arn:aws:iam::11112222333:user/bob", "arn:aws:iam::*:user/bob", "arn:aws:iam::AWS:policy/p", "arn:aws:iam::all:policy/p",
		"arn:aws:iam::${aws:PrincipalAccount}:root",
	} {
		got, err := name.ParseARN(s)
		if !errors.Is(err, fault.InvalidParameter) || !errors.Is(err, name.ErrARNAccount) || got != (name.ARN{}) {
			t.Errorf("ParseARN(%q) = %+v, %v; want InvalidParameter because of the account", s, got, err)
		}
	}
}

func TestParseARNDoesNotAllocate(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/service/ci"
	n := testing.AllocsPerRun(100, func() {
		if _, e, err := name.ParseEntityARN(role); err != nil || e.Name != "ci" {
			t.Fatalf("ParseEntityARN(%q) = %+v, %v", role, e, err)
		}
	})
	if n != 0 {
		t.Errorf("ParseEntityARN(%q) allocates %v times, want 0", role, n)
	}
}

// The accepted partitions are those of the policy language.
func FuzzParseARN(f *testing.F) {
	partition := regexp.MustCompile(`^aws(-[a-z]+)*$`)
	for _, s := range []string{
		"arn:aws:iam::111122223333:user/team/bob", "arn:aws:iam::aws:policy/p", "arn:aws:iam:::operator", "arn:aws:iam::111122223333:root",
		"arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/a", "arn:aws:sts::111122223333:assumed-role/ci/s",
		"arn:aws:iam::111122223333:user//x", "arn:aws--:a:::b", "arn:aws:iam::1:user/x", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := name.ParseARN(s)
		if err != nil {
			if !errors.Is(err, fault.InvalidParameter) || a != (name.ARN{}) {
				t.Errorf("ParseARN(%q) = %+v, %v; want none and InvalidParameter", s, a, err)
			}
			p := strings.SplitN(s, ":", 6)
			if len(p) == 6 && p[0] == "arn" && partition.MatchString(p[1]) && p[2] == "iam" && p[4] == "" && p[5] != "" {
				t.Errorf("ParseARN(%q): %v, want no error", s, err)
			}
			return
		}
		if got := a.String(); got != s {
			t.Errorf("ParseARN(%q).String() = %q", s, got)
		}
		if !partition.MatchString(a.Partition) {
			t.Errorf("ParseARN(%q) accepts the partition %q", s, a.Partition)
		}
		e, ok := a.Entity()
		if !ok {
			return
		}
		back := e.ARN(a.Partition, a.Account)
		back.AWS = a.AWS
		if back != a {
			t.Errorf("%q names %+v, whose ARN is %q", s, e, back)
		}
	})
}
