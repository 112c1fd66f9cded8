package awsapi_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// lifecycleRule returns a lifecycle policy of one rule.
func lifecycleRule(selection, action string) string {
	return `{"rules":[{"rulePriority":7,"description":"of a test","selection":{` + selection + `},"action":{"type":"` + action + `"}}]}`
}

// expireAfter returns a lifecycle policy that deletes images of an age in days.
func expireAfter(days int) string {
	return lifecycleRule(fmt.Sprintf(`"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":%d`, days), "expire")
}

// keepTagged returns a lifecycle policy that keeps the last images with tags v….
func keepTagged(n int) string {
	return lifecycleRule(`"tagStatus":"tagged","tagPatternList":["v*"],"countType":"imageCountMoreThan","countNumber":`+
		fmt.Sprint(n), "expire")
}

// eventually calls fn until it returns "" or ten seconds have passed.
func eventually(t *testing.T, fn func() string) {
	t.Helper()
	last := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if last = fn(); last == "" {
			return
		}
	}
	t.Fatal(last)
}

// wantTags waits until a repository has the given tags, and no others.
func (s *server) wantTags(repo string, want ...string) {
	s.t.Helper()
	eventually(s.t, func() string {
		out, err := s.ecr().ListImages(s.t.Context(), &ecr.ListImagesInput{RepositoryName: &repo})
		if err != nil {
			s.t.Fatal(err)
		}
		var got []string
		for _, id := range out.ImageIds {
			got = append(got, aws.ToString(id.ImageTag))
		}
		if slices.Sort(got); slices.Equal(got, want) {
			return ""
		}
		return fmt.Sprintf("the tags of %s: got %q, want %q", repo, got, want)
	})
}

// The client of aws-sdk-go-v2 sets a lifecycle policy, previews it, and gets its images deleted. They can be restored.
func TestLifecyclePolicyActs(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, ctx, repo := s.ecr(), t.Context(), aws.String("app")
	s.repository("app")
	var digests []string
	for i := range 5 {
		digests = append(digests, digestOf(s.image("app", fmt.Sprint(i), fmt.Sprint("v", i))))
	}
	s.image("app", "other", "main")
	text := keepTagged(2)

	started, err := c.StartLifecyclePolicyPreview(ctx, &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: repo, LifecyclePolicyText: &text})
	if err != nil || started.Status != types.LifecyclePolicyPreviewStatusInProgress {
		t.Fatalf("StartLifecyclePolicyPreview: got %+v, %v", started, err)
	}
	preview := s.preview("app", nil)
	if got := aws.ToInt32(preview.Summary.ExpiringImageTotalCount); got != 3 || len(preview.PreviewResults) != 3 {
		t.Errorf("the preview: got %d images and %d results, want 3", got, len(preview.PreviewResults))
	}
	for i, r := range preview.PreviewResults {
		if aws.ToString(r.ImageDigest) != digests[i] || !slices.Equal(r.ImageTags, []string{fmt.Sprint("v", i)}) || aws.ToInt32(
			r.AppliedRulePriority) != 7 || r.Action.Type != types.ImageActionTypeExpire || r.ImagePushedAt == nil ||
			r.StorageClass != types.LifecyclePolicyStorageClassStandard {
			t.Errorf("result %d of the preview: got %+v", i, r)
		}
	}
	s.wantTags("app", "main", "v0", "v1", "v2", "v3", "v4") // a preview deletes nothing
	var dry ecrintypes.ListAuditEventsResponse
	s.operator("ListAuditEvents", ecrintypes.ListAuditEventsRequest{EventName: "DryRunEvent"}, &dry)
	if len(dry.Events) != 1 || strings.Count(dry.Events[0], `"lifecycleEventImage"`) != 3 || !strings.Contains(dry.Events[0], digests[2]) {
		t.Errorf("the events of the preview: got %q", dry.Events)
	}

	if _, err := c.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: repo, LifecyclePolicyText: &text}); err != nil {
		t.Fatal(err)
	}
	s.wantTags("app", "main", "v3", "v4")
	eventually(t, func() string {
		got, err := c.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: repo})
		if err != nil || aws.ToString(got.LifecyclePolicyText) != text {
			t.Fatalf("GetLifecyclePolicy: got %+v, %v", got, err)
		}
		if got.LastEvaluatedAt == nil {
			return "the policy has no time of evaluation"
		}
		return ""
	})
	var jobs ecrintypes.ListJobsResponse
	eventually(t, func() string {
		s.operator("ListJobs", ecrintypes.ListJobsRequest{Kind: "lifecycle"}, &jobs)
		if len(jobs.Jobs) != 1 || jobs.Jobs[0].State != "DONE" || jobs.Jobs[0].Done != 3 {
			return fmt.Sprintf("the jobs: got %+v, want one that is done with 3 images", jobs.Jobs)
		}
		return ""
	})
	if got, want := jobs.Jobs[0].About, "us-east-1 app"; got != want {
		t.Errorf("the job is about %q, want %q", got, want)
	}
	var events ecrintypes.ListAuditEventsResponse
	s.operator("ListAuditEvents", ecrintypes.ListAuditEventsRequest{EventName: "PolicyExecutionEvent"}, &events)
	if len(events.Events) != 1 {
		t.Fatalf("the events of the execution: got %d, want 1", len(events.Events))
	}
	for _, want := range append(slices.Clone(digests[:3]), `"eventType":"AwsServiceEvent"`, `"rulePriority":7`, `"tagList":["v0"]`,
		`"recipientAccountId":"`+home) {
		if !strings.Contains(events.Events[0], want) {
			t.Errorf("the event of the execution has no %s: %s", want, events.Events[0])
		}
	}
	s.operator("RestoreImage", ecrintypes.RestoreImageRequest{RepositoryName: "app", ImageDigest: digests[0], ImageTag: "back"}, &struct{}{})
	s.wantTags("app", "back", "main", "v3", "v4")

	deleted, err := c.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: repo})
	if err != nil || aws.ToString(deleted.LifecyclePolicyText) != text || deleted.LastEvaluatedAt == nil {
		t.Errorf("DeleteLifecyclePolicy: got %+v, %v", deleted, err)
	}
}

