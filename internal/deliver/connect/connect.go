// Package connect lets a cluster of Kubernetes pull images without a stored secret: an account trusts the tokens that the cluster makes for
// its service accounts, and a role of the account pulls for those that were chosen. It also prepares nodes and pods that use such tokens.
package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// DefaultAudience is the audience of the tokens, as in clusters of AWS.
const DefaultAudience = "sts.amazonaws.com"

// RoleAnnotation is the annotation of a service account with the role for its pulls, which the providers of AWS and of ecrin read.
const RoleAnnotation = credential.RoleAnnotation

// tagCluster is the tag of providers and roles that were made for a cluster. Its value is the name of the cluster.
const tagCluster = "ecrin:cluster"

// policyLabel and followLabel are the names of the inline policies of a role: to pull, and to upload the keys of the issuer.
const (
	policyLabel = "pull"
	followLabel = "issuer-keys"
)

// Connection says what is made in the account for a cluster. The fields without a default are required.
type Connection struct {
	Name     string     // of the cluster
	Account  string     // 12 digits
	Config   aws.Config // of the caller who makes provider and role, at the server or AWS
	Issuer   kube.Issuer
	Audience string
	Subjects []Subject // that may assume the role
	Role     string    // name
	Policies []string  // ARNs of managed policies that the role gets
	Inline   string    // policy of the role; "" for none
	Follow   bool      // the role may upload the keys of the issuer again

	// Upload gives the keys of the issuer to the account. nil if the issuer publishes them where the account finds them.
	Upload func(context.Context, kube.Issuer) error
}

// Problem is a failed step, with what to do about it.
type Problem struct {
	Code string // of the far side; "" if it has not answered
	Text string
	Cure string
}

func (p *Problem) Error() string { return p.Text }

// Step is one thing that is made or checked.
type Step struct {
	Name string
	Run  func(context.Context) (found string, err error)
}

// partition returns the partition of the account.
func (c *Connection) partition() string {
	region, _ := name.ParseRegion(c.Config.Region) // the zero region is in the default partition
	return region.Partition()
}

// RoleARN returns the ARN of the role.
func (c *Connection) RoleARN() string {
	return "arn:" + c.partition() + ":iam::" + c.Account + ":role/" + c.Role
}

// ProviderARN returns the ARN of the OIDC provider of the issuer.
func (c *Connection) ProviderARN() string {
	return "arn:" + c.partition() + ":iam::" + c.Account + ":oidc-provider/" + bare(c.Issuer.URL)
}

func bare(issuer string) string { return strings.TrimPrefix(issuer, "https://") }

// Steps returns what connects the cluster, in order. Each can be repeated: what is there already stays, or becomes what it should be.
func (c *Connection) Steps() []Step {
	steps := []Step{{"OIDC provider", c.provider}}
	if c.Upload != nil {
		steps = append(steps, Step{"keys of the issuer", c.upload})
	}
	return append(steps, Step{"role", c.role})
}

// provider makes the OIDC provider. One that was not made for this cluster is refused: whoever gives it keys can make tokens for every role
// that trusts it, and an API server says itself which issuer it is.
func (c *Connection) provider(ctx context.Context) (string, error) {
	api := iam.NewFromConfig(c.Config)
	arn := c.ProviderARN()
	_, err := api.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: &c.Issuer.URL,
		ClientIDList: []string{c.Audience}, Tags: c.tags()})
	if exists := (*iamtypes.EntityAlreadyExistsException)(nil); errors.As(err, &exists) {
		have, err := api.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: &arn})
		if err != nil {
			return "", c.far("reading the OIDC provider", err, "iam:GetOpenIDConnectProvider")
		}
		switch owner := tagOf(have.Tags); {
		case owner == c.Name:
		case owner != "":
			return "", &Problem{Text: fmt.Sprintf("the issuer %s is that of the cluster %s already", c.Issuer.URL, owner),
				Cure: "two clusters with one issuer are one for the account. Give each an issuer of its own " +
					"(--service-account-issuer of its API server), or use another account"}
		case c.Upload != nil:
			return "", &Problem{Text: "the OIDC provider for " + c.Issuer.URL + " was not made for this cluster",
				Cure: "its roles would trust the keys of this cluster. If it is the cluster's, tag it: aws iam tag-open-id-connect-provider " +
					"--open-id-connect-provider-arn " + arn + " --tags Key=" + tagCluster + ",Value=" + c.Name}
		}
		if _, err := api.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{
			OpenIDConnectProviderArn: &arn, ClientID: &c.Audience}); err != nil {
			return "", c.far("adding the audience to the OIDC provider", err, "iam:AddClientIDToOpenIDConnectProvider")
		}
		return arn + " was there", nil
	}
	if err != nil {
		return "", c.far("making the OIDC provider", err, "iam:CreateOpenIDConnectProvider and iam:TagOpenIDConnectProvider")
	}
	return arn, nil
}

func (c *Connection) tags() []iamtypes.Tag {
	return []iamtypes.Tag{{Key: aws.String(tagCluster), Value: &c.Name}}
}

