package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const voting = `app: voting
repo_name: org/voting
context: staging
environment_templates: [{name: ephemeral}]
services:
- {name: vote, image: org/voting/vote, has_repo: true, ports: [{type: node_port, target_port: 80, port: 5000}]}
- {name: frontendTests, image: org/voting/frontendTests, has_repo: true}
- {name: site, static: true, image: ignored:1}
`

// application returns a folder with a template.
func application(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, ".release", "application_template.yaml"), text)
	return dir
}

type created struct {
	Repositories []struct {
		Image, RepositoryName, RepositoryURI string
		Created, PolicySet                   bool
	}
}

func create(t *testing.T, want int, args ...string) (created, string) {
	t.Helper()
	code, out, errs := run(t, append([]string{"application", "create", "--json"}, args...)...)
	if code != want {
		t.Fatalf("create %q: got %d, %s, %s", args, code, out, errs)
	}
	var got created
	if err := json.Unmarshal([]byte(out), &got); err != nil && want == 0 {
		t.Fatal(err)
	}
	return got, errs
}

// R1: one private repository for what is built, none for others; its policy has the two statements; repeating makes nothing.
// R9: names are in lower case.
func TestR1Repositories(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	s.NewAccount(t, puller)
	dir := application(t, voting+"- {name: redis, image: 'redis:7'}\n")
	if code, _, errs := run(t, "cluster", "add", "staging", "--region", "eu-west-2", "--principal", puller, "--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	got, _ := create(t, 0, dir, "--data", s.Dir)
	if r := got.Repositories; len(r) != 2 || r[0].RepositoryName != "org/voting/vote" || r[1].RepositoryName != "org/voting/frontendtests" ||
		!r[0].Created || !r[0].PolicySet {
		t.Fatalf("got %+v", got)
	}
	repositories, err := root.In("eu-west-2").ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(repositories.Repositories) != 2 {
		t.Errorf("got %+v and %v, want two repositories", repositories, err)
	}
	repo := "org/voting/vote"
	policy, err := root.In("eu-west-2").ECR().GetRepositoryPolicy(t.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: &repo})
	if err != nil || strings.Count(*policy.PolicyText, `"Sid"`) != 2 || !strings.Contains(*policy.PolicyText, puller) ||
		!strings.Contains(*policy.PolicyText, "ecr:PutImage") || !strings.Contains(*policy.PolicyText, "AllowReleasePull") {
		t.Errorf("the policy: got %v and %v", policy, err)
	}
	again, _ := create(t, 0, dir, "--data", s.Dir)
	for _, r := range again.Repositories {
		if r.Created || r.PolicySet {
			t.Errorf("repeated: got %+v", r)
		}
	}
	other := application(t, strings.Replace(voting, "app: voting", "app: other", 1))
	if _, errs := create(t, 1, other, "--data", s.Dir); !strings.Contains(errs, "belongs to the application voting") {
		t.Errorf("the repository of another application: got %s", errs)
	}
	mine := "org/voting/worker"
	if _, err := root.In("eu-west-2").ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &mine}); err != nil {
		t.Fatal(err)
	}
	worker := application(t, voting+"- {name: worker, has_repo: true, build: {context: worker}}\n")
	if _, errs := create(t, 1, worker, "--data", s.Dir); !strings.Contains(errs, "has no tag release:application") {
		t.Errorf("a repository without the tag: got %s", errs)
	}
}

// Several at the same time make each repository once, and the policy has each statement once.
func TestRepositoriesAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	dir := application(t, voting)
	if code, _, errs := run(t, "cluster", "add", "staging", "--region", "eu-west-2", "--principal", s.Registry().Account.String(),
		"--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 6 {
		wait.Go(func() {
			code, out, errs := run(t, "application", "create", dir, "--data", s.Dir, "--json")
			var got created
			if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
				t.Errorf("got %d, %s, %s", code, out, errs)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, r := range got.Repositories {
				if r.Created {
					made++
				}
			}
		})
	}
	wait.Wait()
	if made != 2 {
		t.Errorf("made %d repositories, want 2", made)
	}
}

