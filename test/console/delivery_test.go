package console_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// besideECR starts a server that reaches a second one by the names of Amazon ECR, for its default account and the given ones.
func besideECR(t *testing.T, accounts ...string) (near, far *apptest.Server, ecr *farside.ECR) {
	t.Helper()
	far = apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StrictECR = "all" }})
	ecr = farside.NewECR(t, far, accounts...)
	near = apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		for _, site := range ecr.Sites() {
			site.Configure(c)
		}
	}})
	return near, far, ecr
}

// ecrin runs a command that must end well.
func ecrin(t *testing.T, env map[string]string, args ...string) {
	t.Helper()
	if code, out := run(t, env, args...); code != 0 {
		t.Fatalf("ecrin %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
}

// run runs a command with an environment, and returns its exit code and what it printed.
func run(t *testing.T, env map[string]string, args ...string) (code int, printed string) {
	t.Helper()
	var out bytes.Buffer
	code = cli.Run(t.Context(), cli.Env{Args: args, Out: &out, Err: &out, Lookup: func(key string) (string, bool) {
		v, ok := env[key]
		return v, ok
	}})
	return code, out.String()
}

// readerActions are those of a user who reads all repositories.
var readerActions = []string{"ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer",
	"ecr:BatchGetImage"}

// The part of the guide of Replicated about images: Add External Registry with the keys of a user who may only read, a test of the right
// and of a wrong image, a pull by a licence, and its lines in the pull log.
func TestReplicatedWalk(t *testing.T) {
	t.Parallel()
	s, far, ecr := besideECR(t)
	there := far.Root(t)
	there.CreateRepository(t, "demo-apps/nginx").Push(t, "latest", ocitest.NewImage(3, 20000))
	reader := user(t, far, there, "replicated-readonly", readerActions...)
	s.Operator(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "MySampleECRApp"}, &struct{}{})
	var customer ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", ecrintypes.CreateCustomerRequest{ApplicationSlug: "mysampleecrapp", CustomerName: "Big Bank"}, &customer)
	s.Operator(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "mysampleecrapp",
		CustomerId: customer.Customer.CustomerId, Repositories: []string{"*"}}, &struct{}{})

	b := newBrowser(t, s)
	b.signIn(s.Root(t))
	b.click("Images")
	b.see("No external registries yet")
	b.click("Add External Registry")
	b.see("Endpoint", "App Access")
	b.fill("Provider", "Amazon ECR")
	b.fill("Endpoint", ecr.Host)
	b.fill("Username", reader.KeyID)
	b.fill("Password", "wrong")
	b.fill("Registry Name", "vendor-ecr")
	b.pictures("replicated-form")
	b.click("Link registry")
	b.see("The registry was added.", "Close to all")
	b.fill("Image", "demo-apps/nginx:latest")
	b.click("Test")
	b.see("Fails at step 1", "SignatureDoesNotMatch", "the secret access key is wrong")
	b.click("Credential")
	b.fill("Secret Access Key", reader.Secret)
	b.click("Save integration")
	b.see("The integration was saved.")
	b.click("Images")
	b.click("vendor-ecr")
	b.fill("Image", "demo-apps/none:latest")
	b.click("Test")
	b.see("Fails at step 4", "check the name of the repository and the tag")
	b.fill("Image", "demo-apps/nginx:latest")
	b.click("Test")
	b.see("Works", "sha256:")
	b.pictures("replicated-test")

	image := "proxy/mysampleecrapp/" + ecr.Host + "/demo-apps/nginx:latest"
	if out, ok := skopeo(t, s, image, "anything", strings.Repeat("a", 27)); ok || !strings.Contains(out, "nauthorized") &&
		!strings.Contains(out, "denied") {
		t.Errorf("by a made-up licence: got %t\n%s", ok, out)
	}
	if out, ok := skopeo(t, s, image, "anything", customer.LicenseId); !ok {
		t.Fatalf("by the licence: %s", out)
	}
	b.again("Show", "Big Bank", "manifest", "yes")
	b.see("Date", "Customer", "Action", "Status code", "Was successful", "demo-apps/nginx", "no licence", "401 UNAUTHORIZED")
	b.pictures("replicated-log")
}

