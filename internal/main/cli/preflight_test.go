package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// answered is the JSON of ecrin preflight.
type answered struct {
	Ready  bool
	Kinds  []string
	Images []struct {
		Image, Digest, Region, Pull, Pinned string
		Platforms, PullableBy, In           []string
		SizeInBytes                         int64
		Exists, Ready                       bool
		Problems                            []struct {
			Code, Text string
			Add        []string
		}
	}
	Notes, Failed []string
}

func preflight(t *testing.T, want int, args ...string) answered {
	t.Helper()
	code, out, errs := run(t, append([]string{"preflight", "--json"}, args...)...)
	if code != want {
		t.Errorf("ecrin preflight %s: got exit code %d, want %d: %s\n%s", strings.Join(args, " "), code, want, out, errs)
	}
	var a answered
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("ecrin preflight %s: %v: %s %s", strings.Join(args, " "), err, out, errs)
	}
	return a
}

// problem returns the first problem of the first image.
func (a answered) problem(t *testing.T) (code, text string, add []string) {
	t.Helper()
	if len(a.Images) == 0 || len(a.Images[0].Problems) == 0 {
		t.Fatalf("got no problem: %+v", a)
	}
	p := a.Images[0].Problems[0]
	return p.Code, p.Text, p.Add
}

const (
	owner   = "222222222222"
	puller  = "111111111111"
	theApp  = owner + ".dkr.ecr.eu-west-2.amazonaws.com/vendorapp"
	theSeed = `environment_templates: [{name: ephemeral}]
services:
- name: vendorapp
  image: ` + theApp + `:latest
  has_repo: false
  static: false
- name: site
  static: true
`
)

// shipped is a server with the image of the seed, which another account pulls for a cluster.
type shipped struct {
	*apptest.Server
	owner    apptest.Account
	puller   apptest.Account
	image    ocitest.Image
	template string
}

func ship(t *testing.T) shipped {
	t.Helper()
	s := shipped{Server: apptest.Start(t, apptest.Options{}), image: ocitest.NewImage(7, 2000, 3000)}
	s.owner = s.NewAccount(t, owner)
	s.puller = s.NewAccount(t, puller)
	s.owner.In("eu-west-2").CreateRepository(t, "vendorapp").Push(t, "latest", s.image)
	s.template = filepath.Join(t.TempDir(), "application_template.yaml")
	writeFile(t, s.template, theSeed)
	s.cluster(t, "staging", "eu-west-2", puller)
	return s
}

