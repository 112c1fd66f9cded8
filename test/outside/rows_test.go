package outside_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// readOnly is the policy of AWS for those who pull.
const readOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"

// far is an ECR-shaped registry, its server, and a server that reaches it.
type far struct {
	*farside.ECR
	server, near *apptest.Server
	root         apptest.Account
	users        *iam.Client
}

func newFar(t testing.TB, there, here func(*config.Config)) *far {
	t.Helper()
	f := &far{server: apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.StrictECR = "all"
		if there != nil {
			there(c)
		}
	}})}
	f.root = f.server.Root(t)
	f.ECR = farside.NewECR(t, f.server)
	f.users = iam.New(iam.Options{Region: f.root.Region, BaseEndpoint: &f.server.URL, HTTPClient: f.server.HTTP, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(f.root.ECR().Options().Credentials.Retrieve)})
	f.near = apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		for _, s := range f.Sites() {
			s.Configure(c)
		}
		if here != nil {
			here(c)
		}
	}})
	return f
}

// user makes a user there with a policy of its own, and returns its key.
func (f *far) user(t testing.TB, label, policy string) (id, secret string) {
	t.Helper()
	_, err := f.users.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &label})
	if err == nil && policy != "" {
		_, err = f.users.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &label, PolicyName: aws.String("p"),
			PolicyDocument: &policy})
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := f.users.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &label})
	if err != nil {
		t.Fatal(err)
	}
	return *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
}

// role makes a role there with a trust statement and policies for actions on everything; "" is no policy.
func (f *far) role(t testing.TB, label, principal string, actions ...string) string {
	t.Helper()
	made, err := f.users.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &label, AssumeRolePolicyDocument: trust(principal)})
	if err == nil && len(actions) > 0 {
		_, err = f.users.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &label, PolicyName: aws.String("p"),
			PolicyDocument: allowed(actions...)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return *made.Role.Arn
}

// trust is a trust policy with one statement.
func trust(principals ...string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + strings.Join(principals, `","`) +
		`"]},"Action":"sts:AssumeRole","Condition":{}}]}`)
}

func (f *far) retrust(t testing.TB, label string, principals ...string) {
	t.Helper()
	if _, err := f.users.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &label,
		PolicyDocument: trust(principals...)}); err != nil {
		t.Fatal(err)
	}
}

// in is the request for an integration of the kind ECR with the registry.
func (f *far) in(label string) ecrintypes.CreateIntegrationRequest {
	return ecrintypes.CreateIntegrationRequest{IntegrationName: label, Kind: "ECR", RemoteRegistryId: f.root.ID, RemoteRegion: f.root.Region}
}

func (f *far) cloud(t testing.TB, in ecrintypes.PutCloudIntegrationRequest) {
	t.Helper()
	in.Region = f.root.Region
	if err := call(t, f.near, "PutCloudIntegration", in, &ecrintypes.CloudIntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
}

func (f *far) change(t testing.TB, in ecrintypes.UpdateIntegrationRequest) {
	t.Helper()
	if err := call(t, f.near, "UpdateIntegration", in, &ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
}

// want tests an integration, and checks its last step; code "" is success.
func (f *far) want(t testing.TB, what, label, image, step, code, text string) {
	t.Helper()
	got := test(t, f.near, ecrintypes.TestIntegrationRequest{IntegrationName: label, Image: image})
	one := last(t, got)
	if got.Passed != (code == "") || one.Name != step || one.Code != code || !strings.Contains(one.Message+one.Found+one.Cure, text) {
		t.Errorf("%s: got %s, want the step %s to end with %q and %q", what, shown(got), step, code, text)
	}
}

// sendImage pushes an image here, copies it by an integration and waits for the end.
func sendImage(t testing.TB, n *apptest.Server, label, tag string) error {
	t.Helper()
	root := n.Root(t)
	repo := label + "/" + tag
	im := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, repo).Push(t, tag, im)
	var out ecrintypes.CopyImageResponse
	if err := call(t, n, "CopyImage", ecrintypes.CopyImageRequest{RepositoryName: repo, ImageTag: tag, DestinationRepositoryName: repo,
		DestinationIntegration: label}, &out); err != nil {
		return err
	}
	if j := ended(t, n, out.JobId); j.State != ecrintypes.JobStateDONE {
		return errors.New(shown(j))
	}
	return nil
}

// webRole makes the role web there, which trusts the service account apps/web of an issuer.
func (f *far) webRole(t testing.TB, issuer *oidctest.Issuer) string {
	t.Helper()
	provider, err := f.users.CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{Url: aws.String(issuer.URL()),
		ClientIDList: []string{oidctest.Audience}, ThumbprintList: []string{issuer.Thumbprint()}})
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(issuer.URL(), "https://")
	made, err := f.users.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("web"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + *provider.OpenIDConnectProviderArn +
			`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + host +
			`:sub":"system:serviceaccount:apps:web","` + host + `:aud":"` + oidctest.Audience + `"}}}]}`)})
	if err == nil {
		_, err = f.users.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: aws.String("web"), PolicyArn: aws.String(readOnly)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return *made.Role.Arn
}

// C3: a wrong secret, and a key that may not get a token, are shown with the API's own code and message.
func TestC3WrongKeysAreShownWithTheCodeOfTheFarSide(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	id, secret := f.user(t, "puller", *allowed("ecr:BatchGetImage"))
	in := f.in("far")
	in.AwsAccessKeyId, in.AwsSecretAccessKey = id, "wrong"
	add(t, f.near, in)
	f.want(t, "a wrong secret", "far", "", "GetCallerIdentity", "SignatureDoesNotMatch", "signature")
	f.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "far", AwsAccessKeyId: id, AwsSecretAccessKey: secret})
	f.want(t, "no permission for a token", "far", "", "GetAuthorizationToken", "AccessDeniedException",
		"is not authorized to perform: ecr:GetAuthorizationToken")
}