// The walk of the guide of Codefresh: a runtime, the ECR integration with its access key for this runtime, Test connection, a report of
// an image by the name of the integration, and the dashboard of images in three levels; then the image is pulled with what the
// integration gives out.
func TestCodefreshWalk(t *testing.T) {
	t.Parallel()
	s, far, ecr := besideECR(t, account222)
	there := far.NewAccount(t, account222)
	at := ecr.HostOf(account222)
	there.CreateRepository(t, "demo/app").Push(t, "1", ocitest.NewImage(3, 20000, 700))
	reader := user(t, far, there, "codefresh", readerActions...)
	root := s.Root(t)

	b := newBrowser(t, s)
	b.signIn(root)
	b.click("Account Settings")
	b.click("Runtimes")
	b.fill("Runtime name", "west")
	b.fill("Version", "0.1.33")
	b.click("Add runtime")
	b.see("The runtime west was saved.", "0.1.33")
	b.click("Integrations")
	b.click("Setup AWS ECR private registry")
	b.fill("Integration name", "prod")
	b.fill("Registry hostname", at)
	b.fill("Access Key ID", reader.KeyID)
	b.fill("Secret Access Key", reader.Secret)
	b.click("Selected runtimes")
	b.click("west")
	b.pictures("codefresh-setup")
	b.click("Set up")
	b.see("The integration was set up.", "west")
	b.fill("Image", "demo/app:1")
	b.click("Test connection")
	b.see("Works", "AmazonEC2ContainerRegistryReadOnly")
	b.pictures("codefresh-test")

	image := at + "/demo/app:1"
	ecrin(t, map[string]string{"CF_API_KEY": root.KeyID + ":" + root.Secret, "CF_HOST": s.URL, "CF_IMAGE": image,
		"CF_CONTAINER_REGISTRY_INTEGRATION": "prod", "CF_WORKFLOW_NAME": "org/repo/7", "CF_CI_TYPE": "github-actions"}, "report")
	ecrin(t, nil, "report", "deployed", image, "--application", "shop", "--namespace", "production", "--data", s.Dir)

	b.click("What runs where")
	b.see("production", "shop", "Newest image of each repository")
	b.fill("Deployed", "Currently deployed")
	b.click("Filter")
	b.see("deployed: yes", "demo/app", "1 image")
	b.pictures("codefresh-dashboard")
	b.click(at + "/demo/app")
	b.see("reported images", "linux/amd64")
	b.click("More details")
	b.see("Summary", "Layers", "org/repo/7", "github-actions", "shop")
	b.pictures("codefresh-image")
	b.click("Layers")
	b.see("together, compressed.")

	var token ecrintypes.GetIntegrationTokenResponse
	s.Operator(t, "GetIntegrationToken", ecrintypes.IntegrationRequest{IntegrationName: "prod"}, &token)
	if out, ok := skopeo(t, far, account222+"/"+far.Running.Region+"/demo/app:1", token.Username, token.Password); !ok {
		t.Errorf("with the token of the integration: %s", out)
	}
}

// The walk of the guide of Rancher: Registries, Add Registry, Custom with address, email, user and password; then a host writes its
// credentials and pulls with them.
func TestRancherWalk(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1", ocitest.NewImage(3, 20000))
	host := strings.TrimPrefix(s.URL, "http://")
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("Rancher registries")
	b.see("No environments yet")
	b.fill("Environment", "staging")
	b.fill("Hosts", "node1")
	b.click("Add environment")
	b.see("The environment was added.", "Registries", "CATTLE_URL")
	b.click("Add Registry")
	b.see("Custom")
	b.fill("Address", host)
	b.fill("Email", "none")
	b.fill("Username", "AWS")
	b.fill("Password", root.Password(t))
	b.pictures("rancher-add")
	b.click("Create")
	b.see("The registry was added.", host, "works for 12 h")
	b.pictures("rancher-environment")

	file := filepath.Join(t.TempDir(), "config.json")
	ecrin(t, nil, "rancher", "dockerconfig", "staging", "node1", "--file", file, "--data", s.Dir)
	if out, ok := skopeoBy(t, s, "team/app:1", "--authfile", file); !ok {
		t.Errorf("on the host: %s", out)
	}
	b.click("Remove " + host)
	b.see("The registry and its credential were removed.", "No registries yet")
	if code, out := run(t, nil, "rancher", "dockerconfig", "staging", "node1", "--file", file, "--data", s.Dir); code == 0 ||
		!strings.Contains(out, "the environment staging has no credential") {
		t.Errorf("without a registry: got %d, %s", code, out)
	}
}

// again clicks words until the page shows all texts: what it shows is written from time to time.
func (b *browser) again(words string, texts ...string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; {
		b.click(words)
		missing := ""
		text := b.text()
		for _, one := range texts {
			if !strings.Contains(text, one) {
				missing = one
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("after %s the page lacks %q:\n%s", patience, missing, text)
		}
	}
}