func (s shipped) cluster(t *testing.T, label, region, principal string) {
	t.Helper()
	if code, _, errs := run(t, "cluster", "add", label, "--region", region, "--principal", principal, "--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
}

func (s shipped) policy(t *testing.T, text string) {
	t.Helper()
	repo := "vendorapp"
	var err error
	if text == "" {
		_, err = s.owner.In("eu-west-2").ECR().DeleteRepositoryPolicy(t.Context(), &ecr.DeleteRepositoryPolicyInput{RepositoryName: &repo})
	} else {
		_, err = s.owner.In("eu-west-2").ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &repo,
			PolicyText: &text})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// R4: without the policy it is refused, with the text of ECR and the policy to paste; exactly that policy makes it pass.
// R12: without the policy, the same is refused again.
func TestR4PolicyToPaste(t *testing.T) {
	t.Parallel()
	s := ship(t)
	ask := []string{s.template, "--cluster", "staging", "--data", s.Dir}
	code, text, add := preflight(t, 3, ask...).problem(t)
	const want = "User: arn:aws:iam::" + puller + ":root is not authorized to perform: ecr:BatchGetImage on resource: " +
		"arn:aws:ecr:eu-west-2:" + owner + ":repository/vendorapp"
	if code != "AccessDeniedException" || !strings.Contains(text, want) || len(add) != 1 {
		t.Fatalf("got %s, %s, %q, want %s", code, text, add, want)
	}
	_, pasted, _ := strings.Cut(add[0], "\n")
	_, printed, _ := run(t, "policy", "print", "--pull", "--principal", puller)
	var a, b any
	if json.Unmarshal([]byte(pasted), &a) != nil || json.Unmarshal([]byte(printed), &b) != nil || mustJSON(t, a) != mustJSON(t, b) {
		t.Errorf("the policy to paste: got %s, want that of ecrin policy print: %s", pasted, printed)
	}
	s.policy(t, pasted)
	got := preflight(t, 0, ask...)
	if i := got.Images[0]; !got.Ready || len(got.Images) != 1 || i.Digest != s.image.Digest || i.Pull != "yes" || i.Region != "eu-west-2" ||
		i.SizeInBytes < 5000 || len(i.PullableBy) != 1 || i.Pinned != theApp+":latest@"+s.image.Digest {
		t.Errorf("with the policy: got %+v", got)
	}
	s.policy(t, "")
	if code, _, _ := preflight(t, 3, ask...).problem(t); code != "AccessDeniedException" {
		t.Errorf("R12: without the policy again: got %s", code)
	}
	// A policy that is there stays in the one to paste.
	s.policy(t, `{"Version":"2012-10-17","Statement":[{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"ecr:ListImages"}]}`)
	if _, _, add := preflight(t, 3, ask...).problem(t); !strings.Contains(add[0], `"Mine"`) || !strings.Contains(add[0], "AllowReleasePull") {
		t.Errorf("the policy to paste beside another one: got %q", add)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// R5: an image in another region is refused with both regions, and with the name of the copy when there is one.
func TestR5AnotherRegion(t *testing.T) {
	t.Parallel()
	s := ship(t)
	s.policy(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:*"}]}`)
	s.cluster(t, "us", "us-east-1", puller)
	code, text, add := preflight(t, 3, s.template, "--cluster", "us", "--data", s.Dir).problem(t)
	if code != "RegionDiffers" || !strings.Contains(text, "eu-west-2") || !strings.Contains(text, "us-east-1") || !strings.Contains(text,
		"replicat") {
		t.Errorf("got %s, %s, %q", code, text, add)
	}
	s.owner.In("us-east-1").CreateRepository(t, "vendorapp").Push(t, "latest", s.image)
	const copied = owner + ".dkr.ecr.us-east-1.amazonaws.com/vendorapp:latest"
	if _, text, _ := preflight(t, 3, s.template, "--cluster", "us", "--data", s.Dir).problem(t); !strings.Contains(text,
		"its replicated copy there is "+copied) {
		t.Errorf("with a copy: got %s, want %s", text, copied)
	}
}

// The name of a copy has account and region where that of the image has none, because it is of the default registry.
func TestPreflightNameOfTheCopy(t *testing.T) {
	t.Parallel()
	s := shipped{Server: apptest.Start(t, apptest.Options{})}
	root, host := s.Root(t), strings.TrimPrefix(s.URL, "http://")
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(7, 2000))
	s.cluster(t, "west", "eu-west-2", root.ID)
	copied := host + "/" + root.ID + "/eu-west-2/team/app"
	dir := t.TempDir()
	for image, want := range map[string]string{
		host + "/team/app:1.0":                                              copied + ":1.0",
		host + "/team/app@" + ocitest.NewImage(7, 2000).Digest:              copied + "@" + ocitest.NewImage(7, 2000).Digest,
		host + "/" + root.ID + "/" + root.Region + "/team/app:1.0":          copied + ":1.0",
		root.ID + ".dkr.ecr." + root.Region + ".amazonaws.com/team/app:1.0": root.ID + ".dkr.ecr.eu-west-2.amazonaws.com/team/app:1.0",
	} {
		file := filepath.Join(dir, "pod.yaml")
		writeFile(t, file, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: "+image+"}]}\n")
		code, _, add := preflight(t, 3, file, "--cluster", "west", "--data", s.Dir).problem(t)
		if code != "RegionDiffers" || len(add) != 2 || add[1] != "then use the name "+want {
			t.Errorf("%s: got %s, %q, want the name %s", image, code, add, want)
		}
	}
	root.In("eu-west-2").CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(7, 2000))
	file := filepath.Join(dir, "pod.yaml")
	writeFile(t, file, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: \""+host+"/team/app:1.0\"}]}\n")
	if _, _, add := preflight(t, 3, file, "--cluster", "west", "--data", s.Dir).problem(t); len(add) != 1 ||
		add[0] != "use the name "+copied+":1.0" {
		t.Errorf("with the copy: got %q", add)
	}
	writeFile(t, file, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: \""+copied+":1.0\"}]}\n")
	preflight(t, 0, file, "--cluster", "west", "--data", s.Dir)
}

