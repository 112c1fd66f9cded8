package kube_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

// run runs a command of ecrin as the operator of the registry, and returns what it writes.
func (r registry) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(r.env, "ECRIN_DATA="+r.Dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must runs a command that must succeed.
func (r registry) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.run(t, args...)
	if err != nil {
		t.Fatalf("ecrin %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// account makes a namespace with a service account.
func account(c *kubetest.Cluster, namespace, label string) {
	c.Apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}},
{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":%q,"namespace":%[1]q}}]}`, namespace, label))
}

// token gets a token of a service account.
func token(c *kubetest.Cluster, namespace, label, audience string) string {
	return strings.TrimSpace(c.Kubectl("create", "token", "-n", namespace, label, "--audience", audience))
}

// assume assumes a role of the default account with a token, and returns the code of the error, "" for none.
func (r registry) assume(t *testing.T, role, token string) string {
	t.Helper()
	api := sts.New(sts.Options{Region: r.Root(t).Region, BaseEndpoint: aws.String(r.URL), HTTPClient: r.HTTP, RetryMaxAttempts: 1,
		Credentials: aws.AnonymousCredentials{}})
	arn := "arn:aws:iam::" + r.Running.Account + ":role/" + role
	_, err := api.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: &arn,
		RoleSessionName: aws.String("test"), WebIdentityToken: &token})
	if failure, ok := errors.AsType[smithy.APIError](err); ok {
		return failure.ErrorCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return ""
}

func (r registry) iam(t *testing.T) *iam.Client {
	t.Helper()
	root := r.Root(t)
	return iam.New(iam.Options{Region: root.Region, BaseEndpoint: aws.String(r.URL), HTTPClient: r.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
}

const audience = "sts.amazonaws.com"

// A cluster whose issuer leads nowhere is connected by one command, which can be repeated. The role is assumed with tokens of the chosen
// service accounts for the audience, and with no others.
func TestClusterConnect(t *testing.T) {
	t.Parallel()
	c, r := kubetest.Start(t, kubetest.Options{Issuer: "https://kubernetes.default.svc.cluster.local"}), startRegistry(t, nil)
	account(c, "shop", "web")
	account(c, "shop", "other")
	account(c, "shop", "default")
	account(c, "billing", "any")
	account(c, "stranger", "any")
	args := []string{"cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--service-account", "shop/web", "--namespace", "billing",
		"--annotate"}
	out := r.must(t, args...)
	for _, want := range []string{"ok    issuer https://kubernetes.default.svc.cluster.local", "ok    keys of the issuer", "ok    role",
		"ok    proof by shop/web: a token for", "ok    annotation of shop/web", "c1-pull pulls for it"} {
		if !strings.Contains(out, want) {
			t.Errorf("the first time: no %q in\n%s", want, out)
		}
	}
	if out := r.must(t, args...); !strings.Contains(out, "was there") {
		t.Errorf("the second time: got\n%s", out)
	}
	var listed struct {
		Steps   []struct{ Passed bool }
		RoleARN string `json:"roleArn"`
	}
	if err := json.Unmarshal([]byte(r.must(t, append(args, "--json")...)), &listed); err != nil || len(listed.Steps) != 7 ||
		!strings.HasSuffix(listed.RoleARN, ":role/c1-pull") {
		t.Errorf("--json: got %+v and %v, want seven steps and the role", listed, err)
	}
	var shown struct{ State, Issuer, Principal string }
	if err := json.Unmarshal([]byte(r.must(t, "cluster", "show", "c1", "--json")), &shown); err != nil || shown.State != "CONNECTED" ||
		shown.Issuer != "https://kubernetes.default.svc.cluster.local" || !strings.HasSuffix(shown.Principal, ":role/c1-pull") {
		t.Errorf("the cluster: got %+v and %v", shown, err)
	}
	if o, err := get(c, "shop", "sa/web"); err != nil || o.Metadata.Annotations["eks.amazonaws.com/ecr-role-arn"] != shown.Principal {
		t.Errorf("the annotations: got %q and %v, want the role %q", o.Metadata.Annotations, err, shown.Principal)
	}
	for _, one := range []struct{ namespace, account, audience, want string }{
		{"shop", "web", audience, ""},
		{"billing", "any", audience, ""},
		{"shop", "other", audience, "AccessDenied"},
		{"stranger", "any", audience, "AccessDenied"},
		{"shop", "web", "another", "InvalidIdentityToken"},
	} {
		if got := r.assume(t, "c1-pull", token(c, one.namespace, one.account, one.audience)); got != one.want {
			t.Errorf("%s/%s for %s: got the error %q, want %q", one.namespace, one.account, one.audience, got, one.want)
		}
	}
	// The role pulls and does nothing else.
	attached, err := r.iam(t).ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("c1-pull")})
	if err != nil || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyName != "AmazonEC2ContainerRegistryPullOnly" {
		t.Errorf("the policies of the role: got %+v and %v", attached, err)
	}
	// Rights of an earlier connection that this one does not name are taken away.
	inline := func() []string {
		out, err := r.iam(t).ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: aws.String("c1-pull")})
		if err != nil {
			t.Fatal(err)
		}
		return out.PolicyNames
	}
	r.must(t, append(args, "--repository", "shop/web")...)
	attached, err = r.iam(t).ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("c1-pull")})
	if err != nil || len(attached.AttachedPolicies) != 0 || !slices.Equal(inline(), []string{"pull"}) {
		t.Errorf("with --repository: got the policies %+v, %v and %v, want pull alone", attached.AttachedPolicies, inline(), err)
	}
	r.must(t, args...)
	if got := inline(); len(got) != 0 {
		t.Errorf("without --repository again: got the policies %v, want none of the role's own", got)
	}
	// Another cluster with the same issuer would be the same for the account.
	if out, err := r.run(t, "cluster", "connect", "c2", "--kubeconfig", c.Kubeconfig, "--namespace", "shop"); err == nil ||
		!strings.Contains(out, "is that of the cluster c1 already") {
		t.Errorf("another cluster with the issuer: got %v\n%s", err, out)
	}
	// A role and a provider that were made for something else are left alone.
	if out, err := r.run(t, "cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--namespace", "shop", "--role", "taken"); err != nil {
		t.Errorf("a second role: got %v\n%s", err, out)
	}
	untag := []string{"ecrin:cluster"}
	if _, err := r.iam(t).UntagRole(t.Context(), &iam.UntagRoleInput{RoleName: aws.String("taken"), TagKeys: untag}); err != nil {
		t.Fatal(err)
	}
	if out, err := r.run(t, "cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--namespace", "shop", "--role", "taken"); err == nil ||
		!strings.Contains(out, "was not made for this cluster") {
		t.Errorf("a role of someone else: got %v\n%s", err, out)
	}
	provider := "arn:aws:iam::" + r.Running.Account + ":oidc-provider/kubernetes.default.svc.cluster.local"
	if _, err := r.iam(t).UntagOpenIDConnectProvider(t.Context(), &iam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: &provider,
		TagKeys: untag}); err != nil {
		t.Fatal(err)
	}
	if out, err := r.run(t, args...); err == nil || !strings.Contains(out, "was not made for this cluster") ||
		!strings.Contains(out, "tag-open-id") {
		t.Errorf("a provider of someone else: got %v\n%s", err, out)
	}
}

