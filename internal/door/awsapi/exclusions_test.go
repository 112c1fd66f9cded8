package awsapi_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"
)

// The client of aws-sdk-go-v2 can register, list and remove pull time update exclusions.
func TestPullTimeUpdateExclusions(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, ctx := s.ecr(), t.Context()
	arn := func(i int) *string { return aws.String(fmt.Sprintf("arn:aws:iam::%s:role/r%02d", home, i)) }
	register := func(i int) error {
		out, err := c.RegisterPullTimeUpdateExclusion(ctx, &ecr.RegisterPullTimeUpdateExclusionInput{PrincipalArn: arn(i)})
		if err == nil && (*out.PrincipalArn != *arn(i) || out.CreatedAt.IsZero()) {
			t.Errorf("RegisterPullTimeUpdateExclusion: got %+v, want %s and a time", out, *arn(i))
		}
		return err
	}
	for i := range 100 {
		if err := register(i); err != nil {
			t.Fatal(err)
		}
	}
	if got := codeOf(register(7)); got != "ExclusionAlreadyExistsException" {
		t.Errorf("the same principal again: got %q, want ExclusionAlreadyExistsException", got)
	}
	if got := codeOf(register(100)); got != "LimitExceededException" {
		t.Errorf("the 101st principal: got %q, want LimitExceededException", got)
	}
	for _, size := range []int32{1, 30, 100, 1000} {
		n, last := 0, ""
		in := &ecr.ListPullTimeUpdateExclusionsInput{MaxResults: &size}
		for {
			page, err := c.ListPullTimeUpdateExclusions(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range page.PullTimeUpdateExclusions {
				if n++; one <= last {
					t.Errorf("pages of %d: got %s after %s", size, one, last)
				}
				last = one
			}
			if in.NextToken = page.NextToken; in.NextToken == nil {
				break
			}
		}
		if n != 100 {
			t.Errorf("pages of %d: got %d principals, want 100", size, n)
		}
	}
	gone, err := c.DeregisterPullTimeUpdateExclusion(ctx, &ecr.DeregisterPullTimeUpdateExclusionInput{PrincipalArn: arn(7)})
	if err != nil || *gone.PrincipalArn != *arn(7) {
		t.Errorf("DeregisterPullTimeUpdateExclusion: got %+v, %v", gone, err)
	}
	_, err = c.DeregisterPullTimeUpdateExclusion(ctx, &ecr.DeregisterPullTimeUpdateExclusionInput{PrincipalArn: arn(7)})
	if e := (*types.ExclusionNotFoundException)(nil); !errors.As(err, &e) {
		t.Errorf("once more: got %v, want ExclusionNotFoundException", err)
	}
	for _, operation := range []string{"RegisterPullTimeUpdateExclusion", "DeregisterPullTimeUpdateExclusion"} {
		for _, bad := range []string{"", roleARN + strings.Repeat("x", 200), "arn:aws:iam::" + home + ":group/x",
			"arn:aws:sts::" + home + ":assumed-role/r/s"} {
			s.wantError(operation, object("principalArn", bad), "InvalidParameterException", "'principalArn'")
		}
	}
	s.wantError("ListPullTimeUpdateExclusions", `{"nextToken":"x"}`, "InvalidParameterException", "token")
}

// Pulls by an excluded user, or by a session of an excluded role, do not set lastRecordedPullTime; those of others do.
func TestExcludedPullsAreNoUses(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	scanner := s.user("scanner", allow("*"))
	s.role("scanning", allow("*"))
	deployer := s.user("deployer", allow("*"))
	session := s.assume(deployer, "scanning", "scanner", "")
	// Of these, two are principals of another account or kind that have the name of deployer.
	for _, principal := range []string{home + ":user/scanner", home + ":role/scanning", home + ":role/deployer",
		otherAccount + ":user/deployer"} {
		s.must("RegisterPullTimeUpdateExclusion", object("principalArn", "arn:aws:iam::"+principal))
	}
	pull := func(key aws.Credentials, tag string) {
		t.Helper()
		in := object("repositoryName", "app", "imageIds", ids("", tag))
		if a := s.send(raw{key: key, target: ecrTarget + "BatchGetImage", body: in}); a.Status != 200 {
			t.Fatalf("BatchGetImage: got %s, want 200", a)
		}
	}
	for i, key := range map[string]aws.Credentials{"scanner": scanner, "session": session, "deployer": deployer} {
		s.image("app", i, i)
		pull(key, i)
	}
	s.must("DeregisterPullTimeUpdateExclusion", object("principalArn", "arn:aws:iam::"+home+":user/scanner"))
	s.image("app", "again", "again")
	pull(scanner, "again")
	s.Restart(t) // writes the times that wait
	s.url = s.URL
	pulled := map[string]bool{}
	for _, one := range list(s.must("DescribeImages", `{"repositoryName":"app"}`), "imageDetails") {
		_, pulled[fmt.Sprint(one["imageTags"])] = one["lastRecordedPullTime"]
	}
	want := map[string]bool{"[scanner]": false, "[session]": false, "[deployer]": true, "[again]": true}
	if diff := cmp.Diff(want, pulled); diff != "" {
		t.Errorf("images with lastRecordedPullTime (-want +got):\n%s", diff)
	}
}
