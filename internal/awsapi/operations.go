package awsapi

import (
	"reflect"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/endpoint"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/ststypes"
)

// operation is one row: what is asked, with which right, on what, and who does it. A row without run is an operation of
// the model that ecrin does not have yet.
type operation struct {
	wire   awswire.Operation
	action string // IAM action; "" when the identity alone is enough
	on     func(*API, *call, awswire.Input) (identity.Access, error)
	run    func(*API, *call, awswire.Input) (any, error)
}

type row struct {
	name string
	op   operation
}

// op makes a row. on tells whose resource it is and its ARN.
func op[In any, Out any, P interface {
	*In
	awswire.Input
}](operationName, action string, on func(*API, *call, awswire.Input) (identity.Access, error), run func(*API, *call, *In) (*Out, error)) row {
	return row{operationName, operation{action: action, on: on, run: func(a *API, c *call, in awswire.Input) (any, error) {
		return run(a, c, (*In)(in.(P)))
	}}}
}

var ecrService = newService(ecrtypes.Service, endpoint.ECR, ecrtypes.Operations, ecrtypes.Errors,
	op("GetAuthorizationToken", "ecr:GetAuthorizationToken", onNothing, (*API).getAuthorizationToken),
	op("CreateRepository", "ecr:CreateRepository", onRepository, (*API).createRepository),
	op("DescribeRepositories", "ecr:DescribeRepositories", onRepositories, (*API).describeRepositories),
	op("DeleteRepository", "ecr:DeleteRepository", onRepository, (*API).deleteRepository),
	op("PutImageTagMutability", "ecr:PutImageTagMutability", onRepository, (*API).putImageTagMutability),
	op("SetRepositoryPolicy", "ecr:SetRepositoryPolicy", onRepository, (*API).setRepositoryPolicy),
	op("GetRepositoryPolicy", "ecr:GetRepositoryPolicy", onRepository, (*API).getRepositoryPolicy),
	op("DeleteRepositoryPolicy", "ecr:DeleteRepositoryPolicy", onRepository, (*API).deleteRepositoryPolicy),
	op("TagResource", "ecr:TagResource", onResource, (*API).tagResource),
	op("UntagResource", "ecr:UntagResource", onResource, (*API).untagResource),
	op("ListTagsForResource", "ecr:ListTagsForResource", onResource, (*API).listTagsForResource),
	op("ListImages", "ecr:ListImages", onRepository, (*API).listImages),
	op("DescribeImages", "ecr:DescribeImages", onRepository, (*API).describeImages),
	op("BatchGetImage", "ecr:BatchGetImage", onRepository, (*API).batchGetImage),
	op("BatchDeleteImage", "ecr:BatchDeleteImage", onRepository, (*API).batchDeleteImage),
	op("PutImage", "ecr:PutImage", onRepository, (*API).putImage),
	// The operation has no action of its own. Source: ECR user guide, identity-based policies.
	op("ListImageReferrers", "ecr:BatchGetImage", onRepository, (*API).listImageReferrers),
	op("InitiateLayerUpload", "ecr:InitiateLayerUpload", onRepository, (*API).initiateLayerUpload),
	op("UploadLayerPart", "ecr:UploadLayerPart", onRepository, (*API).uploadLayerPart),
	op("CompleteLayerUpload", "ecr:CompleteLayerUpload", onRepository, (*API).completeLayerUpload),
	op("BatchCheckLayerAvailability", "ecr:BatchCheckLayerAvailability", onRepository, (*API).batchCheckLayerAvailability),
	op("GetDownloadUrlForLayer", "ecr:GetDownloadUrlForLayer", onRepository, (*API).getDownloadURLForLayer),
	op("DescribeRegistry", "ecr:DescribeRegistry", onRegistry, (*API).describeRegistry),
	op("GetAccountSetting", "ecr:GetAccountSetting", onRegistry, (*API).getAccountSetting),
	op("PutAccountSetting", "ecr:PutAccountSetting", onRegistry, (*API).putAccountSetting),
)

var stsService = newService(ststypes.Service, endpoint.STS, ststypes.Operations, ststypes.Errors,
	// Needs no permission and cannot be denied. Source: STS API reference, GetCallerIdentity.
	op("GetCallerIdentity", "", onNothing, (*API).getCallerIdentity),
)

var ecrinService = newService(ecrintypes.Service, endpoint.Any, ecrintypes.Operations, ecrintypes.Errors,
	op("CreateAccount", "ecrin:CreateAccount", onAccount, (*API).createAccount),
	op("ListAccounts", "ecrin:ListAccounts", onAccount, (*API).listAccounts),
	op("DeleteAccount", "ecrin:DeleteAccount", onAccount, (*API).deleteAccount),
	op("GetAccountCredentials", "ecrin:GetAccountCredentials", onAccount, (*API).getAccountCredentials),
	op("ListAccessKeys", "ecrin:ListAccessKeys", onAccount, (*API).listAccessKeys),
	op("CreateAccessKey", "ecrin:CreateAccessKey", onAccount, (*API).createAccessKey),
	op("UpdateAccessKey", "ecrin:UpdateAccessKey", onAccessKey, (*API).updateAccessKey),
	op("DeleteAccessKey", "ecrin:DeleteAccessKey", onAccessKey, (*API).deleteAccessKey),
	op("ListTokens", "ecrin:ListTokens", onAccount, (*API).listTokens),
	op("RevokeToken", "ecrin:RevokeToken", onAccount, (*API).revokeToken),
	op("ListTagHistory", "ecrin:ListTagHistory", onAnyRepository, (*API).listTagHistory),
	op("ListDeletedImages", "ecrin:ListDeletedImages", onAnyRepository, (*API).listDeletedImages),
	op("RestoreImage", "ecrin:RestoreImage", onAnyRepository, (*API).restoreImage),
)

