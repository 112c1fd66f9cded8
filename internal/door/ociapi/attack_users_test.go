package ociapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

var (
	pullActions = []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"}
	pushActions = []string{"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"}
)

// on returns a policy that allows a login and every action of ECR on the repositories.
func on(repositories ...string) string {
	var arns []string
	for _, r := range repositories {
		arns = append(arns, arnOf(r))
	}
	return document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken"}),
		statement("Allow", "Action", []string{"ecr:*"}, arns...))
}

// tell returns the text of an answer without what differs between requests.
func tell(a *ocitest.Answer, replace ...string) string {
	a.Header.Del("Date")
	a.Header.Del("X-Amzn-Requestid")
	a.Header.Del("Location")
	a.Header.Del("Docker-Upload-Uuid")
	a.Header.Del("X-Ecrin-Authorization-Message")
	return strings.NewReplacer(replace...).Replace(fmt.Sprint(a.Status, a.Header, string(a.Body)))
}

// Row 5, for a user with all permissions on one repository: the contents of other repositories are unknown, and the
// answers for other repositories are the same as those for repositories that do not exist.
func TestAttack05UserOfOneRepository(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	im := ocitest.NewImage(1, 1<<20)
	account.CreateRepository(t, "team/secret").Push(t, "v1", im)
	account.CreateRepository(t, "team/app")
	ann := personOf(s, account).user(t, "ann", on("team/app"))
	repo := ann.docker(t).Repo("team/app")
	repo.Push(t, "v1", ocitest.NewImage(2, 10))
	foreign, unknown := ocitest.SHA256(im.Layers[0]), ocitest.SHA256([]byte("unknown"))
	for _, c := range []struct{ method, path, foreign string }{
		{http.MethodHead, "/blobs/%s", foreign}, {http.MethodGet, "/blobs/%s", foreign}, {http.MethodDelete, "/blobs/%s", foreign},
		{http.MethodHead, "/manifests/%s", im.Digest}, {http.MethodGet, "/manifests/%s", im.Digest}, {http.MethodDelete,
			"/manifests/%s", im.Digest},
		{http.MethodGet, "/referrers/%s", im.Digest},
		{http.MethodPost, "/blobs/uploads/?mount=%s", foreign}, {http.MethodPost, "/blobs/uploads/?mount=%s&from=team/secret", foreign},
	} {
		ask := func(d string) string {
			return tell(repo.Do(t, c.method, repo.Path(fmt.Sprintf(c.path, d)), nil), d, "DIGEST", url.QueryEscape(d), "DIGEST")
		}
		if got, want := ask(c.foreign), ask(unknown); got != want {
			t.Errorf("%s %s of a foreign digest: %s; of an unknown digest: %s", c.method, c.path, got, want)
		}
	}
	repo.Blob(t, foreign).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	sameTime(t, s, func(d string) { repo.Do(t, http.MethodHead, repo.Path("/blobs/"+d), nil) }, foreign, unknown)
	sameTime(t, s, func(d string) {
		repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?mount="+d+"&from=team/secret"), nil)
	}, foreign, unknown)
	for _, path := range []string{"/tags/list", "/manifests/v1", "/blobs/" + foreign, "/referrers/" + im.Digest} {
		secret, none := repo.Do(t, http.MethodGet, "/v2/team/secret"+path, nil), repo.Do(t, http.MethodGet, "/v2/team/sekret"+path, nil)
		secret.WantError(t, http.StatusForbidden, "DENIED")
		if got, want := tell(secret, "team/secret", "NAME"), tell(none, "team/sekret", "NAME"); got != want {
			t.Errorf("%s: got %s for a repository without permissions and %s for an unknown one, want the same", path, got, want)
		}
	}
	for operation, members := range map[string][]any{
		"BatchCheckLayerAvailability": {"layerDigests", "LIST"}, "GetDownloadUrlForLayer": {"layerDigest",
			"ONE"}, "BatchGetImage": {"imageIds", "IMAGE"},
	} {
		ask := func(d string) string {
			value := map[string]any{"LIST": []string{d}, "ONE": d, "IMAGE": []any{map[string]string{"imageDigest": d}}}[members[1].(string)]
			return tell(ann.ecr(t, operation, "repositoryName", "team/app", members[0], value), d, "DIGEST")
		}
		f := foreign
		if operation == "BatchGetImage" {
			f = im.Digest
		}
		if got, want := ask(f), ask(unknown); got != want {
			t.Errorf("%s of a foreign digest: %s; of an unknown digest: %s", operation, got, want)
		}
	}
}

