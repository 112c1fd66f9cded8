package identity_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// dialsLocal allows the server to connect to issuers on the same machine.
func dialsLocal(c *config.Config) { c.EgressAllow = []string{"127.0.0.1/32"} }

// tokens is a source of tokens that always returns its text.
type tokens string

func (t tokens) GetIdentityToken() ([]byte, error) { return []byte(t), nil }

// vouched creates a provider in the account, and the role "web" that trusts one Kubernetes service account of
// the provider.
func (a actor) vouched(t *testing.T, issuer *oidctest.Issuer, thumbprints ...string) (role string) {
	t.Helper()
	provider := do(t, a.iam.CreateOpenIDConnectProvider, iam.CreateOpenIDConnectProviderInput{
		Url: aws.String(issuer.URL()), ClientIDList: []string{oidctest.Audience}, ThumbprintList: thumbprints,
	}).OpenIDConnectProviderArn
	host := strings.TrimPrefix(issuer.URL(), "https://")
	made := do(t, a.iam.CreateRole, iam.CreateRoleInput{RoleName: aws.String("web"), AssumeRolePolicyDocument: aws.String(trust(
		`"Federated":"`+*provider+`"`, "sts:AssumeRoleWithWebIdentity",
		`{"StringEquals":{"`+host+`:sub":"system:serviceaccount:apps:web","`+host+`:aud":"`+oidctest.Audience+`"}}`))}).Role
	do(t, a.iam.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: made.RoleName, PolicyArn: aws.String(readOnly)})
	return *made.Arn
}

// A pod gets its credentials by the SDK's own provider. The requests are not signed, and the issuer is trusted
// only by a thumbprint.
func webIdentity(t *testing.T, root actor) {
	issuer := oidctest.Start(t, oidctest.Options{Path: "/id/X1"})
	app := root.push(t, "team/app")
	role := root.vouched(t, issuer, issuer.Thumbprint())
	anonymous := root.installation.as(root.account, "", "", "")
	good := issuer.Mint(issuer.Kubernetes("apps", "web"))

	provider := stscreds.NewWebIdentityRoleProvider(anonymous.sts, role, tokens(good), func(o *stscreds.WebIdentityRoleOptions) {
		o.RoleSessionName = "pod"
	})
	got, err := provider.Retrieve(t.Context())
	if err != nil {
		t.Fatalf("the SDK's provider: %v", err)
	}
	if left := time.Until(got.Expires); !got.CanExpire || left < 50*time.Minute || left > time.Hour {
		t.Errorf("the credentials end at %v, want in an hour", got.Expires)
	}
	pod := root.installation.as(root.account, got.AccessKeyID, got.SecretAccessKey, got.SessionToken)
	wantIdentity(t, pod, "arn:aws:sts::"+root.account+":assumed-role/web/pod")
	wantPull(t, pod.docker(t, root.account).Repo("team/app"), app)

	ask := func(token string) sts.AssumeRoleWithWebIdentityInput {
		return sts.AssumeRoleWithWebIdentityInput{RoleArn: &role, RoleSessionName: aws.String("pod"), WebIdentityToken: &token}
	}
	out := do(t, anonymous.sts.AssumeRoleWithWebIdentity, ask(good))
	wantText(t, "the subject", out.SubjectFromWebIdentityToken, "system:serviceaccount:apps:web")
	wantText(t, "the audience", out.Audience, oidctest.Audience)
	wantLife(t, "AssumeRoleWithWebIdentity", out.Credentials, 3600)

	refused := func(what, token string, check func(string, error)) {
		t.Helper()
		in := ask(token)
		_, err := anonymous.sts.AssumeRoleWithWebIdentity(context.WithoutCancel(t.Context()), &in)
		check(what, err)
	}
	refused("another service account", issuer.Mint(issuer.Kubernetes("apps", "other")), func(what string, err error) {
		wantCode(t, what, err, "AccessDenied", "is not authorized to perform: sts:AssumeRoleWithWebIdentity")
	})
	old := issuer.Kubernetes("apps", "web")
	old["exp"], old["iat"], old["nbf"] = time.Now().Add(-time.Hour).Unix(), time.Now().Add(-2*time.Hour).Unix(),
		time.Now().Add(-2*time.Hour).Unix()
	refused("a token that has ended", issuer.Mint(old), func(what string, err error) {
		wantError[*types.ExpiredTokenException](t, what, err, "")
	})
	refused("a token with another signature", good[:strings.LastIndexByte(good, '.')]+"."+strings.Repeat("A", 342),
		func(what string, err error) {
			wantError[*types.InvalidIdentityTokenException](t, what, err, "")
		})
	other := oidctest.Start(t, oidctest.Options{})
	refused("a token of an issuer that is no provider", other.Mint(other.Kubernetes("apps", "web")), func(what string, err error) {
		wantError[*types.InvalidIdentityTokenException](t, what, err, "No OpenIDConnect provider found")
	})
	do(t, root.iam.CreateOpenIDConnectProvider, iam.CreateOpenIDConnectProviderInput{Url: aws.String(other.URL()),
		ClientIDList: []string{oidctest.Audience}, ThumbprintList: []string{issuer.Thumbprint()}})
	refused("an issuer with another certificate than its thumbprint", other.Mint(other.Kubernetes("apps", "web")),
		func(what string, err error) {
			wantError[*types.InvalidIdentityTokenException](t, what, err, "Couldn't retrieve verification key from your identity provider")
		})
	refused("a token for another audience", issuer.Mint(audience(issuer.Kubernetes("apps", "web"), "vault")), func(what string, err error) {
		wantError[*types.InvalidIdentityTokenException](t, what, err, "")
	})
}

func audience(claims map[string]any, aud string) map[string]any {
	claims["aud"] = aud
	return claims
}
