package awsapi

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/deliver/report"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/op/ecrin"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
)

// operation is one operation of an API. If resolve is nil, the model has the operation and ecrin does not.
type operation struct {
	wire     awswire.Operation
	action   string         // IAM action; "" if the operation requires only an authenticated caller
	reserved guard.Reserved // to whom the action is reserved, independent of policies
	unsigned bool           // the input authenticates the caller; a signature is ignored
	long     bool           // reads thousands of rows, and so waits for its turn
	matches  bool           // replaces something, which a precondition of the request can name
	resolve  resolver
	quiet    func(by identity.Caller, in awswire.Input) bool // reports whether a call has no audit line; nil for never
}

// resolver resolves the target of a call. The resolver of an unsigned operation also sets the caller in the request.
type resolver func(*API, context.Context, *guard.Request, awswire.Input) (resolved, error)

// row is one row of an operation table.
type row struct {
	name string
	op   operation
}

// ecrOp returns a row of ECR.
func ecrOp[In, T, Out any, P interface {
	*In
	awswire.Input
}](name, action string, on func(*ecr.Service, context.Context, guard.Request, *In) (guard.Target[T], error),
	run func(*ecr.Service, context.Context, identity.Caller, T, *In) (*Out, error)) row {
	return row{name, operation{action: action, resolve: bind[ecr.Service, In, T, Out, P](func(a *API) *ecr.Service { return a.ecr }, on, run)}}
}

// ecrinOp returns a row of ecrin.
func ecrinOp[In, T, Out any, P interface {
	*In
	awswire.Input
}](name string, reserved guard.Reserved, on func(*ecrin.Service, context.Context, guard.Request, *In) (
	guard.Target[T], error), run func(*ecrin.Service, context.Context, identity.Caller, T, *In) (*Out, error)) row {
	return row{name, operation{action: "ecrin:" + name, reserved: reserved,
		resolve: bind[ecrin.Service, In, T, Out, P](func(a *API) *ecrin.Service {
			return a.ecrin
		}, on, run)}}
}

// reportOp returns a row of ecrin whose operation is one of reports.
func reportOp[In, T, Out any, P interface {
	*In
	awswire.Input
}](name string, on func(*report.Service, context.Context, guard.Request, *In) (guard.Target[T], error),
	run func(*report.Service, context.Context, identity.Caller, T, *In) (*Out, error)) row {
	return row{name, operation{action: "ecrin:" + name,
		resolve: bind[report.Service, In, T, Out, P](func(a *API) *report.Service { return a.reports }, on, run)}}
}

// stsOp returns a row of STS.
func stsOp[In, T, Out any, P interface {
	*In
	awswire.Input
}](name, action string, on func(*sts.Service, context.Context, guard.Request, *In) (guard.Target[T], error),
	run func(*sts.Service, context.Context, identity.Caller, T, *In) (*Out, error)) row {
	return row{name, operation{action: action, resolve: bind[sts.Service, In, T, Out, P](func(a *API) *sts.Service { return a.sts }, on, run)}}
}