// A mount stores a blob in the destination as an upload does, so it needs the three actions of an upload there, whether the
// source is named or not, and whether it holds the blob or not.
func TestMountNeedsTheActionsOfAnUpload(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	d := account.CreateRepository(t, "base").PutBlob(t, ocitest.Bytes(1, 1000))
	account.CreateRepository(t, "app")
	upload := []string{"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"}
	rights := func(actions ...string) string {
		return document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken"}),
			statement("Allow", "Action", []string{"ecr:GetDownloadUrlForLayer"}, arnOf("base")), statement("Allow", "Action", actions, arnOf("app")))
	}
	for who, row := range map[string]struct {
		actions []string
		missing string // "" for a mount that is allowed
	}{
		"begin":                  {upload[:1], upload[1]},
		"begin-and-upload":       {upload[:2], upload[2]},
		"begin-and-complete":     {[]string{upload[0], upload[2]}, upload[1]},
		"all-three":              {upload, ""},
		"upload-and-complete":    {upload[1:], upload[0]},
		"nothing-on-destination": {[]string{"ecr:ListImages"}, upload[0]},
	} {
		repo := root.user(t, who, rights(row.actions...)).docker(t).Repo("app")
		for _, query := range []string{"?mount=" + d + "&from=base", "?mount=" + d, "?mount=" + ocitest.SHA256([]byte(who)) +
			"&from=base", "?mount=" + ocitest.SHA256([]byte(who))} {
			a := repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/"+query), nil)
			switch {
			case row.missing != "" && (a.Status != http.StatusForbidden || !strings.Contains(string(a.Body), row.missing)):
				t.Errorf("%s, %s: got %d %s, want 403 for %s", who, query, a.Status, a.Body, row.missing)
			case row.missing == "" && a.Status != http.StatusCreated && a.Status != http.StatusAccepted:
				t.Errorf("%s, %s: got %d %s, want a mount or an upload", who, query, a.Status, a.Body)
			}
		}
	}
}

