package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Pulls are on the pages of an image, its tag and its repository, as far as the person may see them, and each layer says where else it is.
func TestWhoPulledAndSharedLayers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	shared := ocitest.NewImage(1, 3000)
	digest := ocitest.SHA256(shared.Manifest)
	for _, repo := range []string{"team/app", "team/web", "secret/canary"} {
		root.CreateRepository(t, repo).Push(t, "1.0", shared)
	}
	root.CreateRepository(t, "team/own").Push(t, "1.0", ocitest.NewImage(2, 100))
	reg, day := s.Registry(), time.Now().UTC().Truncate(24*time.Hour)
	var pulls []meta.ImagePull
	for i := range 6 {
		pulls = append(pulls, meta.ImagePull{Registry: reg, Repository: "team/app", Digest: digest, Day: day, At: time.Now(),
			Principal: fmt.Sprintf("arn:aws:iam::000000000000:user/node-%d", i), Tag: "1.0", Pulls: int64(10 * (i + 1))})
	}
	pulls = append(pulls, meta.ImagePull{Registry: reg, Repository: "team/app", Digest: digest, Day: day, At: time.Now(), Pulls: 7},
		meta.ImagePull{Registry: reg, Day: day, At: time.Now(), Pulls: 3})
	must(t, s.Meta().AddImagePulls(t.Context(), pulls))
	key := func(kind meta.UsageKind, at time.Time, subject string) meta.UsageKey {
		return meta.UsageKey{Account: reg.Account, Kind: kind, Start: at, Region: reg.Region.String(), Subject: subject}
	}
	must(t, s.Meta().AddActivity(t.Context(), []meta.UsageRow{
		{UsageKey: key(meta.ByRepository, day, "team/app"), Activity: meta.Activity{Pulls: 41234}},
		{UsageKey: key(meta.ByRepository, day.AddDate(0, 0, -29), "team/app"), Activity: meta.Activity{Pulls: 1}},
		{UsageKey: key(meta.ByRepository, day.AddDate(0, 0, -31), "team/app"), Activity: meta.Activity{Pulls: 100000}},
		{UsageKey: key(meta.ByTag, day, "team/app:1.0"), Activity: meta.Activity{Pulls: 567}}}))
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	has(t, v.page(base+"/repositories"), "41,235 <svg", `class="spark"`, "M1 16V", "4 of 4 repositories")
	tags := v.page(at + "?open=1.0")
	has(t, tags, "567 <svg", "Who pulled it", "user/node-5", "and 2 other principals", "7 pulls more", "3 pulls of this account")
	if strings.Contains(tags, "user/node-1") {
		t.Error("an open row shows more than four principals")
	}
	image := v.page(at + "/-/tags/1.0")
	has(t, image, "Who pulled it", "user/node-0", "60", "ecrin image pulls", "<summary>3</summary>", "secret/canary", "in other images too")
	has(t, v.page(base+"/repositories/team/own/-/tags/1.0"), "only this one", "Nobody has pulled it", "3 pulls of this account")

	half := visit(t, s).in(userWith(t, s, root, "half", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["ecr:*","ecrin:ReadImage","ecrin:ListImageLayers"],"Resource":"arn:aws:ecr:*:*:repository/team/*"},
		{"Effect":"Allow","Action":"ecrin:SearchRepositories","Resource":"*"},
		{"Effect":"Allow","Action":"ecrin:GetUsageHistory","Resource":"arn:aws:ecr:*:*:repository/team/web"}]}`))
	page := half.page(at + "/-/tags/1.0")
	has(t, page, "ecrin:ListImagePulls", "<summary>2</summary>", "team/web")
	list := half.page(base + "/repositories")
	has(t, list, "You need ecrin:GetUsageHistory", "0 <svg")
	if strings.Contains(page+list, "canary") || strings.Contains(page+list, "node-0") || strings.Contains(list, "41,235") {
		t.Errorf("the page shows what the person may not see:\n%s\n%s", page, list)
	}
	if strings.Contains(list, "3 of 4") || strings.Contains(list, "of 4 rep") {
		t.Error("the page counts repositories that the person may not see")
	}
	blind := visit(t, s).in(userWith(t, s, root, "blind", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["ecr:*","ecrin:ReadImage"],"Resource":"arn:aws:ecr:*:*:repository/team/*"}]}`))
	has(t, blind.page(at+"/-/tags/1.0"), "ecrin:ListImageLayers", "ecrin:ListImagePulls")
}