var ecrService = newService(ecrtypes.Service, endpoint.ECR, ecrtypes.Operations, ecrtypes.Errors,
	ecrOp("GetAuthorizationToken", "ecr:GetAuthorizationToken", ecr.OnRegistry, (*ecr.Service).GetAuthorizationToken),
	ecrOp("CreateRepository", "ecr:CreateRepository", ecr.OnNewRepository, (*ecr.Service).CreateRepository),
	ecrOp("DescribeRepositories", "ecr:DescribeRepositories", ecr.OnRepositories, (*ecr.Service).DescribeRepositories),
	ecrOp("DeleteRepository", "ecr:DeleteRepository", ecr.OnRepository, (*ecr.Service).DeleteRepository),
	ecrOp("PutImageScanningConfiguration", "ecr:PutImageScanningConfiguration", ecr.OnRepository,
		(*ecr.Service).PutImageScanningConfiguration),
	ecrOp("PutImageTagMutability", "ecr:PutImageTagMutability", ecr.OnRepository, (*ecr.Service).PutImageTagMutability),
	ecrOp("SetRepositoryPolicy", "ecr:SetRepositoryPolicy", ecr.OnPolicyOf, (*ecr.Service).SetRepositoryPolicy),
	ecrOp("GetRepositoryPolicy", "ecr:GetRepositoryPolicy", ecr.OnRepository, (*ecr.Service).GetRepositoryPolicy),
	ecrOp("DeleteRepositoryPolicy", "ecr:DeleteRepositoryPolicy", ecr.OnRepository, (*ecr.Service).DeleteRepositoryPolicy),
	matching(ecrOp("PutLifecyclePolicy", "ecr:PutLifecyclePolicy", ecr.OnRepository, (*ecr.Service).PutLifecyclePolicy)),
	ecrOp("GetLifecyclePolicy", "ecr:GetLifecyclePolicy", ecr.OnRepository, (*ecr.Service).GetLifecyclePolicy),
	matching(ecrOp("DeleteLifecyclePolicy", "ecr:DeleteLifecyclePolicy", ecr.OnRepository, (*ecr.Service).DeleteLifecyclePolicy)),
	ecrOp("StartLifecyclePolicyPreview", "ecr:StartLifecyclePolicyPreview", ecr.OnRepository,
		(*ecr.Service).StartLifecyclePolicyPreview),
	ecrOp("GetLifecyclePolicyPreview", "ecr:GetLifecyclePolicyPreview", ecr.OnRepository, (*ecr.Service).GetLifecyclePolicyPreview),
	matching(ecrOp("PutRegistryPolicy", "ecr:PutRegistryPolicy", ecr.OnRegistry, (*ecr.Service).PutRegistryPolicy)),
	ecrOp("GetRegistryPolicy", "ecr:GetRegistryPolicy", ecr.OnRegistry, (*ecr.Service).GetRegistryPolicy),
	matching(ecrOp("DeleteRegistryPolicy", "ecr:DeleteRegistryPolicy", ecr.OnRegistry, (*ecr.Service).DeleteRegistryPolicy)),
	ecrOp("TagResource", "ecr:TagResource", ecr.OnResource, (*ecr.Service).TagResource),
	ecrOp("UntagResource", "ecr:UntagResource", ecr.OnResource, (*ecr.Service).UntagResource),
	ecrOp("ListTagsForResource", "ecr:ListTagsForResource", ecr.OnResource, (*ecr.Service).ListTagsForResource),
	ecrOp("ListImages", "ecr:ListImages", ecr.OnRepository, (*ecr.Service).ListImages),
	ecrOp("DescribeImages", "ecr:DescribeImages", ecr.OnImages, (*ecr.Service).DescribeImages),
	ecrOp("BatchGetImage", "ecr:BatchGetImage", ecr.OnImages, (*ecr.Service).BatchGetImage),
	ecrOp("BatchDeleteImage", "ecr:BatchDeleteImage", ecr.OnDeletions, (*ecr.Service).BatchDeleteImage),
	ecrOp("PutImage", "ecr:PutImage", ecr.OnPut, (*ecr.Service).PutImage),
	// The operation has no action of its own. Source: ECR user guide, identity-based policies.
	ecrOp("ListImageReferrers", "ecr:BatchGetImage", ecr.OnSubject, (*ecr.Service).ListImageReferrers),
	ecrOp("InitiateLayerUpload", "ecr:InitiateLayerUpload", ecr.OnPush, (*ecr.Service).InitiateLayerUpload),
	ecrOp("UploadLayerPart", "ecr:UploadLayerPart", ecr.OnRepository, (*ecr.Service).UploadLayerPart),
	ecrOp("CompleteLayerUpload", "ecr:CompleteLayerUpload", ecr.OnRepository, (*ecr.Service).CompleteLayerUpload),
	ecrOp("BatchCheckLayerAvailability", "ecr:BatchCheckLayerAvailability", ecr.OnRepository, (*ecr.Service).BatchCheckLayerAvailability),
	ecrOp("GetDownloadUrlForLayer", "ecr:GetDownloadUrlForLayer", ecr.OnRepository, (*ecr.Service).GetDownloadURLForLayer),
	ecrOp("CreateRepositoryCreationTemplate", "ecr:CreateRepositoryCreationTemplate", ecr.OnNewTemplate,
		(*ecr.Service).CreateRepositoryCreationTemplate),
	ecrOp("UpdateRepositoryCreationTemplate", "ecr:UpdateRepositoryCreationTemplate", ecr.OnUpdatedTemplate,
		(*ecr.Service).UpdateRepositoryCreationTemplate),
	ecrOp("DeleteRepositoryCreationTemplate", "ecr:DeleteRepositoryCreationTemplate", ecr.OnTemplate,
		(*ecr.Service).DeleteRepositoryCreationTemplate),
	ecrOp("DescribeRepositoryCreationTemplates", "ecr:DescribeRepositoryCreationTemplates", ecr.OnRegistry,
		(*ecr.Service).DescribeRepositoryCreationTemplates),
	ecrOp("RegisterPullTimeUpdateExclusion", "ecr:RegisterPullTimeUpdateExclusion", ecr.OnRegistry,
		(*ecr.Service).RegisterPullTimeUpdateExclusion),
	ecrOp("DeregisterPullTimeUpdateExclusion", "ecr:DeregisterPullTimeUpdateExclusion", ecr.OnRegistry,
		(*ecr.Service).DeregisterPullTimeUpdateExclusion),
	ecrOp("ListPullTimeUpdateExclusions", "ecr:ListPullTimeUpdateExclusions", ecr.OnRegistry, (*ecr.Service).ListPullTimeUpdateExclusions),
	ecrOp("DescribeRegistry", "ecr:DescribeRegistry", ecr.OnRegistry, (*ecr.Service).DescribeRegistry),
	matching(ecrOp("PutReplicationConfiguration", "ecr:PutReplicationConfiguration", ecr.OnReplicationRules,
		(*ecr.Service).PutReplicationConfiguration)),
	ecrOp("DescribeImageReplicationStatus", "ecr:DescribeImageReplicationStatus", ecr.OnReplicated,
		(*ecr.Service).DescribeImageReplicationStatus),
	ecrOp("StartReplicationBackfill", "ecr:StartReplicationBackfill", ecr.OnBackfills, (*ecr.Service).StartReplicationBackfill),
	ecrOp("StopReplicationBackfill", "ecr:StopReplicationBackfill", ecr.OnBackfills, (*ecr.Service).StopReplicationBackfill),
	ecrOp("ListReplicationBackfills", "ecr:ListReplicationBackfills", ecr.OnBackfills, (*ecr.Service).ListReplicationBackfills),
	ecrOp("DescribeReplicationBackfillResults", "ecr:DescribeReplicationBackfillResults", ecr.OnBackfills,
		(*ecr.Service).DescribeReplicationBackfillResults),
	ecrOp("CreatePullThroughCacheRule", "ecr:CreatePullThroughCacheRule", ecr.OnRules, (*ecr.Service).CreatePullThroughCacheRule),
	ecrOp("UpdatePullThroughCacheRule", "ecr:UpdatePullThroughCacheRule", ecr.OnRules, (*ecr.Service).UpdatePullThroughCacheRule),
	ecrOp("DeletePullThroughCacheRule", "ecr:DeletePullThroughCacheRule", ecr.OnRules, (*ecr.Service).DeletePullThroughCacheRule),
	ecrOp("DescribePullThroughCacheRules", "ecr:DescribePullThroughCacheRules", ecr.OnRules, (*ecr.Service).DescribePullThroughCacheRules),
	ecrOp("ValidatePullThroughCacheRule", "ecr:ValidatePullThroughCacheRule", ecr.OnRules, (*ecr.Service).ValidatePullThroughCacheRule),
	ecrOp("GetRegistryScanningConfiguration", "ecr:GetRegistryScanningConfiguration", ecr.OnRegistry,
		(*ecr.Service).GetRegistryScanningConfiguration),
	ecrOp("PutRegistryScanningConfiguration", "ecr:PutRegistryScanningConfiguration", ecr.OnRegistry,
		(*ecr.Service).PutRegistryScanningConfiguration),
	ecrOp("BatchGetRepositoryScanningConfiguration", "ecr:BatchGetRepositoryScanningConfiguration", ecr.OnScanned,
		(*ecr.Service).BatchGetRepositoryScanningConfiguration),
	ecrOp("GetAccountSetting", "ecr:GetAccountSetting", ecr.OnSetting, (*ecr.Service).GetAccountSetting),
	ecrOp("PutAccountSetting", "ecr:PutAccountSetting", ecr.OnSetting, (*ecr.Service).PutAccountSetting),
)

