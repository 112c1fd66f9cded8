package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// C6: what is missing is said in one message.
func TestC6(t *testing.T) {
	t.Parallel()
	r := run(t, map[string]string{"CF_RUNTIME_NAME": "west"}, "report").want(t, 1)
	_, text, _ := strings.Cut(r.err, "ecrin: ")
	var all []string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("the message: got %q, want a JSON list: %v", r.err, err)
	}
	want := []string{"CF_API_KEY must be provided as environment variable.", "CF_IMAGE must be provided as environment variable."}
	if strings.Join(all, "|") != strings.Join(want, "|") {
		t.Errorf("the message: got %q, want %q", all, want)
	}
	run(t, map[string]string{"CF_API_KEY": "k", "CF_IMAGE": "i", "CF_RUNTIME_NAME": "a", "CF_HOST": "b"}, "report").want(t, 1,
		"You can only specify CF_RUNTIME_NAME or CF_HOST. please delete one of them.")
}

// C7: an image of ECR is reported by an integration, with its digests, size, platform and type of registry.
func TestC7(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	im := built(1, "linux", "arm64", 1000, 2000)
	w.there.CreateRepository(t, "demo/app").Push(t, "1", im)
	image := w.ecr.Host + "/demo/app:1"
	w.Operator(t, "PutRuntime", ecrintypes.PutRuntimeRequest{RuntimeName: "west", Version: "0.1.33", IngressHost: "https://ingress.invalid"},
		&ecrintypes.RuntimeResponse{})
	r := w.report(t, image, "CF_CONTAINER_REGISTRY_INTEGRATION", "aws", "CF_WORKFLOW_NAME", "team/app/12", "CF_DOCKERFILE_CONTENT", "FROM x\n")
	r.want(t, 0, "IMAGE_SHA="+ocitest.SHA256(im.Config), "reported the image "+image, "/2.0/images/")
	all := w.list(t)
	size := int64(len(im.Config) + 3000)
	if len(all) != 1 || all[0].ConfigDigest != ocitest.SHA256(im.Config) || all[0].ImageDigest != im.Digest || all[0].ImageSize != size ||
		all[0].Os != "linux" || all[0].Architecture != "arm64" || all[0].RegistryType != "ECR" || all[0].ImageTag != "1" || all[0].ManifestList {
		t.Errorf("the list: got %+v, want the image with %d bytes", all, size)
	}
	one := w.show(t, image).Images[0]
	if one.Dockerfile != "FROM x\n" || one.WorkflowName != "team/app/12" || len(one.Labels) != 1 || one.Labels[0].Value !=
		"https://git.example.com/team/app" {
		t.Errorf("the image: got %+v, want its Dockerfile, workflow and label", one)
	}
	w.report(t, image, "CF_CONTAINER_REGISTRY_INTEGRATION", "aws").want(t, 0) // again: it is one report
	if all := w.list(t); len(all) != 1 {
		t.Errorf("after the second report: got %d reports, want 1", len(all))
	}
}

// C8: of an index each platform is a binary, and the index is their parent; an attestation is left out.
func TestC8(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	repo := w.root.CreateRepository(t, "demo/app")
	a, b, attestation := built(1, "linux", "amd64", 100, 100), built(2, "linux", "arm64", 200, 200), built(3, "unknown", "unknown", 10)
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType}
	for _, im := range []ocitest.Image{a, b, attestation} {
		repo.Push(t, "", im)
		d := im.Descriptor()
		var about struct{ OS, Architecture string }
		if err := json.Unmarshal(im.Config, &about); err != nil {
			t.Fatal(err)
		}
		d.Platform = &ocitest.Platform{OS: about.OS, Architecture: about.Architecture}
		index.Manifests = append(index.Manifests, d)
	}
	body := index.JSON()
	repo.PutManifest(t, "1", ocitest.IndexType, body).Want(t, 201)
	image := w.host() + "/demo/app:1"
	w.report(t, image).want(t, 0, "IMAGE_SHA="+ocitest.SHA256(body)+"\n", "/2.0/images/")
	all := w.list(t)
	if len(all) != 3 {
		t.Fatalf("reports: got %+v, want two images and an index", all)
	}
	parents, platforms := 0, ""
	for _, r := range all {
		if r.ManifestList {
			parents++
			if r.ImageDigest != ocitest.SHA256(body) || r.ConfigDigest != "" {
				t.Errorf("the parent: got %+v", r)
			}
			continue
		}
		platforms += r.Architecture + " "
		if r.ParentDigest != ocitest.SHA256(body) || r.RegistryType != "ECR" {
			t.Errorf("an image: got %+v, want the digest of the index as its parent", r)
		}
	}
	if parents != 1 || !strings.Contains(platforms, "amd64") || !strings.Contains(platforms, "arm64") {
		t.Errorf("got %d parents and the platforms %s", parents, platforms)
	}
}

