package ecr

import (
	"context"
	"errors"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Registry is the registry of a request, with the host of the request.
type Registry struct {
	name.Registry
	Host   endpoint.Host
	Secure bool   // the request came by TLS
	Agent  string // User-Agent of the request
	From   guard.Origin
	If     guard.Precondition // what the request has seen of the setting that it replaces
}

// Repository is the repository of a request. Its ID distinguishes it from an earlier or later repository with its name.
type Repository struct {
	meta.Repository
	At      Registry
	Creates name.Repo // by OnPush: the repository does not exist, and a push creates it under this name; otherwise zero
}

// repositoryNamed is an input with the members registryId and repositoryName.
type repositoryNamed interface {
	GetRegistryId() string
	GetRepositoryName() string
}

// RegistryOf returns the registry of account id in the region of the request; if id is "", that of the caller.
//
// Errors: fault.InvalidParameter (id is not an account id; id is "" and the caller has no account).
func RegistryOf(req guard.Request, id string) (Registry, error) {
	at := Registry{Registry: req.Own(), Host: req.Host, Secure: req.From.Secure, Agent: req.From.UserAgent, From: req.From, If: req.If}
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

// Repository resolves a repository of a registry by its name. If the name does not match the grammar or the repository
// does not exist, Absent of the target is set, and the operation returns it to callers that have the permission.
func (s *Service) Repository(ctx context.Context, at Registry, repositoryName string) (guard.Target[Repository], error) {
	t := guard.On(Repository{At: at}, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region,
		Resource: at.RepositoryARN(repositoryName)})
	repo, err := name.ParseRepo(repositoryName)
	if err != nil {
		t.Absent = err
		return t, nil
	}
	return t, s.find(ctx, &t, repo)
}

// find sets the repository of a target, or Absent if it does not exist.
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

// NewRepository is a repository to be created.
type NewRepository struct {
	Name name.Repo
	At   Registry
}

// OnNewRepository resolves the registry and name of a repository to be created.
func OnNewRepository(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.CreateRepositoryRequest) (t guard.Target[NewRepository], err error) {
	found, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[NewRepository]{Value: NewRepository{At: found.Value.At}, Asks: guard.WithRequestTags(found.Asks, in)}
	t.Value.Name, t.Absent = name.ParseRepo(in.RepositoryName)
	return t, nil
}

// OnRegistry resolves the registry of the caller, for operations without a resource in IAM.
func OnRegistry[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[Registry], error) {
	at := Registry{Registry: req.Own(), Host: req.Host, Secure: req.From.Secure, Agent: req.From.UserAgent, If: req.If}
	return guard.On(at, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: "*"}), nil
}

// Repositories holds the repositories that a listing names; if it names none, the listing is of all repositories of At.
type Repositories struct {
	Named []Repository
	At    Registry
}