// R2: clusters are shown with account, ARN and region.
func TestR2Clusters(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	const arn = "arn:aws:iam::" + puller + ":role/nodes"
	if code, _, errs := run(t, "cluster", "add", "c1", "--region", "eu-west-2", "--principal", arn, "--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	if _, out, _ := run(t, "cluster", "list", "--data", s.Dir); !strings.Contains(out, " "+puller+" ") || !strings.Contains(out, arn) ||
		!strings.Contains(out, "eu-west-2") {
		t.Errorf("got %s", out)
	}
}

func deployed(t *testing.T, want int, args ...string) (out, errs string) {
	t.Helper()
	code, out, errs := run(t, append([]string{"application", "deploy"}, args...)...)
	if code != want {
		t.Fatalf("deploy %q: got %d, want %d: %s\n%s", args, code, want, out, errs)
	}
	return out, errs
}

// images returns the images of the Deployments in the manifests of an environment.
func imagesIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "manifests.yaml"))
	if err != nil {
		return nil
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	for {
		var o struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct{ Containers []struct{ Image string } }
				}
			}
		}
		if d.Decode(&o) != nil {
			return all
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			all = append(all, c.Image)
		}
	}
}

// seeded returns a server with the image of the seed, the folder of an application that runs it, and the arguments of its deployment. The
// policy of the repository is set if permitted.
func seeded(t *testing.T, permitted bool, template string) (s shipped, out string, ask []string) {
	t.Helper()
	s = ship(t)
	if permitted {
		_, printed, _ := run(t, "policy", "print", "--pull", "--principal", puller)
		s.policy(t, printed)
	}
	dir := application(t, template)
	out = filepath.Join(dir, "preview")
	return s, out, []string{"preview", dir, "--data", s.Dir, "--output", out}
}

// R3: the seed's template is deployed with the digest that latest points at. The digest that a container is started from is in
// test/deliver/kube. R4: without the policy it is refused with the text of ECR and the policy, and nothing is written.
func TestR3R4Deploy(t *testing.T) {
	t.Parallel()
	s, out, ask := seeded(t, false, "app: seed\ncontext: staging\n"+theSeed)
	text, errs := deployed(t, 3, ask...)
	if !strings.Contains(text,
		"User: arn:aws:iam::"+puller+":root is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:eu-west-2:") ||
		!strings.Contains(text, "AllowReleasePull") || !strings.Contains(errs, "nothing was changed") || imagesIn(t, out) != nil {
		t.Errorf("R4: got %s\n%s", text, errs)
	}
	_, printed, _ := run(t, "policy", "print", "--pull", "--principal", puller)
	s.policy(t, printed)
	deployed(t, 0, ask...)
	want := []string{theApp + ":latest@" + s.image.Digest}
	if got := imagesIn(t, out); !slices.Equal(got, want) {
		t.Errorf("R3: got %q, want %q", got, want)
	}
}

// R10: no image is asked for or deployed for a static service, also if it names one.
func TestR10StaticService(t *testing.T) {
	t.Parallel()
	s, out, ask := seeded(t, true, "app: seed\ncontext: staging\n"+theSeed+"  image: "+owner+".dkr.ecr.eu-west-2.amazonaws.com/none:1\n")
	text, errs := deployed(t, 0, ask...)
	if strings.Contains(text, "/none:1") || !strings.Contains(errs, "its image is not used") {
		t.Errorf("got %s, %s", text, errs)
	}
	if got := imagesIn(t, out); !slices.Equal(got, []string{theApp + ":latest@" + s.image.Digest}) {
		t.Errorf("got %q", got)
	}
	_, trail, _ := run(t, "audit", "--data", s.Dir, "--account", owner, "--limit", "0", "--json")
	if strings.Contains(trail, "repository/none") || !strings.Contains(trail, "repository/vendorapp") {
		t.Errorf("the trail has a request for the image of the static service: %s", trail)
	}
}