// Row 6: the caller of a mount needs the permission to read the source, by all policies of the same session.
func TestAttack06MountBySession(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	d := account.CreateRepository(t, "base").PutBlob(t, ocitest.Bytes(1, 1000))
	account.CreateRepository(t, "app")
	root.role(t, "deploy", on("base", "app"))
	caller := root.user(t, "caller", document(statement("Allow", "Action", []string{"sts:AssumeRole"})))
	push := statement("Allow", "Action", append([]string{"ecr:GetAuthorizationToken"}, pushActions...), arnOf("app"), "*")
	onApp := document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken"}),
		statement("Allow", "Action", []string{"ecr:*"}, arnOf("app")))
	people := []struct {
		who     string
		person  person
		mounted bool
	}{
		{"a user with both", root.user(t, "both", on("base", "app")), true},
		{"a user without the source", root.user(t, "app", on("app")), false},
		{"a user who may push to the source", root.user(t, "push", document(push)), false},
		{"a user who may look into the source only", root.user(t, "look",
			document(push, statement("Allow", "Action", []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"}))), false},
		{"a user with a deny on the source", root.user(t, "denied", document(statement("Allow", "Action", []string{"ecr:*"}),
			statement("Deny", "Action", []string{"ecr:GetDownloadUrlForLayer"}, arnOf("base")))), false},
		{"a session of a role with both", caller.assume(t, "deploy", "wide", ""), true},
		{"a session limited to the destination", caller.assume(t, "deploy", "narrow", onApp), false},
	}
	for i, p := range people {
		repo := p.person.docker(t).Repo("app")
		for _, from := range []string{"&from=base", ""} {
			a := repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?mount="+d+from), nil)
			held := repo.Do(t, http.MethodHead, repo.Path("/blobs/"+d), nil).Status
			if want := map[bool]int{true: 201, false: 202}[p.mounted]; a.Status != want {
				t.Errorf("%s, mount%s: got %d %s, want %d", p.who, from, a.Status, a.Body, want)
			}
			if p.mounted {
				repo.Do(t, http.MethodDelete, repo.Path("/blobs/"+d), nil).Want(t, http.StatusAccepted)
			} else if held == http.StatusOK {
				t.Errorf("%s, mount%s: the destination holds the blob, want none", p.who, from)
			}
		}
		if i == 1 { // the policy of the repository can grant the permission instead
			root.ecr(t, "SetRepositoryPolicy", "repositoryName", "base", "policyText",
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+homeID+
					`:user/app"},"Action":"ecr:GetDownloadUrlForLayer"}]}`).Want(t, http.StatusOK)
			repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?mount="+d+"&from=base"), nil).Want(t, http.StatusCreated)
			root.ecr(t, "DeleteRepositoryPolicy", "repositoryName", "base").Want(t, http.StatusOK)
			repo.Do(t, http.MethodDelete, repo.Path("/blobs/"+d), nil).Want(t, http.StatusAccepted)
		}
	}
}

// Row 8: permissions to pull and push do not permit a deletion, in either API, and a permission to delete does not
// permit a push.
func TestAttack08DeleteIsNotPush(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	owner := account.CreateRepository(t, "app")
	im := ocitest.NewImage(1, 10)
	owner.Push(t, "v1", im)
	owner.Push(t, "v2", im)
	pusher := root.user(t, "pusher", may(append(pushActions, pullActions...)...))
	repo := pusher.docker(t).Repo("app")
	for _, path := range []string{"/manifests/v1", "/manifests/" + im.Digest, "/blobs/" + ocitest.SHA256(im.Layers[0])} {
		repo.Do(t, http.MethodDelete, repo.Path(path), nil).WantError(t, http.StatusForbidden, "DENIED")
	}
	ids := []any{map[string]string{"imageTag": "v1"}}
	if a := pusher.ecr(t, "BatchDeleteImage", "repositoryName", "app", "imageIds", ids); a.Status != 400 ||
		!strings.Contains(string(a.Body), "AccessDeniedException") {
		t.Errorf("BatchDeleteImage by a caller that may push: got %d %s, want a denial", a.Status, a.Body)
	}
	if a := pusher.ecr(t, "DeleteRepository", "repositoryName", "app", "force", true); a.Status != 400 ||
		!strings.Contains(string(a.Body), "AccessDeniedException") {
		t.Errorf("DeleteRepository by a caller that may push: got %d %s, want a denial", a.Status, a.Body)
	}
	repo.Push(t, "v3", im)
	deleter := root.user(t, "deleter", may("ecr:BatchDeleteImage")).docker(t).Repo("app")
	deleter.Do(t, http.MethodPost, deleter.Path("/blobs/uploads/"), nil).WantError(t, http.StatusForbidden, "DENIED")
	deleter.PutManifest(t, "v4", ocitest.ImageType, im.Manifest).WantError(t, http.StatusForbidden, "DENIED")
	deleter.Do(t, http.MethodDelete, deleter.Path("/manifests/v3"), nil).Want(t, http.StatusAccepted)
	owner.Manifest(t, "v1").Want(t, http.StatusOK)
	owner.Manifest(t, "v4").Want(t, http.StatusNotFound)
}

// Row 9: the permission to create a repository, or to push some tags, does not permit moving another tag: not latest,
// not by a push by digest, and not by the other API.
func TestAttack09TagsOfOthers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	owner := account.CreateRepository(t, "app")
	im, other := ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	owner.Push(t, "latest", im)
	owner.PushBlobs(t, other)
	creator := root.user(t, "creator", may("ecr:CreateRepository", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart",
		"ecr:CompleteLayerUpload", "ecr:BatchGetImage"))
	put := `{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*","Condition":{"StringLike":{"ecrin:ImageTag":"dev-*"}}}`
	dev := root.user(t, "dev", document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken"}), put))
	ban := `{"Effect":"Deny","Action":["ecr:PutImage","ecr:BatchDeleteImage"],"Resource":"*","Condition":{"ForAnyValue:StringEquals":{"ecrin:ImageTag":"latest"}}}`
	banned := root.user(t, "banned", document(statement("Allow", "Action", []string{"ecr:*"}), ban))
	for who, p := range map[string]person{"a user that may create": creator, "a user that may push dev tags": dev,
		"a user that may not push latest": banned} {
		repo := p.docker(t).Repo("app")
		for _, path := range []string{"/manifests/latest", "/manifests/" + other.Digest + "?tag=latest",
			"/manifests/" + other.Digest + "?tag=dev-1&tag=latest", "/manifests/dev-1?tag=latest"} {
			a := repo.Do(t, http.MethodPut, repo.Path(path), other.Manifest, "Content-Type", ocitest.ImageType)
			if a.Status != http.StatusForbidden {
				t.Errorf("%s: PUT %s: got %d %s, want 403", who, path, a.Status, a.Body)
			}
		}
		a := p.ecr(t, "PutImage", "repositoryName", "app", "imageManifest", string(other.Manifest), "imageTag", "latest")
		if a.Status != 400 || !strings.Contains(string(a.Body), "AccessDeniedException") {
			t.Errorf("%s: PutImage: got %d %s, want a denial", who, a.Status, a.Body)
		}
		owner.Manifest(t, "latest").Want(t, 200).WantHeader(t, "Docker-Content-Digest", im.Digest)
		owner.Manifest(t, "dev-1").Want(t, 404)
	}
	// Nor can an image to which latest leads be deleted by its digest, in either API.
	repo := banned.docker(t).Repo("app")
	owner.PutManifest(t, "v1", ocitest.ImageType, im.Manifest).Want(t, 201)
	for _, path := range []string{"/manifests/latest", "/manifests/" + im.Digest} {
		repo.Do(t, http.MethodDelete, repo.Path(path), nil).WantError(t, http.StatusForbidden, "DENIED")
	}
	for _, id := range []map[string]string{{"imageTag": "latest"}, {"imageDigest": im.Digest},
		{"imageDigest": im.Digest, "imageTag": "latest"}} {
		a := banned.ecr(t, "BatchDeleteImage", "repositoryName", "app", "imageIds", []any{map[string]string{"imageTag": "none"}, id})
		if a.Status != 400 || !strings.Contains(string(a.Body), "AccessDeniedException") {
			t.Errorf("BatchDeleteImage of %v: got %d %s, want a denial", id, a.Status, a.Body)
		}
	}
	owner.Manifest(t, "latest").Want(t, 200)
	dev.docker(t).Repo("app").PutManifest(t, "dev-1", ocitest.ImageType, other.Manifest).Want(t, 201)
	repo.Do(t, http.MethodDelete, repo.Path("/manifests/v1"), nil).Want(t, 202)
}

// Row 12: an upload is unknown to other users, the root user, other sessions of the same role, and a new user with the
// name of a deleted user, in both APIs.
func TestAttack12UploadsOfUsers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	account.CreateRepository(t, "app")
	account.CreateRepository(t, "other")
	root.role(t, "deploy", may("ecr:*"))
	ann, bea := root.user(t, "ann", may("ecr:*", "sts:*")), root.user(t, "bea", may("ecr:*", "sts:*"))
	federated := bea.as(bea.sts(t, "GetFederationToken", "Name", "ann", "Policy", may("ecr:*")))
	content := ocitest.Bytes(1, 2000)
	d := ocitest.SHA256(content)
	others := map[string]person{
		"root": root, "another user": bea, "a federated user of the same name": federated,
		"a role session": ann.assume(t, "deploy", "two", ""), "a role session named as the user": ann.assume(t, "deploy", "ann", ""),
	}
	refused := func(whose, who string, p person, id string) {
		t.Helper()
		for _, repository := range []string{"app", "other"} {
			repo := p.docker(t).Repo(repository)
			for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
				a := repo.Do(t, method, repo.Path("/blobs/uploads/"+id+"?digest="+d), content[1000:])
				if a.Status != http.StatusNotFound || !strings.Contains(string(a.Body), "BLOB_UPLOAD_UNKNOWN") {
					t.Errorf("upload of %s: %s by %s in %s: got %d %s, want 404", whose, method, who, repository, a.Status, a.Body)
				}
			}
			for operation, more := range map[string][]any{
				"UploadLayerPart":     {"partFirstByte", 1000, "partLastByte", 1999, "layerPartBlob", content[1000:]},
				"CompleteLayerUpload": {"layerDigests", []string{d}},
			} {
				a := p.ecr(t, operation, append(more, "repositoryName", repository, "uploadId", id)...)
				if a.Status != 400 || !strings.Contains(string(a.Body), "UploadNotFoundException") {
					t.Errorf("upload of %s: %s by %s in %s: got %d %s", whose, operation, who, repository, a.Status, a.Body)
				}
			}
		}
	}
	one := ann.assume(t, "deploy", "one", "")
	for whose, p := range map[string]person{"ann": ann, "a role session": one} {
		repo := p.docker(t).Repo("app")
		location := repo.Begin(t)
		repo.Do(t, http.MethodPatch, location, content[:1000]).Want(t, http.StatusAccepted)
		for who, other := range others {
			refused(whose, who, other, location[strings.LastIndex(location, "/")+1:])
		}
		repo.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-999")
		again := p.docker(t).Repo("app") // the same principal continues with a new password
		again.Do(t, http.MethodPut, location+"?digest="+d, content[1000:]).Want(t, http.StatusCreated)
		again.Do(t, http.MethodDelete, again.Path("/blobs/"+d), nil).Want(t, http.StatusAccepted)
	}
	location := ann.docker(t).Repo("app").Begin(t)
	root.deleteUser(t, "ann", ann.keys.AccessKeyID)
	refused("a deleted user", "a new user with the same name", root.user(t, "ann", may("ecr:*")),
		location[strings.LastIndex(location, "/")+1:])
}
