package console_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// wantTag fails the test unless a tag names a digest; "" for none.
func wantTag(t *testing.T, repo ocitest.Repo, tag, digest string) {
	t.Helper()
	m := repo.Manifest(t, tag)
	got := ""
	if m.Status == http.StatusOK {
		got = ocitest.SHA256(m.Body)
	}
	if got != digest {
		t.Errorf("the tag %s names %q, want %q", tag, got, digest)
	}
}

// An image that is restored gets back the tags that were deleted with it, except those that another image has by then. A tag whose image
// has stayed is given back from its line in the history.
func TestRestoreGivesTagsBack(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	one, two := ocitest.NewImage(1, 100), ocitest.NewImage(2, 100)
	first, second := ocitest.SHA256(one.Manifest), ocitest.SHA256(two.Manifest)
	for _, tag := range []string{"1.0", "latest", "stable"} {
		repo.Push(t, tag, one)
	}
	repo.Push(t, "2.0", two)
	repo.Push(t, "next", two)
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	history := at + "/-/history"
	if g := v.post(at, "do", "delete-these", "pick", "1.0", "pick", "latest", "pick", "stable"); g.status != http.StatusSeeOther {
		t.Fatalf("deleting: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at), "3 tags were deleted.", `href="`+history+`"`)
	repo.Push(t, "latest", two)
	has(t, v.page(history), "<bdi>1.0</bdi></span> <span", "another image has 1 tag now")
	if g := v.post(history, "digest", first); g.status != http.StatusSeeOther {
		t.Fatalf("restoring: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(history), "The image was restored with the tags 1.0, stable. Another image has the tag latest now.")
	wantTag(t, repo, "1.0", first)
	wantTag(t, repo, "stable", first)
	wantTag(t, repo, "latest", second)

	v.post(at, "do", "delete-these", "pick", "next")
	button := regexp.MustCompile(`name="digest" value="([^"]+)"><button[^>]* name="tag" value="next">Give back`)
	form := button.FindStringSubmatch(v.page(history))
	if form == nil || form[1] != second {
		t.Fatalf("the history does not offer to give the tag back: %v", form)
	}
	for _, said := range []string{"The tag next was given back", "The tag next has moved since. Nothing was changed."} {
		if g := v.post(history, "digest", second, "tag", "next"); g.status != http.StatusSeeOther {
			t.Fatalf("giving back: got %d\n%s", g.status, g.body)
		}
		has(t, v.page(history), said)
	}
	wantTag(t, repo, "next", second)

	v.post(at, "do", "delete-these", "pick", "1.0", "pick", "stable")
	if g := v.post(history, "digest", first, "tag", "stable"); g.status != http.StatusSeeOther {
		t.Fatalf("giving back a tag of a deleted image: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(history), "The image was restored with the tag stable.")
	wantTag(t, repo, "stable", first)
	wantTag(t, repo, "1.0", "")

	v.post(at, "do", "delete-these", "pick", "none")
	page := v.page(at)
	if has(t, page, "Nothing was deleted. 1 could not be"); strings.Contains(page, ">Restore<") {
		t.Error("Restore is offered where nothing was deleted")
	}
	half := visit(t, s).in(userWith(t, s, root, "half", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["ecr:DescribeRepositories","ecrin:ListTagHistory","ecrin:ListDeletedImages"],"Resource":"*"}]}`))
	if page := half.page(history); strings.Contains(page, ">Give back<span") {
		t.Error("a tag is offered to who may not put it")
	} else {
		has(t, page, "You need ecr:PutImage")
	}
	if g := half.post(history, "digest", first, "tag", "1.0"); g.status != http.StatusForbidden {
		t.Errorf("giving back by who may not: got %d", g.status)
	}
}

// Images are kept from expiry by each tag by itself: a tag that was deleted meanwhile does not hide what was done. Images are counted, not
// their tags.
func TestKeepImagesOfTags(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 100)
	repo.Push(t, "t001", im)
	repo.Push(t, "t002", im)
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	for _, tt := range []struct {
		tags []string
		said string
	}{
		{[]string{"t001", "zzz"}, "1 image is kept from expiry. Nothing was done for the tag zzz: "},
		{[]string{"t001", "t002"}, "1 image is kept from expiry."},
	} {
		form := []string{"do", "pin"}
		for _, tag := range tt.tags {
			form = append(form, "pick", tag)
		}
		if g := v.post(at, form...); g.status != http.StatusSeeOther {
			t.Errorf("%q: got %d\n%s", tt.tags, g.status, g.body)
		}
		has(t, v.page(at), tt.said)
	}
	if g := v.post(at, "do", "pin", "pick", "zzz"); g.status != http.StatusNotFound || !strings.Contains(g.body, "Nothing was changed.") {
		t.Errorf("a tag that is not there alone: got %d", g.status)
	}
}

// The bin has pages by a key of its own, beside those of the moves.
func TestBinHasPages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	form := []string{"do", "delete-these"}
	for i := range 60 {
		tag := fmt.Sprintf("t%02d", i)
		repo.Push(t, tag, ocitest.NewImage(uint64(i), 100))
		form = append(form, "pick", tag)
	}
	if g := v.post(at, form...); g.status != http.StatusSeeOther {
		t.Fatalf("deleting: got %d\n%s", g.status, g.body)
	}
	seen := map[string]bool{}
	rows := []int{50, 10}
	for next := at + "/-/history"; next != ""; {
		page := v.page(next)
		if n := strings.Count(page, "<"+"/"); n > 3000 {
			t.Errorf("the page has %d elements", n)
		}
		_, bin, _ := strings.Cut(page, `id="h-bin"`)
		digests := regexp.MustCompile(`name="digest" value="([^"]+)">Restore`).FindAllStringSubmatch(bin, -1)
		if len(rows) == 0 || len(digests) != rows[0] {
			t.Fatalf("%s has %d deleted images", next, len(digests))
		}
		has(t, bin, fmt.Sprintf("%d of 60 deleted images", rows[0]))
		rows = rows[1:]
		for _, d := range digests {
			if seen[d[1]] {
				t.Fatalf("%s is on two pages", d[1])
			}
			seen[d[1]] = true
		}
		next = nextOf(bin)
	}
	if len(seen) != 60 {
		t.Errorf("the pages have %d deleted images, want 60", len(seen))
	}
	has(t, v.page(at+"/-/history?bin=wrong"), "0 of 60 deleted images", "First")
}
