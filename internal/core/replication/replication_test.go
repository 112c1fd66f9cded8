package replication_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const (
	home  = "000000000000"
	other = "111122223333"
)

// rule lets the registry of an account copy what is pushed to repositories with a prefix.
func rule(t *testing.T, a apptest.Account, prefix string, to ...types.ReplicationDestination) {
	t.Helper()
	r := types.ReplicationRule{Destinations: to}
	if prefix != "" {
		r.RepositoryFilters = []types.RepositoryFilter{{Filter: &prefix, FilterType: types.RepositoryFilterTypePrefixMatch}}
	}
	in := &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{r}}}
	if _, err := a.ECR().PutReplicationConfiguration(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func to(region, account string) types.ReplicationDestination {
	return types.ReplicationDestination{Region: &region, RegistryId: &account}
}

// status waits until the replication of an image to its only destination is no longer in progress.
func status(t *testing.T, a apptest.Account, repo, tag string, want types.ReplicationStatus) types.ImageReplicationStatus {
	t.Helper()
	var got []types.ImageReplicationStatus
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		out, err := a.ECR().DescribeImageReplicationStatus(t.Context(), &ecr.DescribeImageReplicationStatusInput{
			RepositoryName: &repo, ImageId: &types.ImageIdentifier{ImageTag: &tag}})
		if err != nil {
			t.Fatal(err)
		}
		if got = out.ReplicationStatuses; len(got) == 1 && got[0].Status == want {
			return got[0]
		}
	}
	t.Fatalf("the replication of %s:%s is %+v, want %s", repo, tag, got, want)
	return types.ImageReplicationStatus{}
}

func tags(t *testing.T, a apptest.Account, repo string) string {
	t.Helper()
	out, err := a.ECR().ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: &repo})
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, id := range out.ImageIds {
		all = append(all, aws.ToString(id.ImageTag))
	}
	return fmt.Sprint(all)
}

