package trail_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Every request by the OCI distribution API is one event with the name of the corresponding ECR operation. Source: ECR
// user guide, logging with CloudTrail.
func TestDockerEvents(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	app, other := account.CreateRepository(t, "team/app"), account.CreateRepository(t, "team/other")
	im := ocitest.NewImage(1, 1000)
	layer := ocitest.SHA256(im.Layers[0])

	app.Do(t, http.MethodGet, "/v2/", nil).Want(t, 200) // has no decision
	app.Do(t, http.MethodHead, app.Path("/blobs/"+layer), nil).Want(t, 404)
	app.PutBlob(t, im.Config)
	address := app.Begin(t)
	app.Do(t, http.MethodPatch, address, im.Layers[0], "Content-Type", "application/octet-stream").Want(t, 202)
	app.Do(t, http.MethodGet, address, nil).Want(t, 204)
	app.Do(t, http.MethodPut, address+"?digest="+layer, nil).Want(t, 201)
	app.Do(t, http.MethodDelete, app.Begin(t), nil).Want(t, 204)
	app.PutManifest(t, "1.0", ocitest.ImageType, im.Manifest).Want(t, 201)
	app.Do(t, http.MethodHead, app.Path("/manifests/1.0"), nil).Want(t, 200)
	app.Manifest(t, im.Digest).Want(t, 200)
	app.Manifest(t, "none").Want(t, 404)
	app.Blob(t, layer).Want(t, 200)
	app.Tags(t, "").Want(t, 200)
	app.Do(t, http.MethodGet, app.Path("/referrers/"+im.Digest), nil).Want(t, 200)
	app.Do(t, http.MethodDelete, app.Path("/manifests/1.0"), nil).Want(t, 202)
	want := []string{
		"CreateRepository", "BatchCheckLayerAvailability LayersNotFoundException",
		"InitiateLayerUpload", "CompleteLayerUpload",
		"InitiateLayerUpload", "UploadLayerPart", "UploadLayerPart", "CompleteLayerUpload",
		"InitiateLayerUpload", "UploadLayerPart",
		"PutImage", "BatchGetImage", "BatchGetImage", "BatchGetImage ImageNotFoundException", "GetDownloadUrlForLayer",
		"ListImages", "ListImageReferrers", "BatchDeleteImage",
	}
	// The order is not compared: the lines of changes are moved from the database to the log later than those of reads.
	got := names(events(t, s, ecrintypes.ListAuditEventsRequest{Resource: "repository/team/app"}))
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("the events of team/app (-want +got):\n%s", diff)
	}

	other.Do(t, http.MethodPost, other.Path("/blobs/uploads/?mount="+layer+"&from=team/app"), nil).Want(t, 201)
	other.Do(t, http.MethodPost, other.Path("/blobs/uploads/?mount="+ocitest.SHA256(nil)+"&from=team/app"), nil).Want(t, 202)
	other.Do(t, http.MethodGet, "/v2/_catalog", nil).Want(t, 200)
	got = names(events(t, s, ecrintypes.ListAuditEventsRequest{Resource: "repository/team/other"}))
	if diff := cmp.Diff([]string{"CreateRepository", "MountLayer", "InitiateLayerUpload"}, got, cmpopts.SortSlices(func(a, b string) bool {
		return a < b
	})); diff != "" {
		t.Errorf("the events of team/other (-want +got):\n%s", diff)
	}
	if got := names(events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "DescribeRepositories"})); len(got) != 1 {
		t.Errorf("events of _catalog: got %q, want one", got)
	}
	mount := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "MountLayer"})[0]
	if diff := cmp.Diff(map[string]any{"registryId": home, "repositoryName": "team/other", "layerDigests": []any{layer},
		"mountFrom": "team/app"}, mount.RequestParameters); diff != "" {
		t.Errorf("the parameters of a mount (-want +got):\n%s", diff)
	}
	if mount.ReadOnly {
		t.Error("the event of a mount is read-only, want a change")
	}
}

