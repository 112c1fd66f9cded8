package ociapi_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// fill returns the path of a row with values for its parameters.
func fill(path, repository, reference, digest, upload string) string {
	return strings.NewReplacer("<name>", repository, "<reference>", reference, "<digest>", digest, "<id>", upload).Replace(path)
}

// Row 7: without a valid token the answer on every route is the same, whether or not the repository, the image or the
// route exists.
func TestAttack07NoCredentials(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 10)
	repo.Push(t, "v1", im)
	upload := repo.Begin(t)
	upload = upload[strings.LastIndex(upload, "/")+1:]
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	anonymous := repo.Client
	anonymous.Password = ""
	type ask struct{ method, path string }
	var asks []ask
	for _, row := range ociapi.Rows() {
		asks = append(asks,
			ask{row.Method, fill(row.Path, "team/app", "v1", ocitest.SHA256(im.Layers[0]), upload)},
			ask{row.Method, fill(row.Path, "team/none", "v2", ocitest.SHA256(nil), "1")},
			ask{row.Method, fill(row.Path, bobID+"/eu-west-1/x", "..", "sha256:1", "..")})
	}
	for _, method := range []string{http.MethodGet, http.MethodOptions, http.MethodTrace, "PROPFIND"} {
		asks = append(asks, ask{method, "/v2/"}, ask{method, "/v2/no/such/path"}, ask{method, "/v2/team/app/tags/list/"},
			ask{method, "/v2/UPPER/tags/list"}, ask{method, "/v2/ecrin/internal"})
	}
	for _, a := range asks {
		for _, authorization := range []string{"", "Basic", "Basic !!!",
			"Basic " + base64.StdEncoding.EncodeToString([]byte("no colon")), "Bearer " + repo.Password,
			basic("aws", repo.Password), basic("", repo.Password), basic("root",
				"root"), "AWS4-HMAC-SHA256 Credential=AKIA/20260801/us-east-1/ecr/aws4_request"} {
			got := anonymous.Do(t, a.method, a.path, nil, "Authorization", authorization)
			if got.Status != http.StatusUnauthorized || got.Header.Get("Www-Authenticate") == "" ||
				got.Header.Get("Allow") != "" || got.Header.Get("Location") != "" ||
				a.method != http.MethodHead && string(got.Body) != "Not Authorized\n" {
				t.Errorf("%s %s with Authorization %.30q: got %d %v %s, want the challenge", a.method, a.path, authorization,
					got.Status, got.Header, got.Body)
			}
		}
		for _, password := range []string{"", "x", strings.Repeat("A", 300), strings.Repeat("A", 100_00),
			repo.Password[:len(repo.Password)-2], repo.Password + "A", strings.ToLower(repo.Password)} {
			if got := anonymous.Do(t, a.method, a.path, nil, "Authorization",
				basic("AWS", password)); got.Status != http.StatusBadRequest || a.method != http.MethodHead &&
				!strings.Contains(string(got.Body), `"UNAUTHORIZED"`) {
				t.Errorf("%s %s with a password that is not a token: got %d %s, want 400 UNAUTHORIZED", a.method, a.path, got.Status, got.Body)
			}
		}
	}
	repo.Do(t, http.MethodGet, repo.Path("/blobs/uploads/"+upload), nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-0")
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
}

// Rows 8, 9 and 10: the action for which each request needs the permission. A permission to push or pull never permits
// a deletion. The table has exactly these rows: a new row must be added here.
func TestAttack08ActionTable(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"GET /v2/":                                "- on -",
		"HEAD /v2/":                               "- on -",
		"GET /v2/<name>/blobs/<digest>":           "ecr:GetDownloadUrlForLayer on repository",
		"HEAD /v2/<name>/blobs/<digest>":          "ecr:BatchCheckLayerAvailability or ecr:GetDownloadUrlForLayer on repository",
		"GET /v2/<name>/manifests/<reference>":    "ecr:BatchGetImage on repository",
		"HEAD /v2/<name>/manifests/<reference>":   "ecr:BatchGetImage on repository",
		"POST /v2/<name>/blobs/uploads/":          "ecr:InitiateLayerUpload on repository",
		"PATCH /v2/<name>/blobs/uploads/<id>":     "ecr:UploadLayerPart on repository",
		"PUT /v2/<name>/blobs/uploads/<id>":       "ecr:CompleteLayerUpload on repository",
		"GET /v2/<name>/blobs/uploads/<id>":       "ecr:UploadLayerPart on repository",
		"HEAD /v2/<name>/blobs/uploads/<id>":      "ecr:UploadLayerPart on repository",
		"DELETE /v2/<name>/blobs/uploads/<id>":    "ecr:UploadLayerPart on repository",
		"PUT /v2/<name>/manifests/<reference>":    "ecr:PutImage on repository",
		"DELETE /v2/<name>/manifests/<reference>": "ecr:BatchDeleteImage on repository",
		"DELETE /v2/<name>/blobs/<digest>":        "ecr:BatchDeleteImage on repository",
		"GET /v2/<name>/tags/list":                "ecr:ListImages on repository",
		"GET /v2/<name>/referrers/<digest>":       "ecr:BatchGetImage on repository",
		"GET /v2/_catalog":                        "ecr:DescribeRepositories on repository/*",
	}
	for _, row := range ociapi.Rows() {
		key := row.Method + " " + row.Path
		actions := row.Actions
		if actions == "" {
			actions = "-"
		}
		if got := actions + " on " + row.On; got != want[key] {
			t.Errorf("%s: got the actions %s, want %q", key, got, want[key])
		}
		delete(want, key)
	}
	for key := range want {
		t.Errorf("%s: got no row, want one", key)
	}
}

