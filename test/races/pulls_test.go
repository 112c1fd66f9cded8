package races_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// moving is a repository with a tag that alternates between two images, only one of which a user may pull.
type moving struct {
	*registry
	root           ocitest.Repo // the root user's client
	user           actor
	allowed, other ocitest.Image
}

const (
	repository = "team/app"
	movingTag  = "latest"
)

func newMoving(t *testing.T) *moving {
	t.Helper()
	s := serve(t)
	m := &moving{registry: s, root: s.repository(t, repository)}
	m.allowed, m.other = ocitest.NewImage(1, 100), ocitest.NewImage(2, 100)
	m.root.Push(t, movingTag, m.other)
	m.root.Push(t, movingTag, m.allowed)
	m.user = s.user(t, "limited",
		statement("Allow", "ecr:BatchGetImage", equals("ecrin:ImageDigest", m.allowed.Digest)+","+timed),
		slowly("ecr:BatchGetImage"))
	return m
}

// point sets the tag to an image.
func (m *moving) point(ctx context.Context, to ocitest.Image) error {
	path, body := m.root.Path("/manifests/"+movingTag), bytes.NewReader(to.Manifest)
	a, err := m.root.Try(ctx, http.MethodPut, path, body, "Content-Type", ocitest.ImageType)
	if err == nil && a.Status != http.StatusCreated {
		err = fmt.Errorf("%s: got %d %s, want 201", a.Asked, a.Status, a.Body)
	}
	return err
}

// pullers is the number of clients that pull concurrently.
const pullers = 8

// outcome is the result of a pull.
type outcome struct {
	status int    // 200, or 403 for a refusal
	digest string // of the image in the answer
}

// soak pulls a number of times while the tag moves. Each pull must return the allowed image or be refused.
func (m *moving) soak(t *testing.T, pulls int, pull func(i int) (outcome, error)) {
	t.Helper()
	var next, served, refused, wrong atomic.Int64
	var moves int
	done := make(chan struct{})
	var mover, wg sync.WaitGroup
	mover.Go(func() {
		for ; ; moves++ {
			select {
			case <-done:
				return
			default:
			}
			to := m.allowed
			if moves%2 == 0 {
				to = m.other
			}
			if err := m.point(context.WithoutCancel(t.Context()), to); err != nil {
				t.Error(err)
			}
		}
	})
	for range pullers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(pulls); i = next.Add(1) {
				got, err := pull(int(i))
				switch {
				case err != nil:
					t.Errorf("pull %d: %v", i, err)
				case got == outcome{http.StatusOK, m.allowed.Digest}:
					served.Add(1)
				case got.status == http.StatusForbidden:
					refused.Add(1)
				case wrong.Add(1) == 1:
					t.Errorf("pull %d: got %d with image %q, want 200 with image %s or 403",
						i, got.status, got.digest, m.allowed.Digest)
				}
			}
		})
	}
	wg.Wait()
	close(done)
	mover.Wait()
	t.Logf("%d pulls while the tag moved %d times: %d served, %d refused, %d wrong",
		pulls, moves, served.Load(), refused.Load(), wrong.Load())
	if served.Load() == 0 || refused.Load() == 0 {
		t.Errorf("got %d pulls served and %d refused, want some of each", served.Load(), refused.Load())
	}
}

// A user that may pull only one image, by its digest, never receives another image or its digest by a moving tag of the
// OCI distribution API.
func TestPullByMovingTag(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	repo := m.user.docker(t, repository)
	m.soak(t, soak(3_000, 100_000), func(i int) (outcome, error) {
		method := http.MethodGet
		if i%8 == 0 {
			method = http.MethodHead
		}
		path := repo.Path("/manifests/" + movingTag)
		a, err := repo.Try(context.WithoutCancel(t.Context()), method, path, nil, "Referer", referer)
		if err != nil {
			return outcome{}, err
		}
		got := outcome{a.Status, a.Header.Get("Docker-Content-Digest")}
		if body := ocitest.SHA256(a.Body); method == http.MethodGet && a.Status == http.StatusOK && body != got.digest {
			return got, fmt.Errorf("%s: got a body with digest %s, want %s as in the header", a.Asked, body, got.digest)
		}
		return got, nil
	})
}

// batchGet calls BatchGetImage. If several images are returned, the digest of the outcome is that of an image that is
// not allowed, if there is one.
func (m *moving) batchGet(t *testing.T, ids ...types.ImageIdentifier) (outcome, error) {
	t.Helper()
	in := ecr.BatchGetImageInput{RepositoryName: aws.String(repository), ImageIds: ids}
	out, err := m.user.ecr.BatchGetImage(context.WithoutCancel(t.Context()), &in, withReferer)
	switch {
	case code(err) == "AccessDeniedException":
		return outcome{status: http.StatusForbidden}, nil
	case err != nil:
		return outcome{}, err
	case len(out.Images) != len(ids) || len(out.Failures) > 0:
		return outcome{}, fmt.Errorf("BatchGetImage: got %d images and %d failures, want %d and none",
			len(out.Images), len(out.Failures), len(ids))
	}
	got := outcome{status: http.StatusOK}
	for _, im := range out.Images {
		digest := aws.ToString(im.ImageId.ImageDigest)
		if body := ocitest.SHA256([]byte(aws.ToString(im.ImageManifest))); body != digest {
			return got, fmt.Errorf("BatchGetImage: got a manifest with digest %s, want %s as its imageId", body, digest)
		}
		if got.digest == "" || digest != m.allowed.Digest {
			got.digest = digest
		}
	}
	return got, nil
}

// This is TestPullByMovingTag with BatchGetImage.
func TestBatchGetImageByMovingTag(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	m.soak(t, soak(1_000, 5_000), func(int) (outcome, error) {
		return m.batchGet(t, types.ImageIdentifier{ImageTag: aws.String(movingTag)})
	})
}

// A request for several images is decided for each image. If a tag moves after its decision, while the other images are
// decided, the request does not return the image that the tag then names.
func TestBatchGetImageStepped(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	ctx := context.WithoutCancel(t.Context())
	point := func(to ocitest.Image) func() {
		return func() {
			if err := m.point(ctx, to); err != nil {
				t.Error(err)
			}
		}
	}
	tag := types.ImageIdentifier{ImageTag: aws.String(movingTag)}
	digest := types.ImageIdentifier{ImageDigest: &m.allowed.Digest}
	var got outcome
	step(t, m.clock, point(m.allowed), func() string {
		var err error
		if got, err = m.batchGet(t, tag, digest); err != nil {
			t.Error(err)
		}
		return fmt.Sprint(got.status)
	}, point(m.other), func(at string) {
		if got.status == http.StatusOK && got.digest != m.allowed.Digest {
			t.Errorf("tag %s %s: got image %s, want %s or 403", movingTag, at, got.digest, m.allowed.Digest)
		}
	})
}