// What fails is a step with its cure: an API server that is away, that refuses, that has no keys, or that is none; a service account that
// does not exist.
func TestClusterConnectFaults(t *testing.T) {
	t.Parallel()
	c, r := kubetest.Start(t, kubetest.Options{}), startRegistry(t, nil)
	account(c, "shop", "web")
	try := func(kubeconfig, subject string, wants ...string) {
		t.Helper()
		out, err := r.run(t, "cluster", "connect", "c1", "--kubeconfig", kubeconfig, "--service-account", subject)
		if err == nil {
			t.Errorf("%s: got no error\n%s", kubeconfig, out)
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	}
	try(c.KubeconfigOf("stranger", "no-such-token"), "shop/web", "FAIL  issuer", "get a new one")
	try(c.Kubeconfig, "shop/missing", "FAIL  proof", "the service account shop/missing",
		"check --context, and that the namespace and the service account exist")
	reader := c.KubeconfigOf("reader", strings.TrimSpace(c.Kubectl("create", "token", "-n", "shop", "web")))
	try(reader, "shop/web", "ok    issuer", "FAIL  proof", "create serviceaccounts/token in the namespace shop")
	away := c.Away(t)
	try(c.Kubeconfig, "shop/web", "FAIL  issuer", "is reached from here")
	away()
	for keys, want := range map[string]string{`{"keys":[]}`: "has no keys", `nothing`: "does not answer with a JWK set"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "openid-configuration") {
				fmt.Fprint(w, `{"issuer":"https://issuer.test"}`)
				return
			}
			fmt.Fprint(w, keys)
		}))
		at := c.KubeconfigAt("fake", server.URL)
		try(at, "shop/web", "FAIL  issuer", want)
		// Keys that vanish do not take the place of those that are there.
		r.must(t, "cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--service-account", "shop/web")
		if out, err := r.run(t, "cluster", "connect", "c1", "--kubeconfig", at, "--refresh"); err == nil || !strings.Contains(out, want) {
			t.Errorf("--refresh: got %v\n%s", err, out)
		}
		if got := r.assume(t, "c1-pull", token(c, "shop", "web", audience)); got != "" {
			t.Errorf("after keys have vanished: got the error %s", got)
		}
		server.Close()
	}
	if out, err := r.run(t, "cluster", "connect", "c9", "--kubeconfig", c.Kubeconfig, "--refresh"); err == nil ||
		!strings.Contains(out, "there is no cluster c9") {
		t.Errorf("--refresh of a cluster that is not there: got %v\n%s", err, out)
	}
	// A role without the trust statement.
	if _, err := r.iam(t).UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("c1-pull"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecr.amazonaws.com"},` +
			`"Action":"sts:AssumeRole"}]}`)}); err != nil {
		t.Fatal(err)
	}
	if got := r.assume(t, "c1-pull", token(c, "shop", "web", audience)); got != "AccessDenied" {
		t.Errorf("without a trust statement: got the error %q, want AccessDenied", got)
	}
	r.must(t, "cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--service-account", "shop/web") // mends it
}