// Row 8 over HTTP: a caller of another account is denied on every route, with the same answer for existing and unknown
// resources.
func TestAttack08ForeignToken(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 10)
	repo.Push(t, "v1", im)
	upload := repo.Begin(t)
	upload = upload[strings.LastIndex(upload, "/")+1:]
	bob := s.NewAccount(t, bobID).Docker(t)
	for _, host := range []string{"", "000000000000.dkr.ecr.us-east-1.amazonaws.com"} {
		for _, row := range ociapi.Rows() {
			if row.On == "-" {
				continue
			}
			there := bob.Do(t, row.Method, fill(row.Path, "team/app", "v1", ocitest.SHA256(im.Layers[0]), upload), nil, "Host",
				host).WantError(t, http.StatusForbidden, "DENIED")
			none := bob.Do(t, row.Method, fill(row.Path, "team/non", "v1", ocitest.SHA256(nil), "1"), nil, "Host",
				host).WantError(t, http.StatusForbidden, "DENIED")
			if got, want := strings.ReplaceAll(string(there.Body), "team/app", "team/non"), string(none.Body); got != want {
				t.Errorf("%s: got %s for an existing resource and %s for an unknown one, want the same", row.Name, got, want)
			}
		}
	}
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	repo.Do(t, http.MethodGet, repo.Path("/blobs/uploads/"+upload), nil).Want(t, http.StatusNoContent)
}

