package ecrin

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// accountNamed is an input with the member accountId.
type accountNamed interface{ GetAccountId() string }

// OnAccount resolves the account of accountId; without accountId the account of the caller, or the default account if
// the caller is the operator. The account need not exist.
func OnAccount[In accountNamed](s *Service, _ context.Context, req guard.Request, in In) (guard.Target[name.Account], error) {
	account := req.By.Account
	if id := in.GetAccountId(); id != "" {
		var err error
		if account, err = name.ParseAccount(id); err != nil {
			return guard.Target[name.Account]{}, err
		}
	} else if req.By.Kind == identity.Operator {
		account = s.hosts.Default().Account
	}
	return guard.On(account, guard.Ask{Owner: guard.OwnedBy(account), Region: req.Region, Resource: identity.RootARN(account)}), nil
}

// OnInstallation resolves the target of an operation on the installation, which belongs to no account.
func OnInstallation[In any](_ *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	return guard.On(guard.Nothing{}, guard.Ask{Owner: guard.Unowned, Region: req.Region, Resource: "*"}), nil
}

// Trails selects the part of the audit trail that a request reads: that of the caller's account; for the operator that
// of the account in the request, or all.
type Trails struct {
	Account string // 12 digits; "" for all
}

// OnTrail resolves the part of the audit trail that a request reads.
func OnTrail(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListAuditEventsRequest) (guard.Target[Trails], error) {
	of, err := OnAccount(s, ctx, req, in)
	t := guard.Target[Trails]{Value: trailsOf(req, in.AccountId), Asks: of.Asks}
	if err == nil && t.Value.Account == "" { // the whole trail belongs to no account
		t.Asks[0].Owner, t.Asks[0].Resource = guard.Unowned, "*"
	}
	return t, err
}

// OnRequest resolves the part of the audit trail in which a request is looked up.
func OnRequest(_ *Service, _ context.Context, req guard.Request, _ *ecrintypes.ExplainRequestRequest) (guard.Target[Trails], error) {
	ask := guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: identity.RootARN(req.By.Account)}
	if ask.Owner == guard.Unowned {
		ask.Resource = "*"
	}
	return guard.On(trailsOf(req, ""), ask), nil
}

func trailsOf(req guard.Request, asked string) Trails {
	if req.By.Kind != identity.Operator {
		return Trails{req.By.Account.String()}
	}
	return Trails{asked}
}