// Images of an index that is left are reported as failures, and lines have ten images at most.
func TestPolicyExecutionEvents(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	child := s.image("app", "child")
	s.push("app", index(child), "keep")
	for i := range 12 {
		s.image("app", fmt.Sprint(i))
	}
	s.image("app", "last")
	s.must("PutLifecyclePolicy", object("repositoryName", "app", "lifecyclePolicyText",
		lifecycleRule(`"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":1`, "expire")))
	s.wantTags("app", "", "", "keep")
	var events ecrintypes.ListAuditEventsResponse
	s.operator("ListAuditEvents", ecrintypes.ListAuditEventsRequest{EventName: "PolicyExecutionEvent"}, &events)
	images, failures := 0, 0
	for _, e := range events.Events {
		n, failed := strings.Count(e, `"lifecycleEventImage"`), strings.Count(e, `"failureCode":"ImageReferencedByManifestList"`)
		if n-failed > 10 {
			t.Errorf("an event has %d images, want at most 10", n-failed)
		}
		images, failures = images+n-failed, failures+failed
	}
	if len(events.Events) < 2 || images != 12 || failures != 1 { // each transaction has lines of its own
		t.Errorf("got %d events with %d images and %d failures, want at least 2, and 12 and 1: %s", len(events.Events), images, failures,
			events.Events)
	}
}

// preview waits for the preview of a repository, and returns its answer with in, which may be nil.
func (s *server) preview(repo string, in *ecr.GetLifecyclePolicyPreviewInput) *ecr.GetLifecyclePolicyPreviewOutput {
	s.t.Helper()
	if in == nil {
		in = &ecr.GetLifecyclePolicyPreviewInput{}
	}
	in.RepositoryName = &repo
	var out *ecr.GetLifecyclePolicyPreviewOutput
	eventually(s.t, func() string {
		var err error
		if out, err = s.ecr().GetLifecyclePolicyPreview(s.t.Context(), in); err != nil {
			s.t.Fatal(err)
		}
		if out.Status == types.LifecyclePolicyPreviewStatusInProgress {
			return "the preview does not end"
		}
		return ""
	})
	return out
}