// A repository with more tags than can be sorted shows those that were pushed last first, and finds the others by their names.
func TestVeryManyTags(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	im := ocitest.NewImage(1, 100)
	root.CreateRepository(t, "team/app").Push(t, "first", im)
	repo, err := s.Meta().Repository(t.Context(), s.Registry(), name.MustRepo("team/app"))
	must(t, err)
	m, err := manifest.Parse(im.Manifest, "")
	must(t, err)
	var tags []string
	for i := range 2100 {
		tags = append(tags, fmt.Sprintf("build-%04d", i))
	}
	must(t, s.Meta().PutImage(t.Context(), repo, metatest.As(meta.Put{Manifest: m, Body: im.Manifest,
		Digest:    metatest.Digest(string(im.Manifest)),
		Principal: metatest.Principal}, tags...)))
	root.Docker(t).Repo("team/app").Push(t, "newest", ocitest.NewImage(2, 100))
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	page := v.page(at)
	has(t, page, ">newest<", "last pushed first", ":newest")
	if strings.Contains(page, "first</bdi>") {
		t.Error("the first page has the tag that sorts last")
	}
	seen := map[string]bool{}
	for next := at; next != ""; {
		page := v.page(next)
		for _, m := range strings.Split(page, `name="pick" value="`)[1:] {
			tag, _, _ := strings.Cut(m, `"`)
			if seen[tag] {
				t.Fatalf("the tag %s is on two pages", tag)
			}
			seen[tag] = true
		}
		next = nextOf(page)
	}
	if len(seen) != 2102 {
		t.Errorf("the pages have %d tags, want 2102", len(seen))
	}
	found := v.page(at + "?q=209")
	has(t, found, "build-0209", "build-2099", "by name")
	for _, none := range []string{"zzz", canary, "*", "[", "é"} {
		g := v.get(at + "?q=" + url.QueryEscape(none))
		if g.status != http.StatusOK || !strings.Contains(g.body, "Nothing matches") && none != "*" || strings.Contains(g.body, "<script>alert") {
			t.Errorf("%s: got %d\n%s", none, g.status, g.body)
		}
	}
	if g := v.get(at + "?after=wrong"); g.status != http.StatusBadRequest {
		t.Errorf("a wrong key of a page: got %d", g.status)
	}
	has(t, v.post(at, "do", "delete", "pick", "newest", "pick", "build-0001", "pick", "none").body, "loses its last tag", "none")
	half := visit(t, s).in(userWith(t, s, root, "half",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`))
	has(t, half.page(at), "ecrin:ListTags", "of the first 2,000")
}

// nextOf returns the address of the next page of a list; "" on the last one.
func nextOf(page string) string {
	i := strings.Index(page, `>Next<`)
	if i < 0 {
		return ""
	}
	head := page[:i]
	head = head[strings.LastIndex(head, "<a "):]
	_, to, found := strings.Cut(head, `href="`)
	if !found {
		return ""
	}
	to, _, _ = strings.Cut(to, `"`)
	return strings.ReplaceAll(to, "&amp;", "&")
}

// The page of pull-through rules says whether they help.
func TestUseOfPullThroughRules(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	for _, prefix := range []string{"quay", "idle"} {
		if g := v.post(base+"/pull-through", "do", "create", "prefix", prefix, "upstream", "quay.io"); g.status != http.StatusSeeOther {
			t.Fatalf("creating a rule: got %d\n%s", g.status, g.body)
		}
	}
	must(t, s.Meta().AddCacheCounts(t.Context(), []meta.CacheDay{{Registry: s.Registry(), Prefix: "quay", Day: time.Now(),
		CacheCount: meta.CacheCount{Hits: 90, Misses: 9, Stale: 1, Saved: 5e9, Fetched: 2e9, Limited: 3, LimitedAt: time.Now()}}}))
	has(t, v.page(base+"/pull-through"), "90 %", "90 of 100", "5.00 GB", "2.00 GB fetched", "1 stale copy", "reached 3 times", "not used")
	half := visit(t, s).in(userWith(t, s, root, "half",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:DescribePullThroughCacheRules","Resource":"*"}]}`))
	page := half.page(base + "/pull-through")
	if has(t, page, "quay.io", "ecrin:ListPullThroughUsage"); strings.Contains(page, "90 %") {
		t.Error("the page shows what the person may not see")
	}
}

// The side says what waits for somebody, to those who may see it.
func TestBadgesOfTheSide(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	asker := visit(t, s).in(s.NewAccount(t, "111122223333"))
	v := visit(t, s).in(root)
	if page := v.page(base + "/repositories"); strings.Contains(page, `class="hot"`) {
		t.Errorf("a badge where nothing waits:\n%s", page)
	}
	one, err := s.Meta().CreateIntegration(t.Context(), meta.Integration{Account: s.Registry().Account, Name: "one", Kind: "OCI",
		Settings: "{}", Sealed: []byte("x")}, 10)
	must(t, err)
	must(t, s.Meta().IntegrationTested(t.Context(), one, canary, true))
	has(t, v.page(base+"/repositories"), `<small class="hot">1 failing</small>`)
	if page := asker.page("/console/111122223333/us-east-1/repositories"); strings.Contains(page, `class="hot"`) {
		t.Error("another account sees the badge")
	}
	half := visit(t, s).in(userWith(t, s, root, "half",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:*","ecrin:SearchRepositories"],"Resource":"*"}]}`))
	if page := half.page(base + "/repositories"); strings.Contains(page, `class="hot"`) {
		t.Error("a badge of what the person may not list")
	}
}
