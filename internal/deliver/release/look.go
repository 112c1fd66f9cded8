package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/preflight"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of what is read to describe an image.
const (
	maxConfig   = 4 << 20 // bytes of a configuration
	maxTagPages = 10      // of 1000 tags each, to find those that are like a missing one
	maxChildren = 100     // of an index, whose sizes are read
)

// Server is a server of the ECR API, and its decisions if it is an ecrin.
type Server struct {
	// Config returns the configuration of calls for a registry of an account.
	Config func(ctx context.Context, account string) (aws.Config, error)
	// Call calls an operation of ecrin in a region.
	Call func(ctx context.Context, region, operation string, in, out any) error
}

// Place is where an image is in a registry of the server.
type Place struct {
	Registry name.Registry
	Repo     name.Repo
	Tag      string // "" if a digest alone names the image
	Digest   string // "" if a tag names it
}

// reference returns what the name of the image ends with, such as team/app:1.0.
func (p Place) reference() string {
	switch {
	case p.Digest != "":
		return p.Repo.String() + "@" + p.Digest
	default:
		return p.Repo.String() + ":" + p.Tag
	}
}

func (p Place) id() types.ImageIdentifier {
	if p.Digest != "" {
		return types.ImageIdentifier{ImageDigest: &p.Digest}
	}
	return types.ImageIdentifier{ImageTag: &p.Tag}
}

// Facts are what is known of an image.
type Facts struct {
	Digest    string
	Platforms []string // OS/ARCH[/VARIANT]; none if the image does not state them
	Size      int64    // bytes of the image for one platform
	Blob      string   // digest of a configuration of the image; "" if none was read
}

// Problem is why an image cannot be deployed, and what to do about it.
type Problem struct {
	Code string   `json:"code"` // of ECR where it has one, such as ImageNotFoundException
	Text string   `json:"text"`
	Add  []string `json:"add"` // commands, and policies to paste
}

// The codes of problems that ECR has no code for.
const (
	RegionDiffers  = "RegionDiffers"
	PlatformAbsent = "PlatformNotFound"
	AccessDenied   = "AccessDeniedException"
	NotAsked       = "RegistryUnavailable"
	ImageNotFound  = "ImageNotFoundException"
)

// client returns a client of the ECR API for a registry.
func (s *Server) client(ctx context.Context, r name.Registry) (*ecr.Client, error) {
	cfg, err := s.Config(ctx, r.Account.String())
	if err != nil {
		return nil, err
	}
	return ecr.NewFromConfig(cfg, func(o *ecr.Options) { o.Region = r.Region.String() }), nil
}

// problemOf returns the problem that an error of a call is.
func problemOf(err error) *Problem {
	if api := (smithy.APIError)(nil); errors.As(err, &api) {
		return &Problem{Code: api.ErrorCode(), Text: api.ErrorCode() + ": " + api.ErrorMessage(), Add: []string{}}
	}
	return &Problem{Code: NotAsked, Text: err.Error(), Add: []string{}}
}

// Look returns what an image is. The read of its manifest counts as a pull of the caller, as always with ECR. platform is the one whose
// size is wanted, "" for the first.
func (s *Server) Look(ctx context.Context, p Place, platform string) (f Facts, _ *Problem) {
	calls, err := s.client(ctx, p.Registry)
	if err != nil {
		return f, problemOf(err)
	}
	account, repo := p.Registry.Account.String(), p.Repo.String()
	out, err := calls.DescribeImages(ctx, &ecr.DescribeImagesInput{RegistryId: &account, RepositoryName: &repo,
		ImageIds: []types.ImageIdentifier{p.id()}})
	if err != nil {
		bad := problemOf(err)
		switch bad.Code {
		case AccessDenied:
			return s.read(ctx, calls, p, platform)
		case ImageNotFound:
			bad.Text += s.nearest(ctx, calls, p)
			bad.Add = []string{"push the image, or correct its name"}
		case "RepositoryNotFoundException":
			bad.Add = []string{fmt.Sprintf("aws ecr create-repository --region %s --repository-name %s, by the account %s", p.Registry.Region,
				repo, account)}
		}
		return f, bad
	}
	if len(out.ImageDetails) == 0 {
		return f, &Problem{Code: ImageNotFound, Text: ImageNotFound + ": the registry has no " + p.reference(), Add: []string{}}
	}
	f.Digest, f.Size = aws.ToString(out.ImageDetails[0].ImageDigest), aws.ToInt64(out.ImageDetails[0].ImageSizeInBytes)
	body, _, bad := s.manifest(ctx, calls, account, repo, types.ImageIdentifier{ImageDigest: &f.Digest})
	if bad != nil {
		return f, bad
	}
	s.describe(ctx, calls, account, repo, body, platform, &f)
	return f, nil
}