// The events of a pull and a push have the members that they have in CloudTrail; the address and user agent of docker
// are in additionalEventData.
func TestDockerParameters(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(2)
	repo.PushBlobs(t, im)
	repo.Do(t, http.MethodPut, repo.Path("/manifests/1.0"), im.Manifest, "Content-Type", ocitest.ImageType, "User-Agent",
		"docker/29.1").Want(t, 201)
	repo.Do(t, http.MethodGet, repo.Path("/manifests/1.0"), nil, "User-Agent", "docker/29.1",
		"Accept", "application/json, "+ocitest.ImageType+";q=0.9", "Accept", ocitest.IndexType).Want(t, 200)
	rootIdentity := map[string]any{
		"type": "Root", "principalId": home, "arn": "arn:aws:iam::" + home + ":root", "accountId": home, "invokedBy": "ecr.amazonaws.com",
	}
	want := event{
		UserIdentity: rootIdentity, EventSource: "ecr.amazonaws.com", SourceIPAddress: "ecr.amazonaws.com", UserAgent: "ecr.amazonaws.com",
		Resources: []map[string]string{{"accountId": home, "type": "AWS::ECR::Repository",
			"ARN": "arn:aws:ecr:" + region + ":" + home + ":repository/team/app"}},
		RecipientAccountID: home,
	}
	want.AdditionalEventData.ClientAddress, want.AdditionalEventData.ClientUserAgent = "127.0.0.1", "docker/29.1"
	for name, p := range map[string]map[string]any{
		"PutImage": {"registryId": home, "repositoryName": "team/app", "imageTag": "1.0", "imageManifest": string(im.Manifest),
			"imageManifestMediaType": ocitest.ImageType},
		"BatchGetImage": {"registryId": home, "repositoryName": "team/app", "imageIds": []any{map[string]any{"imageTag": "1.0"}},
			"acceptedMediaTypes": []any{"application/json", ocitest.ImageType, ocitest.IndexType}},
	} {
		want.EventName, want.RequestParameters, want.ReadOnly = name, p, name == "BatchGetImage"
		got := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: name})
		if len(got) != 1 {
			t.Fatalf("%s: got %d events, want 1", name, len(got))
		}
		delete(got[0].UserIdentity, "accessKeyId")
		if diff := cmp.Diff(want, got[0], cmpopts.IgnoreFields(event{}, "EventID", "RequestID")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A signed link to a layer is decided again when it is used; both the request for the link and its use are events.
func TestLayerLinkEvents(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	repo := account.CreateRepository(t, "team/app")
	im := ocitest.NewImage(4, 100)
	repo.Push(t, "1.0", im)
	layer := ocitest.SHA256(im.Layers[0])
	link := root(account, s).link(t, "team/app", layer)
	repo.Do(t, http.MethodGet, link, nil).Want(t, 200)
	got := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "GetDownloadUrlForLayer"})
	if len(got) != 2 || got[0].UserIdentity["invokedBy"] != nil || got[1].UserIdentity["invokedBy"] != "ecr.amazonaws.com" {
		t.Errorf("requesting and using a link: got events %+v, want one without invokedBy and one with it", got)
	}
}

// A request that fails after one of its changes has two events, the second with the error.
func TestFailedAfterItsChange(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.CreateOnPush = true }})
	repo := s.Root(t).Docker(t).Repo("team/new")
	repo.PutManifest(t, "1.0", ocitest.ImageType, ocitest.NewImage(3).Manifest).Want(t, 404)
	got := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "PutImage"})
	if diff := cmp.Diff([]string{"PutImage", "PutImage LayersNotFoundException"}, names(got), cmpopts.SortSlices(func(a, b string) bool {
		return a < b
	})); diff != "" {
		t.Fatalf("a push that created its repository and failed (-want +got):\n%s", diff)
	}
	if got[0].RequestID != got[1].RequestID || got[0].EventID == got[1].EventID {
		t.Errorf("the two events have the request ids %s and %s, the event ids %s and %s", got[0].RequestID, got[1].RequestID,
			got[0].EventID, got[1].EventID)
	}
}