// tagOf returns the cluster that a provider or a role was made for, "" for none.
func tagOf(tags []iamtypes.Tag) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == tagCluster {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

func (c *Connection) upload(ctx context.Context) (string, error) {
	if err := c.Upload(ctx, c.Issuer); err != nil {
		return "", &Problem{Text: "uploading the keys: " + err.Error(),
			Cure: "the caller needs ecrin:PutIssuerKeys on " + c.ProviderARN() + "; with an issuer that the server can call, use --published-keys"}
	}
	return "uploaded", nil
}

// role makes the role, or gives one that was made for this cluster the trust policy and the policies.
func (c *Connection) role(ctx context.Context) (string, error) {
	api := iam.NewFromConfig(c.Config)
	trust, err := Trust(c.ProviderARN(), bare(c.Issuer.URL), c.Audience, c.Subjects)
	if err != nil {
		return "", err
	}
	how := ""
	_, err = api.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &c.Role, AssumeRolePolicyDocument: &trust, Tags: c.tags(),
		Description: aws.String("Pulls images for service accounts of the cluster " + c.Name)})
	if exists := (*iamtypes.EntityAlreadyExistsException)(nil); errors.As(err, &exists) {
		have, err := api.GetRole(ctx, &iam.GetRoleInput{RoleName: &c.Role})
		if err != nil {
			return "", c.far("reading the role", err, "iam:GetRole")
		}
		if tagOf(have.Role.Tags) != c.Name {
			return "", &Problem{Text: "the role " + c.Role + " was not made for this cluster", Cure: "choose another name with --role"}
		}
		if _, err := api.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &c.Role, PolicyDocument: &trust}); err != nil {
			return "", c.far("setting the trust policy of the role", err, "iam:UpdateAssumeRolePolicy")
		}
		how = " was there"
	} else if err != nil {
		return "", c.far("making the role", err, "iam:CreateRole and iam:TagRole")
	}
	for _, arn := range c.Policies {
		if _, err := api.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &c.Role, PolicyArn: &arn}); err != nil {
			return "", c.far("attaching "+arn, err, "iam:AttachRolePolicy")
		}
	}
	if c.Inline != "" {
		if _, err := api.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &c.Role, PolicyName: aws.String(policyLabel),
			PolicyDocument: &c.Inline}); err != nil {
			return "", c.far("setting the policy of the role", err, "iam:PutRolePolicy")
		}
	}
	if c.Follow {
		text, err := c.followPolicy()
		if err != nil {
			return "", err
		}
		if _, err := api.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &c.Role, PolicyName: aws.String(followLabel),
			PolicyDocument: &text}); err != nil {
			return "", c.far("setting the policy of the role", err, "iam:PutRolePolicy")
		}
	}
	if how != "" { // after the new rights are there, so that no pull fails between
		if err := c.takeAway(ctx, api); err != nil {
			return "", err
		}
	}
	return c.RoleARN() + how, nil
}

// takeAway removes the policies that an earlier connection has given to the role and this one does not: all managed policies that are not
// named now, and the inline policies of this package. Else a role would keep rights that nobody asks for any more.
func (c *Connection) takeAway(ctx context.Context, api *iam.Client) error {
	pages := iam.NewListAttachedRolePoliciesPaginator(api, &iam.ListAttachedRolePoliciesInput{RoleName: &c.Role})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return c.far("listing the policies of the role", err, "iam:ListAttachedRolePolicies")
		}
		for _, p := range page.AttachedPolicies {
			if slices.Contains(c.Policies, aws.ToString(p.PolicyArn)) {
				continue
			}
			if _, err := api.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &c.Role, PolicyArn: p.PolicyArn}); err != nil {
				return c.far("detaching "+aws.ToString(p.PolicyArn), err, "iam:DetachRolePolicy")
			}
		}
	}
	for label, wanted := range map[string]bool{policyLabel: c.Inline != "", followLabel: c.Follow} {
		if wanted {
			continue
		}
		_, err := api.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &c.Role, PolicyName: &label})
		if none := (*iamtypes.NoSuchEntityException)(nil); err != nil && !errors.As(err, &none) {
			return c.far("deleting the policy "+label+" of the role", err, "iam:DeleteRolePolicy")
		}
	}
	return nil
}

// followPolicy returns the policy of who uploads the keys of the issuer of this cluster, and of no other.
func (c *Connection) followPolicy() (string, error) {
	type statement struct{ Effect, Action, Resource string }
	text, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{"Allow", "ecrin:PutIssuerKeys", c.ProviderARN()},
		{"Allow", "ecrin:DescribeClusters", "arn:" + c.partition() + ":ecrin::" + c.Account + ":cluster/" + c.Name}}})
	if err != nil {
		return "", fmt.Errorf("writing a policy: %w", err)
	}
	return string(text), nil
}