// Row 10: no way of deletion, in either API, deletes what is in use.
func TestAttack10Deletions(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 10)
	repo.Push(t, "child", im)
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{im.Descriptor()}}.JSON()
	repo.PutManifest(t, "index", ocitest.IndexType, index).Want(t, http.StatusCreated)
	repo.Do(t, http.MethodDelete, repo.Path("/manifests/"+im.Digest), nil).WantError(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
	repo.Do(t, http.MethodDelete, repo.Path("/blobs/"+ocitest.SHA256(im.Layers[0])), nil).WantError(t,
		http.StatusMethodNotAllowed, "UNSUPPORTED")
	repo.Do(t, http.MethodDelete, repo.Path("/manifests/child"), nil).Want(t, http.StatusAccepted) // deletes only the tag
	for _, id := range []types.ImageIdentifier{{ImageDigest: &im.Digest}, {ImageDigest: &im.Digest, ImageTag: aws.String("child")}} {
		out, err := root.ECR().BatchDeleteImage(t.Context(),
			&ecr.BatchDeleteImageInput{RepositoryName: aws.String("team/app"), ImageIds: []types.ImageIdentifier{id}})
		if err != nil || len(out.Failures) != 1 || len(out.ImageIds) != 0 {
			t.Errorf("BatchDeleteImage of a child: %+v, %v; want one failure", out, err)
		}
	}
	repo.Manifest(t, im.Digest).Want(t, http.StatusOK)
	repo.Blob(t, ocitest.SHA256(im.Layers[0])).Want(t, http.StatusOK)
	if _, err := root.ECR().DeleteRepository(t.Context(),
		&ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/app")}); err == nil ||
		!strings.Contains(err.Error(), "RepositoryNotEmptyException") {
		t.Errorf("DeleteRepository of a full repository: %v", err)
	}
}

// Row 11: a resource that was read immediately before, and is in every cache, is not found after its deletion.
func TestAttack11DeletedIsGone(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	api, name := root.ECR(), aws.String("team/app")
	repo := root.CreateRepository(t, *name)
	im := ocitest.NewImage(1, 100_000)
	layer := ocitest.SHA256(im.Layers[0])
	repo.Push(t, "v1", im)
	read := func(want int) {
		t.Helper()
		for range 2 {
			for _, path := range []string{"/manifests/v1", "/manifests/" + im.Digest, "/blobs/" + layer} {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					repo.Do(t, method, repo.Path(path), nil).Want(t, want)
				}
			}
		}
	}
	ways := map[string]func(){
		"by digest": func() {
			repo.Do(t, http.MethodDelete, repo.Path("/manifests/"+im.Digest), nil).Want(t, http.StatusAccepted)
		},
		"by the API": func() {
			out, err := api.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: name,
				ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}})
			if err != nil || len(out.Failures) > 0 {
				t.Fatalf("BatchDeleteImage: %+v, %v", out, err)
			}
		},
		"with the repository": func() {
			if _, err := api.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: name, Force: true}); err != nil {
				t.Fatal(err)
			}
			repo.Manifest(t, "v1").WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
			root.CreateRepository(t, *name) // a repository with the same name must not contain the old images
		},
	}
	for way, remove := range ways {
		read(http.StatusOK)
		remove()
		repo.Manifest(t, "v1").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		repo.Manifest(t, im.Digest).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		if way != "with the repository" {
			repo.Do(t, http.MethodDelete, repo.Path("/blobs/"+layer), nil).Want(t, http.StatusAccepted)
		}
		read(http.StatusNotFound)
		repo.Push(t, "v1", im)
	}
	read(http.StatusOK)
	// After the deletion of an account its tokens and repositories do not exist.
	bob := s.NewAccount(t, bobID)
	theirs := bob.CreateRepository(t, "app")
	theirs.Push(t, "v1", im)
	theirs.Manifest(t, "v1").Want(t, http.StatusOK)
	force := true
	s.Operator(t, "DeleteAccount", ecrintypes.DeleteAccountRequest{AccountId: bobID, Force: &force}, &ecrintypes.DeleteAccountResponse{})
	theirs.Manifest(t, "v1").WantError(t, http.StatusForbidden, "DENIED")
	again := s.NewAccount(t, bobID).Docker(t).Repo("app")
	again.Manifest(t, "v1").WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
	theirs.Manifest(t, "v1").WantError(t, http.StatusForbidden, "DENIED") // the old token is still invalid
}

// Rows 12 and 13: an upload belongs to one principal and one repository, and its path contains no state that could be
// changed.
func TestAttack12UploadOfAnother(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo, neighbour := root.CreateRepository(t, "team/app"), root.CreateRepository(t, "team/other")
	west := root.In("eu-west-1").CreateRepository(t, "team/app")
	bobs := s.NewAccount(t, bobID).CreateRepository(t, "team/app")
	content := ocitest.Bytes(1, 2000)
	d := ocitest.SHA256(content)
	location := repo.Begin(t)
	repo.Do(t, http.MethodPatch, location, content[:1000]).Want(t, http.StatusAccepted)
	id := location[strings.LastIndex(location, "/")+1:]
	try := func(r ocitest.Repo, path string, status int, code string) {
		t.Helper()
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
			r.Do(t, method, path+"?digest="+d, content[1000:]).WantError(t, status, code)
		}
	}
	for _, r := range []ocitest.Repo{neighbour, west, bobs} {
		try(r, r.Path("/blobs/uploads/"+id), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	try(bobs, location, http.StatusForbidden, "DENIED")
	repo.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-999")
	repo.Do(t, http.MethodPut, location+"?digest="+d, content[1000:]).Want(t, http.StatusCreated)
}

func TestAttack13TamperedLocation(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	content := ocitest.Bytes(1, 2000)
	location := repo.Begin(t)
	repo.Do(t, http.MethodPatch, location, content[:1000]).Want(t, http.StatusAccepted)
	id := location[strings.LastIndex(location, "/")+1:]
	last := map[bool]string{true: "0", false: "1"}[id[len(id)-1] == '1']
	for _, bad := range []string{strings.ToUpper(id), id[:len(id)-1] + last, strings.ReplaceAll(id, "-", ""), "{" + id + "}",
		"urn:uuid:" + id, id + ".", "%20" + id, id + "%00",
		"..%2f" + id, "%2e%2e%2f%2e%2e%2fecrin.db", "eyJvZmZzZXQiOjB9", base64.RawURLEncoding.EncodeToString([]byte(`{"offset":0}`))} {
		if bad == id {
			continue
		}
		a := repo.Do(t, http.MethodPatch, repo.Path("/blobs/uploads/"+bad), content[1000:])
		if a.Status != http.StatusNotFound && a.Status != http.StatusBadRequest { // an id with a slash is another path
			t.Errorf("upload id %q: got %d %s, want 404", bad, a.Status, a.Body)
		}
	}
	// Parameters and headers in which other registries keep state are ignored.
	a := repo.Do(t, http.MethodGet, location+"?_state=AAAA&offset=0&size=5&blob_id=../../x", nil, "Docker-Upload-UUID",
		"1").Want(t, http.StatusNoContent)
	a.WantHeader(t, "Range", "0-999")
	if a.Location(t) != location {
		t.Errorf("got Location %s, want %s", a.Location(t), location)
	}
	repo.Do(t, http.MethodPut, location+"?_state=AAAA&digest="+ocitest.SHA256(content), content[1000:]).Want(t, http.StatusCreated)
}

// Row 26: what is in no table is not served: debug pages, other methods, unsigned operations.
func TestAttack26NothingElse(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	c := s.Root(t).Docker(t)
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/admin", "/api/v1/", "/v1/_ping", "/v2/../metrics",
		"/layers", "/layers/", "/layers/000000000000/us-east-1/team/app/" + ocitest.SHA256(nil),
		"/v2/_ecrin/accounts", "//v2/", "/%76%32/", "/.well-known/x", "/serve.json", "/master.key"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			a := c.Do(t, method, path, nil)
			if a.Status < 400 && !(path == "/%76%32/" && method == http.MethodGet) {
				t.Errorf("%s %s: got %d %.100s", method, path, a.Status, a.Body)
			}
		}
	}
	for _, action := range []string{"CreateAccount", "ListAccounts", "GetAccountCredentials"} {
		a := c.Do(t, http.MethodPost, "/", []byte(`{"accountId":"111122223333"}`), "X-Amz-Target", "ecrin."+action,
			"Content-Type", "application/x-amz-json-1.1")
		if a.Status < 400 {
			t.Errorf("%s with a docker token: got %d %s", action, a.Status, a.Body)
		}
	}
}

