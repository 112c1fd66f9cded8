package iam_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
)

// holder is one of the kinds that have policies, with its operations. Groups have no boundary.
type holder struct {
	what         string
	maxInline    int // maximum number of characters of its inline policies
	attach       func(who, arn string) error
	detach       func(who, arn string) error
	attached     func(who, pathPrefix, marker string, size int32) ([]iamtypes.AttachedPolicy, string, error)
	setBoundary  func(who, arn string) error
	dropBoundary func(who string) error
	boundaryOf   func() string
	put          func(who, policyName, text string) error
	get          func(who, policyName string) (string, error)
	remove       func(who, policyName string) error
	inline       func(who, marker string, size int32) ([]string, string, error)
}

// holders makes a user, a group and a role, each with the name x.
func (w *fixture) holders(t *testing.T) []holder {
	t.Helper()
	ctx, c := t.Context(), w.root
	w.user(t, "x")
	w.group(t, "x")
	w.role(t, "x")
	page := func(marker string, size int32) (string, *int32) {
		if size == 0 {
			return marker, nil
		}
		return marker, &size
	}
	return []holder{
		{
			what: "user", maxInline: 2048,
			attach: func(who, arn string) error {
				_, err := w.AttachUserPolicy(ctx, c, &iamtypes.AttachUserPolicyRequest{UserName: who, PolicyArn: arn})
				return err
			},
			detach: func(who, arn string) error {
				_, err := w.DetachUserPolicy(ctx, c, &iamtypes.DetachUserPolicyRequest{UserName: who, PolicyArn: arn})
				return err
			},
			setBoundary: func(who, arn string) error {
				_, err := w.PutUserPermissionsBoundary(ctx, c, &iamtypes.PutUserPermissionsBoundaryRequest{UserName: who, PermissionsBoundary: arn})
				return err
			},
			dropBoundary: func(who string) error {
				_, err := w.DeleteUserPermissionsBoundary(ctx, c, &iamtypes.DeleteUserPermissionsBoundaryRequest{UserName: who})
				return err
			},
			boundaryOf: func() string {
				return arnOf(do(t, w.GetUser, c, iamtypes.GetUserRequest{UserName: "x"}).User.PermissionsBoundary)
			},
			put: func(who, policyName, text string) error {
				_, err := w.PutUserPolicy(ctx, c, &iamtypes.PutUserPolicyRequest{UserName: who, PolicyName: policyName, PolicyDocument: text})
				return err
			},
			get: func(who, policyName string) (string, error) {
				out, err := w.GetUserPolicy(ctx, c, &iamtypes.GetUserPolicyRequest{UserName: who, PolicyName: policyName})
				if err != nil {
					return "", err
				}
				same(t, "GetUserPolicy", *out, iamtypes.GetUserPolicyResponse{UserName: who, PolicyName: policyName,
					PolicyDocument: out.PolicyDocument})
				return decoded(t, out.PolicyDocument), nil
			},
			remove: func(who, policyName string) error {
				_, err := w.DeleteUserPolicy(ctx, c, &iamtypes.DeleteUserPolicyRequest{UserName: who, PolicyName: policyName})
				return err
			},
			attached: func(who, pathPrefix, marker string, size int32) ([]iamtypes.AttachedPolicy, string, error) {
				in := iamtypes.ListAttachedUserPoliciesRequest{UserName: who, PathPrefix: pathPrefix}
				in.Marker, in.MaxItems = page(marker, size)
				out, err := w.ListAttachedUserPolicies(ctx, c, &in)
				if err != nil {
					return nil, "", err
				}
				return out.AttachedPolicies, out.Marker, nil
			},
			inline: func(who, marker string, size int32) ([]string, string, error) {
				in := iamtypes.ListUserPoliciesRequest{UserName: who}
				in.Marker, in.MaxItems = page(marker, size)
				out, err := w.ListUserPolicies(ctx, c, &in)
				if err != nil {
					return nil, "", err
				}
				return out.PolicyNames, out.Marker, nil
			},
		},
		{
			what: "group", maxInline: 5120,
			attach: func(who, arn string) error {
				_, err := w.AttachGroupPolicy(ctx, c, &iamtypes.AttachGroupPolicyRequest{GroupName: who, PolicyArn: arn})
				return err
			},
			detach: func(who, arn string) error {
				_, err := w.DetachGroupPolicy(ctx, c, &iamtypes.DetachGroupPolicyRequest{GroupName: who, PolicyArn: arn})
				return err
			},
			put: func(who, policyName, text string) error {
				_, err := w.PutGroupPolicy(ctx, c, &iamtypes.PutGroupPolicyRequest{GroupName: who, PolicyName: policyName, PolicyDocument: text})
				return err
			},
			get: func(who, policyName string) (string, error) {
				out, err := w.GetGroupPolicy(ctx, c, &iamtypes.GetGroupPolicyRequest{GroupName: who, PolicyName: policyName})
				if err != nil {
					return "", err
				}
				same(t, "GetGroupPolicy", *out, iamtypes.GetGroupPolicyResponse{GroupName: who, PolicyName: policyName,
					PolicyDocument: out.PolicyDocument})
				return decoded(t, out.PolicyDocument), nil
			},
			remove: func(who, policyName string) error {
				_, err := w.DeleteGroupPolicy(ctx, c, &iamtypes.DeleteGroupPolicyRequest{GroupName: who, PolicyName: policyName})
				return err
			},
			attached: func(who, pathPrefix, marker string, size int32) ([]iamtypes.AttachedPolicy, string, error) {
				in := iamtypes.ListAttachedGroupPoliciesRequest{GroupName: who, PathPrefix: pathPrefix}
				in.Marker, in.MaxItems = page(marker, size)
				out, err := w.ListAttachedGroupPolicies(ctx, c, &in)
				if err != nil {
					return nil, "", err
				}
				return out.AttachedPolicies, out.Marker, nil
			},
			inline: func(who, marker string, size int32) ([]string, string, error) {
				in := iamtypes.ListGroupPoliciesRequest{GroupName: who}
				in.Marker, in.MaxItems = page(marker, size)
				out, err := w.ListGroupPolicies(ctx, c, &in)
				if err != nil {
					return nil, "", err
				}
				return out.PolicyNames, out.Marker, nil
			},
		},
		{
			what: "role", maxInline: 10240,
			attach: func(who, arn string) error {
				_, err := w.AttachRolePolicy(ctx, c, &iamtypes.AttachRolePolicyRequest{RoleName: who, PolicyArn: arn})
				return err
			},
			detach: func(who, arn string) error {
				_, err := w.DetachRolePolicy(ctx, c, &iamtypes.DetachRolePolicyRequest{RoleName: who, PolicyArn: arn})
				return err
			},
			setBoundary: func(who, arn string) error {
				_, err := w.PutRolePermissionsBoundary(ctx, c, &iamtypes.PutRolePermissionsBoundaryRequest{RoleName: who, PermissionsBoundary: arn})
				return err
			},
			dropBoundary: func(who string) error {
				_, err := w.DeleteRolePermissionsBoundary(ctx, c, &iamtypes.DeleteRolePermissionsBoundaryRequest{RoleName: who})
				return err
			},
			boundaryOf: func() string {
				return arnOf(do(t, w.GetRole, c, iamtypes.GetRoleRequest{RoleName: "x"}).Role.PermissionsBoundary)
			},
			put: func(who, policyName, text string) error {
				_, err := w.PutRolePolicy(ctx, c, &iamtypes.PutRolePolicyRequest{RoleName: who, PolicyName: policyName, PolicyDocument: text})
				return err
			},
			get: func(who, policyName string) (string, error) {
				out, err := w.GetRolePolicy(ctx, c, &iamtypes.GetRolePolicyRequest{RoleName: who, PolicyName: policyName})
				if err != nil {
					return "", err
				}
				same(t, "GetRolePolicy", *out, iamtypes.GetRolePolicyResponse{RoleName: who, PolicyName: policyName,
					PolicyDocument: out.PolicyDocument})
				return decoded(t, out.PolicyDocument), nil
			},
			remove: func(who, policyName string) error {
				_, err := w.DeleteRolePolicy(ctx, c, &iamtypes.DeleteRolePolicyRequest{RoleName: who, PolicyName: policyName})
				return err
			},
			attached: func(who, pathPrefix, marker string, size int32) ([]iamtypes.AttachedPolicy, string, error) {
				in := iamtypes.ListAttachedRolePoliciesRequest{RoleName: who, PathPrefix: pathPrefix}
				in.Marker, in.MaxItems = page(marker, size)
				out, err := w.ListAttachedRolePolicies(ctx, c, &in)
				if err != nil {
					return nil, "", err
				}
				return out.AttachedPolicies, out.Marker, nil
			},
			inline: func(who, marker string, size int32) ([]string, string, error) {
				in := iamtypes.ListRolePoliciesRequest{RoleName: who}
				in.Marker, in.MaxItems = page(marker, size)
				out, err := w.ListRolePolicies(ctx, c, &in)
				if err != nil {
					return nil, "", err
				}
				return out.PolicyNames, out.Marker, nil
			},
		},
	}
}

// arnOf returns the ARN of the policy of a boundary, "" for none.
func arnOf(b *iamtypes.AttachedPermissionsBoundary) string {
	if b == nil {
		return ""
	}
	return b.PermissionsBoundaryArn
}