// OnAccessKey resolves an access key by its id. For callers of other accounts than that of the key, except the
// operator, the key does not exist, so that they do not learn about it.
func OnAccessKey[In interface{ GetAccessKeyId() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (t guard.Target[meta.AccessKey], err error) {
	id := in.GetAccessKeyId()
	k, err := s.meta.AccessKey(ctx, id)
	if err != nil && !errors.Is(err, fault.AccessKeyNotFound) {
		return t, err
	}
	ask := guard.Ask{Owner: guard.Unowned, Region: req.Region, Resource: "arn:aws:iam:::access-key/" + id}
	if err == nil && (k.Account == req.By.Account || req.By.Kind == identity.Operator) {
		ask.Owner = guard.OwnedBy(k.Account)
		ask.Resource = "arn:aws:iam::" + k.Account.String() + ":access-key/" + id
		return guard.On(k, ask), nil
	}
	t = guard.On(meta.AccessKey{}, ask)
	t.Absent = fault.AccessKeyNotFound.New("access key %s does not exist", name.Clip(id))
	return t, nil
}

// repositoryNamed is an input with the members registryId and repositoryName.
type repositoryNamed interface {
	GetRegistryId() string
	GetRepositoryName() string
}

// registryOf returns the registry of account id in the region of the request; if id is "", that of the caller, or the
// default registry if the caller is the operator.
func (s *Service) registryOf(req guard.Request, id string) (ecr.Registry, error) {
	if id == "" && req.By.Kind == identity.Operator {
		id = s.hosts.Default().Account.String()
	}
	return ecr.RegistryOf(req, id)
}

// OnRepository resolves the repository that registryId and repositoryName name. Without registryId the operator means
// the default registry.
func OnRepository[In repositoryNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[ecr.Repository], error) {
	at, err := s.registryOf(req, in.GetRegistryId())
	if err != nil {
		return guard.Target[ecr.Repository]{}, err
	}
	return s.ecr.Repository(ctx, at, in.GetRepositoryName())
}

// OnRestored resolves the repository of an image to be restored. Restoring an image is a push of it, so that a caller
// other than the operator needs the permission for PutImage too. The asks have the tag and digest of the request, as
// those of a push.
func OnRestored(s *Service, ctx context.Context, req guard.Request,
	in *ecrintypes.RestoreImageRequest) (guard.Target[ecr.Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t.Asks[0].Image = ecr.NewImage(in.ImageTag, in.ImageDigest)
	if req.By.Kind != identity.Operator {
		put := t.Asks[0]
		put.Action = "ecr:PutImage"
		t.Asks = append(t.Asks, put)
	}
	return t, nil
}

// OnDeleted resolves a tag or an image to be deleted. A caller other than the operator needs the permission for BatchDeleteImage too, for
// each tag that goes with the image. With a tag and a digest the tag must name the digest.
func OnDeleted(s *Service, ctx context.Context, req guard.Request,
	in *ecrintypes.DeleteImageRequest) (t guard.Target[Untagged], err error) {
	of, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[Untagged]{Value: Untagged{Repository: of.Value}, Asks: of.Asks, Absent: of.Absent}
	var ref name.Reference
	var digest name.Digest
	if in.ImageDigest != "" {
		if digest, err = name.ParseDigest(in.ImageDigest); err != nil {
			return t, err
		}
	}
	switch {
	case in.ImageTag != "":
		ref.Tag, err = name.ParseTag(in.ImageTag)
	case in.ImageDigest != "":
		ref.Digest = digest
	case t.Absent == nil:
		t.Absent = ecr.BadMember("imageTag", "imageTag or imageDigest is needed")
	}
	if err != nil {
		return t, err
	}
	t.Asks[0].Image = guard.Image{Reference: ref, Stored: true}
	if t.Absent == nil {
		t.Value.Deletion, err = s.registry.DeletionOf(ctx, of.Value.Repository, ref, registry.LastTagDeletesImage)
		if errors.Is(err, fault.ImageNotFound) {
			t.Absent, err = err, nil
		}
		if named := t.Value.Deletion.Digest; named != (name.Digest{}) {
			t.Asks[0].Image.Digest = named
			if digest != (name.Digest{}) && named != digest {
				t.Absent = fault.ImageNotFound.New("the tag %s does not name the image %s", in.ImageTag, digest)
			}
		}
	}
	own := guard.ForDeletion(t.Asks[0], t.Value.Deletion.Tags)
	t.Asks = own
	if req.By.Kind != identity.Operator {
		for _, deletion := range own {
			deletion.Action = "ecr:BatchDeleteImage"
			t.Asks = append(t.Asks, deletion)
		}
	}
	return t, err
}

// Untagged is a tag that a request removes, with the image that it named when the target was resolved.
type Untagged struct {
	ecr.Repository
	Deletion registry.Deletion
}

// OnUntagged resolves a tag to be removed. To remove a tag is a part of a deletion, so that a caller other than the operator needs the
// permission for BatchDeleteImage too.
func OnUntagged(s *Service, ctx context.Context, req guard.Request,
	in *ecrintypes.UntagImageRequest) (t guard.Target[Untagged], err error) {
	of, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[Untagged]{Value: Untagged{Repository: of.Value}, Asks: of.Asks, Absent: of.Absent}
	tag, err := name.ParseTag(in.ImageTag)
	if err != nil {
		return t, err
	}
	t.Asks[0].Image = guard.Image{Reference: name.Reference{Tag: tag}, Stored: true}
	if t.Absent == nil {
		t.Value.Deletion, err = s.registry.DeletionOf(ctx, of.Value.Repository, name.Reference{Tag: tag}, registry.LastTagKeepsImage)
		if errors.Is(err, fault.ImageNotFound) {
			t.Absent, err = err, nil
		}
		t.Asks[0].Image.Digest = t.Value.Deletion.Digest
	}
	if req.By.Kind != identity.Operator {
		deletion := t.Asks[0]
		deletion.Action = "ecr:BatchDeleteImage"
		t.Asks = append(t.Asks, deletion)
	}
	return t, err
}

// OnGranted resolves the repository of a grant. A caller other than the operator needs the permissions for
// GetRepositoryPolicy and, with apply, SetRepositoryPolicy.
func OnGranted(s *Service, ctx context.Context, req guard.Request,
	in *ecrintypes.GrantRepositoryAccessRequest) (guard.Target[ecr.Repository], error) {
	t, err := OnRepository(s, ctx, req, in)
	if err != nil || req.By.Kind == identity.Operator {
		return t, err
	}
	t.Asks[0].Action = "ecr:GetRepositoryPolicy"
	if in.Apply != nil && *in.Apply {
		set := t.Asks[0]
		set.Action = "ecr:SetRepositoryPolicy"
		t.Asks = append(t.Asks, set)
	}
	return t, nil
}
