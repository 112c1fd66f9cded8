package ecrin

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Explained is the ask that a request has explained.
type Explained struct {
	ask  guard.Ask
	from guard.Origin
}

// OnExplained resolves the ask to be explained. The caller needs the permission on the account of the resource and on
// that of the principal, because an explanation shows policies of both.
func OnExplained(s *Service, ctx context.Context, req guard.Request,
	in *ecrintypes.ExplainAccessRequest) (t guard.Target[Explained], err error) {
	t.Value.ask, err = s.explained(ctx, req, in)
	if err != nil {
		return t, err
	}
	t.Value.from.Secure = req.From.Secure
	if in.SourceIp != "" {
		if t.Value.from.SourceIP, err = netip.ParseAddr(in.SourceIp); err != nil {
			return t, ecr.BadMember("sourceIp", "want an IP address")
		}
	}
	var accounts []name.Account
	for _, account := range []name.Account{t.Value.ask.Owner.Account(), accountOfPrincipal(in.Principal)} {
		if account != (name.Account{}) && !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
		}
	}
	if len(accounts) == 0 { // a service or an anonymous caller without a resource: no policies of an account are shown
		accounts = append(accounts, req.By.Account)
	}
	for _, account := range accounts {
		t.Asks = append(t.Asks, guard.Ask{Owner: guard.OwnedBy(account), Region: req.Region, Resource: identity.RootARN(account)})
	}
	return t, nil
}

// accountOfPrincipal returns the account of a principal in the form of identity.Service.Named; the zero Account for a
// service, for "*", and for a text that is not a principal.
func accountOfPrincipal(principal string) name.Account {
	p, err := policy.ParsePrincipal(principal)
	if err != nil {
		return name.Account{}
	}
	return p.Account
}

// listed holds the condition keys that are lists even with one value.
var listed = []string{"aws:tagkeys", "sts:transitivetagkeys", "aws:principalorgpaths"}

// explained returns the ask to be explained, without the trust policy of a role and the tags of an image: ExplainAccess
// reads those.
func (s *Service) explained(ctx context.Context, req guard.Request, in *ecrintypes.ExplainAccessRequest) (guard.Ask, error) {
	ask := guard.Ask{Region: req.Region, Resource: "*", Owner: guard.OwnedBy(accountOfPrincipal(in.Principal))}
	var err error
	switch {
	case in.RepositoryName != "" && in.ResourceArn != "":
		return ask, ecr.BadMember("resourceArn", "give either repositoryName or resourceArn")
	case in.RepositoryName != "":
		var at ecr.Registry
		if at, err = s.registryOf(req, in.RegistryId); err == nil {
			ask, err = s.onRepository(ctx, at, in.RepositoryName)
		}
	case in.ResourceArn != "" && in.ResourceArn != "*":
		ask, err = s.onARN(ctx, req, in.ResourceArn, ask.Owner)
	case in.RegistryId != "":
		var account name.Account
		account, err = name.ParseAccount(in.RegistryId)
		ask.Owner = guard.OwnedBy(account)
	}
	if err != nil {
		return ask, err
	}
	ask.Action = actionCalled(in.Action)
	ask.Reserved = s.reserved(ask.Action)
	if ask.Image, err = imageOf(in, ask); err != nil {
		return ask, err
	}
	for _, e := range in.Context {
		ask.Keys = append(ask.Keys, guard.ConditionKey{
			Name: e.Key, Values: e.Values, List: len(e.Values) != 1 || slices.Contains(listed, strings.ToLower(e.Key)),
		})
	}
	return ask, nil
}

func (s *Service) onRepository(ctx context.Context, at ecr.Registry, repositoryName string) (guard.Ask, error) {
	t, err := s.ecr.Repository(ctx, at, repositoryName)
	if err != nil {
		return guard.Ask{}, err
	}
	return t.Asks[0], nil
}

// actionCalled returns an action in the spelling of AWS. Actions are case-insensitive.
func actionCalled(action string) string {
	for _, known := range policy.Actions() {
		if strings.EqualFold(known, action) {
			return known
		}
	}
	service, operation, _ := strings.Cut(action, ":")
	return strings.ToLower(service) + ":" + operation
}

