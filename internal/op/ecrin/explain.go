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

// Explained is the question that a request wants explained.
type Explained struct {
	ask  guard.Ask
	from guard.Origin
}

// OnExplained resolves the question of a request, which needs the right on the account of the resource and on that of the
// principal: an explanation shows policies of both, and nobody reads those of another account.
func OnExplained(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ExplainAccessRequest) (t guard.Target[Explained], err error) {
	t.Value.ask, err = s.explained(ctx, req, in)
	if err != nil {
		return t, err
	}
	t.Value.from.Secure = req.From.Secure
	if in.SourceIp != "" {
		if t.Value.from.SourceIP, err = netip.ParseAddr(in.SourceIp); err != nil {
			return t, ecr.BadMember("sourceIp", "an IP address is needed")
		}
	}
	var accounts []name.Account
	for _, account := range []name.Account{t.Value.ask.Owner.Account(), accountOfPrincipal(in.Principal)} {
		if account != (name.Account{}) && !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
		}
	}
	if len(accounts) == 0 { // a service or the anonymous, on nothing: no account's policies
		accounts = append(accounts, req.By.Account)
	}
	for _, account := range accounts {
		t.Asks = append(t.Asks, guard.Ask{Owner: guard.OwnedBy(account), Region: req.Region, Resource: identity.RootARN(account)})
	}
	return t, nil
}

// accountOfPrincipal is the account of a principal as identity.Service.Named reads it, none for a service, for everybody, and
// for what is no principal.
func accountOfPrincipal(principal string) name.Account {
	p, err := policy.ParsePrincipal(principal)
	if err != nil {
		return name.Account{}
	}
	return p.Account
}

// listed are condition keys that always are lists, also with one value.
var listed = []string{"aws:tagkeys", "sts:transitivetagkeys", "aws:principalorgpaths"}

// explained is the ask of a request; the trust policy of a role and the tags of an image are read when it is explained.
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

// actionCalled gives the action as ECR writes it, for actions have no case.
func actionCalled(action string) string {
	for _, known := range policy.Actions() {
		if strings.EqualFold(known, action) {
			return known
		}
	}
	service, operation, _ := strings.Cut(action, ":")
	return strings.ToLower(service) + ":" + operation
}

func imageOf(in *ecrintypes.ExplainAccessRequest, ask guard.Ask) (im guard.Image, err error) {
	if in.ImageTag == "" && in.ImageDigest == "" {
		return im, nil
	}
	if !strings.Contains(ask.Resource, ":repository/") {
		return im, ecr.BadMember("imageTag", "an image is in a repository: name that too")
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

// onARN is an ask about a resource by its ARN. What belongs to AWS itself, as its managed policies do, is every account's:
// there it counts as the principal's own.
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

// ExplainAccess tells what a principal may do, and why: whose policies say what, and what would change the answer.
//
// Errors: fault.NoSuchEntity (the principal; a role), fault.InvalidInput (no principal's name; an action that no policy can
// allow).
func (s *Service) ExplainAccess(ctx context.Context, _ identity.Caller, t Explained, in *ecrintypes.ExplainAccessRequest) (*ecrintypes.ExplainAccessResponse, error) {
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

// asksForImage is what an action on a stored image asks for, as the action itself resolves it: with the digest that a tag names
// now, and for a deletion by digest once for each tag that goes too.
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

// trustOf is the trust policy of the role with an ARN; nil for the ARN of something else.
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
