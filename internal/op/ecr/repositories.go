package ecr

import (
	"context"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CreateRepository creates a repository.
//
// Errors: fault.InvalidParameter (mutability filters; encryption with a key), fault.InvalidTagParameter,
// fault.TooManyTags, fault.RepositoryAlreadyExists, fault.AccountNotFound. Source: ECR API reference, CreateRepository.
func (s *Service) CreateRepository(ctx context.Context, _ identity.Caller, t NewRepository,
	in *ecrtypes.CreateRepositoryRequest) (*ecrtypes.CreateRepositoryResponse, error) {
	m, err := mutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	resourceTags, err := resourceTagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	r := meta.Repository{Registry: t.At.Registry, Name: t.Name, Mutability: m}
	if s := in.ImageScanningConfiguration; s != nil && s.ScanOnPush != nil {
		r.ScanOnPush = *s.ScanOnPush
	}
	if e := in.EncryptionConfiguration; e != nil {
		if err := unencrypted(e.EncryptionType, e.KmsKey); err != nil {
			return nil, err
		}
	}
	r, err = s.registry.CreateRepository(ctx, r, resourceTags)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.CreateRepositoryResponse{Repository: s.show(t.At, r)}, nil
}

// unencrypted checks that an encryption is the one of ECR without keys.
//
// Errors: fault.InvalidParameter.
func unencrypted(t ecrtypes.EncryptionType, key string) error {
	if t != ecrtypes.EncryptionTypeAES256 {
		return BadMember("encryptionConfiguration", "ecrin does not encrypt data: only AES256 is accepted, and encryption is left to the disk")
	}
	if key != "" {
		return BadMember("encryptionConfiguration", "kmsKey needs encryptionType KMS")
	}
	return nil
}

// mutability converts mode and filters, and checks that filters are present if and only if the mode has exclusions.
//
// Errors: fault.InvalidParameter. Source: ECR API reference, PutImageTagMutability.
func mutability(mode ecrtypes.ImageTagMutability, filters []ecrtypes.ImageTagMutabilityExclusionFilter) (meta.Mutability, error) {
	m := meta.Mutability{Mode: string(mode)}
	if m.Mode == "" {
		m.Mode = meta.Mutable
	}
	exclusion := strings.HasSuffix(m.Mode, "_WITH_EXCLUSION")
	switch {
	case exclusion && len(filters) == 0:
		return m, badFilters("can't", m.Mode)
	case !exclusion && len(filters) > 0:
		return m, badFilters("must", m.Mode)
	}
	for _, f := range filters {
		m.Filters = append(m.Filters, f.Filter)
	}
	return m, nil
}

// badFilters returns the error for filters that the mode does not have, or lacks. Source: answers of ECR.
func badFilters(verb, mode string) error {
	return fault.InvalidParameter.New("Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: "+
		"'ImageTagMutabilityExclusionFilters %s be null when imageTagMutability is set as %s'", verb, mode)
}

func filtersOf(m meta.Mutability) []ecrtypes.ImageTagMutabilityExclusionFilter {
	var all []ecrtypes.ImageTagMutabilityExclusionFilter
	for _, f := range m.Filters {
		all = append(all, ecrtypes.ImageTagMutabilityExclusionFilter{
			FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWILDCARD, Filter: f})
	}
	return all
}

// show returns the description of a repository. Its repositoryUri is on the host of the request.
func (s *Service) show(at Registry, r meta.Repository) *ecrtypes.Repository {
	return &ecrtypes.Repository{
		RepositoryArn:                      r.ARN(),
		RegistryId:                         r.Registry.Account.String(),
		RepositoryName:                     r.Name.String(),
		RepositoryUri:                      s.hosts.URI(at.Host, r.Registry, r.Name),
		CreatedAt:                          awswire.At(r.CreatedAt),
		ImageTagMutability:                 ecrtypes.ImageTagMutability(r.Mutability.Mode),
		ImageTagMutabilityExclusionFilters: filtersOf(r.Mutability),
		ImageScanningConfiguration:         &ecrtypes.ImageScanningConfiguration{ScanOnPush: &r.ScanOnPush},
		EncryptionConfiguration: &ecrtypes.EncryptionConfiguration{
			EncryptionType: ecrtypes.EncryptionType(r.Encryption), KmsKey: r.KMSKey},
	}
}

// DescribeRepositories describes the repositories that the request names, or one page of all repositories of a
// registry.
//
// Errors: fault.InvalidParameter (the token; both names and a page). Source: ECR API reference, DescribeRepositories.
func (s *Service) DescribeRepositories(ctx context.Context, _ identity.Caller, t Repositories,
	in *ecrtypes.DescribeRepositoriesRequest) (*ecrtypes.DescribeRepositoriesResponse, error) {
	out := &ecrtypes.DescribeRepositoriesResponse{Repositories: []ecrtypes.Repository{}}
	if len(t.Named) > 0 {
		if in.MaxResults != nil || in.NextToken != "" {
			return nil, BadMember("maxResults", "maxResults and nextToken cannot be used with repositoryNames")
		}
		for _, r := range t.Named {
			out.Repositories = append(out.Repositories, *s.show(t.At, r.Repository))
		}
		return out, nil
	}
	scope := "repositories " + t.At.String()
	var after string
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	page, more, err := s.registry.Repositories(ctx, t.At.Registry, after, pageSize(in.MaxResults, 100))
	if err != nil {
		return nil, err
	}
	if more {
		out.NextToken = s.pages.Listing(scope).SealJSON(page[len(page)-1].Name.String())
	}
	for _, r := range page {
		out.Repositories = append(out.Repositories, *s.show(t.At, r))
	}
	return out, nil
}

// DeleteRepository marks a repository as deleted. Without force, the repository must not contain images.
//
// Errors: fault.RepositoryNotEmpty, fault.RepositoryNotFound. Source: ECR API reference, DeleteRepository.
func (s *Service) DeleteRepository(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.DeleteRepositoryRequest) (*ecrtypes.DeleteRepositoryResponse, error) {
	if err := s.meta.DeleteRepository(ctx, r.Repository, in.Force != nil && *in.Force); err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteRepositoryResponse{Repository: s.show(r.At, r.Repository)}, nil
}

// PutImageTagMutability sets whether tags can be moved to another image by later pushes.
//
// Errors: fault.InvalidParameter (the filters), fault.RepositoryNotFound.
// Source: ECR API reference, PutImageTagMutability.
func (s *Service) PutImageTagMutability(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.PutImageTagMutabilityRequest) (*ecrtypes.PutImageTagMutabilityResponse, error) {
	m, err := mutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	if err := s.meta.SetMutability(ctx, r.Repository, m); err != nil {
		return nil, err
	}
	return &ecrtypes.PutImageTagMutabilityResponse{
		RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		ImageTagMutability: ecrtypes.ImageTagMutability(m.Mode), ImageTagMutabilityExclusionFilters: filtersOf(m),
	}, nil
}

// PutImageScanningConfiguration sets what ScanOnPush of a repository is. It is stored and shown; images are not scanned.
//
// Errors: fault.RepositoryNotFound. Source: ECR API reference, PutImageScanningConfiguration.
func (s *Service) PutImageScanningConfiguration(ctx context.Context, _ identity.Caller, r Repository,
	in *ecrtypes.PutImageScanningConfigurationRequest) (*ecrtypes.PutImageScanningConfigurationResponse, error) {
	onPush := in.ImageScanningConfiguration.ScanOnPush != nil && *in.ImageScanningConfiguration.ScanOnPush
	if err := s.meta.SetScanOnPush(ctx, r.Repository, onPush); err != nil {
		return nil, err
	}
	return &ecrtypes.PutImageScanningConfigurationResponse{
		RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{ScanOnPush: &onPush},
	}, nil
}

// resourceTagsOf converts and checks resource tags.
//
// Errors: fault.InvalidTagParameter, fault.TooManyTags. Source: ECR user guide, tagging a private repository.
func resourceTagsOf(tags []ecrtypes.Tag) (map[string]string, error) {
	resourceTags := map[string]string{}
	for _, t := range tags {
		_, twice := resourceTags[t.Key]
		switch {
		case t.Key == "" || len([]rune(t.Key)) > 128:
			return nil, fault.InvalidTagParameter.New("a tag key has 1 to 128 characters, got %q", name.Clip(t.Key))
		case len([]rune(t.Value)) > 256:
			return nil, fault.InvalidTagParameter.New("the value of tag %q has more than 256 characters", name.Clip(t.Key))
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, fault.InvalidTagParameter.New("tag keys that start with aws: are reserved, got %q", name.Clip(t.Key))
		case twice:
			return nil, fault.InvalidTagParameter.New("tag key %q is given twice", name.Clip(t.Key))
		}
		resourceTags[t.Key] = t.Value
	}
	if len(resourceTags) > meta.MaxResourceTags {
		return nil, fault.TooManyTags.New("a repository can have at most %d tags, got %d", meta.MaxResourceTags, len(resourceTags))
	}
	return resourceTags, nil
}

// TagResource adds or replaces resource tags of a repository.
//
// Errors: fault.InvalidTagParameter, fault.TooManyTags, fault.RepositoryNotFound. Source: ECR API reference,
// TagResource.
func (s *Service) TagResource(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.TagResourceRequest) (*ecrtypes.TagResourceResponse, error) {
	resourceTags, err := resourceTagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.TagResourceResponse{}, s.meta.PutResourceTags(ctx, r.Repository, resourceTags)
}

// UntagResource removes resource tags. Keys that the repository does not have are ignored.
//
// Errors: fault.RepositoryNotFound. Source: ECR API reference, UntagResource.
func (s *Service) UntagResource(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.UntagResourceRequest) (*ecrtypes.UntagResourceResponse, error) {
	return &ecrtypes.UntagResourceResponse{}, s.meta.RemoveResourceTags(ctx, r.Repository, in.TagKeys)
}

// ListTagsForResource returns the resource tags of a repository in the order of their keys.
//
// Source: ECR API reference, ListTagsForResource.
func (s *Service) ListTagsForResource(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.ListTagsForResourceRequest) (*ecrtypes.ListTagsForResourceResponse, error) {
	resourceTags, err := s.meta.ResourceTags(ctx, r.Repository)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.ListTagsForResourceResponse{Tags: []ecrtypes.Tag{}}
	for _, t := range resourceTags {
		out.Tags = append(out.Tags, ecrtypes.Tag{Key: t.Key, Value: t.Value})
	}
	return out, nil
}
