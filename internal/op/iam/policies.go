package iam

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Source: IAM user guide, IAM and STS quotas.
const (
	maxPolicies = 1500
	maxManaged  = 6144 // maximum number of characters of a managed policy, white space not counted
)

// ManagedPolicy is a managed policy, of the account or of AWS. The zero ManagedPolicy is no policy.
type ManagedPolicy struct {
	ARN    string
	Entity meta.Entity       // zero for a policy of AWS
	AWS    *identity.Managed // nil for a policy of the account
}

// managedPolicy returns the managed policy with an ARN.
//
// Errors: fault.Validation (not an ARN), fault.InvalidInput (not the ARN of a policy), fault.NoSuchEntity (also if the
// policy belongs to another account).
func (s *Service) managedPolicy(ctx context.Context, account name.Account, arn string) (ManagedPolicy, error) {
	if err := policyARN(arn); err != nil {
		return ManagedPolicy{}, err
	}
	if m, ok := identity.ManagedPolicy(arn); ok {
		return ManagedPolicy{ARN: m.ARN, AWS: &m}, nil
	}
	e, err := s.managedEntity(ctx, account, arn)
	if err != nil {
		return ManagedPolicy{}, err
	}
	return ManagedPolicy{ARN: arn, Entity: e}, nil
}

// policyARN returns nil if a text has the form of a managed policy's ARN.
// Errors: fault.Validation (not an ARN), fault.InvalidInput.
func policyARN(arn string) error {
	if !strings.HasPrefix(arn, "arn:") {
		return fault.Validation.New("Invalid ARN:  Could not be parsed!")
	}
	parsed, named, err := name.ParseEntityARN(arn)
	if err != nil || parsed.Partition != name.DefaultPartition || named.Kind != name.IAMPolicy {
		return fault.InvalidInput.New("ARN %s is not valid.", name.Clip(arn))
	}
	return nil
}

// own returns the entity of a policy of the account, for operations that change it. Errors: fault.AccessDenied (a
// policy of AWS, which no account can change). Source: IAM user guide, AWS managed policies.
func (m *ManagedPolicy) own(c identity.Caller, action string) (meta.Entity, error) {
	if m.AWS != nil {
		return meta.Entity{}, fault.AccessDenied.New("%s", policy.Refusal(c.ARN, "iam:"+action, "policy "+m.ARN))
	}
	return m.Entity, nil
}

// show returns the policy in the form of listings: without description and tags. Source: IAM API reference, Policy.
func (m *ManagedPolicy) show(attached, boundaries int) iamtypes.Policy {
	p := iamtypes.Policy{Arn: m.ARN, AttachmentCount: new(int32(attached)),
		PermissionsBoundaryUsageCount: new(int32(boundaries)), IsAttachable: new(true)}
	if a := m.AWS; a != nil {
		p.PolicyName, p.PolicyId, p.Path, p.DefaultVersionId = a.Name, a.ID, a.Path, versionID(a.Version)
		p.CreateDate, p.UpdateDate = awswire.At(a.CreatedAt), awswire.At(a.UpdatedAt)
		p.IsAttachable = new(!a.ServiceLinked)
		return p
	}
	e := m.Entity
	p.PolicyName, p.PolicyId, p.Path, p.DefaultVersionId = e.Name, e.ID, e.Path, versionID(e.DefaultVersion)
	p.CreateDate, p.UpdateDate = awswire.At(e.CreatedAt), awswire.At(e.UpdatedAt)
	return p
}

func (m *ManagedPolicy) description() string {
	if m.AWS != nil {
		return m.AWS.Description
	}
	return m.Entity.Description
}

func versionID(number int) string { return "v" + strconv.Itoa(number) }