// R11: an edited template changes no environment until it is recreated.
func TestR11EditedTemplate(t *testing.T) {
	t.Parallel()
	s, out, ask := seeded(t, true, "app: seed\ncontext: staging\n"+theSeed)
	deployed(t, 0, ask...)
	want := []string{theApp + ":latest@" + s.image.Digest}
	file := filepath.Join(ask[1], ".release", "application_template.yaml")
	writeFile(t, file, "app: seed\ncontext: staging\n"+strings.Replace(theSeed, ":latest", ":next", 1))
	s.owner.In("eu-west-2").Docker(t).Repo("vendorapp").Push(t, "next", ocitest.NewImage(8, 500))
	deployed(t, 0, ask...)
	if got := imagesIn(t, out); !slices.Equal(got, want) {
		t.Errorf("after the template was edited: got %q, want %q", got, want)
	}
	deployed(t, 0, append(ask, "--recreate")...)
	if got := imagesIn(t, out); len(got) != 1 || !strings.Contains(got[0], ":next@") {
		t.Errorf("recreated: got %q", got)
	}
}

// R12: the permission is asked for at every deployment: without the policy, the same tag is refused again.
func TestR12PolicyRemoved(t *testing.T) {
	t.Parallel()
	s, out, ask := seeded(t, true, "app: seed\ncontext: staging\n"+theSeed)
	deployed(t, 0, ask...)
	s.policy(t, "")
	before := imagesIn(t, out)
	if text, _ := deployed(t, 3, ask...); !strings.Contains(text, "ecr:BatchGetImage") {
		t.Errorf("got %s", text)
	}
	if got := imagesIn(t, out); len(got) != 1 || !slices.Equal(got, before) {
		t.Errorf("a refused deployment changed the manifests: got %q", got)
	}
}

// R5: a cluster in another region is refused; after a replication and with the name of the copy, it is deployed.
func TestR5Replicate(t *testing.T) {
	t.Parallel()
	s := ship(t)
	_, printed, _ := run(t, "policy", "print", "--pull", "--principal", puller)
	s.policy(t, printed)
	s.cluster(t, "us", "us-east-1", puller)
	dir := application(t, "app: seed\n"+theSeed)
	out := filepath.Join(dir, "preview")
	ask := []string{"preview", dir, "--cluster", "us", "--data", s.Dir, "--output", out}
	text, _ := deployed(t, 3, ask...)
	_, command, _ := strings.Cut(text, "what to do: ecrin ")
	command, _, _ = strings.Cut(command, ";")
	if !strings.Contains(text, "eu-west-2") || !strings.Contains(text, "us-east-1") || !strings.HasPrefix(command, "application replicate ") {
		t.Fatalf("got %s", text)
	}
	if code, _, errs := run(t, append(strings.Fields(command), "--data", s.Dir)...); code != 0 {
		t.Fatalf("ecrin %s: %s", command, errs)
	}
	repo := "vendorapp"
	us := s.owner.In("us-east-1").ECR()
	if _, err := us.SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &repo, PolicyText: &printed}); err != nil {
		t.Fatal(err)
	}
	if text, _ := deployed(t, 3, ask...); !strings.Contains(text, "its replicated copy there is "+owner+".dkr.ecr.us-east-1.") {
		t.Errorf("with a copy: got %s", text)
	}
	writeFile(t, filepath.Join(dir, ".release", "application_template.yaml"), "app: seed\n"+strings.Replace(theSeed, "eu-west-2",
		"us-east-1", 1))
	deployed(t, 0, ask...)
	if got := imagesIn(t, out); len(got) != 1 || !strings.HasSuffix(got[0], "@"+s.image.Digest) {
		t.Errorf("got %q", got)
	}
	rules, err := s.owner.In("eu-west-2").ECR().DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
	if err != nil || len(rules.ReplicationConfiguration.Rules) != 1 {
		t.Errorf("the rules: got %+v and %v", rules, err)
	}
}