// wantError checks the name of an error of an API.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// Row E12: what is pushed after the rule appears in the other region, what was there before does not, and the policy is not copied.
func TestE12ReplicationToAnotherRegion(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here, there := s.Root(t), s.Root(t).In("eu-west-1")
	repo := here.CreateRepository(t, "team/app")
	repo.Push(t, "v1", ocitest.NewImage(1, 1000))
	policy, name := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`, "team/app"
	if _, err := here.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &name,
		PolicyText: &policy}); err != nil {
		t.Fatal(err)
	}
	rule(t, here, "team/", to("eu-west-1", home))
	repo.Push(t, "v2", ocitest.NewImage(2, 1000))
	here.CreateRepository(t, "other").Push(t, "v1", ocitest.NewImage(3, 1000))
	if got := status(t, here, "team/app", "v2", types.ReplicationStatusComplete); *got.Region != "eu-west-1" || *got.RegistryId != home {
		t.Errorf("the status: got %+v", got)
	}
	if got := tags(t, there, "team/app"); got != "[v2]" {
		t.Errorf("tags in the other region: got %s, want [v2]", got)
	}
	if err := there.Docker(t).Repo("team/app").Verify(t.Context(), "v2"); err != nil {
		t.Error(err)
	}
	_, err := there.ECR().GetRepositoryPolicy(t.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: &name})
	wantError(t, err, "RepositoryPolicyNotFoundException")
	unselected := "other"
	_, err = there.ECR().ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: &unselected})
	wantError(t, err, "RepositoryNotFoundException")
	out, err := here.ECR().DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
	if err != nil {
		t.Fatal(err)
	}
	if rules := out.ReplicationConfiguration.Rules; len(rules) != 1 || *rules[0].Destinations[0].Region != "eu-west-1" ||
		*rules[0].RepositoryFilters[0].Filter != "team/" {
		t.Errorf("DescribeRegistry: got %+v", rules)
	}
	if _, err := here.ECR().PutReplicationConfiguration(t.Context(), &ecr.PutReplicationConfigurationInput{
		ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{}}}); err != nil {
		t.Fatal(err)
	}
	repo.Push(t, "v3", ocitest.NewImage(4, 1000))
	none, tag := "team/app", "v3"
	st, err := here.ECR().DescribeImageReplicationStatus(t.Context(), &ecr.DescribeImageReplicationStatusInput{RepositoryName: &none,
		ImageId: &types.ImageIdentifier{ImageTag: &tag}})
	if err != nil || len(st.ReplicationStatuses) != 0 {
		t.Errorf("an image that is pushed without rules: got %+v, %v, want no status", st, err)
	}
}

// Row E13: without the registry policy of the destination the replication fails; with it, it completes without another push.
func TestE13ReplicationToAnotherAccount(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here, there := s.Root(t), s.NewAccount(t, other)
	region := s.Running.Region
	rule(t, here, "", to(region, other))
	repo := here.CreateRepository(t, "team/app")
	repo.Push(t, "v1", ocitest.NewImage(1, 1000))
	if got := status(t, here, "team/app", "v1", types.ReplicationStatusFailed); aws.ToString(got.FailureCode) != "AccessDenied" {
		t.Errorf("the status without a policy: got %+v, want the code AccessDenied", got)
	}
	allow := func(actions ...string) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Sid": "r", "Effect": "Allow",
			"Principal": map[string]any{"AWS": "arn:aws:iam::" + home + ":root"}, "Action": actions,
			"Resource": "arn:aws:ecr:" + region + ":" + other + ":repository/*"}}})
		if err != nil {
			t.Fatal(err)
		}
		policy := string(text)
		if _, err := there.ECR().PutRegistryPolicy(t.Context(), &ecr.PutRegistryPolicyInput{PolicyText: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	allow("ecr:ReplicateImage") // the repository does not exist there
	repo.Push(t, "v2", ocitest.NewImage(2, 1000))
	status(t, here, "team/app", "v2", types.ReplicationStatusFailed)
	there.CreateRepository(t, "team/app")
	repo.Push(t, "v3", ocitest.NewImage(3, 1000))
	status(t, here, "team/app", "v3", types.ReplicationStatusComplete)
	allow("ecr:ReplicateImage", "ecr:CreateRepository")
	status(t, here, "team/app", "v1", types.ReplicationStatusComplete) // at its next attempt
	if err := there.Docker(t).Repo("team/app").Verify(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
}

// An index arrives with its images, a referrer with its subject, and a copy is not copied on.
func TestReplicationOfIndexesIsNotChained(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here, there, beyond := s.Root(t), s.Root(t).In("eu-west-1"), s.Root(t).In("eu-west-2")
	repo := here.CreateRepository(t, "app")
	im := ocitest.NewImage(1, 1000)
	repo.Push(t, im.Digest, im) // before the rule: it comes with its index
	rule(t, here, "", to("eu-west-1", home))
	rule(t, there, "", to("eu-west-2", home))
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocitest.IndexType, "manifests": []any{
		ocitest.Descriptor{MediaType: ocitest.ImageType, Digest: im.Digest, Size: len(im.Manifest)}}})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, "multi", ocitest.IndexType, index).Want(t, 201)
	status(t, here, "app", "multi", types.ReplicationStatusComplete)
	if err := there.Docker(t).Repo("app").Verify(t.Context(), "multi"); err != nil {
		t.Error(err)
	}
	if err := there.Docker(t).Repo("app").Verify(t.Context(), im.Digest); err != nil {
		t.Error(err)
	}
	name := "app"
	_, err = beyond.ECR().ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: &name})
	wantError(t, err, "RepositoryNotFoundException")
}

// A tag that is immutable at the destination stays there, and the image arrives without it.
func TestReplicationKeepsImmutableTags(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here, there := s.Root(t), s.Root(t).In("eu-west-1")
	there.CreateRepository(t, "app").Push(t, "v1", ocitest.NewImage(1, 1000))
	name := "app"
	if _, err := there.ECR().PutImageTagMutability(t.Context(), &ecr.PutImageTagMutabilityInput{RepositoryName: &name,
		ImageTagMutability: types.ImageTagMutabilityImmutable}); err != nil {
		t.Fatal(err)
	}
	rule(t, here, "", to("eu-west-1", home))
	im := ocitest.NewImage(2, 1000)
	here.CreateRepository(t, "app").Push(t, "v1", im)
	status(t, here, "app", "v1", types.ReplicationStatusComplete)
	if err := there.Docker(t).Repo("app").Verify(t.Context(), im.Digest); err != nil {
		t.Error(err)
	}
	if got := there.Docker(t).Repo("app").Manifest(t, "v1"); got.Header.Get("Docker-Content-Digest") == im.Digest {
		t.Error("the immutable tag has moved")
	}
}

func TestPutReplicationConfigurationRefuses(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	a := s.Root(t)
	var many []types.ReplicationDestination
	for i := range 26 {
		many = append(many, to("eu-west-1", fmt.Sprintf("1111222233%02d", i)))
	}
	for what, d := range map[string][]types.ReplicationDestination{
		"the registry itself": {to(s.Running.Region, home)}, "another partition": {to("cn-north-1", home)}, "no region": {to("x y", home)},
		"no account": {to("eu-west-1", "12")}, "26 destinations": many,
	} {
		_, err := a.ECR().PutReplicationConfiguration(t.Context(), &ecr.PutReplicationConfigurationInput{
			ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{{Destinations: d}}}})
		var e smithy.APIError
		if !errors.As(err, &e) || e.ErrorCode() != "InvalidParameterException" && e.ErrorCode() != "ValidationException" {
			t.Errorf("%s: got %v, want a refusal", what, err)
		}
	}
	name, tag := "app", "none"
	in := &ecr.DescribeImageReplicationStatusInput{RepositoryName: &name, ImageId: &types.ImageIdentifier{ImageTag: &tag}}
	_, err := a.ECR().DescribeImageReplicationStatus(t.Context(), in)
	wantError(t, err, "RepositoryNotFoundException")
	a.CreateRepository(t, "app")
	_, err = a.ECR().DescribeImageReplicationStatus(t.Context(), in)
	wantError(t, err, "ImageNotFoundException")
	in.ImageId = &types.ImageIdentifier{}
	_, err = a.ECR().DescribeImageReplicationStatus(t.Context(), in)
	wantError(t, err, "InvalidParameterException")
}

// A repository that a replication creates has the settings of the template for replications in the registry of the destination.
func TestReplicationCreatesByTemplate(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here, there := s.Root(t), s.Root(t).In("eu-west-1")
	prefix := "team"
	if _, err := there.ECR().CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{Prefix: &prefix,
		AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForReplication}, ImageTagMutability: types.ImageTagMutabilityImmutable}); err != nil {
		t.Fatal(err)
	}
	rule(t, here, "", to("eu-west-1", home))
	here.CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 1000))
	status(t, here, "team/app", "v1", types.ReplicationStatusComplete)
	out, err := there.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"team/app"}})
	if err != nil || out.Repositories[0].ImageTagMutability != types.ImageTagMutabilityImmutable {
		t.Errorf("the repository of the copy: got %+v, %v, want immutable tags", out, err)
	}
}

// Row CT11: a replication creates the repository by the template of the destination for replications, and fails, until the template is
// corrected, while that has resource tags and no role.
func TestCT11ReplicationByTemplate(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here, there := s.Root(t), s.Root(t).In("eu-west-1")
	prefix, name := "team", "team/app"
	in := &ecr.CreateRepositoryCreationTemplateInput{Prefix: &prefix, AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForReplication},
		ImageTagMutability: types.ImageTagMutabilityImmutable, ResourceTags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}
	if _, err := there.ECR().CreateRepositoryCreationTemplate(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	rule(t, here, "", to("eu-west-1", home))
	here.CreateRepository(t, name).Push(t, "v1", ocitest.NewImage(1, 1000))
	got := status(t, here, name, "v1", types.ReplicationStatusFailed)
	if code := aws.ToString(got.FailureCode); code != "InvalidRepositoryCreationTemplate" {
		t.Errorf("the status with resource tags and no role: got the code %s, want InvalidRepositoryCreationTemplate", code)
	}
	if _, err := there.ECR().UpdateRepositoryCreationTemplate(t.Context(),
		&ecr.UpdateRepositoryCreationTemplateInput{Prefix: &prefix, ResourceTags: []types.Tag{}}); err != nil {
		t.Fatal(err)
	}
	status(t, here, name, "v1", types.ReplicationStatusComplete) // at its next attempt
	out, err := there.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
	if err != nil || out.Repositories[0].ImageTagMutability != types.ImageTagMutabilityImmutable {
		t.Errorf("the repository: got %+v, %v, want the settings of the template", out, err)
	}
}
