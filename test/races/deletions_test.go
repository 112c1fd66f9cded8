package races_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// deleting is a repository with a user that may delete images, except those with a tag prod* and the image release.
type deleting struct {
	*registry
	root    ocitest.Repo // the root user's client
	user    actor
	docker  ocitest.Repo // the user's client
	release ocitest.Image
	base    ocitest.Image // the image whose config all images have
}

func newDeleting(t *testing.T) *deleting {
	t.Helper()
	s := serve(t)
	d := &deleting{registry: s, root: s.repository(t, repository)}
	d.release, d.base = ocitest.NewImage(1, 100), ocitest.NewImage(2)
	d.root.Push(t, "", d.release)
	d.root.PushBlobs(t, d.base)
	d.user = s.user(t, "limited",
		statement("Allow", "ecr:BatchDeleteImage", timed),
		statement("Deny", "ecr:BatchDeleteImage", like("ecrin:ImageTag", "prod*")),
		statement("Deny", "ecr:BatchDeleteImage", equals("ecrin:ImageDigest", d.release.Digest)),
		slowly("ecr:BatchDeleteImage"))
	d.docker = d.user.docker(t, repository)
	return d
}

// image returns a different image for each n. Its blobs are in the repository.
func (d *deleting) image(n int) ocitest.Image {
	config := ocitest.Describe(ocitest.ConfigType, d.base.Config)
	body := ocitest.Manifest{
		SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &config,
		Annotations: map[string]string{"n": fmt.Sprint(n)},
	}.JSON()
	return ocitest.Image{Digest: ocitest.SHA256(body), Manifest: body, Config: d.base.Config}
}

// put sets a tag to an image, as the root user.
func (d *deleting) put(t *testing.T, tag string, im ocitest.Image) {
	t.Helper()
	if a := d.root.PutManifest(t, tag, ocitest.ImageType, im.Manifest); a.Status != http.StatusCreated {
		t.Errorf("%s: got %d %s, want 201", a.Asked, a.Status, a.Body)
	}
}

// deletion is one way to delete an image. ask sends the request as the user and returns the status, or the code of an
// error or failure.
type deletion struct {
	name string
	ask  func(d *deleting, t *testing.T, tag, digest string) string
}

func (d *deleting) dockerDelete(t *testing.T, reference string) string {
	t.Helper()
	a := d.docker.Do(t, http.MethodDelete, d.docker.Path("/manifests/"+reference), nil, "Referer", referer)
	if a.Status != http.StatusAccepted && a.Status != http.StatusForbidden && a.Status != http.StatusNotFound {
		t.Errorf("%s: got %d %s, want 202, 403 or 404", a.Asked, a.Status, a.Body)
	}
	return fmt.Sprint(a.Status)
}

func (d *deleting) apiDelete(t *testing.T, ids ...types.ImageIdentifier) string {
	t.Helper()
	in := ecr.BatchDeleteImageInput{RepositoryName: aws.String(repository), ImageIds: ids}
	out, err := d.user.ecr.BatchDeleteImage(context.WithoutCancel(t.Context()), &in, withReferer)
	switch c := code(err); {
	case c == "AccessDeniedException":
		return c
	case err != nil:
		t.Errorf("BatchDeleteImage: %v", err)
		return c
	case len(out.Failures) > 0:
		return string(out.Failures[0].FailureCode)
	}
	return "deleted"
}

var (
	dockerByTag = deletion{"docker, by tag", func(d *deleting, t *testing.T, tag, _ string) string {
		return d.dockerDelete(t, tag)
	}}
	dockerByDigest = deletion{"docker, by digest", func(d *deleting, t *testing.T, _, digest string) string {
		return d.dockerDelete(t, digest)
	}}
	apiByTag = deletion{"API, by tag", func(d *deleting, t *testing.T, tag, _ string) string {
		return d.apiDelete(t, types.ImageIdentifier{ImageTag: &tag})
	}}
	apiByDigest = deletion{"API, by digest", func(d *deleting, t *testing.T, _, digest string) string {
		return d.apiDelete(t, types.ImageIdentifier{ImageDigest: &digest})
	}}
)

// change is a change that the root user makes concurrently with a deletion. In round n, image n has the tag dev-n. want
// returns a tag that must exist after both, and its image.
type change struct {
	name string
	make func(d *deleting, t *testing.T, n int)
	want func(d *deleting, n int) (tag, digest string)
}

var (
	// The image gets a tag that protects it.
	prodOnImage = change{"prod tag on the image",
		func(d *deleting, t *testing.T, n int) { d.put(t, fmt.Sprint("prod-", n), d.image(n)) },
		func(d *deleting, n int) (string, string) { return fmt.Sprint("prod-", n), d.image(n).Digest }}
	// The tag moves to another image, which has a tag that protects it.
	moveToProd = change{"dev tag to the prod image",
		func(d *deleting, t *testing.T, n int) {
			d.put(t, fmt.Sprint("prod-", n), d.image(-n))
			d.put(t, fmt.Sprint("dev-", n), d.image(-n))
		},
		func(d *deleting, n int) (string, string) { return fmt.Sprint("prod-", n), d.image(-n).Digest }}
	// The tag moves to an image that is protected by its digest.
	moveToRelease = change{"dev tag to the release",
		func(d *deleting, t *testing.T, n int) { d.put(t, fmt.Sprint("dev-", n), d.release) },
		func(d *deleting, n int) (string, string) { return fmt.Sprint("dev-", n), d.release.Digest }}
)

