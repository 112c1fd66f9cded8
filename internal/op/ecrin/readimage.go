package ecrin

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxReadConfig is how many bytes of a config are shown.
const maxReadConfig = 1 << 20

// ReadableImage is an image of a repository that a request reads.
type ReadableImage struct {
	ecr.Repository
	head   registry.ManifestHead
	config bool // the caller may read layers and configs
}

// AnswerBytes returns how many bytes of stored content the answer can have.
func (r ReadableImage) AnswerBytes() int64 { return r.head.Size + maxReadConfig }

// OnRead resolves the image that a request reads, by its tag or digest: for callers that may pull it too. Its config is read for those
// that may read layers.
func OnRead(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ReadImageRequest) (t guard.Target[ReadableImage],
	err error) {
	of, err := OnPinned(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[ReadableImage]{Value: ReadableImage{Repository: of.Value.Repository}, Asks: of.Asks, Absent: of.Absent}
	layers := t.Asks[0]
	if req.By.Kind != identity.Operator { // who has all actions of ecrin and none of ECR
		pull := t.Asks[0]
		pull.Action = "ecr:BatchGetImage"
		t.Asks = append(t.Asks, pull)
	}
	if t.Absent != nil {
		return t, nil
	}
	t.Value.head, err = s.registry.Head(ctx, of.Value.Repository.Repository, name.Reference{Digest: of.Value.Digest})
	if errors.Is(err, fault.ImageNotFound) { // deleted meanwhile
		t.Absent = registry.ImageNotFound()
		return t, nil
	}
	if err != nil {
		return t, err
	}
	layers.Action = "ecr:GetDownloadUrlForLayer"
	t.Value.config, err = s.guard.Allowed(ctx, req.By, req.From, layers)
	return t, err
}

// ReadImage returns the manifest of an image and its config, for people who look at it: it is no pull. imageConfigMissing says why there is
// no config where the manifest has one.
//
// Errors: fault.ImageNotFound, fault.RepositoryNotFound.
func (s *Service) ReadImage(ctx context.Context, _ identity.Caller, r ReadableImage,
	_ *ecrintypes.ReadImageRequest) (*ecrintypes.ReadImageResponse, error) {
	body, err := s.meta.Body(ctx, r.head.Digest) // a pull would be recorded
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ReadImageResponse{ImageDigest: r.head.Digest.String(), ImageManifestMediaType: r.head.MediaType,
		ImageManifest: string(body)}
	m, err := manifest.Parse(body, r.head.MediaType)
	if err != nil || m.Config == nil {
		return out, nil // manifests are checked when they are pushed
	}
	out.ImageConfig, out.ImageConfigMissing, err = s.readConfig(ctx, r, m.Config.Digest)
	return out, err
}

// readConfig returns a config, or why it is not shown.
func (s *Service) readConfig(ctx context.Context, r ReadableImage, d name.Digest) (text, missing string, err error) {
	if !r.config {
		return "", "it needs ecr:GetDownloadUrlForLayer", nil
	}
	content, held, err := s.registry.OpenBlob(ctx, r.Repository.Repository, d)
	if errors.Is(err, fault.BlobNotFound) || errors.Is(err, registry.ErrBytesLost) {
		return "", "it is not stored here", nil
	}
	if err != nil {
		return "", "", err
	}
	defer content.Close()
	if held.Size > maxReadConfig {
		return "", "it has more than a megabyte", nil
	}
	b, err := io.ReadAll(content)
	if err != nil {
		return "", "", err
	}
	if !utf8.Valid(b) {
		return "", "it is no text", nil
	}
	return string(b), "", nil
}