// R9: a built service whose name has capitals is deployed from the repository in lower case.
func TestR9DeployedReference(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t).In("eu-west-2")
	if code, _, errs := run(t, "cluster", "add", "staging", "--region", "eu-west-2", "--principal", root.ID, "--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	dir := application(t, voting)
	ask := []string{"preview", dir, "--data", s.Dir, "--commit", "0a1b2c3"}
	if text, _ := deployed(t, 3, ask...); !strings.Contains(text, "RepositoryNotFoundException") || !strings.Contains(text,
		"org/voting/vote") {
		t.Errorf("without repositories: got %s", text)
	}
	create(t, 0, dir, "--data", s.Dir)
	image := ocitest.NewImage(1, 100)
	for _, repo := range []string{"org/voting/vote", "org/voting/frontendtests"} {
		root.Docker(t).Repo(repo).Push(t, "0a1b2c3", image)
	}
	deployed(t, 0, ask...)
	at := root.ID + ".dkr.ecr.eu-west-2.amazonaws.com/org/voting/"
	want := []string{at + "vote:0a1b2c3@" + image.Digest, at + "frontendtests:0a1b2c3@" + image.Digest}
	if got := imagesIn(t, filepath.Join(dir, ".release", "environments", "preview")); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, errs := deployed(t, 1, "preview", dir, "--data", s.Dir); !strings.Contains(errs, "--commit") {
		t.Errorf("without a commit: got %s", errs)
	}
}

// A deployment to a cluster runs the Jobs of its workflow, waits for what it has made, and says what the conditions of the cluster are. A
// workload that does not run ends it with the words of the cluster, and another deployment repairs it.
func TestDeployToACluster(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	image := ocitest.NewImage(1, 100)
	root.CreateRepository(t, "team/app").Push(t, "1.0", image)
	host := strings.TrimPrefix(s.URL, "http://")
	cluster := kubestand.New(s.HTTP)
	api := httptest.NewServer(cluster)
	defer api.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeFile(t, kubeconfig, kubestand.Kubeconfig(api.URL))
	if code, _, errs := run(t, "cluster", "add", "staging", "--region", root.Region, "--principal", root.ID, "--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	dir := application(t, `app: shop
context: staging
environment_templates: [{name: ephemeral}]
services:
- {name: web, image: '`+host+`/team/app:1.0', ports: [{target_port: 80}]}
jobs:
- {name: migrate, from_services: web, command: migrate}
cron_jobs:
- {name: clean, from_services: web, schedule: '@daily'}
workflows:
- {name: setup, order_from: [jobs.migrate, services.all]}
`)
	ask := []string{"preview", dir, "--data", s.Dir, "--kubeconfig", kubeconfig, "--wait", "20s"}
	// The registry gives nothing without a login, and the pods have none: the cluster says so, and so does the command.
	out, errs := deployed(t, 1, append(ask, "--json")...)
	if !strings.Contains(errs, "Deployment web does not run: pod web-") || !strings.Contains(errs, "ImagePullBackOff") {
		t.Errorf("without a pull secret: got %s", errs)
	}
	var got struct {
		State     string
		Workloads []struct{ Kind, Name, State, Why string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.State != "failed" || len(got.Workloads) != 2 ||
		got.Workloads[0].Kind != "Job" || got.Workloads[0].State != "ready" || got.Workloads[1].State != "failed" ||
		!strings.Contains(got.Workloads[1].Why, "401") {
		t.Fatalf("got %s, %v", out, err)
	}
	// With the secret it runs, from the digest.
	auth := base64.StdEncoding.EncodeToString([]byte("AWS:" + root.Password(t)))
	config := base64.StdEncoding.EncodeToString([]byte(`{"auths":{"` + host + `":{"auth":"` + auth + `"}}}`))
	secret := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"pull","namespace":"preview"},"data":{".dockerconfigjson":"` + config +
		`"}}`
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, api.URL+"/api/v1/namespaces/preview/secrets/pull?fieldManager=test",
		strings.NewReader(secret))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	_, errs = deployed(t, 0, append(ask, "--pull-secret", "pull")...)
	for _, want := range []string{"Job migrate-", ": ready\n", "Deployment web: ready\n", "deployed the environment preview: 4 objects"} {
		if !strings.Contains(errs, want) {
			t.Errorf("with a pull secret: got %s, want in it %q", errs, want)
		}
	}
	pods := cluster.Objects("preview", "Pod")
	if len(pods) != 1 || !strings.Contains(string(pods[0]), `"imageID":"`+host+`/team/app@`+image.Digest+`"`) {
		t.Errorf("the pods: got %s", pods)
	}
	if jobs := cluster.Objects("preview", "Job"); len(jobs) != 1 {
		t.Errorf("the Jobs: got %s, want that of the last deployment", jobs)
	}
	// Bad flags.
	for _, args := range [][]string{{"preview", dir, "--write-pull-secret"}, {"preview", dir, "--pull-secret", "A b"}, {"Preview", dir}} {
		if code, _, _ := run(t, append([]string{"application", "deploy", "--data", s.Dir}, args...)...); code != 2 {
			t.Errorf("deploy %q: got exit code %d, want 2", args, code)
		}
	}
}

