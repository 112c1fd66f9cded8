package apply

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// pages collects the items of all pages.
func pages[P, T any](ctx context.Context, more func() bool, next func(context.Context, ...func(*iam.Options)) (P, error),
	items func(P) []T) (all []T, err error) {
	for more() {
		page, err := next(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, items(page)...)
	}
	return all, nil
}

func groupHolder(account, group string) holder {
	return holder{account: account,
		attached: func(ctx context.Context, i *iam.Client) ([]string, error) {
			l := iam.NewListAttachedGroupPoliciesPaginator(i, &iam.ListAttachedGroupPoliciesInput{GroupName: &group})
			all, err := pages(ctx, l.HasMorePages, l.NextPage, func(o *iam.ListAttachedGroupPoliciesOutput) []types.AttachedPolicy {
				return o.AttachedPolicies
			})
			return arnsOf(all), err
		},
		inline: func(ctx context.Context, i *iam.Client) ([]string, error) {
			l := iam.NewListGroupPoliciesPaginator(i, &iam.ListGroupPoliciesInput{GroupName: &group})
			return pages(ctx, l.HasMorePages, l.NextPage, func(o *iam.ListGroupPoliciesOutput) []string { return o.PolicyNames })
		},
		get: func(ctx context.Context, i *iam.Client, called string) (*string, error) {
			out, err := i.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: &group, PolicyName: &called})
			if err != nil {
				return nil, err
			}
			return out.PolicyDocument, nil
		},
		attach: func(ctx context.Context, i *iam.Client, arn string) error {
			_, err := i.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: &group, PolicyArn: &arn})
			return err
		},
		detach: func(ctx context.Context, i *iam.Client, arn string) error {
			_, err := i.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: &group, PolicyArn: &arn})
			return err
		},
		put: func(ctx context.Context, i *iam.Client, called, doc string) error {
			_, err := i.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: &group, PolicyName: &called, PolicyDocument: &doc})
			return err
		},
		remove: func(ctx context.Context, i *iam.Client, called string) error {
			_, err := i.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: &group, PolicyName: &called})
			return err
		},
	}
}

func userHolder(account, user string) holder {
	return holder{account: account,
		attached: func(ctx context.Context, i *iam.Client) ([]string, error) {
			l := iam.NewListAttachedUserPoliciesPaginator(i, &iam.ListAttachedUserPoliciesInput{UserName: &user})
			all, err := pages(ctx, l.HasMorePages, l.NextPage, func(o *iam.ListAttachedUserPoliciesOutput) []types.AttachedPolicy {
				return o.AttachedPolicies
			})
			return arnsOf(all), err
		},
		inline: func(ctx context.Context, i *iam.Client) ([]string, error) {
			l := iam.NewListUserPoliciesPaginator(i, &iam.ListUserPoliciesInput{UserName: &user})
			return pages(ctx, l.HasMorePages, l.NextPage, func(o *iam.ListUserPoliciesOutput) []string { return o.PolicyNames })
		},
		get: func(ctx context.Context, i *iam.Client, called string) (*string, error) {
			out, err := i.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: &user, PolicyName: &called})
			if err != nil {
				return nil, err
			}
			return out.PolicyDocument, nil
		},
		attach: func(ctx context.Context, i *iam.Client, arn string) error {
			_, err := i.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &user, PolicyArn: &arn})
			return err
		},
		detach: func(ctx context.Context, i *iam.Client, arn string) error {
			_, err := i.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: &user, PolicyArn: &arn})
			return err
		},
		put: func(ctx context.Context, i *iam.Client, called, doc string) error {
			_, err := i.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &user, PolicyName: &called, PolicyDocument: &doc})
			return err
		},
		remove: func(ctx context.Context, i *iam.Client, called string) error {
			_, err := i.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &user, PolicyName: &called})
			return err
		},
	}
}

func roleHolder(account, role string) holder {
	return holder{account: account,
		attached: func(ctx context.Context, i *iam.Client) ([]string, error) {
			l := iam.NewListAttachedRolePoliciesPaginator(i, &iam.ListAttachedRolePoliciesInput{RoleName: &role})
			all, err := pages(ctx, l.HasMorePages, l.NextPage, func(o *iam.ListAttachedRolePoliciesOutput) []types.AttachedPolicy {
				return o.AttachedPolicies
			})
			return arnsOf(all), err
		},
		inline: func(ctx context.Context, i *iam.Client) ([]string, error) {
			l := iam.NewListRolePoliciesPaginator(i, &iam.ListRolePoliciesInput{RoleName: &role})
			return pages(ctx, l.HasMorePages, l.NextPage, func(o *iam.ListRolePoliciesOutput) []string { return o.PolicyNames })
		},
		get: func(ctx context.Context, i *iam.Client, called string) (*string, error) {
			out, err := i.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &called})
			if err != nil {
				return nil, err
			}
			return out.PolicyDocument, nil
		},
		attach: func(ctx context.Context, i *iam.Client, arn string) error {
			_, err := i.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &arn})
			return err
		},
		detach: func(ctx context.Context, i *iam.Client, arn string) error {
			_, err := i.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &role, PolicyArn: &arn})
			return err
		},
		put: func(ctx context.Context, i *iam.Client, called, doc string) error {
			_, err := i.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &called, PolicyDocument: &doc})
			return err
		},
		remove: func(ctx context.Context, i *iam.Client, called string) error {
			_, err := i.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &called})
			return err
		},
	}
}

// Attached is a policy of a user or role.
type Attached struct {
	Name     string
	ARN      string // "" for an inline policy
	Document string
}

// EachPolicy calls each for the policies of a user, role or group (kind), inline ones first, until it fails. The policies of the groups
// of a user are not among its own.
//
// Errors: those of IAM and of each.
func EachPolicy(ctx context.Context, i *iam.Client, kind, called string, each func(Attached) error) error {
	h := userHolder("", called)
	switch kind {
	case "role":
		h = roleHolder("", called)
	case "group":
		h = groupHolder("", called)
	}
	inline, err := h.inline(ctx, i)
	if err != nil {
		return err
	}
	for _, one := range inline {
		text, err := h.get(ctx, i, one)
		if err != nil {
			return err
		}
		if err := eachDocument(Attached{Name: one}, text, each); err != nil {
			return err
		}
	}
	attached, err := h.attached(ctx, i)
	if err != nil {
		return err
	}
	for _, arn := range attached {
		p, err := i.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
		if err != nil {
			return err
		}
		v, err := i.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: p.Policy.DefaultVersionId})
		if err != nil {
			return err
		}
		if err := eachDocument(Attached{Name: aws.ToString(p.Policy.PolicyName), ARN: arn}, v.PolicyVersion.Document, each); err != nil {
			return err
		}
	}
	return nil
}

func eachDocument(p Attached, text *string, each func(Attached) error) (err error) {
	if p.Document, err = decoded(text); err != nil {
		return fmt.Errorf("the policy %s: %w", p.Name, err)
	}
	return each(p)
}