var stsService = newService(ststypes.Service, endpoint.STS, ststypes.Operations, ststypes.Errors,
	stsOp("AssumeRole", "sts:AssumeRole", sts.OnRole, (*sts.Service).AssumeRole),
	assumeRoleWithWebIdentity,
	stsOp("GetFederationToken", "sts:GetFederationToken", sts.OnFederation, onNothing((*sts.Service).GetFederationToken)),
	stsOp("DecodeAuthorizationMessage", "sts:DecodeAuthorizationMessage", onCaller, onNothing((*sts.Service).DecodeAuthorizationMessage)),
	// These need no permission, and policies cannot deny GetCallerIdentity. Source: STS API reference.
	stsOp("GetCallerIdentity", "", onCaller, onNothing((*sts.Service).GetCallerIdentity)),
	stsOp("GetSessionToken", "", onCaller, onNothing((*sts.Service).GetSessionToken)),
	stsOp("GetAccessKeyInfo", "", onCaller, onNothing((*sts.Service).GetAccessKeyInfo)),
)

// assumeRoleWithWebIdentity is not signed: the caller is the subject of the token of the identity provider.
var assumeRoleWithWebIdentity = row{"AssumeRoleWithWebIdentity", operation{
	action: "sts:AssumeRoleWithWebIdentity", unsigned: true,
	resolve: func(a *API, ctx context.Context, req *guard.Request, input awswire.Input) (resolved, error) {
		in := input.(*ststypes.AssumeRoleWithWebIdentityRequest)
		req.By = identity.Caller{}
		by, t, err := sts.WebIdentity(a.sts, ctx, *req, in)
		req.By = by
		return resolved{asks: t.Asks, absent: t.Absent, act: func(ctx context.Context, by identity.Caller) (any, error) {
			return a.sts.AssumeRoleWithWebIdentity(ctx, by, t.Value, in)
		}}, err
	},
}}

// onCaller resolves the target of an operation without a resource.
func onCaller[S, In any](_ *S, _ context.Context, req guard.Request, _ *In) (guard.Target[guard.Nothing], error) {
	return guard.OnCaller(req), nil
}

// onNothing adapts an operation without a target to the signature that rows need.
func onNothing[S, In, Out any](run func(*S, context.Context, identity.Caller, *In) (*Out, error)) func(*S,
	context.Context, identity.Caller, guard.Nothing, *In) (*Out, error) {
	return func(s *S, ctx context.Context, by identity.Caller, _ guard.Nothing, in *In) (*Out, error) {
		return run(s, ctx, by, in)
	}
}

