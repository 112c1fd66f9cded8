package ecr

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Registry is the registry that a request is about, with the host that was asked for it.
type Registry struct {
	name.Registry
	Host   endpoint.Host
	Secure bool // the host was asked by TLS
}

// Repository is the repository that a request is about. Its number tells it from another one of the same name.
type Repository struct {
	meta.Repository
	At Registry
}

// repositoryNamed is an input with the members registryId and repositoryName.
type repositoryNamed interface {
	GetRegistryId() string
	GetRepositoryName() string
}

// RegistryOf is the registry that registryId names in the request's region; without it the caller's own.
// Errors: fault.InvalidParameter (not an account's digits, or a caller without an account).
func RegistryOf(req guard.Request, id string) (Registry, error) {
	at := Registry{Registry: req.Own(), Host: req.Host, Secure: req.From.Secure}
	if id == "" {
		if at.Account == (name.Account{}) {
			return at, BadMember("registryId", "Member must not be null: the operator has no registry of its own")
		}
		return at, nil
	}
	var err error
	at.Account, err = name.ParseAccount(id)
	return at, err
}

// Repository resolves a repository of a registry by its name. A name outside the grammar names none, and the operation
// says so to those who may ask.
func (s *Service) Repository(ctx context.Context, at Registry, repositoryName string) (guard.Target[Repository], error) {
	t := guard.On(Repository{At: at}, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN(repositoryName)})
	repo, err := name.ParseRepo(repositoryName)
	if err != nil {
		t.Absent = err
		return t, nil
	}
	return t, s.find(ctx, &t, repo)
}

// find sets the repository of a target.
func (s *Service) find(ctx context.Context, t *guard.Target[Repository], repo name.Repo) error {
	r, err := s.registry.Repository(ctx, t.Value.At.Registry, repo)
	if errors.Is(err, fault.RepositoryNotFound) {
		t.Absent = err
		return nil
	}
	if err != nil {
		return err
	}
	t.Value.Repository, t.Asks[0].Repository = r, &r
	return nil
}

// OnRepository resolves the repository that registryId and repositoryName name.
func OnRepository[In repositoryNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Repository], error) {
	at, err := RegistryOf(req, in.GetRegistryId())
	if err != nil {
		return guard.Target[Repository]{}, err
	}
	return s.Repository(ctx, at, in.GetRepositoryName())
}

// NewRepository is the name of a repository to be made.
type NewRepository struct {
	Name name.Repo
	At   Registry
}

// OnNewRepository resolves the name of a repository that a request creates.
func OnNewRepository(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.CreateRepositoryRequest) (t guard.Target[NewRepository], err error) {
	found, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[NewRepository]{Value: NewRepository{At: found.Value.At}, Asks: guard.WithRequestTags(found.Asks, in)}
	t.Value.Name, t.Absent = name.ParseRepo(in.RepositoryName)
	return t, nil
}

// OnRegistry resolves the caller's own registry, for operations that have no resource in IAM.
func OnRegistry[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[Registry], error) {
	at := Registry{Registry: req.Own(), Host: req.Host, Secure: req.From.Secure}
	return guard.On(at, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: "*"}), nil
}

// Repositories are those that a listing names, or, without names, all of a registry.
type Repositories struct {
	Named []Repository
	At    Registry
}

// OnRepositories resolves the repositories of a listing.
func OnRepositories(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.DescribeRepositoriesRequest) (t guard.Target[Repositories], err error) {
	at, err := RegistryOf(req, in.RegistryId)
	if err != nil {
		return t, err
	}
	t.Value.At = at
	if len(in.RepositoryNames) == 0 {
		t.Asks = []guard.Ask{{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: at.RepositoryARN("*")}}
		return t, nil
	}
	for _, n := range in.RepositoryNames {
		one, err := s.Repository(ctx, at, n)
		if err != nil {
			return t, err
		}
		t.Value.Named, t.Asks = append(t.Value.Named, one.Value), append(t.Asks, one.Asks...)
		if t.Absent == nil {
			t.Absent = one.Absent
		}
	}
	return t, nil
}

// OnResource resolves the repository that the ARN of a request names.
func OnResource[In interface{ GetResourceArn() string }](s *Service, ctx context.Context, req guard.Request, in In) (t guard.Target[Repository], err error) {
	reg, repo, err := name.ParseRepositoryARN(in.GetResourceArn())
	if err == nil && reg.Region != req.Region {
		err = BadMember("resourceArn", "Invalid ARN")
	}
	if err != nil {
		return t, err
	}
	at := Registry{Registry: reg, Host: req.Host, Secure: req.From.Secure}
	t, err = s.Repository(ctx, at, repo.String())
	t.Asks = guard.WithRequestTags(t.Asks, in)
	return t, err
}

// Images are images that a request names in a repository, each as it was when the request was decided.
type Images struct {
	Repository
	Named []NamedImage
}

// NamedImage is what an image id of a request names.
type NamedImage struct {
	ID      ecrtypes.ImageIdentifier
	Tag     name.Tag // that the request named; none for an image named by its digest
	Head    registry.ManifestHead
	Failure *ecrtypes.ImageFailure // why it names none; nil when Head is set
}

