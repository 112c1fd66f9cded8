package console_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Looking at an image is no pull, and shows its layers, its config and what refers to it.
func TestLookingIsNoPull(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	image := ocitest.NewImage(1, 3000, 500)
	root.CreateRepository(t, "team/app").Push(t, "1.0", image)
	v := visit(t, s).in(root)
	page := v.page(base + "/repositories/team/app/-/tags/1.0")
	digest := ocitest.SHA256(image.Manifest)
	has(t, page, digest, "Layers", "3.00 kB", "500 B", "linux/amd64")
	has(t, v.page(base+"/repositories/team/app/-/images/"+digest), "1.0")
	has(t, v.page(base+"/repositories/team/app/-/images"), digest[7:19], "1.0")
	has(t, v.page(base+"/repositories/team/app?open=1.0"), "One image, and nothing refers to it.")
	out, err := root.ECR().DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("team/app")})
	if err != nil || out.ImageDetails[0].LastRecordedPullTime != nil {
		t.Errorf("got %v, %v: the pages counted as pulls", out.ImageDetails[0].LastRecordedPullTime, err)
	}
	for _, wrong := range []string{"tags/none", "images/sha256:" + strings.Repeat("0", 64), "images/x", "tags/%3Cscript%3E"} {
		if g := v.get(base + "/repositories/team/app/-/" + wrong); g.status != http.StatusNotFound && g.status != http.StatusBadRequest ||
			strings.Contains(g.body, "<script>") {
			t.Errorf("%s: got %d", wrong, g.status)
		}
	}
}

// Tags are deleted after their effect was shown, and their image comes back from the bin.
func TestDeleteTagsAndRestore(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	image := ocitest.NewImage(1, 100)
	repo.Push(t, "1.0", image)
	repo.Push(t, "latest", image)
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	g := v.post(at, "do", "delete", "pick", "latest")
	has(t, g.body, "Every image keeps another tag")
	g = v.post(at, "do", "delete", "pick", "latest", "pick", "1.0", "pick", "none")
	has(t, g.body, "loses its last tag", "Not there any more", "none")
	if got := repo.Manifest(t, "1.0").Status; got != 200 {
		t.Fatalf("the preview has deleted: got %d", got)
	}
	if g := v.post(at, "do", "delete-these", "pick", "latest", "pick", "1.0"); g.status != http.StatusSeeOther || g.location != at {
		t.Fatalf("got %d to %s\n%s", g.status, g.location, g.body)
	}
	has(t, v.page(at), "2 tags were deleted.", "No tags yet")
	if page := v.page(at); strings.Contains(page, "were deleted") {
		t.Error("what was done is said twice")
	}
	digest := ocitest.SHA256(image.Manifest)
	has(t, v.page(at+"/-/history"), digest[7:19], "Restore")
	if g := v.post(at+"/-/history", "digest", digest); g.status != http.StatusSeeOther {
		t.Fatalf("restoring: got %d\n%s", g.status, g.body)
	}
	if got := repo.Manifest(t, digest).Status; got != 200 {
		t.Errorf("after the restoration: got %d", got)
	}
}

// A policy that another request has set since the page was sent is not overwritten; the change is shown against the one in force.
func TestPolicyIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app/-/permissions"
	const mine = `{"Version":"2012-10-17","Statement":[{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`
	if g := v.post(at, "do", "grant-now", "principal", "111122223333", "permission", "PULL"); g.status != http.StatusBadRequest &&
		g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	if g := v.post(at, "do", "save", "text", mine, "seen", strings.Repeat("0", 64)); g.status != http.StatusConflict {
		t.Errorf("got %d, want a conflict\n%s", g.status, g.body)
	}
	out, err := root.ECR().GetRepositoryPolicy(t.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: aws.String("team/app")})
	if err == nil && strings.Contains(aws.ToString(out.PolicyText), "Mine") {
		t.Error("the policy of another request was overwritten")
	}
	has(t, v.post(at, "do", "check", "text", mine).body, "Mine", "everyone", "Warning.")
	has(t, v.post(at, "do", "check", "text", "{\n \"Statement\": [}").body, "2:", "Error.", "why-save")
}

