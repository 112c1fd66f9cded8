package iam

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxVersions is the maximum number of versions of a managed policy. Source: IAM user guide, IAM and STS quotas.
const maxVersions = 5

// showVersion returns a version of a managed policy in the form of responses, with its text if document is set.
// Listings have no documents.
func showVersion(v meta.PolicyVersion, def int, document bool) iamtypes.PolicyVersion {
	out := iamtypes.PolicyVersion{VersionId: versionID(v.Number), IsDefaultVersion: new(v.Number == def), CreateDate: awswire.At(v.CreatedAt)}
	if document {
		out.Document = encode(v.Text)
	}
	return out
}

// versions returns the versions of a managed policy, newest first, and the number of the default version. A policy of
// AWS has its default version only.
func (s *Service) versions(ctx context.Context, m ManagedPolicy) ([]meta.PolicyVersion, int, error) {
	if a := m.AWS; a != nil {
		return []meta.PolicyVersion{{Number: a.Version, Text: a.Text, CreatedAt: a.UpdatedAt}}, a.Version, nil
	}
	all, err := s.meta.PolicyVersions(ctx, m.Entity.ID)
	return all, m.Entity.DefaultVersion, err
}

// versionNumber returns the number of a version id: v1, v2 and so on. Errors: fault.NoSuchEntity (any other form).
func versionNumber(arn, id string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "v"))
	if err != nil || versionID(n) != id {
		return 0, noVersion(arn, id)
	}
	return n, nil
}

func noVersion(arn, id string) error {
	return fault.NoSuchEntity.New("Policy %s version %s does not exist or is not attachable.", name.Clip(arn), name.Clip(id))
}

// CreatePolicyVersion adds a version to a managed policy. It becomes the default version if the request has
// SetAsDefault.
//
// Errors: fault.NoSuchEntity, fault.MalformedPolicyDocument (with the place), fault.LimitExceeded (versions; the length of the
// document), fault.InvalidInput (the ARN), fault.AccessDenied (a policy of AWS).
// Source: IAM API reference, CreatePolicyVersion.
func (s *Service) CreatePolicyVersion(ctx context.Context, c identity.Caller, m ManagedPolicy,
	in *iamtypes.CreatePolicyVersionRequest) (*iamtypes.CreatePolicyVersionResponse, error) {
	e, err := m.own(c, "CreatePolicyVersion")
	if err != nil {
		return nil, err
	}
	if err := managedText(in.PolicyDocument); err != nil {
		return nil, err
	}
	setDefault := in.SetAsDefault != nil && *in.SetAsDefault
	v, err := s.meta.CreatePolicyVersion(ctx, e.ID, in.PolicyDocument, setDefault, maxVersions)
	if err != nil {
		return nil, err
	}
	if setDefault {
		e.DefaultVersion = v.Number
	}
	shown := showVersion(v, e.DefaultVersion, false)
	return &iamtypes.CreatePolicyVersionResponse{PolicyVersion: &shown}, nil
}

// GetPolicyVersion shows a version of a managed policy with its document.
// Errors: fault.NoSuchEntity, fault.InvalidInput (the ARN). Source: IAM API reference, GetPolicyVersion.
func (s *Service) GetPolicyVersion(ctx context.Context, _ identity.Caller, m ManagedPolicy,
	in *iamtypes.GetPolicyVersionRequest) (*iamtypes.GetPolicyVersionResponse, error) {
	number, err := versionNumber(in.PolicyArn, in.VersionId)
	if err != nil {
		return nil, err
	}
	all, def, err := s.versions(ctx, m)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(v meta.PolicyVersion) bool { return v.Number == number })
	if at < 0 {
		return nil, noVersion(in.PolicyArn, in.VersionId)
	}
	shown := showVersion(all[at], def, true)
	return &iamtypes.GetPolicyVersionResponse{PolicyVersion: &shown}, nil
}

// ListPolicyVersions lists the versions of a managed policy without their documents, newest first.
// Errors: fault.NoSuchEntity, fault.InvalidInput (the ARN), fault.Validation (the marker).
// Source: IAM API reference, ListPolicyVersions.
func (s *Service) ListPolicyVersions(ctx context.Context, c identity.Caller, m ManagedPolicy,
	in *iamtypes.ListPolicyVersionsRequest) (*iamtypes.ListPolicyVersionsResponse, error) {
	p, err := s.paging(c, "ListPolicyVersions", in.Marker, in.MaxItems, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	all, def, err := s.versions(ctx, m)
	if err != nil {
		return nil, err
	}
	page, truncated, marker := cut(p, all, func(v meta.PolicyVersion) string { return fmt.Sprintf("%010d", math.MaxInt32-v.Number) })
	return &iamtypes.ListPolicyVersionsResponse{
		Versions:    each(page, func(v meta.PolicyVersion) iamtypes.PolicyVersion { return showVersion(v, def, false) }),
		IsTruncated: truncated, Marker: marker,
	}, nil
}

// DeletePolicyVersion removes a version that is not the default version. Its number is not used again.
//
// Errors: fault.NoSuchEntity, fault.DeleteConflict (the default version), fault.InvalidInput (the ARN), fault.AccessDenied (a
// policy of AWS). Source: IAM API reference, DeletePolicyVersion.
func (s *Service) DeletePolicyVersion(ctx context.Context, c identity.Caller, m ManagedPolicy,
	in *iamtypes.DeletePolicyVersionRequest) (*None, error) {
	e, err := m.own(c, "DeletePolicyVersion")
	if err != nil {
		return nil, err
	}
	number, err := versionNumber(in.PolicyArn, in.VersionId)
	if err != nil {
		return nil, err
	}
	err = s.meta.DeletePolicyVersion(ctx, e.ID, number)
	if errors.Is(err, fault.NoSuchEntity) {
		err = noVersion(in.PolicyArn, in.VersionId)
	}
	return none(err)
}

// SetDefaultPolicyVersion sets the default version of a managed policy, which applies wherever the policy is attached.
//
// Errors: fault.NoSuchEntity, fault.InvalidInput (the ARN), fault.AccessDenied (a policy of AWS).
// Source: IAM API reference, SetDefaultPolicyVersion.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, c identity.Caller, m ManagedPolicy,
	in *iamtypes.SetDefaultPolicyVersionRequest) (*None, error) {
	e, err := m.own(c, "SetDefaultPolicyVersion")
	if err != nil {
		return nil, err
	}
	number, err := versionNumber(in.PolicyArn, in.VersionId)
	if err != nil {
		return nil, err
	}
	_, err = s.meta.UpdateEntity(ctx, e, func(e *meta.Entity) error {
		e.DefaultVersion, e.UpdatedAt = number, s.now()
		return nil
	})
	return none(err)
}
