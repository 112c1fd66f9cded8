package awsapi

import (
	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/endpoint"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/sts"
	"github.com/ecrin-dev/ecrin/internal/ststypes"
)

// operation is one row: what is asked, with which right, on what, and who does it. A row without run is an operation of
// the model that ecrin does not have yet.
type operation struct {
	wire   awswire.Operation
	action string // IAM action; "" when the identity alone is enough
	on     target
	as     func(*API, *call, awswire.Input) (identity.Caller, error) // who calls, for operations that are not signed
	run    func(*API, *call, awswire.Input) (any, error)
}

// target tells what an operation needs a right on: whose resources they are, their ARNs and condition keys. All of them must
// be allowed; the row fills in its action where none is set.
type target func(*API, *call, awswire.Input) ([]identity.Access, error)

type row struct {
	name string
	op   operation
}

// op makes a row.
func op[In any, Out any, P interface {
	*In
	awswire.Input
}](operationName, action string, on target, run func(*API, *call, *In) (*Out, error)) row {
	return row{operationName, operation{action: action, on: on, run: func(a *API, c *call, in awswire.Input) (any, error) {
		return run(a, c, (*In)(in.(P)))
	}}}
}

var ecrService = newService(ecrtypes.Service, endpoint.ECR, ecrtypes.Operations, ecrtypes.Errors,
	op("GetAuthorizationToken", "ecr:GetAuthorizationToken", onNothing, (*API).getAuthorizationToken),
	op("CreateRepository", "ecr:CreateRepository", tagged(onRepository), (*API).createRepository),
	op("DescribeRepositories", "ecr:DescribeRepositories", onRepositories, (*API).describeRepositories),
	op("DeleteRepository", "ecr:DeleteRepository", onRepository, (*API).deleteRepository),
	op("PutImageTagMutability", "ecr:PutImageTagMutability", onRepository, (*API).putImageTagMutability),
	op("SetRepositoryPolicy", "ecr:SetRepositoryPolicy", onRepository, (*API).setRepositoryPolicy),
	op("GetRepositoryPolicy", "ecr:GetRepositoryPolicy", onRepository, (*API).getRepositoryPolicy),
	op("DeleteRepositoryPolicy", "ecr:DeleteRepositoryPolicy", onRepository, (*API).deleteRepositoryPolicy),
	op("PutRegistryPolicy", "ecr:PutRegistryPolicy", onRegistry, (*API).putRegistryPolicy),
	op("GetRegistryPolicy", "ecr:GetRegistryPolicy", onRegistry, (*API).getRegistryPolicy),
	op("DeleteRegistryPolicy", "ecr:DeleteRegistryPolicy", onRegistry, (*API).deleteRegistryPolicy),
	op("TagResource", "ecr:TagResource", tagged(onResource), (*API).tagResource),
	op("UntagResource", "ecr:UntagResource", tagged(onResource), (*API).untagResource),
	op("ListTagsForResource", "ecr:ListTagsForResource", onResource, (*API).listTagsForResource),
	op("ListImages", "ecr:ListImages", onRepository, (*API).listImages),
	op("DescribeImages", "ecr:DescribeImages", onImages, (*API).describeImages),
	op("BatchGetImage", "ecr:BatchGetImage", onImages, (*API).batchGetImage),
	op("BatchDeleteImage", "ecr:BatchDeleteImage", onImages, (*API).batchDeleteImage),
	op("PutImage", "ecr:PutImage", onImages, (*API).putImage),
	// The operation has no action of its own. Source: ECR user guide, identity-based policies.
	op("ListImageReferrers", "ecr:BatchGetImage", onImages, (*API).listImageReferrers),
	op("InitiateLayerUpload", "ecr:InitiateLayerUpload", onRepository, (*API).initiateLayerUpload),
	op("UploadLayerPart", "ecr:UploadLayerPart", onRepository, (*API).uploadLayerPart),
	op("CompleteLayerUpload", "ecr:CompleteLayerUpload", onRepository, (*API).completeLayerUpload),
	op("BatchCheckLayerAvailability", "ecr:BatchCheckLayerAvailability", onRepository, (*API).batchCheckLayerAvailability),
	op("GetDownloadUrlForLayer", "ecr:GetDownloadUrlForLayer", onRepository, (*API).getDownloadURLForLayer),
	op("DescribeRegistry", "ecr:DescribeRegistry", onRegistry, (*API).describeRegistry),
	op("GetAccountSetting", "ecr:GetAccountSetting", onSetting, (*API).getAccountSetting),
	op("PutAccountSetting", "ecr:PutAccountSetting", onSetting, (*API).putAccountSetting),
)

var stsService = newService(ststypes.Service, endpoint.STS, ststypes.Operations, ststypes.Errors,
	op("AssumeRole", "sts:AssumeRole", onAssumedRole, runDecided((*sts.Service).AssumeRole)),
	unsigned(op("AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity", onVouched, runDecided((*sts.Service).AssumeRoleWithWebIdentity)), asVouched),
	op("GetFederationToken", "sts:GetFederationToken", onFederation, run((*sts.Service).GetFederationToken)),
	op("DecodeAuthorizationMessage", "sts:DecodeAuthorizationMessage", onNothing, run((*sts.Service).DecodeAuthorizationMessage)),
	// These need no permission, and the first cannot be denied. Source: STS API reference.
	op("GetCallerIdentity", "", onNothing, run((*sts.Service).GetCallerIdentity)),
	op("GetSessionToken", "", onNothing, run((*sts.Service).GetSessionToken)),
	op("GetAccessKeyInfo", "", onNothing, run((*sts.Service).GetAccessKeyInfo)),
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
	op("ListAuditEvents", "ecrin:ListAuditEvents", onAccount, (*API).listAuditEvents),
	op("ExplainRequest", "ecrin:ExplainRequest", onAccount, (*API).explainRequest),
	op("ListTokens", "ecrin:ListTokens", onAccount, (*API).listTokens),
	op("RevokeToken", "ecrin:RevokeToken", onAccount, (*API).revokeToken),
	op("RemoveRepositoryPolicy", "ecrin:RemoveRepositoryPolicy", onAnyRepository, (*API).removeRepositoryPolicy),
	op("ListTagHistory", "ecrin:ListTagHistory", onAnyRepository, (*API).listTagHistory),
	op("ListDeletedImages", "ecrin:ListDeletedImages", onAnyRepository, (*API).listDeletedImages),
	op("RestoreImage", "ecrin:RestoreImage", onRestored, (*API).restoreImage),
	op("GrantRepositoryAccess", "ecrin:GrantRepositoryAccess", onGranted, (*API).grantRepositoryAccess),
	op("ExplainAccess", "ecrin:ExplainAccess", onExplained, (*API).explainAccess),
	op("ListControlPolicies", "ecrin:ListControlPolicies", onInstallation, (*API).listControlPolicies),
	op("PutControlPolicy", "ecrin:PutControlPolicy", onInstallation, (*API).putControlPolicy),
	op("DeleteControlPolicy", "ecrin:DeleteControlPolicy", onInstallation, (*API).deleteControlPolicy),
)

var services = []*service{ecrService, stsService, iamService, ecrinService}

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
