package iam_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	pullOnly      = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
	serviceLinked = "arn:aws:iam::aws:policy/aws-service-role/ECRReplicationServiceRolePolicy"
)

// pull is a policy of more than one line, with white space that must be returned unchanged.
const pull = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"ecr:BatchGetImage\", \"Resource\": \"*\"}]\n}"

// policy makes a managed policy and returns its ARN.
func (w *fixture) policy(t testing.TB, path, policyName string) string {
	t.Helper()
	return do(t, w.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: policyName, Path: path, PolicyDocument: pull}).Policy.Arn
}

func TestPolicyLife(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	made := do(t, w.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{
		PolicyName: "Pull", Path: "/team/a/", PolicyDocument: pull, Description: "lets pull", Tags: []iamtypes.Tag{
			{Key: "b", Value: "2"}, {Key: "a", Value: "1"}},
	}).Policy
	const arn = "arn:aws:iam::111122223333:policy/team/a/Pull"
	at := awswire.At(w.at)
	want := iamtypes.Policy{
		PolicyName: "Pull", PolicyId: made.PolicyId, Arn: arn, Path: "/team/a/", DefaultVersionId: "v1", AttachmentCount: new(int32(0)),
		PermissionsBoundaryUsageCount: new(int32(0)), IsAttachable: new(true), Description: "lets pull", CreateDate: at, UpdateDate: at,
		Tags: []iamtypes.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}},
	}
	if !strings.HasPrefix(made.PolicyId, "ANPA") || len(made.PolicyId) != 21 {
		t.Errorf("the id is %q, want ANPA and 17 more", made.PolicyId)
	}
	want.Description = "" // GetPolicy alone shows it
	same(t, "the policy made", *made, want)
	want.Description = "lets pull"
	same(t, "GetPolicy", *do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}).Policy, want)
	v := do(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: arn, VersionId: "v1"}).PolicyVersion
	if got := decoded(t, v.Document); got != pull {
		t.Errorf("the document is %q, want %q", got, pull)
	}
	if !*v.IsDefaultVersion || v.VersionId != "v1" || !v.CreateDate.Equal(w.at) {
		t.Errorf("the first version is %+v, want v1, the default, made at %s", v, w.at)
	}
	if got := do(t, w.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: "Plain",
		PolicyDocument: pull}).Policy; got.Arn != "arn:aws:iam::111122223333:policy/Plain" || got.Path != "/" {
		t.Errorf("without a path: got %s at %q, want it at /", got.Arn, got.Path)
	}
	do(t, w.DeletePolicy, w.root, iamtypes.DeletePolicyRequest{PolicyArn: arn})
	refuse(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}, fault.NoSuchEntity, arn)
	again := do(t, w.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: "Pull", Path: "/team/a/", PolicyDocument: pull}).Policy
	if again.PolicyId == made.PolicyId || again.Tags != nil || again.Description != "" {
		t.Errorf("the namesake is %+v, want nothing of the first in it", again)
	}
}

func TestCreatePolicyRefuses(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.policy(t, "", "Pull")
	long := policyOf(allow("ecr:"+strings.Repeat("a", 6200), "*"))
	for _, c := range []struct {
		in    iamtypes.CreatePolicyRequest
		want  fault.Code
		words []string
	}{
		{iamtypes.CreatePolicyRequest{PolicyName: "pull", Path: "/x/", PolicyDocument: pull}, fault.EntityAlreadyExists, nil},
		{iamtypes.CreatePolicyRequest{PolicyName: "a", PolicyDocument: "{\n  \"Statement\": {\"Effect\": \"Permit\"}\n}"},
			fault.MalformedPolicyDocument, []string{"line 2", "column 27", "Effect"}},
		{iamtypes.CreatePolicyRequest{PolicyName: "a", PolicyDocument: trustEC2}, fault.MalformedPolicyDocument, []string{"Principal"}},
		{iamtypes.CreatePolicyRequest{PolicyName: "a", PolicyDocument: long}, fault.LimitExceeded, []string{"6144"}},
		{iamtypes.CreatePolicyRequest{PolicyName: "a", PolicyDocument: pull, Tags: []iamtypes.Tag{{Key: "a"}, {Key: "a"}}},
			fault.InvalidInput, nil},
	} {
		refuse(t, w.CreatePolicy, w.root, c.in, c.want, c.words...)
	}
	// Refused requests have stored nothing, and white space does not count.
	spaced := strings.Replace(pull, "\n", strings.Repeat(" ", 7000), 1)
	do(t, w.CreatePolicy, w.root, iamtypes.CreatePolicyRequest{PolicyName: "a", PolicyDocument: spaced})
	do(t, w.CreatePolicy, w.stranger, iamtypes.CreatePolicyRequest{PolicyName: "Pull", PolicyDocument: pull})
}

