package iam

import (
	"context"
	"math"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// quotas are the fixed numbers of the summary. The numbers of certificates, MFA devices and passwords are zero, because
// ecrin does not have them. The version of tokens is the one that is valid in all regions.
// Source: IAM API reference, GetAccountSummary; IAM user guide, IAM and STS quotas.
var quotas = map[iamtypes.SummaryKeyType]int{
	iamtypes.SummaryKeyTypeUsersQuota:                        maxUsers,
	iamtypes.SummaryKeyTypeGroupsQuota:                       maxGroups,
	iamtypes.SummaryKeyTypeRolesQuota:                        maxRoles,
	iamtypes.SummaryKeyTypeInstanceProfilesQuota:             maxProfiles,
	iamtypes.SummaryKeyTypePoliciesQuota:                     maxPolicies,
	iamtypes.SummaryKeyTypeVersionsPerPolicyQuota:            maxVersions,
	iamtypes.SummaryKeyTypePolicyVersionsInUseQuota:          10000,
	iamtypes.SummaryKeyTypePolicySizeQuota:                   maxManaged,
	iamtypes.SummaryKeyTypeUserPolicySizeQuota:               maxInline[meta.User],
	iamtypes.SummaryKeyTypeGroupPolicySizeQuota:              maxInline[meta.Group],
	iamtypes.SummaryKeyTypeRolePolicySizeQuota:               maxInline[meta.Role],
	iamtypes.SummaryKeyTypeAssumeRolePolicySizeQuota:         maxTrust,
	iamtypes.SummaryKeyTypeAttachedPoliciesPerUserQuota:      maxAttached,
	iamtypes.SummaryKeyTypeAttachedPoliciesPerGroupQuota:     maxAttached,
	iamtypes.SummaryKeyTypeAttachedPoliciesPerRoleQuota:      maxAttached,
	iamtypes.SummaryKeyTypeGroupsPerUserQuota:                maxGroupsOfUser,
	iamtypes.SummaryKeyTypeAccessKeysPerUserQuota:            identity.MaxKeys,
	iamtypes.SummaryKeyTypeServerCertificates:                0,
	iamtypes.SummaryKeyTypeServerCertificatesQuota:           0,
	iamtypes.SummaryKeyTypeSigningCertificatesPerUserQuota:   0,
	iamtypes.SummaryKeyTypeMFADevices:                        0,
	iamtypes.SummaryKeyTypeMFADevicesInUse:                   0,
	iamtypes.SummaryKeyTypeAccountMFAEnabled:                 0,
	iamtypes.SummaryKeyTypeAccountPasswordPresent:            0,
	iamtypes.SummaryKeyTypeAccountSigningCertificatesPresent: 0,
	iamtypes.SummaryKeyTypeGlobalEndpointTokenVersion:        2,
}

// GetAccountSummary returns the numbers of entities in the account, and its quotas. Source: IAM API reference,
// GetAccountSummary.
func (s *Service) GetAccountSummary(ctx context.Context, c identity.Caller, _ guard.Nothing,
	_ *None) (*iamtypes.GetAccountSummaryResponse, error) {
	counts, err := s.meta.CountEntities(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	keys, err := s.meta.AccessKeysOf(ctx, c.Account, c.Account.String())
	if err != nil {
		return nil, err
	}
	policies, err := s.meta.Entities(ctx, c.Account, meta.ManagedPolicy, "", "", math.MaxInt32)
	if err != nil {
		return nil, err
	}
	versions := 0
	for _, p := range policies {
		all, err := s.meta.PolicyVersions(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		versions += len(all)
	}
	all := map[iamtypes.SummaryKeyType]int32{
		iamtypes.SummaryKeyTypeUsers:                    int32(counts[meta.User]),
		iamtypes.SummaryKeyTypeGroups:                   int32(counts[meta.Group]),
		iamtypes.SummaryKeyTypeRoles:                    int32(counts[meta.Role]),
		iamtypes.SummaryKeyTypePolicies:                 int32(counts[meta.ManagedPolicy]),
		iamtypes.SummaryKeyTypePolicyVersionsInUse:      int32(versions),
		iamtypes.SummaryKeyTypeInstanceProfiles:         int32(counts[meta.InstanceProfile]),
		iamtypes.SummaryKeyTypeProviders:                int32(counts[meta.OIDCProvider]),
		iamtypes.SummaryKeyTypeAccountAccessKeysPresent: int32(min(len(keys), 1)),
	}
	for k, n := range quotas {
		all[k] = int32(n)
	}
	return &iamtypes.GetAccountSummaryResponse{SummaryMap: all}, nil
}