// pairs holds the deletions with the changes that are tested with each.
var pairs = []struct {
	deletion
	change
}{
	{dockerByTag, prodOnImage}, {dockerByTag, moveToProd}, {dockerByTag, moveToRelease},
	{apiByTag, prodOnImage}, {apiByTag, moveToProd}, {apiByTag, moveToRelease},
	{dockerByDigest, prodOnImage}, {apiByDigest, prodOnImage},
}

// check checks the tag of round n. Whether the deletion or the change is first, the tag must be as the change left it:
// a deletion before the change does not delete the tag, and a deletion after the change is refused.
func (d *deleting) check(t *testing.T, c change, n int, at string) bool {
	t.Helper()
	tag, want := c.want(d, n)
	a := d.root.Manifest(t, tag)
	got := a.Header.Get("Docker-Content-Digest")
	if a.Status == http.StatusOK && got == want {
		return true
	}
	t.Errorf("tag %s %s: got %d with image %q, want 200 with image %s", tag, at, a.Status, got, want)
	return false
}

// checkHistory checks that the user has deleted no tag prod* and no tag of the release.
func (d *deleting) checkHistory(t *testing.T) {
	t.Helper()
	removals := 0
	for _, m := range d.moves(t, repository) {
		if m.PrincipalArn != d.user.arn("user/limited") {
			continue
		}
		removals++
		if strings.HasPrefix(m.ImageTag, "prod") || m.FromDigest == d.release.Digest {
			t.Errorf("got tag %s of image %s removed by the user, want no tag prod* and none of %s removed",
				m.ImageTag, m.FromDigest, d.release.Digest)
			return // one error suffices
		}
	}
	t.Logf("the user has removed %d tags", removals)
}

// workers is the number of concurrent rounds. Their writes wait for the commits of each other, which extends the time
// between a decision and its commit.
const workers = 8

// A user that must not delete images with a tag prod* deletes no such tag, even if tags are put and moved concurrently.
func TestDeletionsWhileTagsMove(t *testing.T) {
	t.Parallel()
	d := newDeleting(t)
	rounds := int64(soak(50, 1000))
	var n atomic.Int64
	for _, pair := range pairs {
		t.Run(pair.deletion.name+", "+pair.change.name, func(t *testing.T) {
			var done, wrong atomic.Int64
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for done.Add(1) <= rounds && wrong.Load() == 0 {
						n := int(n.Add(1))
						im := d.image(n)
						d.put(t, fmt.Sprint("dev-", n), im)
						var answer string
						together(
							func() { answer = pair.ask(d, t, fmt.Sprint("dev-", n), im.Digest) },
							func() { pair.make(d, t, n) },
						)
						if !d.check(t, pair.change, n, "with the answer "+answer) {
							wrong.Add(1)
						}
					}
				})
			}
			wg.Wait()
		})
	}
	d.checkHistory(t)
}

// This is TestDeletionsWhileTagsMove with the change at each reading of the clock by the deletion.
func TestDeletionsStepped(t *testing.T) {
	t.Parallel()
	d := newDeleting(t)
	n := 0
	for _, pair := range pairs {
		t.Run(pair.deletion.name+", "+pair.change.name, func(t *testing.T) {
			step(t, d.clock, func() {
				n++
				d.put(t, fmt.Sprint("dev-", n), d.image(n))
			}, func() string {
				return pair.ask(d, t, fmt.Sprint("dev-", n), d.image(n).Digest)
			}, func() {
				pair.make(d, t, n)
			}, func(at string) {
				d.check(t, pair.change, n, at)
			})
		})
	}
	d.checkHistory(t)
}

// A request for several images is decided for each image. An image or tag that changes after its decision, while the
// others are decided or deleted, is not deleted.
func TestBatchDeleteImageStepped(t *testing.T) {
	t.Parallel()
	d := newDeleting(t)
	n := 0
	old := types.ImageIdentifier{ImageTag: aws.String("old")}
	for _, c := range []struct {
		deletes string
		id      func() types.ImageIdentifier
		change
	}{
		{"by tag", d.byTag(&n), prodOnImage}, {"by tag", d.byTag(&n), moveToProd},
		{"by tag", d.byTag(&n), moveToRelease}, {"by digest", d.byDigest(&n), prodOnImage},
	} {
		t.Run(c.deletes+", "+c.name, func(t *testing.T) {
			step(t, d.clock, func() {
				n++
				d.put(t, fmt.Sprint("dev-", n), d.image(n))
				d.put(t, "old", d.image(0))
			}, func() string {
				return d.apiDelete(t, c.id(), old)
			}, func() {
				c.make(d, t, n)
			}, func(at string) {
				d.check(t, c.change, n, at)
			})
		})
	}
	d.checkHistory(t)
}

// byTag returns a function that returns the id of the image of round *n, by tag.
func (d *deleting) byTag(n *int) func() types.ImageIdentifier {
	return func() types.ImageIdentifier {
		return types.ImageIdentifier{ImageTag: aws.String(fmt.Sprint("dev-", *n))}
	}
}

// byDigest is like byTag, by digest.
func (d *deleting) byDigest(n *int) func() types.ImageIdentifier {
	return func() types.ImageIdentifier {
		return types.ImageIdentifier{ImageDigest: aws.String(d.image(*n).Digest)}
	}
}