// --write-pull-secret writes a secret with a token that pulls, got with the AWS credentials of the environment, before the objects: the
// first deployment runs. The secret has no access key. With credentials that the registry refuses nothing is written, and nothing deployed.
func TestPullSecretIsWrittenOnce(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	image := ocitest.NewImage(1, 100)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "1.0", image)
	host := strings.TrimPrefix(s.URL, "http://")
	cluster := kubestand.New(s.HTTP)
	api := httptest.NewServer(cluster)
	defer api.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeFile(t, kubeconfig, kubestand.Kubeconfig(api.URL))
	if code, _, errs := run(t, "cluster", "add", "staging", "--region", root.Region, "--principal", root.ID, "--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	dir := application(t, "app: shop\ncontext: staging\nenvironment_templates: [{name: ephemeral}]\nservices:\n- {name: web, image: '"+host+
		"/team/app:1.0', ports: [{target_port: 80}]}\n")
	deploy := func(secret string) (int, string) {
		for key, value := range map[string]string{"AWS_ACCESS_KEY_ID": root.KeyID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "",
			"AWS_REGION": root.Region, "AWS_PROFILE": "", "HOME": t.TempDir()} {
			t.Setenv(key, value) // which the SDK reads
		}
		code, out, errs := run(t, "application", "deploy", "preview", dir, "--data", s.Dir, "--kubeconfig", kubeconfig, "--wait", "20s",
			"--write-pull-secret")
		return code, out + errs
	}
	if code, text := deploy("wrong"); code == 0 ||
		!strings.Contains(text, "writing the pull secret ecrin-registry of the namespace preview") ||
		len(cluster.Objects("preview", "Secret"))+len(cluster.Objects("preview", "Deployment")) != 0 {
		t.Errorf("with a wrong key: got exit code %d, %s, and in the cluster %s, want nothing", code, text, cluster.Objects("preview", "Secret"))
	}
	for range 2 { // the second one finds the secret
		code, text := deploy(root.Secret)
		if code != 0 || !strings.Contains(text, "Deployment web: ready\n") {
			t.Fatalf("got exit code %d, %s", code, text)
		}
	}
	var got struct {
		Type string
		Data map[string][]byte
	}
	secrets := cluster.Objects("preview", "Secret")
	if len(secrets) != 1 || json.Unmarshal(secrets[0], &got) != nil || got.Type != "kubernetes.io/dockerconfigjson" {
		t.Fatalf("the secrets: got %s", secrets)
	}
	var config struct {
		Auths map[string]struct{ Auth []byte }
	}
	if err := json.Unmarshal(got.Data[".dockerconfigjson"], &config); err != nil || len(config.Auths) != 1 {
		t.Fatalf("the secret has %s, %v", got.Data, err)
	}
	user, password, _ := strings.Cut(string(config.Auths[host].Auth), ":")
	if user != "AWS" || strings.Contains(string(secrets[0])+password, root.Secret) {
		t.Errorf("the user is %q, and the secret %s", user, secrets[0])
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v2/team/app/manifests/1.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.SetBasicAuth(user, password)
	resp, err := s.HTTP.Do(q)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a pull with the token of the secret: %v, %v", resp, err)
	}
	resp.Body.Close()
	if pods := cluster.Objects("preview", "Pod"); len(pods) != 1 || !strings.Contains(string(pods[0]), image.Digest) {
		t.Errorf("the pods: got %s", pods)
	}
}