// Row 27: a request is refused unless host, path and token name the same registry.
func TestAttack27Disagreement(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, bob := s.Root(t), s.NewAccount(t, bobID)
	root.CreateRepository(t, "app")
	west := root.In("eu-west-1")
	west.CreateRepository(t, "app")
	bob.CreateRepository(t, "app")
	tokens := map[string]string{"root": root.Password(t), "west": west.Password(t), "bob": bob.Password(t)}
	const suffix = ".amazonaws.com"
	for _, c := range []struct {
		token, host, name string
		status            int
	}{
		{"root", "", "app", 200},
		{"root", "", "000000000000/us-east-1/app", 200},
		{"root", "000000000000.dkr.ecr.us-east-1" + suffix, "app", 200},
		{"root", "000000000000.DKR.ECR.US-EAST-1.AMAZONAWS.COM", "app", 200},
		{"west", "000000000000.dkr.ecr.eu-west-1" + suffix, "app", 200},
		{"bob", "111122223333.dkr.ecr.us-east-1" + suffix, "app", 200},
		// The account or region of the host is not that of the token.
		{"root", "000000000000.dkr.ecr.eu-west-1" + suffix, "app", 403},
		{"west", "000000000000.dkr.ecr.us-east-1" + suffix, "app", 403},
		{"root", "111122223333.dkr.ecr.us-east-1" + suffix, "app", 403},
		{"bob", "000000000000.dkr.ecr.us-east-1" + suffix, "app", 403},
		// The account or region of the path is not that of the token.
		{"root", "", "000000000000/eu-west-1/app", 403},
		{"west", "", "app", 403},
		{"bob", "", "app", 403},
		{"bob", "", "000000000000/us-east-1/app", 403},
		{"root", "", "111122223333/us-east-1/app", 403},
		// On the host of a registry a path with account and region is the name of a repository, which does not exist.
		{"bob", "111122223333.dkr.ecr.us-east-1" + suffix, "000000000000/us-east-1/app", 404},
		{"root", "000000000000.dkr.ecr.us-east-1" + suffix, "111122223333/us-east-1/app", 404},
		// Hosts that are similar to those of registries are refused.
		{"root", "0000000000000.dkr.ecr.us-east-1" + suffix, "app", 403},
		{"root", "00000000000.dkr.ecr.us-east-1" + suffix, "app", 403},
		{"root", "000000000000.dkr.ecr.nowhere" + suffix, "app", 403},
		{"root", "x.000000000000.dkr.ecr.us-east-1" + suffix, "app", 403},
		{"root", "", "0000000000000/us-east-1/app", 403},
		// A registry of an unknown account.
		{"root", "999999999999.dkr.ecr.us-east-1" + suffix, "app", 403},
	} {
		client := ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: tokens[c.token]}
		a := client.Do(t, http.MethodGet, "/v2/"+c.name+"/tags/list", nil, "Host", c.host)
		if a.Status != c.status {
			t.Errorf("token of %s at host %q for %s: got %d %s, want %d", c.token, c.host, c.name, a.Status, a.Body, c.status)
		}
	}
}