func TestPolicyARNs(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.policy(t, "/team/", "Pull")
	for arn, want := range map[string]fault.Code{
		"arn:aws:iam::111122223333:policy/Pull":       fault.NoSuchEntity, // it has a path
		"arn:aws:iam::111122223333:policy/team/pull":  fault.NoSuchEntity, // names have case
		"arn:aws:iam::444455556666:policy/team/Pull":  fault.NoSuchEntity, // of another account
		"arn:aws:iam::aws:policy/Nothing":             fault.NoSuchEntity,
		"arn:aws:iam::111122223333:policy/team/Pull/": fault.InvalidInput,
		"arn:aws:iam::111122223333:policy/":           fault.InvalidInput,
		"arn:aws:iam::111122223333:role/Pull":         fault.InvalidInput,
		"arn:aws:iam::1111:policy/Pull":               fault.InvalidInput,
		"arn:aws:s3:::111122223333:policy/Pull":       fault.InvalidInput,
		"a policy with some name":                     fault.Validation,
	} {
		refuse(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}, want)
		refuse(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: arn, VersionId: "v1"}, want)
		refuse(t, w.ListPolicyVersions, w.root, iamtypes.ListPolicyVersionsRequest{PolicyArn: arn}, want)
		refuse(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: pull}, want)
		refuse(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: "v1"}, want)
		refuse(t, w.SetDefaultPolicyVersion, w.root, iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: "v1"}, want)
		refuse(t, w.DeletePolicy, w.root, iamtypes.DeletePolicyRequest{PolicyArn: arn}, want)
		refuse(t, w.TagPolicy, w.root, iamtypes.TagPolicyRequest{PolicyArn: arn}, want)
		refuse(t, w.UntagPolicy, w.root, iamtypes.UntagPolicyRequest{PolicyArn: arn}, want)
		refuse(t, w.ListPolicyTags, w.root, iamtypes.ListPolicyTagsRequest{PolicyArn: arn}, want)
		refuse(t, w.ListEntitiesForPolicy, w.root, iamtypes.ListEntitiesForPolicyRequest{PolicyArn: arn}, want)
	}
}

// Source: IAM user guide, AWS managed policies.
func TestPoliciesOfAWS(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	m, _ := identity.ManagedPolicy(pullOnly)
	got := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: pullOnly}).Policy
	same(t, "GetPolicy", *got, iamtypes.Policy{
		PolicyName: m.Name, PolicyId: m.ID, Arn: pullOnly, Path: "/", DefaultVersionId: fmt.Sprintf("v%d",
			m.Version), AttachmentCount: new(int32(0)),
		PermissionsBoundaryUsageCount: new(int32(0)), IsAttachable: new(true), Description: m.Description,
		CreateDate: awswire.At(m.CreatedAt), UpdateDate: awswire.At(m.UpdatedAt),
		Tags: []iamtypes.Tag{},
	})
	versions := do(t, w.ListPolicyVersions, w.root, iamtypes.ListPolicyVersionsRequest{PolicyArn: pullOnly}).Versions
	if len(versions) != 1 || versions[0].VersionId != got.DefaultVersionId || !*versions[0].IsDefaultVersion {
		t.Errorf("the versions are %+v, want %s alone, the default", versions, got.DefaultVersionId)
	}
	v := do(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: pullOnly,
		VersionId: got.DefaultVersionId}).PolicyVersion
	if text := decoded(t, v.Document); text != m.Text {
		t.Errorf("the document is %s, want %s", text, m.Text)
	}
	refuse(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: pullOnly, VersionId: "v99"}, fault.NoSuchEntity, "v99")
	if *do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: serviceLinked}).Policy.IsAttachable {
		t.Errorf("%s is attachable, want not", serviceLinked)
	}
	same(t, "ListPolicyTags", do(t, w.ListPolicyTags, w.root, iamtypes.ListPolicyTagsRequest{PolicyArn: pullOnly}).Tags, []iamtypes.Tag{})

	refuse(t, w.DeletePolicy, w.root, iamtypes.DeletePolicyRequest{PolicyArn: pullOnly}, fault.AccessDenied, "iam:DeletePolicy", pullOnly)
	refuse(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: pullOnly, PolicyDocument: pull},
		fault.AccessDenied, "iam:CreatePolicyVersion")
	refuse(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: pullOnly, VersionId: "v1"},
		fault.AccessDenied, "iam:DeletePolicyVersion")
	refuse(t, w.SetDefaultPolicyVersion, w.root, iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: pullOnly,
		VersionId: "v1"}, fault.AccessDenied, "iam:SetDefaultPolicyVersion")
	refuse(t, w.TagPolicy, w.root, iamtypes.TagPolicyRequest{PolicyArn: pullOnly, Tags: []iamtypes.Tag{{Key: "a"}}},
		fault.AccessDenied, "iam:TagPolicy")
	refuse(t, w.UntagPolicy, w.root, iamtypes.UntagPolicyRequest{PolicyArn: pullOnly, TagKeys: []string{"a"}},
		fault.AccessDenied, "iam:UntagPolicy")
}