// K17: the issuer gets another key, and pods go on pulling. While the API server has both keys, tokens of both are accepted; after the old
// one is removed, its tokens are refused. A follower uploads the keys by itself, and an API server that is away changes nothing.
func TestK17IssuerKeyRotates(t *testing.T) {
	t.Parallel()
	c, r, digest, _ := startPlugin(t, []string{"team/app"}, func(c *kubetest.Cluster, r registry, flags []string) {
		account(c, "shop", "web")
		r.must(t, append([]string{"cluster", "connect", "c1", "--service-account", "shop/web", "--cache-type", "Token"}, flags...)...)
	})
	waitForAccount(t, c, "shop")
	pulls := func(pod string) {
		t.Helper()
		c.Apply(podAs(pod, "shop", "web", r.host+"/team/app:1.0")) // which asks for a token of its own
		if got := runs(t, c, "shop", pod, 90*time.Second); got != digest {
			t.Errorf("the pod %s was started from %s, want %s", pod, got, digest)
		}
	}
	pulls("before")
	follow := exec.CommandContext(t.Context(), binary, "cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--refresh",
		"--every", "200ms")
	follow.Env = append(r.env, "ECRIN_DATA="+r.Dir)
	var said log
	follow.Stdout, follow.Stderr = &said, &said
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = follow.Process.Kill()
		_ = follow.Wait() // it is killed
	}()
	old := token(c, "shop", "web", audience)
	accepted := func(label, text, want string) {
		t.Helper()
		c.Eventually(t, 20*time.Second, label, func() error {
			if got := r.assume(t, "c1-pull", text); got != want {
				return fmt.Errorf("got the error %q, want %q; the follower says\n%s", got, want, &said)
			}
			return nil
		})
	}
	accepted("before", old, "")
	c.RotateKeys(t, "both") // signs with the new key
	fresh := token(c, "shop", "web", audience)
	if fresh == old {
		t.Fatal("the API server has not another key")
	}
	accepted("a token of the new key", fresh, "")
	accepted("a token of the old key, which is still published", old, "")
	pulls("with-both-keys")
	c.RotateKeys(t, "new")
	accepted("a token of the old key after its removal", old, "InvalidIdentityToken")
	accepted("a token of the new key after that", fresh, "")
	pulls("with-the-new-key")
	back := c.Away(t)
	c.Eventually(t, time.Minute, "the follower while the API server is away", func() error {
		if !strings.Contains(said.String(), "stay as they are") {
			return fmt.Errorf("it does not say so:\n%s", &said)
		}
		return nil
	})
	accepted("a token while the API server is away", fresh, "")
	back()
}