// imageOf returns the image of the ask.
func imageOf(in *ecrintypes.ExplainAccessRequest, ask guard.Ask) (im guard.Image, err error) {
	if in.ImageTag == "" && in.ImageDigest == "" {
		return im, nil
	}
	if !strings.Contains(ask.Resource, ":repository/") {
		return im, ecr.BadMember("imageTag", "an image needs a repository: set repositoryName or resourceArn")
	}
	im.Stored = ask.Action != "ecr:PutImage"
	if in.ImageTag != "" {
		if im.Tag, err = name.ParseTag(in.ImageTag); err != nil {
			return im, err
		}
	}
	if in.ImageDigest != "" {
		im.Digest, err = name.ParseDigest(in.ImageDigest)
	}
	return im, err
}

// onARN returns an ask for the resource with the given ARN. A resource of AWS, such as an AWS managed policy, has no
// account in its ARN; own, the account of the principal, counts as its owner.
func (s *Service) onARN(ctx context.Context, req guard.Request, arn string, own guard.Owner) (guard.Ask, error) {
	if reg, repo, err := name.ParseRepositoryARN(arn); err == nil {
		return s.onRepository(ctx, ecr.Registry{Registry: reg}, repo.String())
	}
	parsed, err := name.ParseARN(arn)
	if err != nil || parsed.Owner() == "" {
		return guard.Ask{}, ecr.BadMember("resourceArn", "Invalid ARN")
	}
	ask := guard.Ask{Region: req.Region, Resource: arn, Owner: own}
	if !parsed.AWS {
		ask.Owner = guard.OwnedBy(parsed.Account)
	}
	if parsed.Region != "" {
		if ask.Region, err = name.ParseRegion(parsed.Region); err != nil {
			return ask, ecr.BadMember("resourceArn", "Invalid ARN")
		}
	}
	return ask, nil
}

// ExplainAccess returns whether a principal may do an action and why: what each policy says, and which changes to
// policies would change the decision.
//
// Errors: fault.NoSuchEntity (the principal; a role), fault.InvalidInput (an invalid principal; an action that no
// policy can allow).
func (s *Service) ExplainAccess(ctx context.Context, _ identity.Caller, t Explained,
	in *ecrintypes.ExplainAccessRequest) (*ecrintypes.ExplainAccessResponse, error) {
	ask := t.ask
	if strings.HasPrefix(ask.Action, "sts:") && ask.Resource != "*" {
		trust, err := s.trustOf(ctx, ask.Resource)
		if err != nil {
			return nil, err
		}
		ask.Trust = trust
	}
	asks := []guard.Ask{ask}
	if ask.Image.Stored && ask.Repository != nil {
		var err error
		if asks, err = s.asksForImage(ctx, ask); err != nil {
			return nil, err
		}
	}
	r, why, err := s.guard.Explain(ctx, in.Principal, t.from, asks...)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.ExplainAccessResponse{Explanation: explain.Of(&r, why)}, nil
}

// asksForImage returns the asks of an action on a stored image as the operation resolves them: with the digest that the
// tag names now, and for a deletion by digest one ask for each tag that is deleted with the image.
func (s *Service) asksForImage(ctx context.Context, ask guard.Ask) ([]guard.Ask, error) {
	switch im := &ask.Image; {
	case im.Tag != (name.Tag{}) && im.Digest == (name.Digest{}):
		head, err := s.meta.Head(ctx, ask.Repository.ID, name.Reference{Tag: im.Tag})
		if err != nil && !errors.Is(err, fault.ImageNotFound) {
			return nil, err
		}
		im.Digest = head.Digest
	case im.Tag == (name.Tag{}) && im.Digest != (name.Digest{}) && ask.Action == "ecr:BatchDeleteImage":
		tags, err := s.meta.TagsLeadingTo(ctx, ask.Repository.ID, im.Digest)
		return guard.ForDeletion(ask, tags), err
	}
	return []guard.Ask{ask}, nil
}

// trustOf returns the trust policy of the role with the given ARN; nil if the ARN is not that of a role.
//
// Errors: fault.NoSuchEntity.
func (s *Service) trustOf(ctx context.Context, arn string) (*meta.BoundPolicy, error) {
	p, err := policy.ParsePrincipal(arn)
	if err != nil || p.Kind != policy.Role {
		return nil, nil
	}
	e, err := s.meta.Entity(ctx, p.Account, meta.Role, p.Name)
	if err == nil && e.Path != p.Path {
		err = fault.NoSuchEntity.New("The role %s does not exist.", name.Clip(arn))
	}
	return &e.Trust, err
}