func TestListPolicies(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	a, b, c := w.policy(t, "/team/", "a"), w.policy(t, "/", "b"), w.policy(t, "/team/x/", "c")
	do(t, w.CreatePolicy, w.stranger, iamtypes.CreatePolicyRequest{PolicyName: "theirs", PolicyDocument: pull})
	w.user(t, "u")
	w.group(t, "g")
	do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "u", PolicyArn: a})
	do(t, w.AttachGroupPolicy, w.root, iamtypes.AttachGroupPolicyRequest{GroupName: "g", PolicyArn: a})
	do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "u", PolicyArn: pullOnly})
	do(t, w.PutUserPermissionsBoundary, w.root, iamtypes.PutUserPermissionsBoundaryRequest{UserName: "u", PermissionsBoundary: b})
	var aws []string
	for _, m := range identity.ManagedPolicies() {
		aws = append(aws, m.ARN)
	}
	slices.Sort(aws)
	for _, one := range []struct {
		in   iamtypes.ListPoliciesRequest
		want []string
	}{
		{iamtypes.ListPoliciesRequest{Scope: "Local"}, []string{a, b, c}},
		{iamtypes.ListPoliciesRequest{Scope: "AWS"}, aws},
		{iamtypes.ListPoliciesRequest{Scope: "All"}, append([]string{a, b, c}, aws...)},
		{iamtypes.ListPoliciesRequest{}, append([]string{a, b, c}, aws...)},
		{iamtypes.ListPoliciesRequest{Scope: "Local", PathPrefix: "/team/"}, []string{a, c}},
		{iamtypes.ListPoliciesRequest{PathPrefix: "/team/x"}, []string{c}},
		{iamtypes.ListPoliciesRequest{Scope: "AWS", PathPrefix: "/service-role/"},
			[]string{"arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"}},
		{iamtypes.ListPoliciesRequest{OnlyAttached: new(true)}, []string{a, b, pullOnly}},
		{iamtypes.ListPoliciesRequest{OnlyAttached: new(true), PolicyUsageFilter: "PermissionsPolicy"}, []string{a, pullOnly}},
		{iamtypes.ListPoliciesRequest{PolicyUsageFilter: "PermissionsBoundary"}, []string{b}},
		{iamtypes.ListPoliciesRequest{OnlyAttached: new(false), Scope: "Local"}, []string{a, b, c}},
	} {
		for _, size := range []int32{1000, 2} {
			one.in.Marker, one.in.MaxItems = "", &size
			var got []string
			for {
				out := do(t, w.ListPolicies, w.root, one.in)
				for _, p := range out.Policies {
					got = append(got, p.Arn)
					if p.Description != "" || p.Tags != nil {
						t.Errorf("%s has a description or tags, which listings do not", p.Arn)
					}
				}
				if !*out.IsTruncated {
					break
				}
				one.in.Marker = out.Marker
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(one.want))
			same(t, fmt.Sprintf("ListPolicies %+v in pages of %d", one.in, size), got, want)
		}
	}
	for _, p := range do(t, w.ListPolicies, w.root, iamtypes.ListPoliciesRequest{OnlyAttached: new(true)}).Policies {
		want := map[string][2]int32{a: {2, 0}, b: {0, 1}, pullOnly: {1, 0}}[p.Arn]
		if got := [2]int32{*p.AttachmentCount, *p.PermissionsBoundaryUsageCount}; got != want {
			t.Errorf("%s: got %v attachments and boundaries, want %v", p.Arn, got, want)
		}
	}
	got := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: a}).Policy
	if *got.AttachmentCount != 2 || *got.PermissionsBoundaryUsageCount != 0 {
		t.Errorf("GetPolicy: got %d attachments and %d boundaries, want 2 and 0", *got.AttachmentCount, *got.PermissionsBoundaryUsageCount)
	}
	refuse(t, w.ListPolicies, w.root, iamtypes.ListPoliciesRequest{Marker: "nonsense"}, fault.Validation, "Marker")
}