// read returns what the manifest of an image says, for a caller who may pull and not list: ecr:DescribeImages is not among the actions of a
// pull.
func (s *Server) read(ctx context.Context, calls *ecr.Client, p Place, platform string) (f Facts, _ *Problem) {
	account, repo := p.Registry.Account.String(), p.Repo.String()
	body, digest, bad := s.manifest(ctx, calls, account, repo, p.id())
	if bad != nil {
		switch bad.Code {
		case AccessDenied:
			bad.Text += "; whether the image is there is not known"
		case ImageNotFound:
			bad.Add = []string{"push the image, or correct its name"}
		}
		return f, bad
	}
	f.Digest = digest
	s.describe(ctx, calls, account, repo, body, platform, &f)
	return f, nil
}

// nearest returns a text with the tags that are most like one that is missing.
func (s *Server) nearest(ctx context.Context, calls *ecr.Client, p Place) string {
	if p.Tag == "" {
		return ""
	}
	account, repo, most := p.Registry.Account.String(), p.Repo.String(), int32(1000)
	pages := ecr.NewListImagesPaginator(calls, &ecr.ListImagesInput{RegistryId: &account, RepositoryName: &repo, MaxResults: &most,
		Filter: &types.ListImagesFilter{TagStatus: types.TagStatusTagged}})
	var tags []string
	for n := 0; pages.HasMorePages() && n < maxTagPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "" // who may not list tags gets none
		}
		for _, i := range page.ImageIds {
			tags = append(tags, aws.ToString(i.ImageTag))
		}
	}
	slices.Sort(tags)
	if len(tags) == 0 {
		return "; the repository has no tags"
	}
	return "; the nearest tags are " + strings.Join(preflight.Nearest(p.Tag, slices.Compact(tags), 3), ", ")
}

// document is a manifest or an index.
type document struct {
	Manifests []struct {
		Digest   string
		Platform platform
	}
	Config struct {
		Digest string
		Size   int64
	}
	Layers []struct{ Size int64 }
}

type platform struct{ OS, Architecture, Variant string }

