package trail_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// canaries holds secrets, and answers that must not contain them.
type canaries struct {
	mu      sync.Mutex
	secrets map[string]string // secret → description
	answers strings.Builder   // answers and errors that clients received
}

func (c *canaries) add(what, secret string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets[secret] = what
}

// key adds the secrets of an actor's credentials.
func (c *canaries) key(what string, a actor) actor {
	c.add("the secret access key of "+what, a.key.SecretAccessKey)
	if a.key.SessionToken != "" {
		c.add("the session token of "+what, a.key.SessionToken)
	}
	return a
}

// signature adds the signature of a request.
func (c *canaries) signature(r *http.Request) {
	if _, signature, ok := strings.Cut(r.Header.Get("Authorization"), "Signature="); ok {
		c.add("a signature", signature)
	}
}

// fails records the error of a call that must be refused.
func (c *canaries) fails(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s was not refused", what)
		return
	}
	fmt.Fprintln(&c.answers, err)
}

// docker requests a token for an actor, adds it to the secrets and returns a client with it.
func (c *canaries) docker(t *testing.T, what string, a actor) ocitest.Repo {
	t.Helper()
	client := a.docker(t, "")
	c.add("the docker password of "+what, client.Password)
	c.add("the basic credentials of "+what, base64.StdEncoding.EncodeToString([]byte("AWS:"+client.Password)))
	return client.Repo("team/app")
}

// answer records an answer of the OCI distribution API. None of its answers may contain a secret.
func (c *canaries) answer(a *ocitest.Answer) {
	fmt.Fprintln(&c.answers, a.Status, a.Header, string(a.Body))
}

// No secret of a user, a session, a docker login or an identity provider is in the audit trail, in the answers of
// ListAuditEvents, in the log, or in errors.
func TestAttack34SecretsInTheTrail(t *testing.T) {
	t.Parallel()
	issuer := oidctest.Start(t, oidctest.Options{})
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.EgressAllow = []string{"127.0.0.1/32"} }})
	c := &canaries{secrets: map[string]string{}}
	owner := root(s.Root(t), s)
	owner.seen = c.signature
	c.key("root", owner)
	_, err := owner.ecr().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/app")})
	must(t, 0, err)
	alice := c.key("a user", owner.user(t, "alice", `["ecr:*","sts:*"]`))
	weak := c.key("a user without permissions", owner.user(t, "weak", `"ecr:GetAuthorizationToken"`))
	ciARN := owner.role(t, "ci", `{"AWS":"`+home+`"}`, `sts:*`, `"ecr:*"`)
	webARN, _ := owner.webIdentity(t, issuer)

	assumed, err := alice.sts().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &ciARN, RoleSessionName: aws.String("build")})
	ci := c.key("a role session", alice.with(must(t, assumed, err).Credentials))
	federated, err := alice.sts().GetFederationToken(t.Context(),
		&sts.GetFederationTokenInput{Name: aws.String("guest"), Policy: aws.String(allow(`"ecr:*"`))})
	guest := c.key("a federated user", alice.with(must(t, federated, err).Credentials))
	token := issuer.Mint(issuer.Kubernetes("apps", "web"))
	c.add("a web identity token", token)
	c.add("its signature", token[strings.LastIndexByte(token, '.')+1:])
	web := sts.AssumeRoleWithWebIdentityInput{RoleArn: &webARN, RoleSessionName: aws.String("pod"), WebIdentityToken: &token}
	byToken, err := owner.sts().AssumeRoleWithWebIdentity(t.Context(), &web)
	pod := c.key("a session of a web identity", owner.with(must(t, byToken, err).Credentials))

	// Requests that succeed, requests without the permission, and requests whose credentials are wrong in one part.
	im := ocitest.NewImage(5, 100)
	for what, a := range map[string]actor{"root": owner, "a user": alice, "a role session": ci, "a federated user": guest, "a pod": pod} {
		repo := c.docker(t, what, a)
		repo.Push(t, "1.0", im)
		c.answer(repo.Manifest(t, "1.0"))
		link := a.link(t, "team/app", ocitest.SHA256(im.Layers[0]))
		c.add("the MAC of a link", strings.SplitN(link, "mac=", 2)[1])
		c.answer(repo.Do(t, http.MethodGet, link, nil))
		c.answer(repo.Do(t, http.MethodGet, repo.Path("/manifests/none?token=")+repo.Password, nil))
		_, err := a.ecr().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"none"}})
		c.fails(t, "an unknown repository, by "+what, err)
		changed := a
		changed.key.SecretAccessKey = "wrong" + a.key.SecretAccessKey[5:]
		_, err = changed.ecr().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
		c.fails(t, "a wrong signature of "+what, err)
		if a.key.SessionToken != "" {
			changed = a
			changed.key.SessionToken = a.key.SessionToken[:len(a.key.SessionToken)-2] + "AA"
			_, err = changed.sts().GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			c.fails(t, "a changed session token of "+what, err)
		}
	}
	poor := c.docker(t, "a user without permissions", weak)
	c.answer(poor.Manifest(t, "1.0"))
	c.answer(poor.PutManifest(t, "2.0", ocitest.ImageType, im.Manifest))
	_, err = weak.iam().CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	c.fails(t, "a key for another user", err)
	_, err = weak.sts().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(webARN), RoleSessionName: aws.String("x")})
	c.fails(t, "a role that trusts others", err)
	other := issuer.Mint(issuer.Kubernetes("apps", "other"))
	forged := other[:len(other)-8] + "AAAAAAAA"
	web.WebIdentityToken = &forged
	c.add("a forged web identity token", forged)
	_, err = owner.sts().AssumeRoleWithWebIdentity(t.Context(), &web)
	c.fails(t, "a forged token", err)

	var page ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{MaxResults: aws.Int32(1000)}, &page)
	s.Stop(t)
	places := map[string]string{"the log": s.Log.String(), "an answer": c.answers.String(), "ListAuditEvents": strings.Join(page.Events, "\n")}
	for _, folder := range []string{"audit", "audit/strangers"} {
		files, err := filepath.Glob(filepath.Join(s.Dir, folder, "*.ndjson"))
		if len(files) == 0 || err != nil {
			t.Fatalf("the trail has no files in %s: %v", folder, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			places["the files"] += string(must(t, text, err))
		}
	}
	for where, text := range places {
		if want := "AssumeRoleWithWebIdentity"; where != "an answer" && !strings.Contains(text, want) {
			t.Errorf("%s does not contain %s, so the absence of secrets proves nothing", where, want)
		}
		for secret, what := range c.secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s is in %s: …%.300s", what, where, text[max(0, i-200):])
			}
		}
	}
	if len(c.secrets) < 30 {
		t.Errorf("searched for %d secrets, want at least 30", len(c.secrets))
	}
}