// C4: an integration by role is not for hosted runtimes, and one by access key not for those before 0.1.27, when it is made and
// when it is changed.
func TestC4ModesOfRuntimes(t *testing.T) {
	t.Parallel()
	n := near(t, nil)
	runtime := func(label, version string, hosted bool) {
		t.Helper()
		if err := call(t, n, "PutRuntime", ecrintypes.PutRuntimeRequest{RuntimeName: label, Version: version, Hosted: &hosted},
			&ecrintypes.RuntimeResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	runtime("hosted", "0.1.40", true)
	runtime("old", "0.1.26", false)
	runtime("new", "0.1.27", false)
	key := ecrintypes.CreateIntegrationRequest{IntegrationName: "key", Kind: "ECR", RemoteRegistryId: "111122223333",
		RemoteRegion: "eu-west-1", AwsAccessKeyId: "AKIAAAAAAAAAAAAAAAAA", AwsSecretAccessKey: "s"}
	role := key
	role.IntegrationName, role.RoleArn = "role", "arn:aws:iam::111122223333:role/x"
	for _, c := range []struct {
		in       ecrintypes.CreateIntegrationRequest
		runtimes []string
		want     string
	}{
		{role, []string{"new", "hosted"}, "by role cannot be used by the hosted runtime hosted"},
		{key, []string{"old"}, "needs runtimes of the version 0.1.27 or later: old has 0.1.26"},
		{role, []string{"old", "new"}, ""}, {key, []string{"hosted", "new"}, ""},
	} {
		c.in.Runtimes = c.runtimes
		err := call(t, n, "CreateIntegration", c.in, &ecrintypes.IntegrationResponse{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %v: got %v, want %q", c.in.IntegrationName, c.runtimes, err, c.want)
		}
	}
	if err := call(t, n, "UpdateIntegration", ecrintypes.UpdateIntegrationRequest{IntegrationName: "key", RoleArn: role.RoleArn},
		&ecrintypes.IntegrationResponse{}); err == nil || !strings.Contains(err.Error(), "hosted runtime hosted") {
		t.Errorf("a role for the integration of a hosted runtime: got %v, want a refusal", err)
	}
}

// C5: without a trust statement AssumeRole is denied; with the statement that names the role of the caller it passes; a role that assumes
// itself must list itself too.
func TestC5TrustStatements(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	id, secret := f.user(t, "app-proxy-user", *allowed("sts:AssumeRole"))
	user := "arn:aws:iam::" + f.root.ID + ":user/app-proxy-user"
	proxy := f.role(t, "app-proxy", user, "sts:AssumeRole", "ecr:*")
	role := f.role(t, "integration", "arn:aws:iam::"+f.root.ID+":user/app-proxy-user", "ecr:*")
	f.cloud(t, ecrintypes.PutCloudIntegrationRequest{CloudName: "proxy", AwsAccessKeyId: id, AwsSecretAccessKey: secret, RoleArn: "app-proxy"})
	in := f.in("far")
	in.CloudName, in.RoleArn = "proxy", role
	add(t, f.near, in)
	f.want(t, "a trust statement that does not name the caller", "far", "", "AssumeRole", "AccessDenied",
		"is not authorized to perform: sts:AssumeRole on resource: "+role)
	f.retrust(t, "integration", proxy)
	f.want(t, "the statement that names the role of app-proxy", "far", "", "GET /v2/", "", "")
	f.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "far", RoleArn: proxy})
	f.want(t, "a role that assumes itself without listing itself", "far", "", "AssumeRole", "AccessDenied",
		"is not authorized to perform: sts:AssumeRole on resource: "+proxy)
	f.retrust(t, "app-proxy", user, proxy)
	f.want(t, "a role that lists itself", "far", "", "GET /v2/", "", "")
}

// An integration may assume a second role from the first, each with its external id; a bare name is a role of the caller's account.
func TestIntegrationBySecondRole(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	id, secret := f.user(t, "u", *allowed("sts:AssumeRole"))
	first := f.role(t, "first", f.root.ID, "sts:AssumeRole")
	f.role(t, "second", first, "ecr:*")
	in := f.in("far")
	in.AwsAccessKeyId, in.AwsSecretAccessKey, in.RoleArn, in.SecondRoleArn = id, secret, "first", "second"
	add(t, f.near, in)
	got := test(t, f.near, ecrintypes.TestIntegrationRequest{IntegrationName: "far"})
	if !got.Passed || len(got.Steps) < 3 || !strings.Contains(got.Steps[1].Found, ":assumed-role/first/") ||
		!strings.Contains(got.Steps[2].Found, ":assumed-role/second/") {
		t.Errorf("two roles by name: got %s", shown(got))
	}
	f.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "far", Remove: []ecrintypes.IntegrationPart{"SECOND_ROLE"}})
	f.want(t, "the first role alone", "far", "", "GetAuthorizationToken", "AccessDeniedException", "assumed-role/first/")
}