// Previews have pages, a filter by tag status, and the results of single images; they expire after a day.
func TestLifecyclePreviewPages(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, ctx, repo := s.ecr(), t.Context(), aws.String("app")
	s.repository("app")
	for i := range 6 {
		var tags []string
		if i%2 == 0 {
			tags = []string{fmt.Sprint("v", i)}
		}
		s.image("app", fmt.Sprint(i), tags...)
	}
	text := lifecycleRule(`"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1`, "expire")
	start := func() {
		t.Helper()
		if _, err := c.StartLifecyclePolicyPreview(ctx, &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: repo,
			LifecyclePolicyText: &text}); err != nil {
			t.Fatal(err)
		}
	}
	start()
	s.preview("app", nil)
	for _, filter := range []struct {
		by   *types.LifecyclePolicyPreviewFilter
		want int
	}{{nil, 5}, {&types.LifecyclePolicyPreviewFilter{TagStatus: types.TagStatusTagged}, 3},
		{&types.LifecyclePolicyPreviewFilter{TagStatus: types.TagStatusUntagged}, 2}} {
		seen := map[string]bool{}
		pages := ecr.NewGetLifecyclePolicyPreviewPaginator(c, &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: repo,
			MaxResults: aws.Int32(2), Filter: filter.by})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.PreviewResults {
				seen[aws.ToString(r.ImageDigest)] = true
			}
		}
		if len(seen) != filter.want {
			t.Errorf("the pages with the filter %+v: got %d images, want %d", filter.by, len(seen), filter.want)
		}
	}
	one := s.preview("app", &ecr.GetLifecyclePolicyPreviewInput{ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v2")},
		{ImageTag: aws.String("none")}, {ImageDigest: aws.String(digestOf("none"))}}})
	if len(one.PreviewResults) != 1 || !slices.Equal(one.PreviewResults[0].ImageTags, []string{"v2"}) {
		t.Errorf("the preview of imageIds: got %+v, want the one of v2", one.PreviewResults)
	}
	page, err := c.GetLifecyclePolicyPreview(ctx, &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: repo, MaxResults: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	start()
	s.preview("app", nil)
	s.wantError("GetLifecyclePolicyPreview", object("repositoryName", "app", "nextToken", *page.NextToken), "InvalidParameterException",
		"of an earlier preview")
	s.wantError("GetLifecyclePolicyPreview", object("repositoryName", "app", "imageIds", ids("", "v2"), "maxResults", 3),
		"InvalidParameterException", "Invalid parameter at 'ImageIds'")
	s.advance(25 * time.Hour)
	late := s.send(raw{key: s.key, target: ecrTarget + "GetLifecyclePolicyPreview", body: object("repositoryName", "app"), at: s.now()})
	if late.Status != 200 || !strings.Contains(late.Body, `"status":"EXPIRED"`) || strings.Contains(late.Body, "previewResults") {
		t.Errorf("a preview after a day: got %s, want EXPIRED", late)
	}
}