var ecrinService = newService(ecrintypes.Service, endpoint.Any, ecrintypes.Operations, ecrintypes.Errors,
	ecrinOp("CreateAccount", guard.ForOperator, ecrin.OnAccount, (*ecrin.Service).CreateAccount),
	ecrinOp("ListAccounts", guard.ForOperator, ecrin.OnInstallation, (*ecrin.Service).ListAccounts),
	ecrinOp("DeleteAccount", guard.ForOperator, ecrin.OnAccount, (*ecrin.Service).DeleteAccount),
	ecrinOp("GetAccountCredentials", guard.ForOperator, ecrin.OnCredentials, (*ecrin.Service).GetAccountCredentials),
	ecrinOp("ListAccessKeys", guard.ForPolicies, ecrin.OnAccount, (*ecrin.Service).ListAccessKeys),
	ecrinOp("CreateAccessKey", guard.ForRoot, ecrin.OnAccount, (*ecrin.Service).CreateAccessKey),
	ecrinOp("UpdateAccessKey", guard.ForRoot, ecrin.OnAccessKey, (*ecrin.Service).UpdateAccessKey),
	ecrinOp("DeleteAccessKey", guard.ForRoot, ecrin.OnAccessKey, (*ecrin.Service).DeleteAccessKey),
	quiet(ecrinOp("ListAuditEvents", guard.ForPolicies, ecrin.OnTrail, (*ecrin.Service).ListAuditEvents), followsTrail),
	ecrinOp("ExplainRequest", guard.ForPolicies, ecrin.OnRequest, (*ecrin.Service).ExplainRequest),
	ecrinOp("ListTokens", guard.ForPolicies, ecrin.OnAccount, (*ecrin.Service).ListTokens),
	ecrinOp("RevokeToken", guard.ForPolicies, ecrin.OnAccount, (*ecrin.Service).RevokeToken),
	ecrinOp("ListConsoleSessions", guard.ForPolicies, ecrin.OnSignedIn[*ecrintypes.ListConsoleSessionsRequest],
		(*ecrin.Service).ListConsoleSessions),
	ecrinOp("RevokeConsoleSession", guard.ForPolicies, ecrin.OnSignedIn[*ecrintypes.RevokeConsoleSessionRequest],
		(*ecrin.Service).RevokeConsoleSession),
	ecrinOp("RemoveRepositoryPolicy", guard.ForPolicies, ecrin.OnRepository, (*ecrin.Service).RemoveRepositoryPolicy),
	ecrinOp("ReplaceRepositoryPolicy", guard.ForPolicies, ecrin.OnReplaced, (*ecrin.Service).ReplaceRepositoryPolicy),
	ecrinOp("ListTagHistory", guard.ForPolicies, ecrin.OnRepository, (*ecrin.Service).ListTagHistory),
	ecrinOp("ListDeletedImages", guard.ForPolicies, ecrin.OnRepository, (*ecrin.Service).ListDeletedImages),
	ecrinOp("RestoreImage", guard.ForPolicies, ecrin.OnRestored, (*ecrin.Service).RestoreImage),
	ecrinOp("GrantRepositoryAccess", guard.ForPolicies, ecrin.OnGranted, (*ecrin.Service).GrantRepositoryAccess),
	ecrinOp("ExplainAccess", guard.ForPolicies, ecrin.OnExplained, (*ecrin.Service).ExplainAccess),
	ecrinOp("ListControlPolicies", guard.ForOperator, ecrin.OnInstallation, (*ecrin.Service).ListControlPolicies),
	ecrinOp("PutControlPolicy", guard.ForOperator, ecrin.OnInstallation, (*ecrin.Service).PutControlPolicy),
	ecrinOp("DeleteControlPolicy", guard.ForOperator, ecrin.OnInstallation, (*ecrin.Service).DeleteControlPolicy),
	ecrinOp("VerifyStorage", guard.ForOperator, ecrin.OnInstallation, (*ecrin.Service).VerifyStorage),
	ecrinOp("CollectStorage", guard.ForOperator, ecrin.OnInstallation, (*ecrin.Service).CollectStorage),
	ecrinOp("DiagnoseServer", guard.ForPolicies, ecrin.OnServer, (*ecrin.Service).DiagnoseServer),
	ecrinOp("SnapshotDatabase", guard.ForOperator, ecrin.OnInstallation, (*ecrin.Service).SnapshotDatabase),
	ecrinOp("CopyImage", guard.ForPolicies, ecrin.OnCopy, (*ecrin.Service).CopyImage),
	long(ecrinOp("ListRepositoryUsage", guard.ForPolicies, ecrin.OnUsage, (*ecrin.Service).ListRepositoryUsage)),
	long(ecrinOp("GetUsageHistory", guard.ForPolicies, ecrin.OnUsageHistory, (*ecrin.Service).GetUsageHistory)),
	long(ecrinOp("SearchRepositories", guard.ForPolicies, ecrin.OnRepositorySearch, (*ecrin.Service).SearchRepositories)),
	long(ecrinOp("SearchImages", guard.ForPolicies, ecrin.OnSearch, (*ecrin.Service).SearchImages)),
	ecrinOp("PutQuota", guard.ForPolicies, ecrin.OnQuota[*ecrintypes.PutQuotaRequest], (*ecrin.Service).PutQuota),
	ecrinOp("DescribeQuotas", guard.ForPolicies, ecrin.OnQuotas, (*ecrin.Service).DescribeQuotas),
	ecrinOp("DeleteQuota", guard.ForPolicies, ecrin.OnQuota[*ecrintypes.DeleteQuotaRequest], (*ecrin.Service).DeleteQuota),
	ecrinOp("PutLifecycle", guard.ForPolicies, ecrin.OnLifecycle, (*ecrin.Service).PutLifecycle),
	ecrinOp("GetLifecycle", guard.ForPolicies, ecrin.OnLifecycle, (*ecrin.Service).GetLifecycle),
	ecrinOp("DeleteLifecycle", guard.ForPolicies, ecrin.OnLifecycle, (*ecrin.Service).DeleteLifecycle),
	ecrinOp("ListRepositoryAccess", guard.ForPolicies, ecrin.OnReached, (*ecrin.Service).ListRepositoryAccess),
	ecrinOp("TestLifecycle", guard.ForPolicies, ecrin.OnLifecycle, (*ecrin.Service).TestLifecycle),
	own(ecrinOp("RequestAccess", guard.ForPolicies, ecrin.OnAsked, (*ecrin.Service).RequestAccess)),
	ecrinOp("ListAccessRequests", guard.ForPolicies, ecrin.OnAccessRequests, (*ecrin.Service).ListAccessRequests),
	ecrinOp("DescribeAccessRequest", guard.ForPolicies, ecrin.OnAccessRequest, (*ecrin.Service).DescribeAccessRequest),
	quiet(ecrinOp("CountWaiting", guard.ForPolicies, ecrin.OnWaiting, (*ecrin.Service).CountWaiting), always),
	ecrinOp("ApproveAccessRequest", guard.ForPolicies, ecrin.OnApproved, (*ecrin.Service).ApproveAccessRequest),
	ecrinOp("RefuseAccessRequest", guard.ForPolicies, ecrin.OnDecided, (*ecrin.Service).RefuseAccessRequest),
	own(ecrinOp("WithdrawAccessRequest", guard.ForPolicies, ecrin.OnWithdrawn, (*ecrin.Service).WithdrawAccessRequest)),
	ecrinOp("RevokeAccess", guard.ForPolicies, ecrin.OnDecided, (*ecrin.Service).RevokeAccess),
	ecrinOp("ReadImage", guard.ForPolicies, ecrin.OnRead, (*ecrin.Service).ReadImage),
	long(ecrinOp("ListTags", guard.ForPolicies, ecrin.OnTags, (*ecrin.Service).ListTags)),
	ecrinOp("ListPullThroughUsage", guard.ForPolicies, ecrin.OnPullThroughUsage, (*ecrin.Service).ListPullThroughUsage),
	ecrinOp("ListImagePulls", guard.ForPolicies, ecrin.OnPinned[*ecrintypes.ListImagePullsRequest], (*ecrin.Service).ListImagePulls),
	long(ecrinOp("ListImageLayers", guard.ForPolicies, ecrin.OnLayers, (*ecrin.Service).ListImageLayers)),
	ecrinOp("PinImage", guard.ForPolicies, ecrin.OnPinned, (*ecrin.Service).PinImage),
	ecrinOp("UnpinImage", guard.ForPolicies, ecrin.OnPinned, (*ecrin.Service).UnpinImage),
	ecrinOp("ListPinnedImages", guard.ForPolicies, ecrin.OnRepository, (*ecrin.Service).ListPinnedImages),
	ecrinOp("ListImageUses", guard.ForPolicies, ecrin.OnPinned, (*ecrin.Service).ListImageUses),
	ecrinOp("ListJobs", guard.ForPolicies, ecrin.OnJobs, (*ecrin.Service).ListJobs),
	ecrinOp("DescribeJob", guard.ForPolicies, ecrin.OnJob, (*ecrin.Service).DescribeJob),
	ecrinOp("RetryJob", guard.ForPolicies, ecrin.OnJob, (*ecrin.Service).RetryJob),
	ecrinOp("PutSecret", guard.ForPolicies, ecrin.OnSecret, (*ecrin.Service).PutSecret),
	ecrinOp("ListSecrets", guard.ForPolicies, ecrin.OnSecrets, (*ecrin.Service).ListSecrets),
	ecrinOp("DeleteSecret", guard.ForPolicies, ecrin.OnSecret, (*ecrin.Service).DeleteSecret),
	ecrinOp("CancelJob", guard.ForPolicies, ecrin.OnJob, (*ecrin.Service).CancelJob),
	ecrinOp("PutRepositoryProtection", guard.ForPolicies, ecrin.OnRepository, (*ecrin.Service).PutRepositoryProtection),
	ecrinOp("GetRepositoryProtection", guard.ForPolicies, ecrin.OnRepository, (*ecrin.Service).GetRepositoryProtection),
	ecrinOp("DeleteImage", guard.ForPolicies, ecrin.OnDeleted, (*ecrin.Service).DeleteImage),
	ecrinOp("UntagImage", guard.ForPolicies, ecrin.OnUntagged, (*ecrin.Service).UntagImage),
	ecrinOp("CreateWebhook", guard.ForPolicies, ecrin.OnNewWebhook, (*ecrin.Service).CreateWebhook),
	ecrinOp("UpdateWebhook", guard.ForPolicies, ecrin.OnWebhook[*ecrintypes.UpdateWebhookRequest], (*ecrin.Service).UpdateWebhook),
	ecrinOp("DeleteWebhook", guard.ForPolicies, ecrin.OnWebhook[*ecrintypes.WebhookRequest], (*ecrin.Service).DeleteWebhook),
	ecrinOp("ListWebhooks", guard.ForPolicies, ecrin.OnWebhooks, (*ecrin.Service).ListWebhooks),
	ecrinOp("GetWebhookUrl", guard.ForPolicies, ecrin.OnWebhook[*ecrintypes.WebhookRequest], (*ecrin.Service).GetWebhookUrl),
	ecrinOp("TryWebhookUrl", guard.ForPolicies, ecrin.OnTriedURL, (*ecrin.Service).TryWebhookUrl),
	ecrinOp("TestWebhook", guard.ForPolicies, ecrin.OnWebhook[*ecrintypes.WebhookRequest], (*ecrin.Service).TestWebhook),
	ecrinOp("ListWebhookDeliveries", guard.ForPolicies, ecrin.OnWebhook[*ecrintypes.ListWebhookDeliveriesRequest],
		(*ecrin.Service).ListWebhookDeliveries),
	ecrinOp("RedeliverWebhook", guard.ForPolicies, ecrin.OnWebhook[*ecrintypes.RedeliverWebhookRequest], (*ecrin.Service).RedeliverWebhook),
	ecrinOp("ListEvents", guard.ForPolicies, ecrin.OnEvents, (*ecrin.Service).ListEvents),
	matching(ecrinOp("PutCloudIntegration", guard.ForPolicies, ecrin.OnNewCloud, (*ecrin.Service).PutCloudIntegration)),
	ecrinOp("DescribeCloudIntegrations", guard.ForPolicies, ecrin.OnCloud[*ecrintypes.DescribeCloudIntegrationsRequest],
		(*ecrin.Service).DescribeCloudIntegrations),
	ecrinOp("DeleteCloudIntegration", guard.ForPolicies, ecrin.OnCloud[*ecrintypes.CloudIntegrationRequest],
		(*ecrin.Service).DeleteCloudIntegration),
	matching(ecrinOp("PutRuntime", guard.ForPolicies, ecrin.OnNewRuntime, (*ecrin.Service).PutRuntime)),
	ecrinOp("DescribeRuntimes", guard.ForPolicies, ecrin.OnRuntime[*ecrintypes.DescribeRuntimesRequest], (*ecrin.Service).DescribeRuntimes),
	ecrinOp("DeleteRuntime", guard.ForPolicies, ecrin.OnRuntime[*ecrintypes.RuntimeRequest], (*ecrin.Service).DeleteRuntime),
	matching(ecrinOp("PutCluster", guard.ForPolicies, ecrin.OnNewCluster, (*ecrin.Service).PutCluster)),
	ecrinOp("DescribeClusters", guard.ForPolicies, ecrin.OnCluster[*ecrintypes.DescribeClustersRequest], (*ecrin.Service).DescribeClusters),
	ecrinOp("DeleteCluster", guard.ForPolicies, ecrin.OnCluster[*ecrintypes.ClusterRequest], (*ecrin.Service).DeleteCluster),
	matching(ecrinOp("PutRancherEnvironment", guard.ForPolicies, ecrin.OnNewRancher, (*ecrin.Service).PutRancherEnvironment)),
	ecrinOp("DescribeRancherEnvironments", guard.ForPolicies, ecrin.OnRancher[*ecrintypes.DescribeRancherEnvironmentsRequest],
		(*ecrin.Service).DescribeRancherEnvironments),
	ecrinOp("DeleteRancherEnvironment", guard.ForPolicies, ecrin.OnRancher[*ecrintypes.RancherEnvironmentRequest],
		(*ecrin.Service).DeleteRancherEnvironment),
	ecrinOp("PutRancherRegistry", guard.ForPolicies, ecrin.OnRancher[*ecrintypes.PutRancherRegistryRequest],
		(*ecrin.Service).PutRancherRegistry),
	ecrinOp("DeleteRancherRegistry", guard.ForPolicies, ecrin.OnRancher[*ecrintypes.RancherRegistryRequest],
		(*ecrin.Service).DeleteRancherRegistry),
	ecrinOp("PutRancherCredential", guard.ForPolicies, ecrin.OnRancher[*ecrintypes.PutRancherCredentialRequest],
		(*ecrin.Service).PutRancherCredential),
	ecrinOp("DeleteRancherCredential", guard.ForPolicies, ecrin.OnRancher[*ecrintypes.RancherCredentialRequest],
		(*ecrin.Service).DeleteRancherCredential),
	ecrinOp("GetRancherHostCredentials", guard.ForPolicies, ecrin.OnRancher[*ecrintypes.RancherHostRequest],
		(*ecrin.Service).GetRancherHostCredentials),
	ecrinOp("PutIssuerKeys", guard.ForPolicies, ecrin.OnIssuer[*ecrintypes.PutIssuerKeysRequest], (*ecrin.Service).PutIssuerKeys),
	ecrinOp("DescribeIssuerKeys", guard.ForPolicies, ecrin.OnIssuer[*ecrintypes.DescribeIssuerKeysRequest],
		(*ecrin.Service).DescribeIssuerKeys),
	ecrinOp("TestCloudIntegration", guard.ForPolicies, ecrin.OnCloud[*ecrintypes.CloudIntegrationRequest],
		(*ecrin.Service).TestCloudIntegration),
	ecrinOp("PutConfigRepository", guard.ForPolicies, ecrin.OnNewConfigRepository, (*ecrin.Service).PutConfigRepository),
	ecrinOp("DescribeConfigRepository", guard.ForPolicies, ecrin.OnConfigRepository[*ecrintypes.ConfigRepositoryRequest],
		(*ecrin.Service).DescribeConfigRepository),
	ecrinOp("SyncConfigRepository", guard.ForPolicies, ecrin.OnConfigRepository[*ecrintypes.ConfigRepositoryRequest],
		(*ecrin.Service).SyncConfigRepository),
	ecrinOp("DeleteConfigRepository", guard.ForPolicies, ecrin.OnConfigRepository[*ecrintypes.DeleteConfigRepositoryRequest],
		(*ecrin.Service).DeleteConfigRepository),
	reportOp("ReportImage", report.OnReport, (*report.Service).ReportImage),
	long(reportOp("ListImageReports", report.OnReports[*ecrintypes.ListImageReportsRequest], (*report.Service).ListImageReports)),
	long(reportOp("ListReportedRepositories", report.OnReports[*ecrintypes.ListReportedRepositoriesRequest],
		(*report.Service).ListReportedRepositories)),
	reportOp("GetImageReport", report.OnImage[*ecrintypes.GetImageReportRequest], (*report.Service).GetImageReport),
	reportOp("AnnotateImage", report.OnImage[*ecrintypes.AnnotateImageRequest], (*report.Service).AnnotateImage),
	reportOp("ReportDeployments", report.OnDeployments, (*report.Service).ReportDeployments),
	long(reportOp("ListDeployments", report.OnRunning, (*report.Service).ListDeployments)),
	ecrinOp("CreateIntegration", guard.ForPolicies, ecrin.OnNewIntegration, (*ecrin.Service).CreateIntegration),
	matching(ecrinOp("UpdateIntegration", guard.ForPolicies, ecrin.OnChangedIntegration, (*ecrin.Service).UpdateIntegration)),
	ecrinOp("DescribeIntegrations", guard.ForPolicies, ecrin.OnIntegrations, (*ecrin.Service).DescribeIntegrations),
	ecrinOp("DeleteIntegration", guard.ForPolicies, ecrin.OnIntegration[*ecrintypes.IntegrationRequest], (*ecrin.Service).DeleteIntegration),
	ecrinOp("GetIntegrationToken", guard.ForPolicies, ecrin.OnIntegration[*ecrintypes.IntegrationRequest],
		(*ecrin.Service).GetIntegrationToken),
	ecrinOp("TestIntegration", guard.ForPolicies, ecrin.OnIntegration[*ecrintypes.TestIntegrationRequest], (*ecrin.Service).TestIntegration),
	ecrinOp("ListDeletedRepositories", guard.ForRoot, ecrin.OnDeletedRepositories, (*ecrin.Service).ListDeletedRepositories),
	ecrinOp("RestoreRepository", guard.ForRoot, ecrin.OnRestoredRepository, (*ecrin.Service).RestoreRepository),
	ecrinOp("CreateApplication", guard.ForPolicies, ecrin.OnNewApplication, (*ecrin.Service).CreateApplication),
	ecrinOp("DescribeApplications", guard.ForPolicies, ecrin.OnApplications, (*ecrin.Service).DescribeApplications),
	ecrinOp("DeleteApplication", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.DeleteApplicationRequest],
		(*ecrin.Service).DeleteApplication),
	ecrinOp("CreateChannel", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.CreateChannelRequest], (*ecrin.Service).CreateChannel),
	ecrinOp("ListChannels", guard.ForPolicies, ecrin.OnChannelList, (*ecrin.Service).ListChannels),
	ecrinOp("UpdateChannel", guard.ForPolicies, ecrin.OnChannel[*ecrintypes.UpdateChannelRequest], (*ecrin.Service).UpdateChannel),
	ecrinOp("ArchiveChannel", guard.ForPolicies, ecrin.OnChannel[*ecrintypes.ChannelRequest], (*ecrin.Service).ArchiveChannel),
	ecrinOp("CreateRelease", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.CreateReleaseRequest], (*ecrin.Service).CreateRelease),
	ecrinOp("UpdateRelease", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.UpdateReleaseRequest], (*ecrin.Service).UpdateRelease),
	ecrinOp("DescribeRelease", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.DescribeReleaseRequest],
		(*ecrin.Service).DescribeRelease),
	ecrinOp("ListReleases", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.ListReleasesRequest], (*ecrin.Service).ListReleases),
	ecrinOp("PromoteRelease", guard.ForPolicies, ecrin.OnPromotion, (*ecrin.Service).PromoteRelease),
	ecrinOp("DemoteRelease", guard.ForPolicies, ecrin.OnChannel[*ecrintypes.DemoteReleaseRequest], (*ecrin.Service).DemoteRelease),
	ecrinOp("ListPromotions", guard.ForPolicies, ecrin.OnChannel[*ecrintypes.ListPromotionsRequest],
		(*ecrin.Service).ListPromotions),
	ecrinOp("PutReleaseCompatibility", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.PutReleaseCompatibilityRequest],
		(*ecrin.Service).PutReleaseCompatibility),
	ecrinOp("ListInstances", guard.ForPolicies, ecrin.OnInstances, (*ecrin.Service).ListInstances),
	ecrinOp("ListPulls", guard.ForPolicies, ecrin.OnPulls[*ecrintypes.ListPullsRequest], (*ecrin.Service).ListPulls),
	ecrinOp("ListEgress", guard.ForPolicies, ecrin.OnPulls[*ecrintypes.ListEgressRequest], (*ecrin.Service).ListEgress),
	ecrinOp("ListEgressMonths", guard.ForPolicies, ecrin.OnPulls[*ecrintypes.ListEgressMonthsRequest],
		(*ecrin.Service).ListEgressMonths),
	ecrinOp("PutEgressThreshold", guard.ForPolicies, ecrin.OnEntitled[*ecrintypes.PutEgressThresholdRequest],
		(*ecrin.Service).PutEgressThreshold),
	ecrinOp("ListEgressThresholds", guard.ForPolicies, ecrin.OnThresholds, (*ecrin.Service).ListEgressThresholds),
	ecrinOp("CreateCustomer", guard.ForPolicies, ecrin.OnNewCustomer, (*ecrin.Service).CreateCustomer),
	ecrinOp("UpdateCustomer", guard.ForPolicies, ecrin.OnChangedCustomer, (*ecrin.Service).UpdateCustomer),
	ecrinOp("DescribeCustomer", guard.ForPolicies, ecrin.OnCustomer[*ecrintypes.CustomerRequest], (*ecrin.Service).DescribeCustomer),
	ecrinOp("ListCustomers", guard.ForPolicies, ecrin.OnCustomers, (*ecrin.Service).ListCustomers),
	ecrinOp("GetLicense", guard.ForPolicies, ecrin.OnCustomer[*ecrintypes.GetLicenseRequest], (*ecrin.Service).GetLicense),
	ecrinOp("ExplainLicense", guard.ForPolicies, ecrin.OnCustomer[*ecrintypes.ExplainLicenseRequest], (*ecrin.Service).ExplainLicense),
	ecrinOp("SignDocument", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.SignDocumentRequest], (*ecrin.Service).SignDocument),
	ecrinOp("GetLicenseKey", guard.ForPolicies, ecrin.OnAccount, (*ecrin.Service).GetLicenseKey),
	ecrinOp("CreateCustomerToken", guard.ForPolicies, ecrin.OnCustomer[*ecrintypes.CustomerTokenRequest],
		(*ecrin.Service).CreateCustomerToken),
	ecrinOp("RotateCustomerToken", guard.ForPolicies, ecrin.OnCustomer[*ecrintypes.CustomerTokenRequest],
		(*ecrin.Service).RotateCustomerToken),
	ecrinOp("RevokeCustomerToken", guard.ForPolicies, ecrin.OnCustomer[*ecrintypes.CustomerTokenRequest],
		(*ecrin.Service).RevokeCustomerToken),
	ecrinOp("ListCustomerTokens", guard.ForPolicies, ecrin.OnCustomer[*ecrintypes.CustomerRequest], (*ecrin.Service).ListCustomerTokens),
	ecrinOp("ShareIntegration", guard.ForPolicies, ecrin.OnShared, (*ecrin.Service).ShareIntegration),
	ecrinOp("UnshareIntegration", guard.ForPolicies, ecrin.OnUnshared, (*ecrin.Service).UnshareIntegration),
	ecrinOp("ListSharedIntegrations", guard.ForPolicies, ecrin.OnSharing, (*ecrin.Service).ListSharedIntegrations),
	ecrinOp("PutApplicationHost", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.ApplicationHostRequest],
		(*ecrin.Service).PutApplicationHost),
	ecrinOp("ListApplicationHosts", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.ApplicationRequest],
		(*ecrin.Service).ListApplicationHosts),
	ecrinOp("DeleteApplicationHost", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.ApplicationHostRequest],
		(*ecrin.Service).DeleteApplicationHost),
	ecrinOp("PutEntitlement", guard.ForPolicies, ecrin.OnEntitled[*ecrintypes.PutEntitlementRequest], (*ecrin.Service).PutEntitlement),
	ecrinOp("ListEntitlements", guard.ForPolicies, ecrin.OnEntitled[*ecrintypes.ListEntitlementsRequest],
		(*ecrin.Service).ListEntitlements),
	long(ecrinOp("PreviewEntitlement", guard.ForPolicies, ecrin.OnEntitled[*ecrintypes.PreviewEntitlementRequest],
		(*ecrin.Service).PreviewEntitlement)),
	ecrinOp("DeleteEntitlement", guard.ForPolicies, ecrin.OnApplication[*ecrintypes.DeleteEntitlementRequest],
		(*ecrin.Service).DeleteEntitlement),
)

