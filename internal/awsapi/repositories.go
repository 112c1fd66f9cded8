package awsapi

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// find gives the repository that registryId and repositoryName name. Errors: fault.NameInvalid, fault.RepositoryNotFound.
func (a *API) find(c *call, registryID, repositoryName string) (meta.Repository, error) {
	reg, err := c.registryOf(registryID)
	if err != nil {
		return meta.Repository{}, err
	}
	repo, err := name.ParseRepo(repositoryName)
	if err != nil {
		return meta.Repository{}, err
	}
	return a.registry.Repository(c.ctx, reg, repo)
}

func (a *API) createRepository(c *call, in *ecrtypes.CreateRepositoryRequest) (*ecrtypes.CreateRepositoryResponse, error) {
	reg, err := c.registryOf(in.RegistryId)
	if err != nil {
		return nil, err
	}
	repo, err := name.ParseRepo(in.RepositoryName)
	if err != nil {
		return nil, err
	}
	m, err := mutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	labels, err := labelsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	r := meta.Repository{Registry: reg, Name: repo, Mutability: m}
	if s := in.ImageScanningConfiguration; s != nil && s.ScanOnPush != nil {
		r.ScanOnPush = *s.ScanOnPush
	}
	if e := in.EncryptionConfiguration; e != nil {
		if e.EncryptionType != ecrtypes.EncryptionTypeAES256 {
			return nil, badMember("encryptionConfiguration", "ecrin encrypts nothing itself: only AES256, which stands for the disk's own encryption, is accepted")
		}
		if e.KmsKey != "" {
			return nil, badMember("encryptionConfiguration", "kmsKey needs encryptionType KMS")
		}
	}
	r, err = a.registry.CreateRepository(c.ctx, r, labels)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.CreateRepositoryResponse{Repository: a.repository(c, r)}, nil
}

// mutability reads mode and filters. Source: ECR API reference, PutImageTagMutability.
func mutability(mode ecrtypes.ImageTagMutability, filters []ecrtypes.ImageTagMutabilityExclusionFilter) (meta.Mutability, error) {
	m := meta.Mutability{Mode: string(mode)}
	if m.Mode == "" {
		m.Mode = meta.Mutable
	}
	with := strings.HasSuffix(m.Mode, "_WITH_EXCLUSION")
	switch {
	case with && len(filters) == 0:
		return m, fault.InvalidParameter.New("ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as %s", m.Mode)
	case !with && len(filters) > 0:
		return m, fault.InvalidParameter.New("ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as %s", m.Mode)
	}
	for _, f := range filters {
		m.Filters = append(m.Filters, f.Filter)
	}
	return m, nil
}

func filtersOf(m meta.Mutability) []ecrtypes.ImageTagMutabilityExclusionFilter {
	var all []ecrtypes.ImageTagMutabilityExclusionFilter
	for _, f := range m.Filters {
		all = append(all, ecrtypes.ImageTagMutabilityExclusionFilter{FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWILDCARD, Filter: f})
	}
	return all
}

// repository shows a repository to the caller, with an address that the caller can push to.
func (a *API) repository(c *call, r meta.Repository) *ecrtypes.Repository {
	return &ecrtypes.Repository{
		RepositoryArn:                      r.ARN(),
		RegistryId:                         r.Registry.Account.String(),
		RepositoryName:                     r.Name.String(),
		RepositoryUri:                      a.hosts.URI(c.host, r.Registry, r.Name),
		CreatedAt:                          awswire.At(r.CreatedAt),
		ImageTagMutability:                 ecrtypes.ImageTagMutability(r.Mutability.Mode),
		ImageTagMutabilityExclusionFilters: filtersOf(r.Mutability),
		ImageScanningConfiguration:         &ecrtypes.ImageScanningConfiguration{ScanOnPush: &r.ScanOnPush},
		EncryptionConfiguration:            &ecrtypes.EncryptionConfiguration{EncryptionType: ecrtypes.EncryptionType(r.Encryption), KmsKey: r.KMSKey},
	}
}