var services = []*service{ecrService, stsService, ecrinService}

// newService joins the rows with the model's table; operations of the model without a row are kept as unsupported, and a
// row without an operation of the model is a programmer's mistake.
func newService(wire awswire.Service, host endpoint.Kind, model map[string]awswire.Operation, errs map[string]awswire.Error, rows ...row) *service {
	s := &service{wire: wire, host: host, operations: map[string]*operation{}, errors: errs}
	for operationName, w := range model {
		s.operations[operationName] = &operation{wire: w}
	}
	for _, r := range rows {
		have := s.operations[r.name]
		if have == nil || have.run != nil {
			panic("awsapi: " + r.name + " is not in the model, or stands twice in the table")
		}
		r.op.wire = have.wire
		*have = r.op
	}
	return s
}

// onNothing is for actions without a resource, on the caller itself.
func onNothing(*API, *call, awswire.Input) (identity.Access, error) {
	return identity.Access{Resource: "*"}, nil
}

// onRegistry is for actions on the caller's own registry that have no resource in IAM.
func onRegistry(_ *API, c *call, _ awswire.Input) (identity.Access, error) {
	return identity.Access{Account: c.caller.Account, Resource: "*"}, nil
}

// member reads a text member of an input by its Go name; "" when the input does not have it.
func member(in awswire.Input, field string) string {
	f := reflect.ValueOf(in).Elem().FieldByName(field)
	if !f.IsValid() || f.Kind() != reflect.String {
		return ""
	}
	return f.String()
}

// registryOf is the registry that registryId names in the call's region, the caller's own without it.
func (c *call) registryOf(id string) (name.Registry, error) {
	if id == "" {
		if c.caller.Account == (name.Account{}) {
			return name.Registry{}, badMember("registryId", "Member must not be null: the operator has no registry of its own")
		}
		return c.own(), nil
	}
	account, err := name.ParseAccount(id)
	return name.Registry{Account: account, Region: c.region}, err
}

func onRepository(_ *API, c *call, in awswire.Input) (identity.Access, error) {
	reg, err := c.registryOf(member(in, "RegistryId"))
	return identity.Access{Account: reg.Account, Resource: reg.RepositoryARN(member(in, "RepositoryName"))}, err
}

// onAnyRepository is for ecrin's operations on a repository, which the operator may call too.
func onAnyRepository(a *API, c *call, in awswire.Input) (identity.Access, error) {
	reg, err := c.registryOf(a.registryID(c, member(in, "RegistryId")))
	return identity.Access{Account: reg.Account, Resource: reg.RepositoryARN(member(in, "RepositoryName"))}, err
}

// onRepositories is for listings: all of a registry's repositories.
func onRepositories(_ *API, c *call, in awswire.Input) (identity.Access, error) {
	reg, err := c.registryOf(member(in, "RegistryId"))
	return identity.Access{Account: reg.Account, Resource: reg.RepositoryARN("*")}, err
}

func onResource(_ *API, c *call, in awswire.Input) (identity.Access, error) {
	arn := member(in, "ResourceArn")
	reg, _, err := name.ParseRepositoryARN(arn)
	if err == nil && reg.Region != c.region {
		err = badMember("resourceArn", "Invalid ARN")
	}
	return identity.Access{Account: reg.Account, Resource: arn}, err
}

// onAccount is for ecrin's operations on an account: the one named, or the caller's own.
func onAccount(_ *API, c *call, in awswire.Input) (identity.Access, error) {
	account := c.caller.Account
	if id := member(in, "AccountId"); id != "" {
		var err error
		if account, err = name.ParseAccount(id); err != nil {
			return identity.Access{}, err
		}
	}
	return identity.Access{Account: account, Resource: "arn:aws:iam::" + account.String() + ":root"}, nil
}

// onAccessKey is for ecrin's operations on a key: it belongs to its account. An unknown key is nobody's, so that only
// the operator learns that it does not exist.
func onAccessKey(a *API, c *call, in awswire.Input) (identity.Access, error) {
	id := member(in, "AccessKeyId")
	k, err := a.registry.Meta().AccessKey(c.ctx, id)
	if err != nil && c.caller.Kind == identity.Operator {
		return identity.Access{}, err
	}
	access := identity.Access{Account: k.Account, Resource: "arn:aws:iam::" + k.Account.String() + ":access-key/" + id}
	if err != nil {
		access.Account = name.MustAccount("000000000000")
		if c.caller.Account == access.Account {
			return identity.Access{}, err
		}
	}
	return access, nil
}

// Status is one operation of a model and whether it is built, for the documentation.
type Status struct {
	Name   string
	Action string // "" when none is needed or it is not built
	Built  bool
}

// ECROperations lists the operations of the ECR API in the model's order.
func ECROperations() []Status {
	var all []Status
	for _, operationName := range ecrtypes.OperationNames {
		o := ecrService.operations[operationName]
		all = append(all, Status{operationName, o.action, o.run != nil})
	}
	return all
}
