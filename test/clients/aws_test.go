package clients_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// awsCLIs returns the path of an aws CLI of each major version, from PATH or from the installer.
var awsCLIs = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		for _, name := range []string{"aws", "aws-v1"} {
			path, err := lookPath(name, []string{"PATH=" + dir})
			if err != nil {
				continue
			}
			out, err := exec.Command(path, "--version").CombinedOutput()
			version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "aws-cli/"), ".")
			if err == nil && found[version] == "" {
				found[version] = path
			}
		}
	}
	return found
})

// awsCLI is an aws CLI in a session. Over plain HTTP, it gets the endpoint by its option, which every version
// has.
type awsCLI struct {
	s    *session
	path string
}

func newAWS(s *session, version string) awsCLI {
	s.t.Helper()
	path := awsCLIs()[version]
	if path == "" {
		s.t.Fatalf("no aws CLI of version %s on PATH; run tools/clients/install", version)
	}
	return awsCLI{s, path}
}

func (a awsCLI) cmd(args ...string) *call {
	return a.s.cmd(a.path, words(a.s.ifPlain("--endpoint-url", a.s.s.url), "--output", "json", args)...)
}

// Each version runs the long test (about 20 commands of half a second) on one server, and the short test on the
// other.
func awsV1(s *session) {
	a := newAWS(s, "1")
	if s.s.plain {
		a.long("clients/aws-v1")
	} else {
		a.short("clients/aws-v1")
	}
}

func awsV2(s *session) {
	a := newAWS(s, "2")
	if s.s.plain {
		a.short("clients/aws-v2")
	} else {
		a.long("clients/aws-v2")
	}
}

// short runs the commands of a script that uses docker: get the identity, create a repository, log in, delete
// the repository.
func (a awsCLI) short(repo string) {
	t := a.s.t
	who := fromJSON[struct{ Account, Arn, UserId string }](t, a.cmd("sts", "get-caller-identity").ok())
	if want := "arn:aws:iam::" + account + ":root"; who.Account != account || who.Arn != want {
		t.Errorf("get-caller-identity: got %+v, want %s", who, want)
	}
	a.createRepository(repo)
	a.s.wantLogin(a.cmd("ecr", "get-login-password").ok())
	a.s.pushImage(repo, "v1")
	if got := a.cmd("ecr", "delete-repository", "--repository-name", repo).fails(); !strings.Contains(got, "RepositoryNotEmptyException") {
		t.Errorf("delete-repository with an image: got %q, want RepositoryNotEmptyException", got)
	}
	a.cmd("ecr", "delete-repository", "--repository-name", repo, "--force").ok()
	if got := a.cmd("ecr", "list-images", "--repository-name", repo).fails(); !strings.Contains(got, "RepositoryNotFoundException") {
		t.Errorf("list-images of a deleted repository: got %q, want RepositoryNotFoundException", got)
	}
}