// CreatePolicy makes a managed policy, whose first version is the default version.
//
// Errors: fault.EntityAlreadyExists, fault.MalformedPolicyDocument (with the place), fault.LimitExceeded (policies; the length
// of the document), fault.InvalidInput (the tags). Source: IAM API reference, CreatePolicy.
func (s *Service) CreatePolicy(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.CreatePolicyRequest) (*iamtypes.CreatePolicyResponse, error) {
	tags, err := tagsOf(in.Tags, exactCase)
	if err != nil {
		return nil, err
	}
	if err := managedText(in.PolicyDocument); err != nil {
		return nil, err
	}
	e := s.newEntity(c, meta.ManagedPolicy, "ANPA", in.Path, in.PolicyName)
	e.Description = in.Description
	if err := s.meta.CreateManagedPolicy(ctx, e, in.PolicyDocument, tags, maxPolicies); err != nil {
		return nil, err
	}
	e.DefaultVersion = 1
	m := ManagedPolicy{ARN: e.ARN(), Entity: e}
	p := m.show(0, 0)
	p.Tags = tagList(tags) // the description is in answers of GetPolicy alone
	return &iamtypes.CreatePolicyResponse{Policy: &p}, nil
}

// managedText checks the text of a managed policy, which has the newer version of the language.
// Errors: fault.MalformedPolicyDocument, fault.LimitExceeded. Source: answers of IAM.
func managedText(text string) error {
	d, err := parse(text, policy.Identity, maxManaged)
	if err == nil && d.Version != policy.Version2012 {
		err = fault.MalformedPolicyDocument.New("Policy document must be version 2012-10-17 or greater.")
	}
	return err
}

// GetPolicy shows a managed policy, without its document. Errors: fault.NoSuchEntity, fault.InvalidInput (the ARN).
// Source: IAM API reference, GetPolicy.
func (s *Service) GetPolicy(ctx context.Context, c identity.Caller, m ManagedPolicy,
	_ *iamtypes.GetPolicyRequest) (*iamtypes.GetPolicyResponse, error) {
	users, err := s.meta.AttachedTo(ctx, c.Account, m.ARN)
	if err != nil {
		return nil, err
	}
	attached, boundaries := 0, 0
	for _, u := range users {
		if u.Boundary {
			boundaries++
		} else {
			attached++
		}
	}
	p := m.show(attached, boundaries)
	p.Description, p.Tags = m.description(), []iamtypes.Tag{}
	if m.AWS == nil {
		tags, err := s.meta.EntityTags(ctx, m.Entity.ID)
		if err != nil {
			return nil, err
		}
		p.Tags = allTags(tags)
	}
	return &iamtypes.GetPolicyResponse{Policy: &p}, nil
}

