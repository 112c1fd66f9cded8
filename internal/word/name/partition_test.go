package name_test

import (
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestPartitions(t *testing.T) {
	t.Parallel()
	all := name.Partitions()
	if all[0] != name.DefaultPartition {
		t.Errorf("the first partition is %q, want %q", all[0], name.DefaultPartition)
	}
	for _, p := range all {
		if !name.ValidPartition(p) {
			t.Errorf("ValidPartition(%q) = false, want true", p)
		}
	}
	for _, region := range []string{"us-east-1", "cn-north-1", "us-gov-west-1", "us-isob-east-1", "my-lab-1"} {
		r, err := name.ParseRegion(region)
		if err != nil || !slices.Contains(all, r.Partition()) {
			t.Errorf("the region %s belongs to %q, %v; want one of %q", region, r.Partition(), err, all)
		}
	}
}

func TestInPartition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ arn, partition, want string }{
		{"arn:aws:iam::111122223333:user/cn", "aws-cn", "arn:aws-cn:iam::111122223333:user/cn"},
		{"arn:aws-cn:iam::aws:policy/p", "aws", "arn:aws:iam::aws:policy/p"},
		{"arn:aws:sts::111122223333:assumed-role/ci/s", "aws-us-gov", "arn:aws-us-gov:sts::111122223333:assumed-role/ci/s"},
		{"arn:aws:ecrin::111122223333:customer/shop/ada", "aws-cn", "arn:aws-cn:ecrin::111122223333:customer/shop/ada"},
		{"arn:aws:iam:::operator", "aws-cn", "arn:aws-cn:iam:::operator"},
		{"arn:aws:iam::111122223333:*", "aws-cn", "arn:aws-cn:iam::111122223333:*"},
		{"arn:aws:iam::111122223333:user/x", "aws", "arn:aws:iam::111122223333:user/x"},
		// ARNs of other services in different partitions identify different resources.
		{"arn:aws:ecr:us-east-1:111122223333:repository/a", "aws-cn", "arn:aws:ecr:us-east-1:111122223333:repository/a"},
		{"arn:aws:iamx::111122223333:user/x", "aws-cn", "arn:aws:iamx::111122223333:user/x"},
		{"arn:azure:iam::111122223333:user/x", "aws-cn", "arn:azure:iam::111122223333:user/x"},
		{"arn:aws:iam", "aws-cn", "arn:aws:iam"}, {"arn:aws", "aws-cn", "arn:aws"}, {"*", "aws-cn", "*"}, {"", "aws-cn", ""},
		{"see arn:aws:iam::1:user/x", "aws-cn", "see arn:aws:iam::1:user/x"},
	} {
		if got := name.InPartition(c.arn, c.partition); got != c.want {
			t.Errorf("InPartition(%q, %q) = %q, want %q", c.arn, c.partition, got, c.want)
		}
		if got, want := name.SameARN(c.arn, c.want), true; got != want {
			t.Errorf("SameARN(%q, %q) = %t, want %t", c.arn, c.want, got, want)
		}
	}
	for _, c := range [][2]string{
		{"arn:aws:iam::111122223333:user/x", "arn:aws-cn:iam::111122223333:user/y"},
		{"arn:aws:iam::111122223333:user/x", "arn:aws-cn:sts::111122223333:user/x"},
		{"arn:aws:ecr:us-east-1:111122223333:repository/a", "arn:aws-cn:ecr:us-east-1:111122223333:repository/a"},
		{"arn:aws:iam::111122223333:user/x", ""}, {"a", "b"}, {"arn:aws:iam", "arn:aws-cn:iam"},
	} {
		if name.SameARN(c[0], c[1]) {
			t.Errorf("SameARN(%q, %q) = true, want false", c[0], c[1])
		}
	}
}