// C12: an integration that does not exist is named; of an image that is not in the registry nothing is stored.
func TestC12(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	w.there.CreateRepository(t, "demo/app")
	image := w.ecr.Host + "/demo/app:1"
	w.report(t, image, "CF_CONTAINER_REGISTRY_INTEGRATION", "none").want(t, 1, "IntegrationNotFound", "none")
	w.report(t, image, "CF_CONTAINER_REGISTRY_INTEGRATION", "aws").want(t, 1, "MANIFEST_UNKNOWN", image)
	w.report(t, w.host()+"/demo/app:1").want(t, 1, "RepositoryNotFound", "demo/app")
	w.root.CreateRepository(t, "demo/app")
	w.report(t, w.host()+"/demo/app:1").want(t, 1, "ImageNotFound")
	w.nothing(t)
}

// C13: there is one row for each entry of the history, and the sizes are those of the layers.
func TestC13(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.root.CreateRepository(t, "demo/app").Push(t, "1", built(1, "linux", "amd64", 1000, 2000))
	image := w.host() + "/demo/app:1"
	w.report(t, image).want(t, 0)
	layers := w.show(t, image).Images[0].Layers
	var sum int64
	text := ""
	for _, l := range layers {
		sum += l.LayerSize
		text += l.Instruction + " " + l.Arguments + "|"
	}
	if sum != 3000 || text != `ADD file:1 in /|CMD ["sh"]|RUN apk add curl|` || layers[1].LayerSize != 0 || layers[2].LayerSize != 2000 {
		t.Errorf("the layers: got %+v, %d bytes, want 3000 bytes in three entries", layers, sum)
	}
	run(t, nil, "report", "show", image, "--data", w.Dir).want(t, 0, "RUN", "apk add curl", "LABEL")
}

// C15: after an integration is deleted, the next report that names it fails. C16: after its key is rotated, the next report works with the
// new one, without a restart.
func TestC16RotatedKeyC15DeletedIntegration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	w.there.CreateRepository(t, "demo/app").Push(t, "1", built(1, "linux", "amd64", 100))
	there := usersOf(w.far, w.there)
	_, err := there.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("reader")})
	if err == nil {
		_, err = there.AttachUserPolicy(t.Context(), &iam.AttachUserPolicyInput{UserName: aws.String("reader"),
			PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")})
	}
	var keys [2]*iamtypes.AccessKey
	for i := range keys {
		made, keyErr := there.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("reader")})
		if err != nil || keyErr != nil {
			t.Fatal(err, keyErr)
		}
		keys[i] = made.AccessKey
	}
	w.add(t, ecrintypes.CreateIntegrationRequest{IntegrationName: "key", Kind: "ECR", RemoteRegistryId: w.there.ID,
		RemoteRegion: w.there.Region, AwsAccessKeyId: *keys[0].AccessKeyId, AwsSecretAccessKey: *keys[0].SecretAccessKey})
	image := w.ecr.Host + "/demo/app:1"
	report := func() result { return w.report(t, image, "CF_CONTAINER_REGISTRY_INTEGRATION", "key") }
	report().want(t, 0)
	if _, err := there.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{UserName: aws.String("reader"),
		AccessKeyId: keys[0].AccessKeyId}); err != nil {
		t.Fatal(err)
	}
	w.Operator(t, "UpdateIntegration", ecrintypes.UpdateIntegrationRequest{IntegrationName: "key", AwsAccessKeyId: *keys[1].AccessKeyId,
		AwsSecretAccessKey: *keys[1].SecretAccessKey}, &ecrintypes.IntegrationResponse{})
	report().want(t, 0)
	w.Operator(t, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: "key"}, &ecrintypes.IntegrationResponse{})
	report().want(t, 1, "IntegrationNotFound", "key")
}

// TestAnImageOf1970IsListed: builds that can be repeated give their images the time 0.
func TestAnImageOf1970IsListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.root.CreateRepository(t, "demo/app").Push(t, "1", builtAt("1970-01-01T00:00:00Z", 1, "linux", "amd64", 100))
	w.report(t, w.host()+"/demo/app:1").want(t, 0)
	if all := w.list(t); len(all) != 1 || all[0].CreatedAt.Unix() != 0 {
		t.Errorf("the list: got %+v, want one image of 1970", all)
	}
	if one := w.show(t, w.host()+"/demo/app:1"); len(one.Images) != 1 || one.Images[0].Report.CreatedAt.Unix() != 0 {
		t.Errorf("the image: got %+v, want one of 1970", one.Images)
	}
}
