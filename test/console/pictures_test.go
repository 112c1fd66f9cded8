package console_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// maxPicture is the size of the largest picture of the README, in bytes.
const maxPicture = 150_000

// picture keeps a picture of the window, 1440 by 900, in the folder of ECRIN_PICTURES, if it is set.
func (b *browser) picture(file string, dark bool) {
	b.t.Helper()
	dir := os.Getenv("ECRIN_PICTURES")
	if dir == "" {
		return
	}
	b.dark(dark)
	b.width(1440)
	var shot []byte
	b.do("picture", chromedp.ActionFunc(func(ctx context.Context) (err error) {
		shot, err = page.CaptureScreenshot().WithOptimizeForSpeed(false).Do(ctx)
		return err
	}))
	shot = fewColours(b.t, shot)
	if len(shot) > maxPicture {
		b.t.Errorf("%s has %d bytes", file, len(shot))
	}
	if err := os.WriteFile(filepath.Join(dir, file+".png"), shot, 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.dark(false)
}

// instructionsOf are what made the layers of the image of the demonstration, with their sizes; 0 for none.
var instructionsOf = []struct {
	text string
	size int
}{
	{"/bin/sh -c #(nop) ADD file:7625ddfd589fb824e in / ", 3_640_000}, {"/bin/sh -c #(nop)  CMD [\"/bin/sh\"]", 0},
	{"RUN /bin/sh -c apk add --no-cache nodejs npm tini # buildkit", 9_210_000}, {"WORKDIR /srv", 93},
	{"COPY package.json package-lock.json ./ # buildkit", 41_200}, {"RUN /bin/sh -c npm ci --omit=dev # buildkit", 6_480_000},
	{"COPY dist ./dist # buildkit", 1_730_000}, {"USER node", 0}, {"EXPOSE map[8080/tcp:{}]", 0},
	{"ENTRYPOINT [\"tini\" \"--\" \"node\" \"dist/server.js\"]", 0},
}

// demoImage pushes an image of a version by a tag, and returns its digest and the length of its manifest. Versions share their base.
func demoImage(t *testing.T, repo ocitest.Repo, tag, version string, seed uint64) (digest string, length int) {
	t.Helper()
	var history, layers []any
	for i, one := range instructionsOf {
		history = append(history, map[string]any{"created": "2026-11-0" + fmt.Sprint(i%9+1) + "T09:00:00Z", "created_by": one.text,
			"empty_layer": one.size == 0})
		if one.size == 0 {
			continue
		}
		from := uint64(i)
		if i > 3 {
			from += 100 * seed
		}
		layer := ocitest.Bytes(from+1, one.size)
		repo.PutBlob(t, layer)
		layers = append(layers, ocitest.Describe("application/vnd.oci.image.layer.v1.tar+gzip", layer))
	}
	config, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "created": "2026-11-12T09:41:00Z", "history": history,
		"config": map[string]any{"Entrypoint": []string{"tini", "--", "node", "dist/server.js"}, "WorkingDir": "/srv", "User": "node",
			"ExposedPorts": map[string]any{"8080/tcp": map[string]any{}}, "Env": []string{"NODE_ENV=production", "PORT=8080"},
			"Labels": map[string]string{"org.opencontainers.image.version": version,
				"org.opencontainers.image.source":   "https://git.example.com/team/app",
				"org.opencontainers.image.licenses": "Apache-2.0"}}})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutBlob(t, config)
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocitest.ImageType, "layers": layers,
		"config": ocitest.Describe("application/vnd.oci.image.config.v1+json", config)})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, tag, ocitest.ImageType, body).Want(t, 201)
	return ocitest.SHA256(body), len(body)
}

