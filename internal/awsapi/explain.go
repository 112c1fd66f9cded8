package awsapi

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/explain"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// onExplained asks for the right on the account of the resource and on that of the principal, for an explanation shows
// policies of both: nobody reads those of another account.
func onExplained(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	v := in.(*ecrintypes.ExplainAccessRequest)
	explained, err := a.explained(c, v)
	if err != nil {
		return nil, err
	}
	var accounts []name.Account
	for _, account := range []name.Account{explained.Account, accountOfPrincipal(v.Principal)} {
		if account != (name.Account{}) && !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
		}
	}
	if len(accounts) == 0 { // a service or the anonymous, on nothing: no account's policies
		accounts = append(accounts, c.caller.Account)
	}
	var all []identity.Access
	for _, account := range accounts {
		all = append(all, identity.Access{Account: account, Region: c.region, Resource: identity.RootARN(account)})
	}
	return all, nil
}

// accountOfPrincipal is the account of a principal as identity.Gather names it, none for a service, for everybody, and for
// what is no principal.
func accountOfPrincipal(principal string) name.Account {
	p, err := policy.ParsePrincipal(principal)
	if err != nil {
		return name.Account{}
	}
	return p.Account
}

// listed are condition keys that always are lists, also with one value.
var listed = []string{"aws:tagkeys", "sts:transitivetagkeys", "aws:principalorgpaths"}

// explained is the access that is asked about; the trust policy of a role is read later.
func (a *API) explained(c *call, in *ecrintypes.ExplainAccessRequest) (identity.Access, error) {
	access := identity.Access{Region: c.region, Resource: "*", Account: accountOfPrincipal(in.Principal)}
	var err error
	switch {
	case in.RepositoryName != "" && in.ResourceArn != "":
		return access, badMember("resourceArn", "give either repositoryName or resourceArn")
	case in.RepositoryName != "":
		var reg name.Registry
		if reg, err = c.registryOf(a.registryID(c, in.RegistryId)); err == nil {
			access = repositoryAccess(reg, in.RepositoryName)
		}
	case in.ResourceArn != "" && in.ResourceArn != "*":
		access, err = accessTo(c, in.ResourceArn)
	case in.RegistryId != "":
		access.Account, err = name.ParseAccount(in.RegistryId)
	}
	if err != nil {
		return access, err
	}
	access.Action = actionCalled(in.Action)
	if access.Image, err = imageOf(in, access); err != nil {
		return access, err
	}
	access.From.Secure = c.secure
	if in.SourceIp != "" {
		if access.From.SourceIP, err = netip.ParseAddr(in.SourceIp); err != nil {
			return access, badMember("sourceIp", "an IP address is needed")
		}
	}
	for _, e := range in.Context {
		access.Keys = append(access.Keys, identity.ConditionKey{
			Name: e.Key, Values: e.Values, List: len(e.Values) != 1 || slices.Contains(listed, strings.ToLower(e.Key)),
		})
	}
	return access, nil
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

func imageOf(in *ecrintypes.ExplainAccessRequest, access identity.Access) (im identity.Image, err error) {
	if in.ImageTag == "" && in.ImageDigest == "" {
		return im, nil
	}
	if access.Repository == (name.Repo{}) {
		return im, badMember("imageTag", "an image is in a repository: name that too")
	}
	im.Stored, im.Whole = access.Action != "ecr:PutImage", access.Action == "ecr:BatchDeleteImage"
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

// accessTo is an access to a resource by its ARN; what belongs to AWS itself, as its managed policies do, has no account.
func accessTo(c *call, arn string) (identity.Access, error) {
	if reg, repo, err := name.ParseRepositoryARN(arn); err == nil {
		return identity.Access{Account: reg.Account, Region: reg.Region, Resource: arn, Repository: repo}, nil
	}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[5] == "" {
		return identity.Access{}, badMember("resourceArn", "Invalid ARN")
	}
	access := identity.Access{Region: c.region, Resource: arn}
	var err error
	if parts[4] != "aws" {
		if access.Account, err = name.ParseAccount(parts[4]); err != nil {
			return access, badMember("resourceArn", "Invalid ARN")
		}
	}
	if parts[3] != "" {
		if access.Region, err = name.ParseRegion(parts[3]); err != nil {
			return access, badMember("resourceArn", "Invalid ARN")
		}
	}
	return access, nil
}

// explainAccess tells what a principal may do, and why: whose policies say what, and what would change the answer.
func (a *API) explainAccess(c *call, in *ecrintypes.ExplainAccessRequest) (*ecrintypes.ExplainAccessResponse, error) {
	access, err := a.explained(c, in)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(access.Action, "sts:") && access.Resource != "*" {
		trust, err := a.trustOf(c, access.Resource)
		if err != nil {
			return nil, err
		}
		access.Trust = trust
	}
	r, why, err := a.identity.Explain(c.ctx, in.Principal, access)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.ExplainAccessResponse{Explanation: explain.Of(&r, why)}, nil
}

// trustOf is the trust policy of the role with an ARN; nil for the ARN of something else.
// Errors: fault.NoSuchEntity.
func (a *API) trustOf(c *call, arn string) (*meta.BoundPolicy, error) {
	p, err := policy.ParsePrincipal(arn)
	if err != nil || p.Kind != policy.Role {
		return nil, nil
	}
	e, err := a.registry.Meta().Entity(c.ctx, p.Account, meta.Role, p.Name)
	if err == nil && e.Path != p.Path {
		err = fault.NoSuchEntity.New("The role %s does not exist.", name.Clip(arn))
	}
	return &e.Trust, err
}