// iamOf returns a client of IAM.
func iamOf(url string, a apptest.Account) *iam.Client {
	return iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &url,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, "")})
}

// newRole makes a role without policies in an account, and returns its ARN.
func newRole(t *testing.T, url string, a apptest.Account, label string) string {
	t.Helper()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + a.ID + `"},"Action":"sts:AssumeRole"}]}`
	made, err := iamOf(url, a).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &label, AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	return *made.Role.Arn
}

// newUser makes a user without policies in an account, and returns its access key.
func newUser(t *testing.T, url string, a apptest.Account, label string) (keyID, secret string) {
	t.Helper()
	if _, err := iamOf(url, a).CreateUser(t.Context(), &iam.CreateUserInput{UserName: &label}); err != nil {
		t.Fatal(err)
	}
	key, err := iamOf(url, a).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &label})
	if err != nil {
		t.Fatal(err)
	}
	return *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
}

// R6: a principal whose identity policy does not allow the token is refused although the policy of the repository lists its action.
func TestR6Token(t *testing.T) {
	t.Parallel()
	s := ship(t)
	_, printed, _ := run(t, "policy", "print", "--pull", "--principal", puller)
	s.policy(t, printed)
	role := newRole(t, s.URL, s.puller, "nodes")
	code, text, add := preflight(t, 3, s.template, "--principal", role, "--data", s.Dir).problem(t)
	if code != "AccessDeniedException" || !strings.Contains(text, "its identity policy needs ecr:GetAuthorizationToken on the resource *") ||
		len(add) != 1 || !strings.Contains(add[0], `"Resource":"*"`) {
		t.Errorf("got %s, %s, %q", code, text, add)
	}
}