// Each error that the operations on lifecycle policies declare, for aws-sdk-go-v2.
func TestLifecycleErrors(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, ctx, repo := s.ecr(), t.Context(), aws.String("app")
	s.repository("app")
	text := expireAfter(1)
	calls := map[string]func(repo, text *string) error{
		"PutLifecyclePolicy": func(repo, text *string) error {
			_, err := c.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: repo, LifecyclePolicyText: text})
			return err
		},
		"GetLifecyclePolicy": func(repo, _ *string) error {
			_, err := c.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: repo})
			return err
		},
		"DeleteLifecyclePolicy": func(repo, _ *string) error {
			_, err := c.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: repo})
			return err
		},
		"StartLifecyclePolicyPreview": func(repo, text *string) error {
			_, err := c.StartLifecyclePolicyPreview(ctx, &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: repo, LifecyclePolicyText: text})
			return err
		},
		"GetLifecyclePolicyPreview": func(repo, _ *string) error {
			_, err := c.GetLifecyclePolicyPreview(ctx, &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: repo})
			return err
		},
	}
	for operation, call := range calls {
		if err := call(aws.String("none"), &text); !isA[*types.RepositoryNotFoundException](err) {
			t.Errorf("%s of no repository: got %v", operation, err)
		}
		if err := call(aws.String("x/"+strings.Repeat("A", 9)), &text); !isA[*types.InvalidParameterException](err) {
			t.Errorf("%s of an invalid name: got %v", operation, err)
		}
	}
	for _, operation := range []string{"GetLifecyclePolicy", "DeleteLifecyclePolicy", "StartLifecyclePolicyPreview"} {
		if err := calls[operation](repo, nil); !isA[*types.LifecyclePolicyNotFoundException](err) || !strings.Contains(err.Error(),
			"Lifecycle policy does not exist for the repository with name 'app' in the registry with id '"+home+"'") {
			t.Errorf("%s without a policy: got %v", operation, err)
		}
	}
	if err := calls["GetLifecyclePolicyPreview"](repo, nil); !isA[*types.LifecyclePolicyPreviewNotFoundException](err) {
		t.Errorf("GetLifecyclePolicyPreview without a preview: got %v", err)
	}
	bad := strings.Replace(text, "expire", "delete", 1)
	for _, operation := range []string{"PutLifecyclePolicy", "StartLifecyclePolicyPreview"} {
		if err := calls[operation](repo, &bad); !isA[*types.InvalidParameterException](err) || !strings.Contains(err.Error(),
			"Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: ") {
			t.Errorf("%s with an invalid policy: got %v", operation, err)
		}
	}
	// The preview is that of another process, so that nobody makes it.
	r, err := s.Meta().Repository(ctx, s.Registry(), repoName(t, "app"))
	if err == nil {
		err = s.Meta().Enqueue(ctx, meta.NewJob{Kind: meta.LifecyclePreviewJob, Key: fmt.Sprint(r.ID), Node: "elsewhere"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := calls["StartLifecyclePolicyPreview"](repo, &text); err != nil {
		t.Error(err)
	}
	if err := calls["StartLifecyclePolicyPreview"](repo, &text); !isA[*types.LifecyclePolicyPreviewInProgressException](err) {
		t.Errorf("StartLifecyclePolicyPreview during a preview: got %v", err)
	}
}

func repoName(t *testing.T, text string) name.Repo {
	t.Helper()
	repo, err := name.ParseRepo(text)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// callLifecycle calls an operation of ecrin as the root user.
func (s *server) callLifecycle(operation string, pairs ...any) answer {
	return s.callEcrin(s.key, operation, object(pairs...))
}

// The extension takes images away from the policy of ECR, whose clients do not see it. Pinned images and their reasons are shown.
func TestLifecycleExtensionAndPins(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	digests := map[string]string{}
	for _, tag := range []string{"v1", "v2", "v3", "v4", "v5"} {
		digests[tag] = digestOf(s.image("app", tag, tag))
	}
	extension := `{"version":"ecrin-lifecycle-1","protect":[{"patterns":["v2"]}]}`
	s.callLifecycle("PutLifecycle", "repositoryName", "app", "extensionText", extension).want(t, "PutLifecycle", 200, "", "")
	s.wantError("GetLifecyclePolicy", object("repositoryName", "app"), "LifecyclePolicyNotFoundException", "")
	s.callLifecycle("PinImage", "repositoryName", "app", "imageTag", "v1", "reason", "runs at a customer").
		want(t, "PinImage", 200, "", "")
	for _, c := range []struct{ operation, pairs, exception string }{
		{"PinImage", `"imageTag":"none"`, "ImageNotFoundException"},
		{"PinImage", `"imageTag":"v1","imageDigest":"` + digests["v1"] + `"`, "InvalidParameterException"},
		{"PinImage", `"imageDigest":"x"`, "InvalidParameterException"},
		{"UnpinImage", `"imageTag":"v2"`, "ImageNotPinnedException"},
		{"UnpinImage", `"imageTag":"none"`, "ImageNotFoundException"},
		{"PutLifecycle", `"extensionText":"{}"`, "InvalidParameterException"},
		{"PutLifecycle", `"lifecyclePolicyText":"{}"`, "InvalidParameterException"},
		{"PutLifecycle", `"maxResults":1`, "InvalidParameterException"},
		{"TestLifecycle", `"extensionText":"{}"`, "InvalidParameterException"},
		{"DeleteLifecycle", `"document":"POLICY"`, "LifecyclePolicyNotFoundException"},
		{"ListPinnedImages", `"nextToken":"x"`, "InvalidParameterException"},
		{"ListImageUses", `"imageTag":"v1","nextToken":"x"`, "InvalidParameterException"},
		{"ListImageUses", `"imageTag":"none"`, "ImageNotFoundException"},
		{"ListImageUses", `"nextToken":"x"`, "InvalidParameterException"},
	} {
		s.callEcrin(s.key, c.operation, `{"repositoryName":"app",`+c.pairs+`}`).want(t, c.operation+" "+c.pairs, 400, c.exception, "")
	}
	for _, operation := range []string{"PutLifecycle", "GetLifecycle", "DeleteLifecycle", "TestLifecycle", "ListPinnedImages",
		"ListImageUses"} {
		s.callLifecycle(operation, "repositoryName", "none").want(t, operation, 400, "RepositoryNotFoundException", "")
	}

	var tested ecrintypes.TestLifecycleResponse
	in := ecrintypes.TestLifecycleRequest{RepositoryName: "app", LifecyclePolicyText: keepTagged(1)}
	s.operator("TestLifecycle", in, &tested)
	why := map[string]string{}
	for _, r := range tested.Results {
		why[r.ImageTags[0]] = string(r.Action) + " " + r.Reason
	}
	if tested.Images != 5 || tested.ExpiringImages != 2 || tested.HeldImages != 2 || tested.ExpiringBytes == 0 || len(why) != 4 ||
		!strings.HasPrefix(why["v1"], "NONE ") || !strings.HasSuffix(why["v1"], "but it is pinned") ||
		!strings.HasSuffix(why["v2"], "but the extension protects one of its tags") || !strings.HasPrefix(why["v3"], "EXPIRE rule 7 expires it") {
		t.Errorf("TestLifecycle: got %+v", tested)
	}
	in.MaxResults = aws.Int32(1)
	s.operator("TestLifecycle", in, &tested)
	if len(tested.Results) != 1 || !tested.Truncated || tested.ExpiringImages != 2 {
		t.Errorf("TestLifecycle of one result: got %+v", tested)
	}

	s.must("PutLifecyclePolicy", object("repositoryName", "app", "lifecyclePolicyText", keepTagged(1)))
	s.wantTags("app", "v1", "v2", "v5")
	var pins ecrintypes.ListPinnedImagesResponse
	s.operator("ListPinnedImages", ecrintypes.ListPinnedImagesRequest{RepositoryName: "app"}, &pins)
	if len(pins.Images) != 1 || pins.Images[0].Reason != "runs at a customer" || !strings.HasSuffix(pins.Images[0].PrincipalArn, ":root") {
		t.Errorf("the pinned images: got %+v", pins.Images)
	}
	s.callLifecycle("UnpinImage", "repositoryName", "app", "imageDigest", digests["v1"]).want(t, "UnpinImage", 200, "", "")
	s.callLifecycle("DeleteLifecycle", "repositoryName", "app", "document", "EXTENSION").want(t, "DeleteLifecycle", 200, "", "")
	s.wantTags("app", "v5")
}

// A repository with one of the two documents has a lifecycle, and the deletion of one keeps the other.
func TestEitherDocumentIsALifecycle(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	policy, extension := expireAfter(90), `{"version":"ecrin-lifecycle-1","protect":[{"patterns":["v*"]}]}`
	s.callLifecycle("GetLifecycle", "repositoryName", "app").want(t, "without documents", 400, "LifecyclePolicyNotFoundException", "")
	s.must("PutLifecyclePolicy", object("repositoryName", "app", "lifecyclePolicyText", policy))
	if a := s.callLifecycle("GetLifecycle", "repositoryName", "app"); a.Status != 200 || strings.Contains(a.Body, "extensionText") {
		t.Errorf("GetLifecycle of a policy: got %s, want it alone", a)
	}
	s.callLifecycle("PutLifecycle", "repositoryName", "app", "extensionText", extension).want(t, "PutLifecycle", 200, "", "")
	s.callLifecycle("DeleteLifecycle", "repositoryName", "app", "document", "EXTENSION").want(t, "DeleteLifecycle", 200, "", "")
	if got := s.must("GetLifecyclePolicy", object("repositoryName", "app"))["lifecyclePolicyText"]; got != policy {
		t.Errorf("the policy after the deletion of the extension: got %v, want %s", got, policy)
	}
	s.callLifecycle("PutLifecycle", "repositoryName", "app", "extensionText", extension).want(t, "PutLifecycle", 200, "", "")
	s.callLifecycle("DeleteLifecycle", "repositoryName", "app", "document", "POLICY").want(t, "DeleteLifecycle", 200, "", "")
	a := s.callLifecycle("GetLifecycle", "repositoryName", "app")
	if a.Status != 200 || strings.Contains(a.Body, "lifecyclePolicyText") || !strings.Contains(a.Body, "protect") {
		t.Errorf("GetLifecycle of an extension: got %s, want it alone", a)
	}
}
