package clients_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const keepOneRelease = `{"rules":[{"rulePriority":1,"description":"keep the last release","selection":{"tagStatus":"tagged",` +
	`"tagPatternList":["v*"],"countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`

// L1: a lifecycle policy is previewed, set, shown and deleted; the older release expires, and the preview has deleted nothing.
func TestL1LifecyclePolicy(t *testing.T) {
	root := rowSession(t)
	const repo = "l1/app"
	root.repo(repo)
	root.pushImage(repo, "v1")
	ecr := func(args ...string) *call {
		return root.aws(append(append([]string{"ecr"}, args...), "--repository-name", repo)...)
	}
	type images struct {
		Images []struct{ ImageManifest string }
	}
	manifest := fromJSON[images](t, ecr("batch-get-image", "--image-ids", "imageTag=v1").ok()).Images[0].ImageManifest
	ecr("put-image", "--image-tag", "v2", "--image-manifest", manifest+" ").ok() // another digest
	tags := func() (all []string) {
		for _, id := range fromJSON[struct{ ImageIds []struct{ ImageTag string } }](t, ecr("list-images").ok()).ImageIds {
			if id.ImageTag != "" { // the images of the index have none
				all = append(all, id.ImageTag)
			}
		}
		slices.Sort(all)
		return all
	}

	ecr("get-lifecycle-policy").prints("An error occurred (LifecyclePolicyNotFoundException) when calling the GetLifecyclePolicy operation: " +
		"Lifecycle policy does not exist for the repository with name '" + repo + "' in the registry with id '" + account + "'")
	ecr("get-lifecycle-policy-preview").prints("LifecyclePolicyPreviewNotFoundException")
	ecr("put-lifecycle-policy", "--lifecycle-policy-text", strings.Replace(keepOneRelease, "expire", "delete", 1)).prints(
		"An error occurred (InvalidParameterException) when calling the PutLifecyclePolicy operation: Invalid parameter at " +
			"'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: ")

	ecr("start-lifecycle-policy-preview", "--lifecycle-policy-text", keepOneRelease).ok()
	ecr("wait", "lifecycle-policy-preview-complete").ok()
	preview := fromJSON[struct {
		Status         string
		PreviewResults []struct{ ImageTags []string }
		Summary        struct{ ExpiringImageTotalCount int }
	}](t, ecr("get-lifecycle-policy-preview").ok())
	if preview.Status != "COMPLETE" || preview.Summary.ExpiringImageTotalCount != 1 || len(preview.PreviewResults) != 1 ||
		!slices.Equal(preview.PreviewResults[0].ImageTags, []string{"v1"}) {
		t.Errorf("the preview: got %+v, want v1", preview)
	}
	if got := tags(); !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("the tags after a preview: got %q", got)
	}

	ecr("put-lifecycle-policy", "--lifecycle-policy-text", keepOneRelease).ok()
	for end := time.Now().Add(30 * time.Second); !slices.Equal(tags(), []string{"v2"}); {
		if time.Now().After(end) {
			t.Fatalf("the tags: got %q, want v2 alone", tags())
		}
	}
	type policy struct {
		LifecyclePolicyText string
		LastEvaluatedAt     any
	}
	if got := fromJSON[policy](t, ecr("get-lifecycle-policy").ok()); got.LifecyclePolicyText != keepOneRelease {
		t.Errorf("get-lifecycle-policy: got %+v", got)
	}
	if got := fromJSON[policy](t, ecr("delete-lifecycle-policy").ok()); got.LifecyclePolicyText != keepOneRelease ||
		got.LastEvaluatedAt == nil {
		t.Errorf("delete-lifecycle-policy: got %+v", got)
	}
	ecr("delete-lifecycle-policy").prints("LifecyclePolicyNotFoundException")
}