// C16: the key of the cloud integration, or of the integration, is rotated: the next copy is made with the new one, without a restart.
func TestC16KeysAreRotatedWithoutARestart(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	oldID, oldSecret := f.user(t, "old", *allowed("ecr:*"))
	newID, newSecret := f.user(t, "new", *allowed("ecr:*"))
	f.cloud(t, ecrintypes.PutCloudIntegrationRequest{CloudName: "aws", AwsAccessKeyId: oldID, AwsSecretAccessKey: oldSecret})
	byCloud := f.in("cloud")
	byCloud.CloudName = "aws"
	add(t, f.near, byCloud)
	byKey := f.in("key")
	byKey.AwsAccessKeyId, byKey.AwsSecretAccessKey = oldID, oldSecret
	add(t, f.near, byKey)
	copies := func(label, tag string) error { return sendImage(t, f.near, label, tag) }
	for _, label := range []string{"cloud", "key"} {
		if err := copies(label, "before"); err != nil {
			t.Fatalf("%s, before: %v", label, err)
		}
	}
	if err := call(t, f.near, "DeleteCloudIntegration", ecrintypes.CloudIntegrationRequest{CloudName: "aws"},
		&ecrintypes.CloudIntegrationResponse{}); code(err) != "ResourceInUseException" {
		t.Errorf("deleting a cloud integration that an integration names: got %v, want ResourceInUseException", err)
	}
	if _, err := f.users.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{UserName: aws.String("old"),
		AccessKeyId: &oldID}); err != nil {
		t.Fatal(err)
	}
	f.want(t, "the deleted key of the cloud integration", "cloud", "", "GetCallerIdentity", "InvalidClientTokenId", "")
	f.want(t, "the deleted key", "key", "", "GetCallerIdentity", "InvalidClientTokenId", "")
	f.cloud(t, ecrintypes.PutCloudIntegrationRequest{CloudName: "aws", AwsAccessKeyId: newID, AwsSecretAccessKey: newSecret})
	f.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "key", AwsAccessKeyId: newID, AwsSecretAccessKey: newSecret})
	for _, label := range []string{"cloud", "key"} {
		if err := copies(label, "after"); err != nil {
			t.Errorf("%s, with the new key: %v", label, err)
		}
	}
}

