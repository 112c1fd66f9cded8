package apply

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// noEntity is the code of IAM for an object that does not exist.
const noEntity = "NoSuchEntity"

// maxVersions is how many versions a managed policy has at most. Source: IAM user guide, versioning IAM policies.
const maxVersions = 5

// policyARN returns the ARN of a managed policy that a file names by its ARN, or by its name if it is one of the account.
func policyARN(account, text string) string {
	if strings.HasPrefix(text, "arn:") {
		return text
	}
	return "arn:aws:iam::" + account + ":policy/" + text
}

// decoded returns a policy document as IAM gives it.
func decoded(text *string) (string, error) {
	plain, err := url.QueryUnescape(aws.ToString(text))
	if err != nil {
		return "", fmt.Errorf("decoding a policy document: %w", err)
	}
	return canonical(plain), nil
}

func (p *planner) managedPolicies(ctx context.Context, account string, a Account) error {
	for called, doc := range sorted(a.Policies) {
		c := &Change{Account: account, Kind: "policy", Name: called}
		arn, after := policyARN(account, called), canonical(string(doc))
		before, versions, err := p.managedPolicy(ctx, account, arn)
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.Object(), said(err))
		}
		if before == "" {
			c.create(func(ctx context.Context) error {
				i, err := p.iam(ctx, account)
				if err == nil {
					_, err = i.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: &called, PolicyDocument: (*string)(&doc)})
				}
				return err
			})
			c.Settings = append(c.Settings, Setting{"document", "", after})
			p.add(c)
			continue
		}
		c.set("document", before, after, func(ctx context.Context) error {
			i, err := p.iam(ctx, account)
			if err != nil {
				return err
			}
			if len(versions) >= maxVersions-1 { // and the default one
				if _, err := i.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: &versions[0]}); err != nil {
					return err
				}
				versions = versions[1:]
			}
			_, err = i.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: (*string)(&doc), SetAsDefault: true})
			return err
		})
		p.add(c)
	}
	return nil
}

// managedPolicy returns the document of a managed policy, "" if it does not exist, and the ids of its other versions, the oldest first.
func (p *planner) managedPolicy(ctx context.Context, account, arn string) (doc string, others []string, err error) {
	if !p.exists(account) {
		return "", nil, nil
	}
	i, err := p.iam(ctx, account)
	if err != nil {
		return "", nil, err
	}
	all, err := i.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: &arn})
	if absent(err, noEntity) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	slices.SortFunc(all.Versions, func(a, b types.PolicyVersion) int { return aws.ToTime(a.CreateDate).Compare(aws.ToTime(b.CreateDate)) })
	for _, v := range all.Versions {
		if !v.IsDefaultVersion {
			others = append(others, aws.ToString(v.VersionId))
			continue
		}
		got, err := i.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: v.VersionId})
		if err != nil {
			return "", nil, err
		}
		if doc, err = decoded(got.PolicyVersion.Document); err != nil {
			return "", nil, err
		}
	}
	return doc, others, nil
}

// holder is a group, user or role: what has policies. Its functions make one call each.
type holder struct {
	attached, inline func(context.Context, *iam.Client) ([]string, error) // ARNs of managed policies; names of inline policies
	get              func(context.Context, *iam.Client, string) (*string, error)
	attach, detach   func(context.Context, *iam.Client, string) error
	put              func(ctx context.Context, i *iam.Client, called, doc string) error
	remove           func(context.Context, *iam.Client, string) error
	account          string
}

// permissions adds what differs in the permissions of a holder.
func (p *planner) permissions(ctx context.Context, c *Change, h holder, want Permissions) error {
	call := func(do func(context.Context, *iam.Client) error) func(context.Context) error {
		return func(ctx context.Context) error {
			i, err := p.iam(ctx, h.account)
			if err == nil {
				err = do(ctx, i)
			}
			return err
		}
	}
	attached, inline, err := p.policiesOf(ctx, c, h, want)
	if err != nil {
		return err
	}
	var arns []string
	for _, text := range want.Policies {
		arns = append(arns, policyARN(h.account, text))
	}
	for _, arn := range arns {
		if !slices.Contains(attached, arn) {
			c.set("policies", "", arn, call(func(ctx context.Context, i *iam.Client) error { return h.attach(ctx, i, arn) }))
		}
	}
	for _, arn := range attached {
		if want.Policies != nil && !slices.Contains(arns, arn) {
			c.set("policies", arn, "", call(func(ctx context.Context, i *iam.Client) error { return h.detach(ctx, i, arn) }))
		}
	}
	for called, doc := range sorted(want.Inline) {
		c.set("inline."+called, inline[called], canonical(string(doc)), call(func(ctx context.Context, i *iam.Client) error {
			return h.put(ctx, i, called, string(doc))
		}))
	}
	for called, doc := range sorted(inline) {
		if _, ok := want.Inline[called]; want.Inline != nil && !ok {
			c.set("inline."+called, doc, "", call(func(ctx context.Context, i *iam.Client) error { return h.remove(ctx, i, called) }))
		}
	}
	return nil
}