// long returns the row as that of an operation that waits for its turn; see API.searches.
func long(r row) row {
	r.op.long = true
	return r
}

// matching returns the row as that of an operation that honours guard.Request.If.
func matching(r row) row {
	r.op.matches = true
	return r
}

// own returns the row as that of an operation that every caller can do about itself, without a permission.
func own(r row) row {
	r.op.action = ""
	return r
}

// quiet returns the row with the condition under which a call has no audit line.
func quiet(r row, when func(by identity.Caller, in awswire.Input) bool) row {
	r.op.quiet = when
	return r
}

// always reports that a call has no audit line: each page of the console makes it.
func always(identity.Caller, awswire.Input) bool { return true }

// followsTrail reports whether the operator reads a further page of the audit trail. Such calls have no audit line,
// because following the trail would otherwise add a line for each page.
func followsTrail(by identity.Caller, in awswire.Input) bool {
	list, ok := in.(*ecrintypes.ListAuditEventsRequest)
	return ok && by.Kind == identity.Operator && list.NextToken != ""
}

var services = []*service{ecrService, stsService, iamService, ecrinService}

// serviceNamed returns the API with the given name, or nil.
func serviceNamed(name string) *service {
	for _, s := range services {
		if s.wire.Name == name {
			return s
		}
	}
	return nil
}

// newService returns an API with the operations of the model and the rows of the table. An operation without a row is
// unsupported. newService panics if a row has no operation in the model or appears twice.
func newService(wire awswire.Service, host endpoint.Kind, model map[string]awswire.Operation,
	errs map[string]awswire.Error, rows ...row) *service {
	s := &service{wire: wire, host: host, operations: map[string]*operation{}, errors: errs}
	for operationName, w := range model {
		s.operations[operationName] = &operation{wire: w}
	}
	for _, r := range rows {
		have := s.operations[r.name]
		if have == nil || have.resolve != nil {
			panic("awsapi: " + r.name + " is not in the model or has two rows in the table")
		}
		r.op.wire = have.wire
		*have = r.op
	}
	return s
}

// Reserved returns to whom an action is reserved in the tables; guard.ForPolicies for an unknown action.
func Reserved(action string) guard.Reserved {
	for _, s := range services {
		for _, o := range s.operations {
			if o.action == action && o.reserved != guard.ForPolicies {
				return o.reserved
			}
		}
	}
	return guard.ForPolicies
}