func TestDeletePolicyRefuses(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arn := w.policy(t, "", "p")
	w.user(t, "u")
	remove := iamtypes.DeletePolicyRequest{PolicyArn: arn}
	do(t, w.AttachUserPolicy, w.root, iamtypes.AttachUserPolicyRequest{UserName: "u", PolicyArn: arn})
	refuse(t, w.DeletePolicy, w.root, remove, fault.DeleteConflict)
	do(t, w.DetachUserPolicy, w.root, iamtypes.DetachUserPolicyRequest{UserName: "u", PolicyArn: arn})
	do(t, w.PutUserPermissionsBoundary, w.root, iamtypes.PutUserPermissionsBoundaryRequest{UserName: "u", PermissionsBoundary: arn})
	refuse(t, w.DeletePolicy, w.root, remove, fault.DeleteConflict)
	do(t, w.DeleteUserPermissionsBoundary, w.root, iamtypes.DeleteUserPermissionsBoundaryRequest{UserName: "u"})
	do(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: pull})
	refuse(t, w.DeletePolicy, w.root, remove, fault.DeleteConflict)
	do(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: "v2"})
	do(t, w.DeletePolicy, w.root, remove)
	refuse(t, w.DeletePolicy, w.root, remove, fault.NoSuchEntity)
}

func TestPolicyVersions(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arn := w.policy(t, "", "p")
	add := func(setDefault *bool, text string) *iamtypes.PolicyVersion {
		return do(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: text,
			SetAsDefault: setDefault}).PolicyVersion
	}
	list := func() (all []string) {
		in := iamtypes.ListPolicyVersionsRequest{PolicyArn: arn, MaxItems: new(int32(2))}
		for {
			out := do(t, w.ListPolicyVersions, w.root, in)
			for _, v := range out.Versions {
				id := v.VersionId
				if *v.IsDefaultVersion {
					id += "*"
				}
				if v.Document != "" {
					t.Errorf("%s has its document in the list, want none", id)
				}
				all = append(all, id)
			}
			if !*out.IsTruncated {
				return all
			}
			in.Marker = out.Marker
		}
	}
	w.at = w.at.Add(time.Hour)
	second := policyOf(allow("ecr:PutImage", "*"))
	same(t, "the second version", *add(nil, second), iamtypes.PolicyVersion{VersionId: "v2", IsDefaultVersion: new(false),
		CreateDate: awswire.At(w.at)})
	same(t, "the third version", *add(new(true), pull),
		iamtypes.PolicyVersion{VersionId: "v3", IsDefaultVersion: new(true), CreateDate: awswire.At(w.at)})
	add(new(false), pull)
	add(nil, pull)
	same(t, "versions", list(), []string{"v5", "v4", "v3*", "v2", "v1"})
	p := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}).Policy
	if p.DefaultVersionId != "v3" || !p.UpdateDate.Equal(w.at) || p.CreateDate.Equal(w.at) {
		t.Errorf("the policy is %+v, want the default v3 and an update at %s", p, w.at)
	}
	if got := decoded(t, do(t, w.GetPolicyVersion, w.root,
		iamtypes.GetPolicyVersionRequest{PolicyArn: arn, VersionId: "v2"}).PolicyVersion.Document); got != second {
		t.Errorf("v2 is %s, want %s", got, second)
	}
	refuse(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: pull}, fault.LimitExceeded)
	refuse(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: "[1]"},
		fault.MalformedPolicyDocument, "line 1", "column 1")
	refuse(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn,
		PolicyDocument: policyOf(allow("a:"+strings.Repeat("b", 6144), "*"))}, fault.LimitExceeded, "6144")
	refuse(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: "v3"}, fault.DeleteConflict)
	do(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: "v5"})
	for _, id := range []string{"v5", "v0", "v6", "v01", "v2.b", "2"} {
		refuse(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: id}, fault.NoSuchEntity)
		refuse(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: arn, VersionId: id}, fault.NoSuchEntity)
		refuse(t, w.SetDefaultPolicyVersion, w.root, iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: id}, fault.NoSuchEntity)
	}
	if v := add(nil, pull); v.VersionId != "v6" {
		t.Errorf("after v5 was deleted: got %s, want v6, for numbers are not given out twice", v.VersionId)
	}
	w.at = w.at.Add(time.Hour)
	do(t, w.SetDefaultPolicyVersion, w.root, iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: "v2"})
	same(t, "versions", list(), []string{"v6", "v4", "v3", "v2*", "v1"})
	if p := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}).Policy; !p.UpdateDate.Equal(w.at) {
		t.Errorf("the policy was updated at %s, want %s", p.UpdateDate, w.at)
	}
	do(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: "v3"})
}