// policiesOf returns the policies that a holder has, none if it does not exist.
func (p *planner) policiesOf(ctx context.Context, c *Change, h holder, want Permissions) (attached []string,
	inline map[string]string, err error) {
	inline = map[string]string{}
	if c.Create {
		return nil, inline, nil
	}
	i, err := p.iam(ctx, h.account)
	if err != nil {
		return nil, nil, err
	}
	if want.Policies != nil {
		if attached, err = h.attached(ctx, i); err != nil {
			return nil, nil, err
		}
	}
	if want.Inline == nil {
		return attached, inline, nil
	}
	names, err := h.inline(ctx, i)
	if err != nil {
		return nil, nil, err
	}
	for _, called := range names {
		text, err := h.get(ctx, i, called)
		if err != nil {
			return nil, nil, err
		}
		if inline[called], err = decoded(text); err != nil {
			return nil, nil, err
		}
	}
	return attached, inline, nil
}

func arnsOf(all []types.AttachedPolicy) (arns []string) {
	for _, a := range all {
		arns = append(arns, aws.ToString(a.PolicyArn))
	}
	return arns
}

func (p *planner) groups(ctx context.Context, account string, a Account) error {
	for called, g := range sorted(a.Groups) {
		c := &Change{Account: account, Kind: "group", Name: called}
		path, err := p.read(ctx, account, func(i *iam.Client) (*string, error) {
			out, err := i.GetGroup(ctx, &iam.GetGroupInput{GroupName: &called})
			if err != nil {
				return nil, err
			}
			return out.Group.Path, nil
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.Object(), said(err))
		}
		p.pathed(c, path, g.Path, func(ctx context.Context, i *iam.Client, path *string) error {
			_, err := i.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: &called, Path: path})
			return err
		}, func(ctx context.Context, i *iam.Client, path *string) error {
			_, err := i.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: &called, NewPath: path})
			return err
		})
		if err := p.permissions(ctx, c, groupHolder(account, called), g.Permissions); err != nil {
			return fmt.Errorf("reading %s: %w", c.Object(), said(err))
		}
		p.add(c)
	}
	return nil
}

// read returns the path of an object, nil if it does not exist.
func (p *planner) read(ctx context.Context, account string, get func(*iam.Client) (*string, error)) (*string, error) {
	if !p.exists(account) {
		return nil, nil
	}
	i, err := p.iam(ctx, account)
	if err != nil {
		return nil, err
	}
	path, err := get(i)
	if absent(err, noEntity) {
		return nil, nil
	}
	return path, err
}

// pathed adds the creation of an object, or the change of its path. path is nil if it does not exist.
func (p *planner) pathed(c *Change, path *string, want string, create, move func(context.Context, *iam.Client, *string) error) {
	account := c.Account
	with := func(do func(context.Context, *iam.Client, *string) error) func(context.Context) error {
		return func(ctx context.Context) error {
			i, err := p.iam(ctx, account)
			if err != nil {
				return err
			}
			var to *string
			if want != "" {
				to = &want
			}
			return do(ctx, i, to)
		}
	}
	switch {
	case path == nil:
		c.create(with(create))
	case want != "":
		c.set("path", *path, want, with(move))
	}
}

func (p *planner) users(ctx context.Context, account string, a Account) error {
	for called, u := range sorted(a.Users) {
		c := &Change{Account: account, Kind: "user", Name: called}
		boundary := ""
		path, err := p.read(ctx, account, func(i *iam.Client) (*string, error) {
			out, err := i.GetUser(ctx, &iam.GetUserInput{UserName: &called})
			if err != nil {
				return nil, err
			}
			if b := out.User.PermissionsBoundary; b != nil {
				boundary = aws.ToString(b.PermissionsBoundaryArn)
			}
			return out.User.Path, nil
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.Object(), said(err))
		}
		p.pathed(c, path, u.Path, func(ctx context.Context, i *iam.Client, path *string) error {
			_, err := i.CreateUser(ctx, &iam.CreateUserInput{UserName: &called, Path: path})
			return err
		}, func(ctx context.Context, i *iam.Client, path *string) error {
			_, err := i.UpdateUser(ctx, &iam.UpdateUserInput{UserName: &called, NewPath: path})
			return err
		})
		if u.Boundary != "" {
			arn := policyARN(account, u.Boundary)
			c.set("boundary", boundary, arn, p.with(account, func(ctx context.Context, i *iam.Client) error {
				_, err := i.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: &called, PermissionsBoundary: &arn})
				return err
			}))
		}
		err = p.permissions(ctx, c, userHolder(account, called), u.Permissions)
		if err == nil {
			err = errors.Join(p.membership(ctx, c, account, called, u.Groups), p.keys(ctx, c, account, called, u.Keys))
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.Object(), said(err))
		}
		p.add(c)
	}
	return nil
}