// Names, labels, policies and errors with markup are shown as text.
func TestTextsOfOthersAreNoMarkup(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	v := visit(t, s).in(root)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	for what, page := range map[string]string{
		"search":     v.get(base + "/search?find=" + strings.ReplaceAll(evil, " ", "%20")).body,
		"filter":     v.get(base + "/repositories?q=" + strings.ReplaceAll(evil, " ", "%20")).body,
		"sort":       v.get(base + "/repositories?sort=" + strings.ReplaceAll(evil, " ", "%20")).body,
		"create":     v.post(base+"/repositories", "name", evil).body,
		"policy":     v.post(base+"/repositories/team/app/-/permissions", "do", "check", "text", evil).body,
		"grant":      v.post(base+"/repositories/team/app/-/permissions", "do", "grant", "principal", evil).body,
		"lifecycle":  v.post(base+"/repositories/team/app/-/lifecycle", "do", "preview", "text", evil).body,
		"simulate":   v.get("/console/000000000000/access/simulate?action=ecr:PutImage&principal=" + strings.ReplaceAll(evil, " ", "%20")).body,
		"role":       v.post("/console/switch-role", "role", evil).body,
		"tags":       v.post(base+"/repositories/team/app", "do", "delete", "pick", evil).body,
		"no page":    v.get("/console/" + strings.ReplaceAll(strings.ReplaceAll(evil, " ", "%20"), "/", "%2F")).body,
		"repository": v.get(base + "/repositories/" + strings.ReplaceAll(strings.ReplaceAll(evil, " ", "%20"), "/", "%2F")).body,
	} {
		if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") || page == "" {
			t.Errorf("%s: the page has markup of others:\n%s", what, page)
		}
	}
}

// What a repository is made with and set to: tags that move, scanning, protection, tags of the repository. Texts of others stay texts.
func TestSettingsOfARepository(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	if g := v.post(base+"/repositories", "name", "team/app", "mutability", "IMMUTABLE", "except", "dev-* latest", "scan", "yes",
		"key", "group",
		"value", "red"); g.status != http.StatusSeeOther {
		t.Fatalf("create: got %d\n%s", g.status, g.body)
	}
	at := base + "/repositories/team/app/-/settings"
	has(t, v.page(at), `value="dev-* latest"`, `value="IMMUTABLE" selected`, `name="scan" value="yes" checked`, "<bdi>red</bdi>", "AES256",
		`value="NONE" selected`, "arn:aws:ecr:us-east-1:000000000000:repository/team/app")
	for _, set := range [][]string{
		{"do", "mutability", "mutability", "MUTABLE", "except", ""},
		{"do", "scanning"},
		{"do", "protection", "protection", "REPOSITORY_AND_IMAGES"},
		{"do", "untag", "key", "group"},
		{"do", "tag", "key", "owner", "value", "+ @home: /x=_."},
		{"do", "tag", "key", "\"><script>alert(1)</script>", "value", "\"><script>alert(2)</script>"},
	} {
		if g := v.post(at, set...); g.status != http.StatusSeeOther {
			t.Errorf("%q: got %d\n%s", set, g.status, g.body)
		}
	}
	page := v.page(at)
	has(t, page, `value="REPOSITORY_AND_IMAGES" selected`, "<bdi>owner</bdi>", "<bdi>&#43; @home: /x=_.</bdi>")
	if strings.Contains(page, "<script>alert") || strings.Contains(page, `value="IMMUTABLE" selected`) || strings.Contains(page, " checked") ||
		strings.Contains(page, "<bdi>group</bdi>") {
		t.Errorf("the settings of before are still there:\n%s", page)
	}
	for _, wrong := range [][]string{
		{"do", "mutability", "mutability", "\"><script>alert(1)</script>"},
		{"do", "protection", "protection", "ALL"},
		{"do", "tag", "key", "", "value", "x"},
	} {
		if g := v.post(at, wrong...); g.status != http.StatusBadRequest || strings.Contains(g.body, "<script>alert") {
			t.Errorf("%q: got %d\n%s", wrong, g.status, g.body)
		}
	}
	if g := v.post(base+"/repositories", "name", "Wrong", "mutability", "IMMUTABLE", "except", "x-*", "key",
		"k1"); g.status != http.StatusBadRequest ||
		!strings.Contains(g.body, `value="x-*"`) || !strings.Contains(g.body, `value="k1"`) || !strings.Contains(g.body, `value="Wrong"`) {
		t.Errorf("a form that was refused has lost what was typed: %d\n%s", g.status, g.body)
	}
	key, secret := newUser(t, s, root, "reader", "ecr:DescribeRepositories")
	half := visit(t, s)
	half.signIn(key, secret)
	has(t, half.page(at), "ecrin:GetRepositoryProtection", "ecr:ListTagsForResource", "You need ecr:TagResource",
		"You need ecr:PutImageTagMutability")
	for _, set := range [][]string{{"do", "untag", "key", "owner"}, {"do", "scanning", "scan", "yes"}, {"do", "protection", "protection",
		"NONE"}} {
		if g := half.post(at, set...); g.status != http.StatusForbidden {
			t.Errorf("%q by who may not: got %d", set, g.status)
		}
	}
}