// OnRepositories resolves the repositories of a listing.
func OnRepositories(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.DescribeRepositoriesRequest) (t guard.Target[Repositories], err error) {
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

// OnResource resolves the repository that the resourceArn of a request names.
func OnResource[In interface{ GetResourceArn() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (t guard.Target[Repository], err error) {
	reg, repo, err := name.ParseRepositoryARN(in.GetResourceArn())
	if err == nil && reg.Region != req.Region {
		err = BadMember("resourceArn", "Invalid ARN")
	}
	if err != nil {
		return t, err
	}
	at := Registry{Registry: reg, Host: req.Host, Secure: req.From.Secure, Agent: req.From.UserAgent}
	t, err = s.Repository(ctx, at, repo.String())
	t.Asks = guard.WithRequestTags(t.Asks, in)
	return t, err
}

// Images holds the images of a repository that a request names, each as it was when the target was resolved.
type Images struct {
	Repository
	Named []NamedImage
	// Through is set if a pull through cache rule applies to the repository: BatchGetImage fetches then what is absent.
	Through bool
	// Repo is the name of the repository, and Missing the error if it does not exist, with Through.
	Repo    name.Repo
	Missing error
}

// NamedImage is an image id of a request with the image that it names.
type NamedImage struct {
	ID      ecrtypes.ImageIdentifier
	Tag     name.Tag               // the tag in ID; zero if ID has only a digest
	Head    registry.ManifestHead  // the image; zero if Failure is set
	Failure *ecrtypes.ImageFailure // why ID names no image; nil if Head is set
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
	t, err := onImages(s, ctx, req, in, unique(ids))
	if _, pulls := any(in).(*ecrtypes.BatchGetImageRequest); err == nil && pulls {
		err = s.throughRule(ctx, &t, in.GetRepositoryName())
	}
	return t, err
}

// throughRule prepares a pull of images from a repository that a pull through cache rule may fill, whether it exists or not.
func (s *Service) throughRule(ctx context.Context, t *guard.Target[Images], repository string) error {
	repo, err := name.ParseRepo(repository)
	if err != nil || s.pull == nil {
		return nil
	}
	if t.Value.Through, err = s.pull.Applies(ctx, t.Value.At.Registry, repo); err == nil && t.Value.Through {
		t.Value.Repo, t.Value.Missing, t.Absent = repo, t.Absent, nil
	}
	return err
}

// unique returns the ids without repetitions: an answer has one entry for each.
func unique(ids []ecrtypes.ImageIdentifier) []ecrtypes.ImageIdentifier {
	var all []ecrtypes.ImageIdentifier
	for _, id := range ids {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

func onImages(s *Service, ctx context.Context, req guard.Request, in repositoryNamed,
	ids []ecrtypes.ImageIdentifier) (t guard.Target[Images], err error) {
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

// Image resolves an image of a repository by tag or digest or both. If it does not exist, Absent of the target is set, and the digest is
// zero.
//
// Errors: fault.InvalidParameter (neither tag nor digest, or an invalid one).
func (s *Service) Image(ctx context.Context, at Registry, repository, tag, digest string) (t guard.Target[Images], d name.Digest,
	err error) {
	of, err := s.Repository(ctx, at, repository)
	if err != nil {
		return t, d, err
	}
	id := ecrtypes.ImageIdentifier{ImageTag: tag, ImageDigest: digest}
	one, err := s.image(ctx, of.Value.Repository, id)
	if err != nil {
		return t, d, err
	}
	t = guard.Target[Images]{Value: Images{Repository: of.Value, Named: []NamedImage{one}}, Asks: of.Asks, Absent: of.Absent}
	t.Asks[0].Image = asked(id, one.Head)
	if t.Absent == nil && one.Failure != nil {
		t.Absent = describeFailure(of.Value, one)
	}
	return t, one.Head.Digest, nil
}

// asked returns a stored image for the condition keys of policies: the tag of the request, and the digest that the tag
// names now or that the request has. An invalid tag or digest is left out; the operation reports it.
func asked(id ecrtypes.ImageIdentifier, head registry.ManifestHead) guard.Image {
	im := guard.Image{Stored: true}
	im.Tag, _ = name.ParseTag(id.ImageTag)
	im.Digest, _ = name.ParseDigest(id.ImageDigest)
	if head.Digest != (name.Digest{}) {
		im.Digest = head.Digest
	}
	return im
}

// DeletedImage is an image id of a deletion, with its resolved deletion.
type DeletedImage struct {
	NamedImage
	Deletion registry.Deletion
}

// Deletions holds the images and tags of a repository that a request deletes.
type Deletions struct {
	Repository
	Named []DeletedImage
}

// OnDeletions resolves the images and tags that a request deletes. An image that the request names by its digest is
// deleted with all its tags, and the deletion of each of these tags must be allowed.
func OnDeletions(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.BatchDeleteImageRequest) (t guard.Target[Deletions], err error) {
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
				return t, fault.TargetChanged.New("image %s changed while the request was resolved", one.Head.Digest)
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

// OnPush resolves the repository of a push, which need not exist if a creation template applies to it. The operation calls create first.
func OnPush[In repositoryNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err != nil || !errors.Is(t.Absent, fault.RepositoryNotFound) {
		return t, err
	}
	repo, err := name.ParseRepo(in.GetRepositoryName())
	if err != nil {
		return t, err
	}
	at := t.Value.At.Registry
	template, err := s.registry.TemplateFor(ctx, at, repo, registry.ForPush)
	if errors.Is(err, fault.TemplateNotFound) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	made := template.Repository(at, repo)
	t.Asks, t.Absent = guard.ForCreation(t.Asks, &made, template.Tags), template.Check(repo)
	t.Value.Creates = repo
	return t, nil
}

// create creates the repository of a push, if it is to be created; then it returns an error.
//
// Errors: those of registry.Service.CreateForPush.
func (s *Service) create(ctx context.Context, r Repository) error {
	if r.Creates == (name.Repo{}) {
		return nil
	}
	return s.registry.CreateForPush(ctx, r.At.Registry, r.Creates)
}

// OnPut is OnPush for an image. The image of the ask has the tag and digest of the request.
func OnPut(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.PutImageRequest) (guard.Target[Repository], error) {
	t, err := OnPush(s, ctx, req, in)
	if err == nil {
		t.Asks[0].Image = NewImage(in.ImageTag, in.ImageDigest)
	}
	return t, err
}

// NewImage returns an image to be stored for the condition keys of policies: its tag and digest in the request, each
// zero if it is invalid.
func NewImage(tag, digest string) guard.Image {
	var im guard.Image
	im.Tag, _ = name.ParseTag(tag)
	im.Digest, _ = name.ParseDigest(digest)
	return im
}

// OnSubject resolves the repository of a subject whose referrers a request lists. The subject need not exist.
func OnSubject(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.ListImageReferrersRequest) (guard.Target[Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err == nil {
		t.Asks[0].Image = NewImage("", in.SubjectId.ImageDigest)
		t.Asks[0].Image.Stored = true
	}
	return t, err
}

// OnSetting resolves the registry of the caller. The ask has the name of the account setting as a condition key.
//
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

// GuardedRepository is a repository whose policy a request sets, with the ask and the origin of the request, so that
// the guard can decide again as if the repository had the new policy.
type GuardedRepository struct {
	Repository
	Ask  guard.Ask
	From guard.Origin
}

// OnPolicyOf resolves the repository whose policy a request sets.
func OnPolicyOf(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.SetRepositoryPolicyRequest) (guard.Target[GuardedRepository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return guard.Target[GuardedRepository]{}, err
	}
	value := GuardedRepository{Repository: t.Value, Ask: t.Asks[0], From: req.From}
	return guard.Target[GuardedRepository]{Value: value, Asks: t.Asks, Absent: t.Absent}, nil
}
