package iam

import (
	"context"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// detailed are the kinds of entities in the result of GetAccountAuthorizationDetails, in its order.
var detailed = []iamtypes.EntityType{
	iamtypes.EntityTypeUser, iamtypes.EntityTypeGroup, iamtypes.EntityTypeRole, iamtypes.EntityTypeLocalManagedPolicy,
	iamtypes.EntityTypeAWSManagedPolicy,
}

// GetAccountAuthorizationDetails lists the users, groups, roles and managed policies of the account, and the managed
// policies of AWS that the account uses, in this order and each by name. Filter selects kinds.
//
// Errors: fault.Validation (the marker). Source: IAM API reference, GetAccountAuthorizationDetails.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.GetAccountAuthorizationDetailsRequest) (*iamtypes.GetAccountAuthorizationDetailsResponse, error) {
	filter := []string{}
	for _, f := range in.Filter {
		filter = append(filter, string(f))
	}
	p, err := s.paging(c, "GetAccountAuthorizationDetails", in.Marker, in.MaxItems, filter...)
	if err != nil {
		return nil, err
	}
	attached, boundaries, err := s.meta.AttachmentCounts(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	d := details{
		s: s, attached: attached, boundaries: boundaries, left: p.size,
		out: iamtypes.GetAccountAuthorizationDetailsResponse{
			UserDetailList: []iamtypes.UserDetail{}, GroupDetailList: []iamtypes.GroupDetail{}, RoleDetailList: []iamtypes.RoleDetail{},
			Policies: []iamtypes.ManagedPolicyDetail{}, IsTruncated: new(false),
		},
	}
	from, after, _ := strings.Cut(p.after, "/") // the kind and name of the last entry of the previous page
	started := p.after == ""
	for _, kind := range detailed {
		if !started && string(kind) != from {
			continue
		}
		if started {
			after = ""
		}
		started = true
		if len(in.Filter) > 0 && !slices.Contains(in.Filter, kind) {
			continue
		}
		last, more, err := d.kind(ctx, c, kind, after)
		if err != nil {
			return nil, err
		}
		if more {
			d.out.IsTruncated, d.out.Marker = new(true), p.listing.Seal(string(kind)+"/"+last)
			break
		}
	}
	return &d.out, nil
}

// details is the state of one page of the result.
type details struct {
	s                    *Service
	attached, boundaries map[string]int
	left                 int // the number of entries that the page can still take
	out                  iamtypes.GetAccountAuthorizationDetailsResponse
}

// kind adds the entities of a kind whose names sort after the name after, until the page is full. It returns the last
// name added, and whether there are more entities.
func (d *details) kind(ctx context.Context, c identity.Caller, kind iamtypes.EntityType, after string) (last string, more bool, err error) {
	if kind == iamtypes.EntityTypeAWSManagedPolicy {
		for _, m := range identity.ManagedPolicies() {
			if m.Name <= after || d.attached[m.ARN]+d.boundaries[m.ARN] == 0 {
				continue
			}
			if d.left == 0 {
				return last, true, nil
			}
			if err := d.managed(ctx, ManagedPolicy{ARN: m.ARN, AWS: &m}); err != nil {
				return "", false, err
			}
			d.left--
			last = m.Name
		}
		return last, false, nil
	}
	all, err := d.s.meta.Entities(ctx, c.Account, meta.EntityKind(slices.Index(filters[:], kind)), "", after, d.left+1)
	if err != nil {
		return "", false, err
	}
	if more = len(all) > d.left; more {
		all = all[:d.left]
	}
	for _, e := range all {
		if err := d.entity(ctx, e); err != nil {
			return "", false, err
		}
		d.left--
		last = e.Name
	}
	return last, more, nil
}

func (d *details) entity(ctx context.Context, e meta.Entity) error {
	if e.Kind == meta.ManagedPolicy {
		return d.managed(ctx, ManagedPolicy{ARN: e.ARN(), Entity: e})
	}
	s := d.s
	inline, err := s.meta.Inlines(ctx, e.ID)
	if err != nil {
		return err
	}
	policies := each(inline, func(p meta.Inline) iamtypes.PolicyDetail {
		return iamtypes.PolicyDetail{PolicyName: p.Name, PolicyDocument: encode(p.Text)}
	})
	attached, err := s.attachedTo(ctx, e)
	if err != nil {
		return err
	}
	arn, created := e.ARN(), awswire.At(e.CreatedAt)
	if e.Kind == meta.Group {
		d.out.GroupDetailList = append(d.out.GroupDetailList, iamtypes.GroupDetail{
			Path: e.Path, GroupName: e.Name, GroupId: e.ID, Arn: arn, CreateDate: created, GroupPolicyList: policies,
			AttachedManagedPolicies: attached,
		})
		return nil
	}
	tags, err := s.meta.EntityTags(ctx, e.ID)
	if err != nil {
		return err
	}
	containers, err := s.meta.Containers(ctx, e.ID)
	if err != nil {
		return err
	}
	if e.Kind == meta.User {
		d.out.UserDetailList = append(d.out.UserDetailList, iamtypes.UserDetail{
			Path: e.Path, UserName: e.Name, UserId: e.ID, Arn: arn, CreateDate: created, UserPolicyList: policies,
			GroupList:               each(containers, nameOf),
			AttachedManagedPolicies: attached, PermissionsBoundary: showBoundary(e.Boundary), Tags: tagList(tags),
		})
		return nil
	}
	trust, err := s.show(ctx, e.Trust, policy.Trust)
	if err != nil {
		return err
	}
	profiles, err := s.profilesOf(ctx, containers)
	if err != nil {
		return err
	}
	d.out.RoleDetailList = append(d.out.RoleDetailList, iamtypes.RoleDetail{
		Path: e.Path, RoleName: e.Name, RoleId: e.ID, Arn: arn, CreateDate: created, AssumeRolePolicyDocument: trust,
		InstanceProfileList: profiles,
		RolePolicyList:      policies, AttachedManagedPolicies: attached, PermissionsBoundary: showBoundary(e.Boundary),
		Tags: tagList(tags), RoleLastUsed: lastUsed(e),
	})
	return nil
}

// managed adds a managed policy with all its versions.
func (d *details) managed(ctx context.Context, m ManagedPolicy) error {
	versions, def, err := d.s.versions(ctx, m)
	if err != nil {
		return err
	}
	p := m.show(d.attached[m.ARN], d.boundaries[m.ARN])
	d.out.Policies = append(d.out.Policies, iamtypes.ManagedPolicyDetail{
		PolicyName: p.PolicyName, PolicyId: p.PolicyId, Arn: p.Arn, Path: p.Path, DefaultVersionId: p.DefaultVersionId,
		AttachmentCount:               p.AttachmentCount,
		PermissionsBoundaryUsageCount: p.PermissionsBoundaryUsageCount, IsAttachable: p.IsAttachable, Description: m.description(),
		CreateDate: p.CreateDate, UpdateDate: p.UpdateDate,
		PolicyVersionList: each(versions, func(v meta.PolicyVersion) iamtypes.PolicyVersion { return showVersion(v, def, true) }),
	})
	return nil
}
