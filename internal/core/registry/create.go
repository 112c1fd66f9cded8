package registry

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Template is a repository creation template.
type Template = meta.Template

// The cases in which a repository is created without a call of CreateRepository.
const (
	ForPush        = meta.ForPush
	ForPullThrough = meta.ForPullThrough
	ForReplication = meta.ForReplication
)

// orDefault reports whether a repository is created in a case although no template applies: with the defaults of ECR. A push creates none
// then, unless the setting create_on_push is on, which has the effect of a template with the prefix ROOT in each registry.
// Source: ECR user guide, repository creation templates.
func (s *Service) orDefault(c meta.CreationCase) bool { return c != ForPush || s.createOnPush }

// TemplateFor returns the template by which Create creates a repository in a case now; the zero Template for the defaults of ECR.
//
// Errors: fault.TemplateNotFound (Create does not create it).
func (s *Service) TemplateFor(ctx context.Context, reg name.Registry, repo name.Repo, c meta.CreationCase) (Template, error) {
	v, err := s.meta.TemplateFor(ctx, reg, repo, c)
	if errors.Is(err, fault.TemplateNotFound) && s.orDefault(c) {
		return Template{}, nil
	}
	return v, err
}

// Create creates a repository in a case: by the template of the registry that applies, in one transaction with its policy and resource
// tags. If none applies, a push does not create it; a pull-through cache and a replication create it with the defaults of ECR.
//
// Errors: fault.TemplateNotFound, fault.InvalidParameter (the template has resource tags and no role), fault.RepositoryAlreadyExists,
// fault.AccountNotFound.
func (s *Service) Create(ctx context.Context, reg name.Registry, repo name.Repo, c meta.CreationCase) (Repository, error) {
	return s.meta.CreateByTemplate(ctx, reg, repo, c, s.orDefault(c))
}

// CreateForPush is Create for a push to which the guard has allowed it. It always returns an error: the decision about the push is made
// again, with the repository as it is now.
//
// Errors: fault.TargetChanged (it was created, perhaps by another request, or no template applies any more), and those of Create.
func (s *Service) CreateForPush(ctx context.Context, reg name.Registry, repo name.Repo) error {
	_, err := s.Create(ctx, reg, repo, ForPush)
	if err == nil || errors.Is(err, fault.RepositoryAlreadyExists) || errors.Is(err, fault.TemplateNotFound) {
		return fault.TargetChanged.New("the repository '%s' was created", repo).Because(err)
	}
	return err
}

// CreateRepository creates a repository. Empty settings are set to the defaults of ECR: mutable tags, AES256.
//
// Errors: fault.RepositoryAlreadyExists, fault.TooManyTags, fault.AccountNotFound.
func (s *Service) CreateRepository(ctx context.Context, r meta.Repository, resourceTags map[string]string) (meta.Repository, error) {
	if r.Mutability.Mode == "" {
		r.Mutability.Mode = meta.Mutable
	}
	if r.Encryption == "" {
		r.Encryption = meta.EncryptionAES256
	}
	r.CreatedAt = s.now()
	return s.meta.CreateRepository(ctx, r, resourceTags)
}
