package awsapi_test

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// exceeded begins the text of a request that a quota refuses, in the words of the model of ECR.
const exceeded = "The operation did not succeed because it would have exceeded a service limit for your account. The quota of the "

// storedBlobs counts the files of blobs.
func (s *server) storedBlobs() (n int) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.Dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "pin" {
			n++
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// Acceptance rows of quotas, in the order of the test.
//
//	| row | the user does | expected |
//	| QU1 | sets a quota of 2 repositories of team and creates 3 | LimitExceededException with AWS's sentence and the quota |
//	| QU2 | sets a quota of 2 images of team/app and pushes 3 by the ECR API and by docker | LimitExceededException; 403 DENIED |
//	| QU3 | pushes a tag of an image that is there, and an image elsewhere | done |
//	| QU4 | sets a quota of bytes and uploads more by docker and by the ECR API | refused at once; no upload and no blob stay |
//	| QU5 | uploads in a chunk without a length what does not fit | refused at the end; a collection leaves no byte of it |
//	| QU6 | mounts and copies what does not fit | refused; the copy leaves nothing |
//	| QU7 | deletes an image | there is room for an image at once; bytes count until the collection |
//	| QU8 | lists the quotas | what there is, as a recount says |
//	| QU9 | sets a quota below what there is | done; what there is can be pulled; pushes are refused |
//	| QU10 | calls without the right, for one prefix and another, and from another account | AccessDeniedException that names the quota |
//	| QU11 | as the operator sets a quota of an account, whose root has a control policy against ecrin:PutQuota | the root cannot lift it |
//	| QU12 | deletes quotas; deletes one that does not exist; sends bad ones | done; QuotaNotFoundException; InvalidParameterException |
func TestQuotaRows(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, ctx := s.ecr(), t.Context()
	put := func(body string) answer { t.Helper(); return s.callEcrin(s.key, "PutQuota", body) }
	set := func(body string) {
		t.Helper()
		if a := put(body); a.Status != 200 {
			t.Fatalf("PutQuota %s: got %s", body, a)
		}
	}
	create := func(name string) error {
		_, err := c.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &name})
		return err
	}

	set(`{"prefix":"team","maxRepositories":2}`) // QU1
	for _, name := range []string{"team/app", "team/second", "elsewhere", "teams/app"} {
		if err := create(name); err != nil {
			t.Errorf("QU1, %s: got %v", name, err)
		}
	}
	if got := codeOf(create("team/third")); got != "LimitExceededException" {
		t.Errorf("QU1: got %q, want LimitExceededException", got)
	}
	s.wantError("CreateRepository", `{"repositoryName":"team/third"}`, "LimitExceededException",
		exceeded+"repositories 'team' of the account "+home+" is 2 repositories: they have 2, and this would add 1")

	set(`{"prefix":"team/app","maxImages":2}`) // QU2
	s.image("team/app", "a", "v1")
	second := s.image("team/app", "b", "v2")
	s.layer("team/app", `{"seed":"c"}`)
	s.wantError("PutImage", object("repositoryName", "team/app", "imageManifest", manifest(`{"seed":"c"}`, nil)), "LimitExceededException",
		exceeded+"repositories 'team/app' of the account "+home+" is 2 images: they have 2, and this would add 1")
	docker := s.Root(t).Docker(t)
	app := docker.Repo("team/app")
	image := ocitest.NewImage(7, 1000)
	app.PushBlobs(t, image)
	if a := app.PutManifest(t, "v3", ocitest.ImageType, image.Manifest).WantError(t, http.StatusForbidden, "DENIED"); !strings.Contains(
		string(a.Body), exceeded) {
		t.Errorf("QU2: got %s, want AWS's sentence", a.Body)
	}
	app.Manifest(t, "v3").Want(t, 404)

	s.push("team/app", second, "v4") // QU3
	s.image("teams/app", "c", "v1")

	set(`{"maxBytes":20000}`) // QU4
	files := s.storedBlobs()
	big := ocitest.Bytes(8, 30_000)
	a := app.Do(t, http.MethodPost, app.Path("/blobs/uploads/?digest="+ocitest.SHA256(big)), big)
	a.WantError(t, http.StatusForbidden, "DENIED")
	location := app.Begin(t)
	app.Do(t, http.MethodPatch, location, big).WantError(t, http.StatusForbidden, "DENIED")
	app.Do(t, http.MethodGet, location, nil).Want(t, 404)
	upload := s.begin("team/app")
	_, err := c.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{RepositoryName: aws.String("team/app"), UploadId: &upload,
		PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(29_999), LayerPartBlob: big})
	if got := codeOf(err); got != "LimitExceededException" {
		t.Errorf("QU4, UploadLayerPart: got %v, want LimitExceededException", err)
	}
	if got := s.storedBlobs(); got != files {
		t.Errorf("QU4: got %d files of blobs, want %d as before", got, files)
	}

	location = app.Begin(t) // QU5
	chunked := func(method, path string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, s.URL+path, io.MultiReader(bytes.NewReader(big)))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("AWS", s.Root(t).Password(t))
		r.Header.Set("Content-Type", "application/octet-stream")
		return s.do(r)
	}
	if got := chunked(http.MethodPatch, location); got.Status != 202 {
		t.Fatalf("QU5, a chunk without a length: got %s", got)
	}
	app.Do(t, http.MethodPut, location+"?digest="+ocitest.SHA256(big), nil).WantError(t, http.StatusForbidden, "DENIED")
	app.Do(t, http.MethodGet, location, nil).Want(t, 404)
	if got := s.storedBlobs(); got != files {
		t.Errorf("QU5: got %d files of blobs, want %d as before", got, files)
	}
	location = app.Begin(t)
	if got := chunked(http.MethodPut, location+"?digest="+ocitest.SHA256(big)); got.Status != 403 || !strings.Contains(got.Body, exceeded) {
		t.Errorf("QU5, a whole layer without a length: got %s", got)
	}
	app.Do(t, http.MethodGet, location, nil).Want(t, 404)
	app.Blob(t, ocitest.SHA256(big)).Want(t, 404)
	s.operator("CollectStorage", &ecrintypes.CollectStorageRequest{}, new(ecrintypes.CollectStorageResponse))
	if got := s.storedBlobs(); got != files {
		t.Errorf("QU5: got %d files of blobs after a collection, want %d as before", got, files)
	}

	set(`{"maxBytes":1000000}`) // QU6
	s.layer("elsewhere", string(big))
	set(`{"prefix":"team","maxBytes":20000}`)
	mount := app.Do(t, http.MethodPost, app.Path("/blobs/uploads/?mount="+ocitest.SHA256(big)+"&from=elsewhere"), nil)
	mount.WantError(t, http.StatusForbidden, "DENIED")
	other := docker.Repo("elsewhere")
	large := ocitest.NewImage(9, 30_000)
	other.Push(t, "v1", large)
	s.callEcrin(s.key, "CopyImage", object("repositoryName", "elsewhere", "imageTag", "v1", "destinationRepositoryName", "team/second")).
		want(t, "QU6", 400, "LimitExceededException", "is 20000 bytes")
	docker.Repo("team/second").Blob(t, ocitest.SHA256(large.Layers[0])).Want(t, 404)

	before := s.quota("team") // QU7
	if _, err := c.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: aws.String("team/app"),
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}}); err != nil {
		t.Fatal(err)
	}
	app.PutManifest(t, "v3", ocitest.ImageType, image.Manifest).Want(t, 201)
	if after := s.quota("team"); after.Images != before.Images || after.Bytes != before.Bytes {
		t.Errorf("QU7: got %+v after a deletion and a push, want the images and bytes of %+v", after, before)
	}
	end := time.Now().Add(time.Hour)
	for range 2 { // what the image leaves unused is first condemned
		if _, _, err := s.Meta().CollectImage(ctx, end); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Meta().CollectHoldings(ctx, end, end); err != nil {
			t.Fatal(err)
		}
	}
	after := s.quota("team")
	if want := before.Bytes - int64(len(`{"seed":"a"}`)); after.Bytes > want {
		t.Errorf("QU7: got %d bytes after a collection, want at most %d", after.Bytes, want)
	}

	var usage ecrintypes.ListRepositoryUsageResponse // QU8
	s.operator("ListRepositoryUsage", &ecrintypes.ListRepositoryUsageRequest{RegistryId: home}, &usage)
	var images, size, repositories int64
	for _, r := range usage.Repositories {
		if strings.HasPrefix(r.RepositoryName, "team/") {
			images, repositories = images+int64(r.Images), repositories+1
			size += r.OwnBytes + r.SharedBytes + r.KeptBytes + r.UnusedBytes
		}
	}
	if after.Images != images || after.Bytes != size || after.Repositories != repositories {
		t.Errorf("QU8: got %+v, want %d repositories, %d images, %d bytes", after, repositories, images, size)
	}

	set(`{"prefix":"elsewhere","maxImages":0,"maxBytes":1}`) // QU9
	other.Manifest(t, "v1").Want(t, 200)
	other.Do(t, http.MethodPost, other.Path("/blobs/uploads/"), nil).WantError(t, http.StatusForbidden, "DENIED")
	set(`{"prefix":"elsewhere","maxImages":10}`)

	const arn = "arn:aws:ecrin::" + home + ":quota/" // QU10
	user := s.user("quotas", rule("Allow", "Action", arn+"team/*", "ecrin:*Quota*"))
	s.callEcrin(user, "PutQuota", `{"prefix":"team/x","maxImages":1}`).want(t, "QU10, its prefix", 200, "", "")
	for operation, body := range map[string]string{"PutQuota": `{"prefix":"team","maxImages":1}`, "DeleteQuota": `{"prefix":"team"}`,
		"DescribeQuotas": `{}`} {
		s.callEcrin(user, operation, body).want(t, "QU10, "+operation, 400, "AccessDeniedException", "on resource: "+arn)
	}
	foreign := s.account(otherAccount)
	s.callEcrin(foreign, "PutQuota", `{"accountId":"`+home+`","maxImages":1}`).want(t, "QU10, another account", 400, "AccessDeniedException",
		"on resource: "+arn)

	most := int64(1) // QU11
	var stored ecrintypes.QuotaResponse
	s.operator("PutQuota", &ecrintypes.PutQuotaRequest{AccountId: otherAccount, MaxRepositories: &most}, &stored)
	s.operator("PutControlPolicy", &ecrintypes.PutControlPolicyRequest{Type: "SERVICE_CONTROL_POLICY", Name: "quotas", AccountId: otherAccount,
		PolicyText: `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":["ecrin:PutQuota","ecrin:DeleteQuota"],"Resource":"*"}}`},
		new(ecrintypes.PutControlPolicyResponse))
	s.callEcrin(foreign, "DeleteQuota", `{}`).want(t, "QU11", 400, "AccessDeniedException", "explicit deny in a service control policy")
	s.send(raw{key: foreign, target: ecrTarget + "CreateRepository", body: `{"repositoryName":"one"}`}).want(t, "QU11", 200, "", "")
	s.send(raw{key: foreign, target: ecrTarget + "CreateRepository", body: `{"repositoryName":"two"}`}).want(t, "QU11", 400,
		"LimitExceededException", exceeded+"account "+otherAccount+" is 1 repositories")

	for _, prefix := range []string{`{}`, `{"prefix":"team"}`, `{"prefix":"team/app/"}`} { // QU12
		s.callEcrin(s.key, "DeleteQuota", prefix).want(t, "QU12", 200, "", "")
	}
	s.callEcrin(s.key, "DeleteQuota", `{}`).want(t, "QU12", 400, "QuotaNotFoundException", "has no quota of the prefix ''")
	for _, body := range []string{`{}`, `{"prefix":"team"}`, `{"maxImages":-1}`, `{"prefix":"UPPER","maxImages":1}`,
		`{"prefix":"/","maxImages":1}`, `{"prefix":"a//b","maxImages":1}`} {
		put(body).want(t, "QU12, "+body, 400, "InvalidParameterException", "")
	}
	if err := create("team/third"); err != nil {
		t.Errorf("QU12: got %v after the quotas were deleted", err)
	}
}

// quota returns the quota of the default account with a prefix.
func (s *server) quota(prefix string) ecrintypes.Quota {
	s.t.Helper()
	var all ecrintypes.DescribeQuotasResponse
	s.operator("DescribeQuotas", &ecrintypes.DescribeQuotasRequest{AccountId: home}, &all)
	for _, q := range all.Quotas {
		if q.Prefix == prefix {
			return q
		}
	}
	s.t.Fatalf("got %+v, want a quota of %q", all.Quotas, prefix)
	return ecrintypes.Quota{}
}