func (a *API) describeRepositories(c *call, in *ecrtypes.DescribeRepositoriesRequest) (*ecrtypes.DescribeRepositoriesResponse, error) {
	out := &ecrtypes.DescribeRepositoriesResponse{Repositories: []ecrtypes.Repository{}}
	if len(in.RepositoryNames) > 0 {
		if in.MaxResults != nil || in.NextToken != "" {
			return nil, badMember("maxResults", "maxResults and nextToken cannot be used with repositoryNames")
		}
		for _, n := range in.RepositoryNames {
			r, err := a.find(c, in.RegistryId, n)
			if err != nil {
				return nil, err
			}
			out.Repositories = append(out.Repositories, *a.repository(c, r))
		}
		return out, nil
	}
	reg, err := c.registryOf(in.RegistryId)
	if err != nil {
		return nil, err
	}
	scope := "repositories " + reg.String()
	var after string
	if err := a.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := a.registry.Meta().Repositories(c.ctx, reg, after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = a.token(scope, rows[limit-1].Name.String())
	}
	for _, r := range rows {
		out.Repositories = append(out.Repositories, *a.repository(c, r))
	}
	return out, nil
}

func (a *API) deleteRepository(c *call, in *ecrtypes.DeleteRepositoryRequest) (*ecrtypes.DeleteRepositoryResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if err := a.registry.Meta().DeleteRepository(c.ctx, r, in.Force != nil && *in.Force); err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteRepositoryResponse{Repository: a.repository(c, r)}, nil
}

func (a *API) putImageTagMutability(c *call, in *ecrtypes.PutImageTagMutabilityRequest) (*ecrtypes.PutImageTagMutabilityResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	m, err := mutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	if err != nil {
		return nil, err
	}
	if err := a.registry.Meta().SetMutability(c.ctx, r, m); err != nil {
		return nil, err
	}
	return &ecrtypes.PutImageTagMutabilityResponse{
		RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		ImageTagMutability: ecrtypes.ImageTagMutability(m.Mode), ImageTagMutabilityExclusionFilters: filtersOf(m),
	}, nil
}

// labelsOf checks resource tags. Source: ECR user guide, tagging a private repository.
func labelsOf(tags []ecrtypes.Tag) (map[string]string, error) {
	labels := map[string]string{}
	for _, t := range tags {
		_, twice := labels[t.Key]
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
		labels[t.Key] = t.Value
	}
	if len(labels) > meta.MaxLabels {
		return nil, fault.TooManyTags.New("a repository can have at most %d tags, got %d", meta.MaxLabels, len(labels))
	}
	return labels, nil
}

func (a *API) resource(c *call, arn string) (meta.Repository, error) {
	reg, repo, err := name.ParseRepositoryARN(arn)
	if err != nil {
		return meta.Repository{}, err
	}
	return a.registry.Repository(c.ctx, reg, repo)
}

func (a *API) tagResource(c *call, in *ecrtypes.TagResourceRequest) (*ecrtypes.TagResourceResponse, error) {
	r, err := a.resource(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	labels, err := labelsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.TagResourceResponse{}, a.registry.Meta().PutLabels(c.ctx, r, labels)
}

func (a *API) untagResource(c *call, in *ecrtypes.UntagResourceRequest) (*ecrtypes.UntagResourceResponse, error) {
	r, err := a.resource(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.UntagResourceResponse{}, a.registry.Meta().RemoveLabels(c.ctx, r, in.TagKeys)
}

func (a *API) listTagsForResource(c *call, in *ecrtypes.ListTagsForResourceRequest) (*ecrtypes.ListTagsForResourceResponse, error) {
	r, err := a.resource(c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	labels, err := a.registry.Meta().Labels(c.ctx, r)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.ListTagsForResourceResponse{Tags: []ecrtypes.Tag{}}
	for _, l := range labels {
		out.Tags = append(out.Tags, ecrtypes.Tag{Key: l.Key, Value: l.Value})
	}
	return out, nil
}