// with returns a step that calls IAM for an account.
func (p *planner) with(account string, do func(context.Context, *iam.Client) error) func(context.Context) error {
	return func(ctx context.Context) error {
		i, err := p.iam(ctx, account)
		if err == nil {
			err = do(ctx, i)
		}
		return err
	}
}

// membership adds what differs in the groups of a user.
func (p *planner) membership(ctx context.Context, c *Change, account, user string, want []string) error {
	if want == nil {
		return nil
	}
	var have []string
	if !c.Create {
		i, err := p.iam(ctx, account)
		if err != nil {
			return err
		}
		for pages := iam.NewListGroupsForUserPaginator(i, &iam.ListGroupsForUserInput{UserName: &user}); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, g := range page.Groups {
				have = append(have, aws.ToString(g.GroupName))
			}
		}
	}
	for _, g := range want {
		if !slices.Contains(have, g) {
			c.set("groups", "", g, p.with(account, func(ctx context.Context, i *iam.Client) error {
				_, err := i.AddUserToGroup(ctx, &iam.AddUserToGroupInput{UserName: &user, GroupName: &g})
				return err
			}))
		}
	}
	for _, g := range have {
		if !slices.Contains(want, g) {
			c.set("groups", g, "", p.with(account, func(ctx context.Context, i *iam.Client) error {
				_, err := i.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{UserName: &user, GroupName: &g})
				return err
			}))
		}
	}
	return nil
}

// keys adds an access key for a user who is to have one and has none. Its secret is not shown: ecrin env --user prints it.
func (p *planner) keys(ctx context.Context, c *Change, account, user string, want bool) error {
	if !want {
		return nil
	}
	if !c.Create {
		i, err := p.iam(ctx, account)
		if err != nil {
			return err
		}
		out, err := i.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &user})
		if err != nil || len(out.AccessKeyMetadata) > 0 {
			return err
		}
	}
	c.set("keys", "", "one", p.with(account, func(ctx context.Context, i *iam.Client) error {
		_, err := i.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &user})
		return err
	}))
	return nil
}

func (p *planner) roles(ctx context.Context, account string, a Account) error {
	for called, r := range sorted(a.Roles) {
		c := &Change{Account: account, Kind: "role", Name: called}
		var have types.Role
		path, err := p.read(ctx, account, func(i *iam.Client) (*string, error) {
			out, err := i.GetRole(ctx, &iam.GetRoleInput{RoleName: &called})
			if err != nil {
				return nil, err
			}
			have = *out.Role
			return have.Path, nil
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.Object(), said(err))
		}
		if path != nil && r.Path != "" && r.Path != *path {
			return fmt.Errorf("%s has the path %s, the file says %s: the path of a role cannot be changed", c.Object(), *path, r.Path)
		}
		p.pathed(c, path, r.Path, func(ctx context.Context, i *iam.Client, path *string) error {
			_, err := i.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &called, Path: path, AssumeRolePolicyDocument: (*string)(&r.Trust)})
			return err
		}, nil)
		if err := p.trust(c, account, called, have, r); err != nil {
			return err
		}
		if err := p.permissions(ctx, c, roleHolder(account, called), r.Permissions); err != nil {
			return fmt.Errorf("reading %s: %w", c.Object(), said(err))
		}
		p.add(c)
	}
	return nil
}

// trust adds what differs in the settings of a role.
func (p *planner) trust(c *Change, account, called string, have types.Role, want Role) error {
	if c.Create {
		c.Settings = append(c.Settings, Setting{"trust", "", canonical(string(want.Trust))})
	} else {
		before, err := decoded(have.AssumeRolePolicyDocument)
		if err != nil {
			return err
		}
		c.set("trust", before, canonical(string(want.Trust)), p.with(account, func(ctx context.Context, i *iam.Client) error {
			_, err := i.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &called, PolicyDocument: (*string)(&want.Trust)})
			return err
		}))
	}
	if d := want.Duration; d != 0 {
		before := ""
		if !c.Create {
			before = fmt.Sprint(aws.ToInt32(have.MaxSessionDuration))
		}
		c.set("duration", before, fmt.Sprint(d), p.with(account, func(ctx context.Context,
			i *iam.Client) error {
			_, err := i.UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: &called, MaxSessionDuration: &d, Description: have.Description})
			return err
		}))
	}
	if want.Boundary != "" {
		arn, before := policyARN(account, want.Boundary), ""
		if b := have.PermissionsBoundary; b != nil {
			before = aws.ToString(b.PermissionsBoundaryArn)
		}
		c.set("boundary", before, arn, p.with(account, func(ctx context.Context, i *iam.Client) error {
			_, err := i.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: &called, PermissionsBoundary: &arn})
			return err
		}))
	}
	return nil
}