// refer pushes what refers to an image, such as a signature.
func refer(t *testing.T, repo ocitest.Repo, subject string, length int, artifactType string) {
	t.Helper()
	empty := []byte("{}")
	repo.PutBlob(t, empty)
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocitest.ImageType, "artifactType": artifactType,
		"config":  ocitest.Describe("application/vnd.oci.empty.v1+json", empty),
		"layers":  []any{ocitest.Describe("application/vnd.oci.empty.v1+json", empty)},
		"subject": map[string]any{"mediaType": ocitest.ImageType, "digest": subject, "size": length}})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, ocitest.SHA256(body), ocitest.ImageType, body).Want(t, 201)
}

// A registry of a team, as old as one that is in use: the pictures of the README are of it. ECRIN_PICTURES is the folder that keeps them.
func TestPicturesOfReadme(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, other := s.Root(t), s.NewAccount(t, "111122223333")
	s.NewAccount(t, "444455556666")
	repo := root.CreateRepository(t, "team/app")
	const days = 24 * time.Hour
	ages := map[string]time.Duration{}
	versions := []struct {
		tag string
		age time.Duration
	}{{"1.5.0-rc.1", 5 * time.Hour}, {"1.4.2", 2 * days}, {"1.4.1", 9 * days}, {"1.4.0", 23 * days}, {"1.3.1", 41 * days}, {"1.3.0",
		64 * days},
		{"1.2.0", 93 * days}, {"feature-search", 34 * days}, {"feature-login", 51 * days}, {"feature-dark", 3 * days}}
	for i, v := range versions {
		digest, length := demoImage(t, repo, v.tag, v.tag, uint64(i))
		ages[digest] = v.age
		if v.tag == "1.4.2" {
			body := repo.Manifest(t, v.tag).Body
			repo.PutManifest(t, "1.4", ocitest.ImageType, body).Want(t, 201)
			repo.PutManifest(t, "latest", ocitest.ImageType, body).Want(t, 201)
			refer(t, repo, digest, length, "application/vnd.dev.cosign.artifact.sig.v1+json")
			refer(t, repo, digest, length, "application/spdx+json")
		}
	}
	for i, name := range []string{"demo-apps/nginx", "charts/storefront", "ml/embedding-server"} {
		root.CreateRepository(t, name).Push(t, "1.0.0", ocitest.NewImage(uint64(70+i), 120_000))
	}
	if _, err := root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"),
		PolicyText: aws.String(`{"Version":"2012-10-17","Statement":[{"Sid":"StagingPulls","Effect":"Allow","Principal":{"AWS":` +
			`"arn:aws:iam::444455556666:root"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`)}); err != nil {
		t.Fatal(err)
	}
	theirs := user(t, s, other, "deployer", "ecr:*").Docker(t)
	theirs.Prefix = ""
	if got := theirs.Repo("team/app").Manifest(t, "1.4.2").Status; got != 403 {
		t.Fatalf("a pull of another account: got %d", got)
	}
	for range 3 {
		repo.Manifest(t, "1.4.2")
	}
	s.Operator(t, "PinImage", &ecrintypes.PinImageRequest{RegistryId: root.ID, RepositoryName: "team/app", ImageTag: "feature-login",
		Reason: "the demonstration of next week"}, new(ecrintypes.PinImageResponse))
	customer, token := northwind(t, s, root)
	for _, tag := range []string{"1.4.2", "1.4.1", "1.5.0-rc.1"} {
		pulled(t, s, token, "team/app", tag)
	}
	s.Stop(t)
	age(t, s, ages, customer)
	s.Back(t)

	b := newBrowser(t, s)
	b.signIn(root)
	b.click("team/app")
	b.see("1.5.0-rc.1", "1.4.2", "latest", "feature-dark")
	b.click("Open 1.4.2")
	b.see("signature", "SBOM")
	b.picture("repository", false)

	b.click("Denied requests")
	b.see("111122223333", "ecr:BatchGetImage")
	b.clickIn("111122223333", "Explain")
	b.see("The decision, layer by layer", "What would allow it", "111122223333")
	b.picture("denied", false)

	b.click("Repositories")
	b.click("team/app")
	b.click("Permissions")
	b.click("Edit policy JSON")
	b.fill("Policy text, JSON", `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "StagingPulls",
      "Effect": "Allow",
      "Principal": { "AWS": "arn:aws:iam::444455556666:root" },
      "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    },
    {
      "Sid": "PartnerPulls",
      "Effect": "Allow",
      "Principal": { "AWS": "arn:aws:iam::111122223333:root" },
      "Acton": ["ecr:BatchGetImage"]
    }
  ]
}`)
	b.click("Check")
	b.see("Acton", "1 problem")
	b.picture("permissions", true)

	b.click("Tags")
	b.click("1.4.2")
	b.see("Layers", "apk", "npm ci", "Referrers")
	b.picture("image", true)

	b.click("team/app")
	b.click("Lifecycle")
	b.click("Branch builds go after 30 days")
	b.see("What would go", "First to go", "feature-search", "feature-login")
	b.picture("lifecycle", false)

	b.click("Customers")
	b.click("Northwind Freight")
	b.see("May pull", "Pull log", "403", "Egress", "edge-03")
	b.picture("customer", true)
}