// long pushes and pulls a whole image with the API only.
func (a awsCLI) long(repo string) {
	t := a.s.t
	in := []string{"--repository-name", repo}
	img, err := buildImage(t.TempDir(), 50, 6<<20)
	if err != nil {
		t.Fatal(err)
	}
	a.createRepository(repo)
	a.s.wantLogin(a.cmd("ecr", "get-login-password").ok())

	for _, d := range append([]digest.Digest{img.config}, digests(img.layers)...) {
		a.uploadLayer(repo, blobPath(img.layout, d), d)
	}
	manifest := "file://" + blobPath(img.layout, img.native)
	put := func(tag string) *call {
		return a.cmd(words("ecr", "put-image", in, "--image-tag", tag, "--image-manifest", manifest)...)
	}
	put("v1").ok()
	a.s.s.wantManifest(t, repo, "v1", img.native)
	if got := put("v1").fails(); !strings.Contains(got, "ImageAlreadyExistsException") {
		t.Errorf("put-image twice: got %q, want ImageAlreadyExistsException", got)
	}
	put("v2").ok()

	type imageID struct{ ImageDigest, ImageTag string }
	listed := fromJSON[struct{ ImageIds []imageID }](t, a.cmd(words("ecr", "list-images", in)...).ok())
	if len(listed.ImageIds) != 2 {
		t.Errorf("list-images: got %+v, want v1 and v2", listed.ImageIds)
	}
	described := fromJSON[struct {
		ImageDetails []struct {
			ImageDigest      string
			ImageTags        []string
			ImageSizeInBytes int64
			ImagePushedAt    any
		}
	}](t, a.cmd(words("ecr", "describe-images", in, "--image-ids", "imageTag=v1")...).ok()).ImageDetails
	if len(described) != 1 || described[0].ImageDigest != img.native.String() || len(described[0].ImageTags) != 2 ||
		described[0].ImageSizeInBytes < 6<<20 || described[0].ImagePushedAt == nil {
		t.Errorf("describe-images: got %+v, want one image %s with two tags, its size and its time", described, img.native)
	}
	got := fromJSON[struct {
		Images []struct{ ImageManifest string }
	}](t,
		a.cmd(words("ecr", "batch-get-image", in, "--image-ids", "imageDigest="+img.native.String())...).ok()).Images
	if len(got) != 1 || digest.FromString(got[0].ImageManifest) != img.native {
		t.Errorf("batch-get-image: got %+v, want the manifest %s", got, img.native)
	}
	layer := img.layers[len(img.layers)-1].Digest
	where := fromJSON[struct{ DownloadUrl, LayerDigest string }](t,
		a.cmd(words("ecr", "get-download-url-for-layer", in, "--layer-digest", layer.String())...).ok())
	content, err := a.s.s.get(t.Context(), where.DownloadUrl)
	if err != nil || digest.FromBytes(content) != layer {
		t.Errorf("the download URL of %s returned %d bytes with digest %s, error %v", layer, len(content), digest.FromBytes(content), err)
	}

	a.cmd(words("ecr", "batch-delete-image", in, "--image-ids", "imageTag=v2")...).ok()
	a.s.s.wantGone(t, repo, "v2")
	a.s.s.wantManifest(t, repo, "v1", img.native)
	a.cmd(words("ecr", "batch-delete-image", in, "--image-ids", "imageDigest="+img.native.String())...).ok()
	a.s.s.wantGone(t, repo, img.native.String())
	a.cmd(words("ecr", "delete-repository", in)...).ok()
	a.settings(repo)
}

// settings makes a creation template, with which a push creates a repository, and excludes a role from pull times.
func (a awsCLI) settings(prefix string) {
	t, repo := a.s.t, prefix+"/made"
	_, errs, err := a.cmd("ecr", "describe-repository-creation-templates").run()
	if err != nil && strings.HasSuffix(prefix, "v2") && strings.Contains(errs, "Invalid choice") {
		t.Log("the aws CLI 2 of the system is older than creation templates: version 1 is tested with them")
		return
	}
	type template struct{ Prefix, ImageTagMutability string }
	named := []string{"--prefix", prefix}
	begin := []string{"ecr", "initiate-layer-upload", "--repository-name", repo}
	if got := a.cmd(begin...).fails(); !strings.Contains(got, "RepositoryNotFoundException") {
		t.Errorf("initiate-layer-upload without a template: got %q, want RepositoryNotFoundException", got)
	}
	a.cmd(words("ecr", "create-repository-creation-template", named, "--applied-for", "CREATE_ON_PUSH")...).ok()
	a.cmd(words("ecr", "update-repository-creation-template", named, "--image-tag-mutability", "IMMUTABLE")...).ok()
	all := fromJSON[struct{ RepositoryCreationTemplates []template }](t,
		a.cmd("ecr", "describe-repository-creation-templates", "--prefixes", prefix).ok()).RepositoryCreationTemplates
	if want := []template{{prefix, "IMMUTABLE"}}; !slices.Equal(all, want) {
		t.Errorf("describe-repository-creation-templates: got %+v, want %+v", all, want)
	}
	a.cmd(begin...).ok()
	made := a.cmd("ecr", "describe-repositories", "--repository-names", repo).ok()
	if !strings.Contains(made, "IMMUTABLE") {
		t.Errorf("describe-repositories of a repository that a push created: got %s, want IMMUTABLE", made)
	}
	a.cmd(words("ecr", "delete-repository-creation-template", named)...).ok()
	a.cmd("ecr", "delete-repository", "--repository-name", repo).ok()

	principal := []string{"--principal-arn", "arn:aws:iam::" + account + ":role/" + strings.ReplaceAll(prefix, "/", "-")}
	a.cmd(words("ecr", "register-pull-time-update-exclusion", principal)...).ok()
	if got := a.cmd("ecr", "list-pull-time-update-exclusions").ok(); !strings.Contains(got, principal[1]) {
		t.Errorf("list-pull-time-update-exclusions: got %s, want %s in it", got, principal[1])
	}
	a.cmd(words("ecr", "deregister-pull-time-update-exclusion", principal)...).ok()
	if got := a.cmd(words("ecr", "deregister-pull-time-update-exclusion", principal)...).fails(); !strings.Contains(got, "ExclusionNotFound") {
		t.Errorf("deregister-pull-time-update-exclusion again: got %q, want ExclusionNotFoundException", got)
	}
}