// What is told to be pasted is all that is missing for a pull, for the role of a session: pasting it makes the next check pass.
func TestR4IdentityPolicyToPaste(t *testing.T) {
	t.Parallel()
	s := ship(t)
	paste := func(a apptest.Account, label, add string) {
		t.Helper()
		_, text, _ := strings.Cut(add, "\n")
		if _, err := iamOf(s.URL, a).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &label, PolicyName: &label,
			PolicyDocument: &text}); err != nil {
			t.Fatalf("pasting %q: %v", add, err)
		}
	}
	for _, c := range []struct {
		a             apptest.Account
		label, policy string
		adds          int
	}{
		{s.owner, "none", "", 1},
		{s.owner, "token", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}]}`, 1},
		{s.puller, "elsewhere", "", 2},
	} {
		role := newRole(t, s.URL, c.a, c.label)
		if c.policy != "" {
			label := "first"
			if _, err := iamOf(s.URL, c.a).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &c.label, PolicyName: &label,
				PolicyDocument: &c.policy}); err != nil {
				t.Fatal(err)
			}
		}
		_, _, add := preflight(t, 3, s.template, "--principal", role, "--data", s.Dir).problem(t)
		if len(add) != c.adds || !strings.HasPrefix(add[len(add)-1], "an identity policy of "+role+":\n") {
			t.Errorf("%s: got %q", c.label, add)
			continue
		}
		session := "arn:aws:sts::" + c.a.ID + ":assumed-role/" + c.label + "/s"
		if _, _, add := preflight(t, 3, s.template, "--principal", session, "--data", s.Dir).problem(t); !strings.HasPrefix(add[len(add)-1],
			"an identity policy of the role "+c.label+" of the account "+c.a.ID+":\n") {
			t.Errorf("a session of %s: got %q", c.label, add)
		}
		if len(add) > 1 {
			_, text, _ := strings.Cut(add[0], "\n")
			s.policy(t, text)
		}
		paste(c.a, c.label, add[len(add)-1])
		preflight(t, 0, s.template, "--principal", role, "--data", s.Dir)
	}
	code, _, add := preflight(t, 3, s.template, "--principal", "arn:aws:iam::999999999999:role/x", "--data", s.Dir).problem(t)
	if code != "PermissionUnknown" || len(add) != 1 || !strings.Contains(add[0], "ecrin account list") {
		t.Errorf("an account that is not known: got %s, %q", code, add)
	}
}

// All kinds of files are told apart, and their images found.
func TestPreflightKinds(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	image := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "1.0", image)
	host := strings.TrimPrefix(s.URL, "http://")
	dir := t.TempDir()
	pod := func(ref string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: web, image: '" + ref + "'}\n"
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, at("pod.yaml"), pod(host+"/team/app:1.0"))
	writeFile(t, at("base/kustomization.yaml"), "resources: [pod.yaml]\n")
	writeFile(t, at("base/pod.yaml"), pod("app"))
	writeFile(t, at("over/kustomization.yaml"), "resources: [../base]\nimages: [{name: app, newName: "+host+"/team/app, newTag: '1.0'}]\n")
	writeFile(t, at("compose.yaml"), "services:\n  web: {image: '"+host+"/team/app:1.0'}\n  db: {build: .}\n")
	writeFile(t, at("many/a.yaml"), pod(host+"/team/app:1.0"))
	writeFile(t, at("many/b.json"),
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"spec":{"containers":[{"image":"`+host+`/team/app:1.0"}]}}`)
	writeFile(t, at("shop/.release/application_template.yaml"), "environment_templates: [{name: ephemeral}]\nservices:\n- {name: a, image: '"+
		host+"/team/app:1.0'}\n- {name: b, has_repo: true, image: o/b}\n")
	for file, want := range map[string]string{"pod.yaml": "manifests", "over": "kustomization manifests",
		"over/kustomization.yaml": "kustomization manifests",
		"compose.yaml":            "compose", "many": "manifests", "shop": "template"} {
		got := preflight(t, 0, at(file), "--data", s.Dir)
		if strings.Join(got.Kinds, " ") != want || len(got.Images) != 1 || got.Images[0].Digest != image.Digest {
			t.Errorf("%s: got %+v, want %s", file, got, want)
		}
	}
	writeFile(t, at("chart/Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 1.0.0\n")
	writeFile(t, at("chart/values.yaml"), "image: '"+host+"/team/app:1.0'\n")
	writeFile(t, at("chart/templates/pod.yaml"), strings.Replace(pod("{{ .Values.image }}"), "web}", "{{ .Release.Name }}}", 1))
	writeFile(t, at("values.yaml"), "image: '"+host+"/team/app:2.0'\n")
	got := preflight(t, 0, at("chart"), "--data", s.Dir)
	if strings.Join(got.Kinds, " ") != "chart manifests" || len(got.Images) != 1 || got.Images[0].Digest != image.Digest ||
		!strings.Contains(got.Images[0].In[0], "Pod shop") {
		t.Errorf("a chart: got %+v", got)
	}
	if code, text, _ := preflight(t, 3, at("chart"), "--values", at("values.yaml"), "--data",
		s.Dir).problem(t); code != "ImageNotFoundException" ||
		!strings.Contains(text, "the nearest tags are 1.0") {
		t.Errorf("a chart with other values: got %s, %s", code, text)
	}
	if out, err := exec.Command("tar", "-C", dir, "-czf", at("shop-1.0.0.tgz"), "chart").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	if got := preflight(t, 0, at("shop-1.0.0.tgz"), "--data", s.Dir, "--release-name", "blue"); len(got.Images) != 1 ||
		!strings.Contains(got.Images[0].In[0], "Pod blue") {
		t.Errorf("an archive of a chart: got %+v", got)
	}
	writeFile(t, at("needy/Chart.yaml"),
		"apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies: [{name: db, version: '1.*', repository: x}]\n")
	writeFile(t, at("loop/Chart.yaml"), "apiVersion: v2\nname: x\nversion: 1.0.0\n")
	writeFile(t, at("loop/templates/a.yaml"), "{{ fail \"no tag\" }}")
	writeFile(t, at("bad.tgz"), "no archive")
	for file, want := range map[string]string{"needy": "needs db, which it does not have in charts/: run `helm dependency build",
		"loop":    "no tag",
		"bad.tgz": "not compressed by gzip", "remote": "not on this machine", "none.yaml": "no such file"} {
		writeFile(t, at("remote/kustomization.yaml"), "resources: ['https://example.com/org/repo?ref=v1']\n")
		if code, out, errs := run(t, "preflight", at(file), "--data", s.Dir); code != 1 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: got %d, %s, %s", file, code, out, errs)
		}
	}
	writeFile(t, at("broken.yaml"), pod(host+"/team/app:1.0")+"---\na: [\n---\n"+pod(host+"/team/app:1.1"))
	got = preflight(t, 1, at("broken.yaml"), "--data", s.Dir)
	if len(got.Failed) != 1 || len(got.Images) != 2 || got.Ready {
		t.Errorf("a broken document: got %+v", got)
	}
	if i := got.Images[1]; len(i.Problems) != 1 || i.Problems[0].Code != "ImageNotFoundException" ||
		!strings.Contains(i.Problems[0].Text, "the nearest tags are 1.0") {
		t.Errorf("a missing tag: got %+v", i)
	}
	writeFile(t, at("gone.yaml"), pod(host+"/team/none:1.0"))
	if code, text, _ := preflight(t, 3, at("gone.yaml"), "--data", s.Dir).problem(t); code != "RepositoryNotFoundException" ||
		!strings.Contains(text, "team/none") || !strings.Contains(text, s.Registry().Account.String()) {
		t.Errorf("a missing repository: got %s, %s", code, text)
	}
	if code, text, _ := preflight(t, 3, at("pod.yaml"), "--platform", "linux/s390x", "--data", s.Dir).problem(t); code != "PlatformNotFound" {
		t.Errorf("a missing platform: got %s, %s", code, text)
	}
	code, out, errs := run(t, "preflight", at("pod.yaml"), at("gone.yaml"), "--data", s.Dir)
	if code != 3 || !strings.Contains(out, "IMAGE ") || !strings.Contains(out, "what to do: aws ecr create-repository") {
		t.Errorf("the table: got %d, %s, %s", code, out, errs)
	}
}

// An image of a registry that is not the server's is asked for with the credentials of docker.
func TestPreflightAnotherRegistry(t *testing.T) {
	t.Parallel()
	s, other := apptest.Start(t, apptest.Options{}), apptest.Start(t, apptest.Options{})
	root := other.Root(t)
	image := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "1.0", image)
	host := strings.TrimPrefix(other.URL, "http://")
	dir := t.TempDir()
	compose := filepath.Join(dir, "compose.yaml")
	writeFile(t, compose, "services: {web: {image: '"+host+"/team/app:1.0'}}\n")
	ask := []string{compose, "--data", s.Dir, "--docker-config", dir}
	if code, text, add := preflight(t, 3, ask...).problem(t); code != "AccessDeniedException" || len(add) != 1 ||
		!strings.Contains(add[0], "docker login") {
		t.Errorf("without a login: got %s, %s, %q", code, text, add)
	}
	login := `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("AWS:"+root.Password(t))) + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := preflight(t, 0, ask...); got.Images[0].Digest != image.Digest || got.Images[0].SizeInBytes == 0 {
		t.Errorf("with a login: got %+v", got)
	}
}