// C15: a deleted integration is gone with its secrets, and what names it fails.
func TestC15ADeletedIntegrationCannotBeUsed(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, nil)
	in := f.in("far")
	in.AwsAccessKeyId, in.AwsSecretAccessKey = f.root.KeyID, f.root.Secret
	add(t, f.near, in)
	if err := sendImage(t, f.near, "far", "v1"); err != nil {
		t.Fatal(err)
	}
	if err := call(t, f.near, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: "far"},
		&ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	if err := sendImage(t, f.near, "far", "v2"); code(err) != "IntegrationNotFoundException" {
		t.Errorf("a copy by the deleted integration: got %v, want IntegrationNotFoundException", err)
	}
}

// Web identity is a source of credentials only where the operator lists account and role, and goes to Amazon ECR only.
func TestIntegrationByWebIdentity(t *testing.T) {
	t.Parallel()
	issuer := oidctest.Start(t, oidctest.Options{Path: "/id/X1"})
	file := filepath.Join(t.TempDir(), "token")
	var account string
	f := newFar(t, func(c *config.Config) { c.EgressAllow, account = []string{"127.0.0.1/32"}, c.Account }, func(c *config.Config) {
		c.WebIdentities = []string{c.Account + " arn:aws:iam::" + c.Account + ":role/web " + file}
	})
	role := f.webRole(t, issuer)
	if role != "arn:aws:iam::"+account+":role/web" {
		t.Fatalf("the role: got %s", role)
	}
	in := f.in("far")
	in.WebIdentity, in.RoleArn = aws.Bool(true), role
	for what, change := range map[string]func(*ecrintypes.CreateIntegrationRequest){
		"another role":          func(r *ecrintypes.CreateIntegrationRequest) { r.RoleArn += "2" },
		"an STS of the account": func(r *ecrintypes.CreateIntegrationRequest) { r.StsEndpoint = "https://sts.invalid" },
		"an API of the account": func(r *ecrintypes.CreateIntegrationRequest) { r.Endpoint = "https://ecr.invalid" },
		"a host of the account": func(r *ecrintypes.CreateIntegrationRequest) { r.RegistryHost = "ecr.invalid" },
		"a key beside it": func(r *ecrintypes.CreateIntegrationRequest) {
			r.AwsAccessKeyId, r.AwsSecretAccessKey = "AKIAAAAAAAAAAAAAAAAA", "s"
		},
		"a role without its ARN":  func(r *ecrintypes.CreateIntegrationRequest) { r.RoleArn = "web" },
		"a server of another one": func(r *ecrintypes.CreateIntegrationRequest) { r.Kind, r.Endpoint = "ECRIN", "https://ecrin.invalid" },
	} {
		bad := in
		change(&bad)
		if err := call(t, f.near, "CreateIntegration", bad, &ecrintypes.IntegrationResponse{}); code(err) != "InvalidParameterException" {
			t.Errorf("%s: got %v, want InvalidParameterException", what, err)
		}
	}
	var other ecrintypes.CreateAccountResponse
	if err := call(t, f.near, "CreateAccount", ecrintypes.CreateAccountRequest{AccountId: "999988887777"}, &other); err != nil {
		t.Fatal(err)
	}
	bad := in
	bad.AccountId = "999988887777"
	if err := call(t, f.near, "CreateIntegration", bad, &ecrintypes.IntegrationResponse{}); code(err) != "InvalidParameterException" ||
		!strings.Contains(err.Error(), "web_identities") {
		t.Errorf("an account that the operator does not list: got %v, want a refusal that names web_identities", err)
	}
	add(t, f.near, in)
	none := test(t, f.near, ecrintypes.TestIntegrationRequest{IntegrationName: "far"})
	if one := last(t, none); none.Passed || !strings.Contains(one.Message, "cannot read the token") || strings.Contains(shown(none), file) {
		t.Errorf("no token: got %s, want a step that says so and does not name the file", shown(none))
	}
	write := func(subject string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(issuer.Mint(issuer.Kubernetes("apps", subject))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("other")
	f.want(t, "a token of another service account", "far", "", "AssumeRoleWithWebIdentity", "AccessDenied", "AssumeRoleWithWebIdentity")
	write("web")
	f.want(t, "the token", "far", "", "GET /v2/", "", "")
}