func (a awsCLI) createRepository(repo string) {
	a.s.t.Helper()
	made := fromJSON[struct {
		Repository struct{ RepositoryArn, RegistryId, RepositoryUri string }
	}](a.s.t,
		a.cmd("ecr", "create-repository", "--repository-name", repo).ok()).Repository
	if want := fmt.Sprintf("arn:aws:ecr:%s:%s:repository/%s", region, account, repo); made.RepositoryArn != want {
		a.s.t.Errorf("create-repository: got ARN %s, want %s", made.RepositoryArn, want)
	}
	if !strings.HasSuffix(made.RepositoryUri, "/"+repo) || !a.s.s.plain && made.RepositoryUri != a.s.s.ref(repo) {
		a.s.t.Errorf("create-repository: got URI %s, want %s", made.RepositoryUri, a.s.s.ref(repo))
	}
}

// uploadLayer sends a file in parts of 5 MiB, the minimum size of all parts but the last.
func (a awsCLI) uploadLayer(repo, path string, want digest.Digest) {
	t := a.s.t
	t.Helper()
	const part = 5 << 20
	in := []string{"--repository-name", repo}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := fromJSON[struct{ UploadId string }](t, a.cmd(words("ecr", "initiate-layer-upload", in)...).ok())
	for first := 0; first < len(content); first += part {
		end := min(first+part, len(content))
		file := write(t, a.s.path("part"), string(content[first:end]))
		got := fromJSON[struct{ LastByteReceived int }](t, a.cmd(words("ecr", "upload-layer-part", in,
			"--upload-id", start.UploadId, "--layer-part-blob", "fileb://"+file,
			"--part-first-byte", fmt.Sprint(first), "--part-last-byte", fmt.Sprint(end-1))...).ok())
		if got.LastByteReceived != end-1 {
			t.Errorf("upload-layer-part: got lastByteReceived %d, want %d", got.LastByteReceived, end-1)
		}
	}
	a.cmd(words("ecr", "complete-layer-upload", in, "--upload-id", start.UploadId, "--layer-digests", want.String())...).ok()
	checked := fromJSON[struct {
		Layers []struct{ LayerAvailability string }
	}](t,
		a.cmd(words("ecr", "batch-check-layer-availability", in, "--layer-digests", want.String())...).ok()).Layers
	if len(checked) != 1 || checked[0].LayerAvailability != "AVAILABLE" {
		t.Errorf("batch-check-layer-availability of %s: got %+v, want AVAILABLE", want, checked)
	}
}

func digests(layers []ocispec.Descriptor) []digest.Digest {
	var all []digest.Digest
	for _, l := range layers {
		all = append(all, l.Digest)
	}
	return all
}

// TestAWSCLIs checks that both versions are installed.
func TestAWSCLIs(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		if awsCLIs()[version] == "" {
			t.Errorf("no aws CLI of version %s; found %v", version, awsCLIs())
		}
	}
}