// Prove exchanges a token of a service account for credentials of the role, and gets a token of the registry with them. It returns the
// registry, HOST or HOST:PORT, and the end of that token.
func (c *Connection) Prove(ctx context.Context, token kube.Token) (registry string, end time.Time, err error) {
	anonymous := c.Config.Copy()
	anonymous.Credentials = aws.AnonymousCredentials{}
	text, arn := token.Text.Reveal(), c.RoleARN()
	got, err := sts.NewFromConfig(anonymous).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: &arn,
		RoleSessionName: aws.String("ecrin-cluster-connect"), WebIdentityToken: &text})
	if err != nil {
		return "", end, c.far("assuming the role with a token of the cluster", err, "")
	}
	mine := c.Config.Copy()
	mine.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		k := got.Credentials
		return aws.Credentials{AccessKeyID: aws.ToString(k.AccessKeyId), SecretAccessKey: aws.ToString(k.SecretAccessKey),
			SessionToken: aws.ToString(k.SessionToken)}, nil
	})
	out, err := ecr.NewFromConfig(mine).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", end, c.far("getting a token of the registry as the role", err,
			"ecr:GetAuthorizationToken, as the role: give it a policy with --policy")
	}
	if len(out.AuthorizationData) != 1 {
		return "", end, &Problem{Text: "getting a token of the registry as the role: the answer has no token"}
	}
	registry, err = credential.ParseHost(aws.ToString(out.AuthorizationData[0].ProxyEndpoint))
	return registry, aws.ToTime(out.AuthorizationData[0].ExpiresAt), err
}

// far returns a failed call as a *Problem. right is what the caller needs.
func (c *Connection) far(doing string, err error, right string) error {
	p := &Problem{Text: doing + ": " + err.Error(), Cure: "check that the server is reached from here"}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorMessage() == "" {
		return p
	}
	p.Code, p.Text = api.ErrorCode(), doing+": "+api.ErrorMessage()
	switch p.Code {
	case "AccessDenied", "AccessDeniedException":
		p.Cure = "the caller needs " + right
		if right == "" {
			p.Cure = "the trust policy of " + c.RoleARN() + " does not name the service account and the audience: run ecrin cluster connect " +
				c.Name + " with --service-account or --namespace for it"
		}
	case "InvalidIdentityToken":
		p.Cure = "the account does not know the key, the issuer or the audience of the token. After a change of the keys of the cluster: " +
			"ecrin cluster connect " + c.Name + " --refresh"
	case "ExpiredTokenException":
		p.Cure = "compare the clocks of the API server and of the registry"
	case "IDPCommunicationError":
		p.Cure = "the server cannot call " + c.Issuer.URL + ": leave out --published-keys, so that its keys are uploaded"
	default:
		p.Cure = "see what the server says"
	}
	return p
}

// objectName is the form of names of objects. Source: RFC 1123, as Kubernetes applies it.
var objectName = lazyregexp.New(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// Subject is a service account, or all of a namespace.
type Subject struct {
	Namespace string // * for all
	Account   string // "" for all of the namespace
}

// ParseSubject reads NAMESPACE/NAME. Errors: it has another form.
func ParseSubject(text string) (Subject, error) {
	namespace, account, ok := strings.Cut(text, "/")
	if !ok || !objectName.MatchString(namespace) || !objectName.MatchString(account) {
		return Subject{}, fmt.Errorf("a service account is NAMESPACE/NAME, got %q", text)
	}
	return Subject{namespace, account}, nil
}

// ParseNamespace reads the name of a namespace, or * for all. Errors: it has another form.
func ParseNamespace(text string) (Subject, error) {
	if text != "*" && !objectName.MatchString(text) {
		return Subject{}, fmt.Errorf("a namespace is a name of Kubernetes, or * for all, got %q", text)
	}
	return Subject{Namespace: text}, nil
}

// claim returns the value of the claim sub, and whether it is a pattern.
func (s Subject) claim() (value string, pattern bool) {
	switch {
	case s.Namespace == "*":
		return "system:serviceaccount:*", true
	case s.Account == "":
		return "system:serviceaccount:" + s.Namespace + ":*", true
	}
	return "system:serviceaccount:" + s.Namespace + ":" + s.Account, false
}

// Trust returns the trust policy of a role: the tokens of an issuer for an audience, of the chosen service accounts alone. issuer has no
// https://.
func Trust(provider, issuer, audience string, subjects []Subject) (string, error) {
	var exact, patterns []string
	for _, s := range subjects {
		if value, pattern := s.claim(); pattern {
			patterns = append(patterns, value)
		} else {
			exact = append(exact, value)
		}
	}
	type conditions map[string]map[string]any
	type statement struct {
		Effect, Action string
		Principal      map[string]string
		Condition      conditions
	}
	p := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17"}
	add := func(operator string, values []string) {
		if len(values) == 0 {
			return
		}
		c := conditions{"StringEquals": {issuer + ":aud": audience}}
		if c[operator] == nil {
			c[operator] = map[string]any{}
		}
		c[operator][issuer+":sub"] = values
		p.Statement = append(p.Statement, statement{"Allow", "sts:AssumeRoleWithWebIdentity", map[string]string{"Federated": provider}, c})
	}
	add("StringEquals", exact)
	add("StringLike", patterns)
	text, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("writing a trust policy: %w", err)
	}
	return string(text), nil
}