// ListPolicies lists managed policies by name: those of AWS, of the account, or both. The request can restrict the list
// to policies below a path, to attached policies, and to policies with a usage. Errors: fault.Validation (the marker).
// Source: IAM API reference, ListPolicies.
func (s *Service) ListPolicies(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.ListPoliciesRequest) (*iamtypes.ListPoliciesResponse, error) {
	onlyAttached := in.OnlyAttached != nil && *in.OnlyAttached
	p, err := s.paging(c, "ListPolicies", in.Marker, in.MaxItems, string(in.Scope), strconv.FormatBool(onlyAttached),
		in.PathPrefix, string(in.PolicyUsageFilter))
	if err != nil {
		return nil, err
	}
	all, err := s.managedPolicies(ctx, c, in.Scope, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	attached, boundaries, err := s.meta.AttachmentCounts(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	shown := []iamtypes.Policy{}
	for _, m := range all {
		a, b := attached[m.ARN], boundaries[m.ARN]
		uses := a + b
		switch in.PolicyUsageFilter {
		case iamtypes.PolicyUsageTypePermissionsPolicy:
			uses = a
		case iamtypes.PolicyUsageTypePermissionsBoundary:
			uses = b
		}
		if uses > 0 || !onlyAttached && in.PolicyUsageFilter == "" {
			shown = append(shown, m.show(a, b))
		}
	}
	// A policy of the account and a policy of AWS can have the same name; their ids differ.
	page, truncated, marker := cut(p, shown, func(p iamtypes.Policy) string { return p.PolicyName + " " + p.PolicyId })
	return &iamtypes.ListPoliciesResponse{Policies: page, IsTruncated: truncated, Marker: marker}, nil
}

// managedPolicies returns managed policies whose path begins with a prefix.
func (s *Service) managedPolicies(ctx context.Context, c identity.Caller, scope iamtypes.PolicyScopeType,
	pathPrefix string) ([]ManagedPolicy, error) {
	var all []ManagedPolicy
	if scope != iamtypes.PolicyScopeTypeAWS {
		own, err := s.meta.Entities(ctx, c.Account, meta.ManagedPolicy, pathPrefix, "", math.MaxInt32)
		if err != nil {
			return nil, err
		}
		for _, e := range own {
			all = append(all, ManagedPolicy{ARN: e.ARN(), Entity: e})
		}
	}
	if scope == iamtypes.PolicyScopeTypeLocal {
		return all, nil
	}
	for _, m := range identity.ManagedPolicies() {
		if strings.HasPrefix(m.Path, pathPrefix) {
			all = append(all, ManagedPolicy{ARN: m.ARN, AWS: &m})
		}
	}
	return all, nil
}

// DeletePolicy removes a managed policy that has no attachments and no other version than its default version.
//
// Errors: fault.NoSuchEntity, fault.DeleteConflict, fault.InvalidInput (the ARN), fault.AccessDenied (a policy of AWS).
// Source: IAM API reference, DeletePolicy.
func (s *Service) DeletePolicy(ctx context.Context, c identity.Caller, m ManagedPolicy, _ *iamtypes.DeletePolicyRequest) (*None, error) {
	e, err := m.own(c, "DeletePolicy")
	if err != nil {
		return nil, err
	}
	return none(s.meta.DeleteEntity(ctx, e))
}

// TagPolicy adds tags to a managed policy, or replaces those with the same keys.
//
// Errors: fault.NoSuchEntity, fault.InvalidInput, fault.LimitExceeded, fault.AccessDenied (a policy of AWS).
// Source: IAM API reference, TagPolicy.
func (s *Service) TagPolicy(ctx context.Context, c identity.Caller, m ManagedPolicy, in *iamtypes.TagPolicyRequest) (*None, error) {
	e, err := m.own(c, "TagPolicy")
	if err != nil {
		return nil, err
	}
	return s.tag(ctx, e, in.Tags, exactCase)
}

// UntagPolicy removes tags from a managed policy. Errors: those of TagPolicy but fault.LimitExceeded.
// Source: IAM API reference, UntagPolicy.
func (s *Service) UntagPolicy(ctx context.Context, c identity.Caller, m ManagedPolicy, in *iamtypes.UntagPolicyRequest) (*None, error) {
	e, err := m.own(c, "UntagPolicy")
	if err != nil {
		return nil, err
	}
	return s.untag(ctx, e, in.TagKeys)
}

// ListPolicyTags lists the tags of a managed policy; policies of AWS have no tags.
// Errors: fault.NoSuchEntity, fault.InvalidInput (the ARN), fault.Validation (the marker).
// Source: IAM API reference, ListPolicyTags.
func (s *Service) ListPolicyTags(ctx context.Context, c identity.Caller, m ManagedPolicy,
	in *iamtypes.ListPolicyTagsRequest) (*iamtypes.ListPolicyTagsResponse, error) {
	p, err := s.paging(c, "ListPolicyTags", in.Marker, in.MaxItems, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	if m.AWS != nil {
		return &iamtypes.ListPolicyTagsResponse{Tags: []iamtypes.Tag{}, IsTruncated: new(false)}, nil
	}
	tags, truncated, marker, err := s.tagPage(ctx, p, m.Entity)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListPolicyTagsResponse{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}