// String returns OS/ARCH[/VARIANT].
func (p platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

func (d document) size() int64 {
	n := d.Config.Size
	for _, l := range d.Layers {
		n += l.Size
	}
	return n
}

// manifest reads a manifest, and returns its digest too.
func (s *Server) manifest(ctx context.Context, calls *ecr.Client, account, repo string, id types.ImageIdentifier) (d document,
	digest string, _ *Problem) {
	out, err := calls.BatchGetImage(ctx, &ecr.BatchGetImageInput{RegistryId: &account, RepositoryName: &repo,
		ImageIds:           []types.ImageIdentifier{id},
		AcceptedMediaTypes: []string{manifest.OCIManifest, manifest.OCIIndex, manifest.DockerSchema2, manifest.DockerList}})
	if err != nil {
		return d, "", problemOf(err)
	}
	if len(out.Images) == 0 || out.Images[0].ImageId == nil {
		why := ImageNotFound + ": the image " + aws.ToString(id.ImageTag) + aws.ToString(id.ImageDigest) + " is not there"
		if len(out.Failures) > 0 {
			why = ImageNotFound + ": " + aws.ToString(out.Failures[0].FailureReason)
		}
		return d, "", &Problem{Code: ImageNotFound, Text: why, Add: []string{}}
	}
	digest = aws.ToString(out.Images[0].ImageId.ImageDigest)
	if err := json.Unmarshal([]byte(aws.ToString(out.Images[0].ImageManifest)), &d); err != nil {
		return d, "", &Problem{Code: ImageNotFound, Text: "the manifest of " + digest + " is not JSON", Add: []string{}}
	}
	return d, digest, nil
}

// describe adds platforms and size. What cannot be read stays out.
func (s *Server) describe(ctx context.Context, calls *ecr.Client, account, repo string, d document, want string, f *Facts) {
	if len(d.Manifests) == 0 {
		f.Size, f.Blob = d.size(), d.Config.Digest
		if p := s.configured(ctx, calls, account, repo, d.Config.Digest); p.OS != "" {
			f.Platforms = []string{p.String()}
		}
		return
	}
	f.Size = 0
	for _, m := range d.Manifests[:min(len(d.Manifests), maxChildren)] {
		if m.Platform.OS == "" || m.Platform.OS == "unknown" {
			continue
		}
		f.Platforms = append(f.Platforms, m.Platform.String())
		if f.Size == 0 && (want == "" || MatchPlatform(want, m.Platform.String())) {
			id := types.ImageIdentifier{ImageDigest: &m.Digest}
			if child, _, bad := s.manifest(ctx, calls, account, repo, id); bad == nil {
				f.Size, f.Blob = child.size(), child.Config.Digest
			}
		}
	}
}

// MatchPlatform reports whether an image for a platform, OS/ARCH[/VARIANT], is one for another, which may leave the variant out.
func MatchPlatform(want, have string) bool { return have == want || strings.HasPrefix(have, want+"/") }

// configured returns the platform of the configuration of an image; the zero value if it cannot be read.
func (s *Server) configured(ctx context.Context, calls *ecr.Client, account, repo, digest string) (p platform) {
	if digest == "" {
		return p
	}
	out, err := calls.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RegistryId: &account, RepositoryName: &repo,
		LayerDigest: &digest})
	if err != nil {
		return p
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, aws.ToString(out.DownloadUrl), nil)
	if err != nil {
		return p
	}
	resp, err := calls.Options().HTTPClient.Do(req)
	if err != nil {
		return p
	}
	defer func() { _ = resp.Body.Close() }() // it is read
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, maxConfig)).Decode(&p) != nil {
		return platform{}
	}
	return p
}

// tryPull reports whether the caller, who has read the manifest of an image, may log in and read a blob of it too, by doing so.
func (s *Server) tryPull(ctx context.Context, p Place, blob string) (string, *Problem) {
	calls, err := s.client(ctx, p.Registry)
	if err == nil {
		_, err = calls.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	}
	if err == nil && blob != "" {
		account, repo := p.Registry.Account.String(), p.Repo.String()
		_, err = calls.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RegistryId: &account, RepositoryName: &repo,
			LayerDigest: &blob})
	}
	if err == nil {
		return MayPull, nil
	}
	bad := problemOf(err)
	if bad.Code != AccessDenied {
		return Unknown, bad
	}
	return MayNotPull, bad
}

// Pullers returns whom the policy of a repository lets pull, "with conditions" behind those that have some; none if there is no policy, or
// the caller may not read it.
func (s *Server) Pullers(ctx context.Context, p Place) []string {
	all := []string{}
	calls, err := s.client(ctx, p.Registry)
	if err != nil {
		return all
	}
	account, repo := p.Registry.Account.String(), p.Repo.String()
	out, err := calls.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RegistryId: &account, RepositoryName: &repo})
	if err != nil {
		return all
	}
	d, err := policy.ParseStored(aws.ToString(out.PolicyText), policy.Repository)
	if err != nil {
		return all
	}
	for _, g := range policy.Grantees(d, "ecr:BatchGetImage") {
		if g.Conditional {
			g.Principal += " with conditions"
		}
		all = append(all, g.Principal)
	}
	return all
}