// Row 29: names, digests and upload ids with path elements do not access files outside the data directory.
func TestAttack29Traversal(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("CANARY"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apptest.Start(t, apptest.Options{Dir: filepath.Join(outside, "data")})
	repo := s.Root(t).CreateRepository(t, "team/app")
	for _, up := range []string{"..", "../..", "../../canary", "..%2f..%2fcanary", "%2e%2e/%2e%2e/canary", "....//canary",
		"..\\..\\canary", "..%5ccanary", "%00", canary, "%2f" +
			strings.TrimPrefix(canary, "/"), "sha256:../../canary", "sha256:" + strings.Repeat("../", 22)[:64]} {
		for _, row := range ociapi.Rows() {
			for _, path := range []string{fill(row.Path, up, "v1", ocitest.SHA256(nil), "1"), fill(row.Path, "team/app", up, up, up)} {
				if path == row.Path {
					continue
				}
				a, err := repo.Try(t.Context(), row.Method, path, strings.NewReader("TRAVERSED"))
				if err != nil {
					continue // not a path that a client can send
				}
				if row.On != "-" && a.Status < 400 && !(row.Method == http.MethodGet && strings.Contains(row.Path, "tags/list")) &&
					row.Method != http.MethodPost && row.On != "repository/*" || strings.Contains(string(a.Body), "CANARY") {
					t.Errorf("%s %s: got %d %.100s", row.Method, path, a.Status, a.Body)
				}
			}
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 2 {
		t.Errorf("the parent of the data directory contains %v, %v; want only the canary", entries, err)
	}
	if b, err := os.ReadFile(canary); err != nil || string(b) != "CANARY" {
		t.Errorf("the canary is %q, %v", b, err)
	}
	err = filepath.WalkDir(outside, func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.Contains(fmt.Sprint(e.Name()), "canary") && path != canary {
			t.Errorf("the file %s was created", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Row 34: no log line, answer, Location or metric contains a secret.
func TestAttack34Canaries(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 10)
	repo.Push(t, "v1", im)
	master, err := os.ReadFile(filepath.Join(s.Dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	const guess = "CANARYguessedPassword"
	secrets := map[string]string{
		"the docker password": repo.Password, "the basic credentials": base64.StdEncoding.EncodeToString([]byte("AWS:" + repo.Password)),
		"the secret access key": root.Secret, "the master key": strings.TrimSpace(string(master)), "a guessed password": guess,
	}
	var seen strings.Builder
	note := func(a *ocitest.Answer) { fmt.Fprintln(&seen, a.Status, a.Header, string(a.Body)) }
	wrong := repo
	wrong.Password = guess
	anonymous := repo
	anonymous.Password = ""
	for _, row := range ociapi.Rows() {
		for _, r := range []ocitest.Repo{repo, wrong, anonymous} {
			note(r.Do(t, row.Method, fill(row.Path, "team/app", "v9", ocitest.SHA256(nil), "1"), nil))
			note(r.Do(t, row.Method, fill(row.Path, "team/app", "v1", ocitest.SHA256(im.Layers[0]), "1")+"?digest=x&token="+
				repo.Password+"&X-Amz-Signature="+guess, nil))
		}
	}
	note(repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/"), nil))
	note(anonymous.Do(t, http.MethodGet, "/v2/", nil, "Authorization", "Bearer "+repo.Password))
	note(anonymous.Do(t, http.MethodGet, "/v2/", nil, "Authorization",
		"Basic "+base64.StdEncoding.EncodeToString([]byte(guess+":"+repo.Password))))
	if _, err := root.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"none"}}); err == nil {
		t.Error("DescribeRepositories of an unknown repository: got no error, want one")
	} else {
		fmt.Fprintln(&seen, err)
	}
	note(repo.Do(t, http.MethodGet, "/metrics", nil))
	s.Stop(t)
	log := s.Log.String()
	if !strings.Contains(log, `"op":"end-7 put manifest"`) {
		t.Fatalf("the log does not contain the push: %.500s", log)
	}
	for what, secret := range secrets {
		for where, text := range map[string]string{"the log": log, "an answer": seen.String()} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s is in %s: …%.300s", what, where, text[max(0, i-200):])
			}
		}
	}
}