// northwind makes an application with a customer, and returns the customer's id and a token of it.
func northwind(t *testing.T, s *apptest.Server, root apptest.Account) (id, token string) {
	t.Helper()
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Storefront"},
		new(ecrintypes.VendorApplicationResponse))
	var c ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "storefront", CustomerName: "Northwind Freight",
		Email: "ops@northwind.example", CustomerType: ecrintypes.CustomerTypePaid, ExpiresAt: &awswire.Time{Time: time.Now().AddDate(0, 3, 2)},
		Channels: []ecrintypes.CustomerChannel{{ChannelId: "stable"}}}, &c)
	for _, e := range []ecrintypes.PutEntitlementRequest{{Repositories: []string{"team/app"}, ImageTags: []string{"1.4.*"}},
		{Repositories: []string{"charts/storefront"}}, {Repositories: []string{"ml/*"}, ImageTags: []string{"latest"}}} {
		e.ApplicationSlug, e.CustomerId = "storefront", c.Customer.CustomerId
		s.Operator(t, "PutEntitlement", &e, new(ecrintypes.EntitlementResponse))
	}
	for _, name := range []string{"ci", "edge-03"} {
		var k ecrintypes.CustomerTokenResponse
		s.Operator(t, "CreateCustomerToken", &ecrintypes.CustomerTokenRequest{ApplicationSlug: "storefront", CustomerId: c.Customer.CustomerId,
			TokenName: name}, &k)
		token = k.Token
	}
	s.Operator(t, "PutEgressThreshold", &ecrintypes.PutEgressThresholdRequest{ApplicationSlug: "storefront", CustomerId: c.Customer.CustomerId,
		Bytes: 80e9}, new(ecrintypes.EgressThresholdResponse))
	return c.Customer.CustomerId, token
}

// age changes the times of images of a server that is stopped, and the traffic of a customer, to those of a registry that is in use.
func age(t *testing.T, s *apptest.Server, ages map[string]time.Duration, customer string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.Dir, "ecrin.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	do := func(text string, args ...any) {
		if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	now := time.Now()
	for digest, age := range ages {
		do(`UPDATE images SET pushed_at = $1 WHERE digest = $2`, now.Add(-age).UnixMicro(), digest)
	}
	for i, gigabytes := range []int64{18, 22, 21, 25, 31, 28, 34, 33, 39, 58, 63, 71} {
		month := now.UTC().AddDate(0, i-11, 1-now.UTC().Day())
		do(`INSERT INTO egress_months (application, month, customer, pulls, sent)
			SELECT application, $1, $2, 100, $3 FROM customers WHERE id = $2
			ON CONFLICT (application, month,
				customer) DO UPDATE SET sent = excluded.sent`, month.Year()*100+int(month.Month()), customer, gigabytes*1e9)
	}
}

// fewColours returns a picture of a page with a palette: text and lines have few colours.
func fewColours(t *testing.T, shot []byte) []byte {
	t.Helper()
	out, err := paletted(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