// If one request makes a version the default and another deletes it at the same time, the default version exists
// afterwards.
func TestDefaultVersionStays(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arn := w.policy(t, "", "p")
	for range 20 {
		v := do(t, w.CreatePolicyVersion, w.root, iamtypes.CreatePolicyVersionRequest{PolicyArn: arn,
			PolicyDocument: pull}).PolicyVersion.VersionId
		var both sync.WaitGroup
		both.Go(func() {
			_, err := w.SetDefaultPolicyVersion(t.Context(), w.root, &iamtypes.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: v})
			if err != nil {
				wantCode(t, "set the default", err, fault.NoSuchEntity)
			}
		})
		both.Go(func() {
			_, err := w.DeletePolicyVersion(t.Context(), w.root, &iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: v})
			if err != nil {
				wantCode(t, "delete it", err, fault.DeleteConflict)
			}
		})
		both.Wait()
		p := do(t, w.GetPolicy, w.root, iamtypes.GetPolicyRequest{PolicyArn: arn}).Policy
		do(t, w.GetPolicyVersion, w.root, iamtypes.GetPolicyVersionRequest{PolicyArn: arn, VersionId: p.DefaultVersionId})
		for _, old := range do(t, w.ListPolicyVersions, w.root, iamtypes.ListPolicyVersionsRequest{PolicyArn: arn}).Versions {
			if !*old.IsDefaultVersion {
				do(t, w.DeletePolicyVersion, w.root, iamtypes.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: old.VersionId})
			}
		}
	}
}

// Source: IAM user guide, IAM and STS quotas.
func TestMaxPolicies(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	const maxPolicies, more = 1500, 10
	work := make(chan int)
	var all sync.WaitGroup
	var made, full atomic.Int32
	for range 64 { // writers that wait share a commit
		all.Go(func() {
			for i := range work {
				_, err := w.CreatePolicy(t.Context(), w.root, &iamtypes.CreatePolicyRequest{PolicyName: fmt.Sprintf("p%d", i), PolicyDocument: pull})
				if err == nil {
					made.Add(1)
				} else if full.Add(1); !errors.Is(err, fault.LimitExceeded) {
					t.Errorf("policy %d: %v", i, err)
				}
			}
		})
	}
	for i := range maxPolicies + more {
		work <- i
	}
	close(work)
	all.Wait()
	if made.Load() != maxPolicies || full.Load() != more {
		t.Errorf("got %d policies made and %d refused, want %d and %d", made.Load(), full.Load(), maxPolicies, more)
	}
	do(t, w.CreatePolicy, w.stranger, iamtypes.CreatePolicyRequest{PolicyName: "p", PolicyDocument: pull})
}

func TestPolicyTags(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arn := w.policy(t, "", "p")
	do(t, w.TagPolicy, w.root, iamtypes.TagPolicyRequest{PolicyArn: arn,
		Tags: []iamtypes.Tag{{Key: "a", Value: "1"}, {Key: "A", Value: "2"}, {Key: "b", Value: "3"}}})
	do(t, w.TagPolicy, w.root, iamtypes.TagPolicyRequest{PolicyArn: arn, Tags: []iamtypes.Tag{{Key: "a", Value: "4"}}})
	do(t, w.UntagPolicy, w.root, iamtypes.UntagPolicyRequest{PolicyArn: arn, TagKeys: []string{"b", "none"}})
	out := do(t, w.ListPolicyTags, w.root, iamtypes.ListPolicyTagsRequest{PolicyArn: arn, MaxItems: new(int32(1))})
	same(t, "the first page", out.Tags, []iamtypes.Tag{{Key: "A", Value: "2"}})
	out = do(t, w.ListPolicyTags, w.root, iamtypes.ListPolicyTagsRequest{PolicyArn: arn, MaxItems: new(int32(1)), Marker: out.Marker})
	same(t, "the second page", out.Tags, []iamtypes.Tag{{Key: "a", Value: "4"}})
	var many []iamtypes.Tag
	for i := range 49 {
		many = append(many, iamtypes.Tag{Key: fmt.Sprintf("k%d", i)})
	}
	refuse(t, w.TagPolicy, w.root, iamtypes.TagPolicyRequest{PolicyArn: arn, Tags: many}, fault.LimitExceeded)
	do(t, w.TagPolicy, w.root, iamtypes.TagPolicyRequest{PolicyArn: arn, Tags: many[:48]})
}