// Settings are saved, and the deletion of a repository needs its name.
func TestSettingsAndDeletion(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	for i, tag := range []string{"1", "2", "3"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(i), 100))
	}
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app/-/"
	if g := v.post(at+"settings", "mutability", "IMMUTABLE", "except", "dev-*"); g.status != http.StatusSeeOther {
		t.Errorf("settings: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at+"settings"), "dev-*", "immutable")
	if g := v.post(at+"delete", "name", "team/ap"); g.status != http.StatusBadRequest || repositories(t, root) != 1 {
		t.Errorf("a wrong name: got %d", g.status)
	}
	if g := v.post(at+"delete", "name", "team/app"); g.status != http.StatusSeeOther || repositories(t, root) != 0 {
		t.Errorf("the name: got %d\n%s", g.status, g.body)
	}
}

// What is typed into the filter is never an error: capitals are found, and what no name can have shows all with a note.
func TestFilterTakesAnyText(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "V1_Rel", ocitest.NewImage(1, 100))
	v := visit(t, s).in(root)
	has(t, v.page(base+"/repositories?q=APP"), ">app<", "1 repository")
	for _, odd := range []string{"a b", "é", "%", "by:root", canary} {
		page := v.page(base + "/repositories?q=" + url.QueryEscape(odd))
		if has(t, page, "No name of a repository can have", ">app<", "1 of 1 repository"); strings.Contains(page, "<script>alert") {
			t.Errorf("%q stands in the page as it is", odd)
		}
	}
	has(t, v.page(base+"/repositories?q=none"), "Nothing matches", "The only one does not match.")
	root.CreateRepository(t, "second")
	has(t, v.page(base+"/repositories?q=none"), "None of the 2 matches.")
	page := v.page(base + "/search?find=V1_R")
	if has(t, page, "V1_Rel"); strings.Contains(page, "was not accepted") {
		t.Error("the search has an error beside what it has found")
	}
	has(t, v.page(base+"/search?find=a+b"), "Nothing found")
}

// The images of an index are shown with their own size, not with that of their manifest.
func TestImagesOfAnIndexHaveTheirSize(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo, im := root.CreateRepository(t, "team/app"), ocitest.NewImage(1, 123_000)
	repo.Push(t, im.Digest, im)
	const kind = "application/vnd.oci.image.index.v1+json"
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": kind, "manifests": []any{map[string]any{
		"mediaType": ocitest.ImageType, "digest": im.Digest, "size": len(im.Manifest), "platform": map[string]string{"os": "linux",
			"architecture": "arm64"}}}})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, "1.0", kind, index).Want(t, 201)
	has(t, visit(t, s).in(root).page(base+"/repositories/team/app?open=1.0"), "linux/arm64", "held by its index", "123 kB", "never")
}

// A form that is refused has what was typed.
func TestRefusedFormsKeepWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app/-/settings"
	if g := v.post(at, "do", "mutability", "mutability", "IMMUTABLE", "except", ""); g.status != http.StatusSeeOther {
		t.Fatalf("settings: got %d\n%s", g.status, g.body)
	}
	_, customer := shop(t, v)
	for _, tt := range []struct {
		at    string
		form  []string
		typed []string
	}{
		{at, []string{"do", "mutability", "mutability", "MUTABLE", "except", "keepme {{bad"}, []string{`value="keepme {{bad"`}},
		{at, []string{"do", "tag", "key", "aws:bad", "value", "vv9"}, []string{`value="aws:bad"`, `value="vv9"`}},
		{customer, []string{"do", "threshold", "size", "12 zz"}, []string{`value="12 zz"`}},
	} {
		g := v.post(tt.at, tt.form...)
		if g.status != http.StatusBadRequest {
			t.Errorf("%q: got %d", tt.form, g.status)
		}
		if has(t, g.body, tt.typed...); tt.form[1] == "mutability" && strings.Contains(g.body, `value="IMMUTABLE" selected`) {
			t.Error("the page has the choice that is stored, not the one that was sent")
		}
	}
}