// OnImages resolves the images that imageIds name.
func OnImages[In interface {
	repositoryNamed
	*ecrtypes.BatchGetImageRequest | *ecrtypes.DescribeImagesRequest
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Images], error) {
	var ids []ecrtypes.ImageIdentifier
	switch v := any(in).(type) {
	case *ecrtypes.BatchGetImageRequest:
		ids = v.ImageIds
	case *ecrtypes.DescribeImagesRequest:
		ids = v.ImageIds
	}
	return onImages(s, ctx, req, in, ids)
}

func onImages(s *Service, ctx context.Context, req guard.Request, in repositoryNamed, ids []ecrtypes.ImageIdentifier) (t guard.Target[Images], err error) {
	of, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[Images]{Value: Images{Repository: of.Value}, Asks: of.Asks, Absent: of.Absent}
	if len(ids) == 0 {
		return t, nil
	}
	ask := of.Asks[0]
	t.Asks = nil
	for _, id := range ids {
		one, err := s.image(ctx, of.Value.Repository, id)
		if err != nil {
			return t, err
		}
		ask.Image = asked(id, one.Head)
		t.Value.Named, t.Asks = append(t.Value.Named, one), append(t.Asks, ask)
	}
	return t, nil
}

// asked is a stored image as policies see it: by the tag or digest that the request has, with the digest that a tag names
// now. Of what is no tag or digest the operation says so.
func asked(id ecrtypes.ImageIdentifier, head registry.ManifestHead) guard.Image {
	im := guard.Image{Stored: true}
	im.Tag, _ = name.ParseTag(id.ImageTag)
	im.Digest, _ = name.ParseDigest(id.ImageDigest)
	if head.Digest != (name.Digest{}) {
		im.Digest = head.Digest
	}
	return im
}

// DeletedImage is an image of a deletion, with what was decided to be deleted.
type DeletedImage struct {
	NamedImage
	Deletion registry.Deletion
}

// Deletions are the images and tags that a request deletes.
type Deletions struct {
	Repository
	Named []DeletedImage
}

// OnDeletions resolves the images that a request deletes: with each image that is named by its digest alone all its tags go,
// and each of them has to be allowed.
func OnDeletions(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.BatchDeleteImageRequest) (t guard.Target[Deletions], err error) {
	of, err := onImages(s, ctx, req, in, in.ImageIds)
	if err != nil {
		return t, err
	}
	t = guard.Target[Deletions]{Value: Deletions{Repository: of.Value.Repository}, Absent: of.Absent}
	for i, one := range of.Value.Named {
		deleted := DeletedImage{NamedImage: one}
		if one.Failure == nil {
			ref := name.Reference{Tag: one.Tag}
			if one.Tag == (name.Tag{}) {
				ref.Digest = one.Head.Digest
			}
			deleted.Deletion, err = s.registry.DeletionOf(ctx, of.Value.Repository.Repository, ref, registry.LastTagDeletesImage)
			if errors.Is(err, fault.ImageNotFound) || err == nil && deleted.Deletion.Digest != one.Head.Digest {
				return t, fault.TargetChanged.New("image %s has changed while it was looked up", one.Head.Digest)
			}
			if err != nil {
				return t, err
			}
		}
		t.Value.Named = append(t.Value.Named, deleted)
		t.Asks = append(t.Asks, guard.ForDeletion(of.Asks[i], deleted.Deletion.Tags)...)
	}
	return t, nil
}

// OnPut resolves the repository of a push; the image is named by the tag and digest that the request has.
func OnPut(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.PutImageRequest) (guard.Target[Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err == nil {
		t.Asks[0].Image = NewImage(in.ImageTag, in.ImageDigest)
	}
	return t, err
}

// NewImage is an image to be stored as policies see it, by the tag and digest as they were sent.
func NewImage(tag, digest string) guard.Image {
	var im guard.Image
	im.Tag, _ = name.ParseTag(tag)
	im.Digest, _ = name.ParseDigest(digest)
	return im
}

// OnSubject resolves the repository of a subject whose referrers are listed. The subject need not be stored.
func OnSubject(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.ListImageReferrersRequest) (guard.Target[Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err == nil {
		t.Asks[0].Image = NewImage("", in.SubjectId.ImageDigest)
		t.Asks[0].Image.Stored = true
	}
	return t, err
}

// OnSetting resolves an account setting, which policies can tell apart.
// Source: service authorization reference of ECR.
func OnSetting[In interface {
	*ecrtypes.GetAccountSettingRequest | *ecrtypes.PutAccountSettingRequest
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Registry], error) {
	t, err := OnRegistry(s, ctx, req, in)
	setting := ""
	switch v := any(in).(type) {
	case *ecrtypes.GetAccountSettingRequest:
		setting = v.Name
	case *ecrtypes.PutAccountSettingRequest:
		setting = v.Name
	}
	t.Asks[0].Keys = []guard.ConditionKey{{Name: "ecr:AccountSetting", Values: []string{setting}}}
	return t, err
}

// GuardedRepository is a repository whose policy a request sets, with what was decided about it, so that the decision can be
// made again as if the repository had the new policy.
type GuardedRepository struct {
	Repository
	Ask  guard.Ask
	From guard.Origin
}

// OnPolicyOf resolves the repository whose policy a request sets.
func OnPolicyOf(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.SetRepositoryPolicyRequest) (guard.Target[GuardedRepository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return guard.Target[GuardedRepository]{}, err
	}
	value := GuardedRepository{Repository: t.Value, Ask: t.Asks[0], From: req.From}
	return guard.Target[GuardedRepository]{Value: value, Asks: t.Asks, Absent: t.Absent}, nil
}
