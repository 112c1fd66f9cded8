package metatest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testImagePulls(fx *Fixture) {
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	repo := fx.Repo("team/app")
	pull := func(digest, principal, tag string, n int64, at time.Time) meta.ImagePull {
		return meta.ImagePull{Registry: Registry, Repository: "team/app", Digest: digest, Day: at.Truncate(24 * time.Hour), Principal: principal,
			Tag: tag, Pulls: n, At: at}
	}
	add := func(all ...meta.ImagePull) {
		fx.Helper()
		for len(all) > 0 {
			n := min(100, len(all))
			fx.Must(fx.AddImagePulls(fx.Ctx, all[:n]))
			all = all[n:]
		}
	}
	list := func(digest string, since time.Time) []meta.ImagePull {
		fx.Helper()
		all, err := fx.ImagePulls(fx.Ctx, repo, digest, since)
		fx.Must(err)
		slices.SortFunc(all, func(a, b meta.ImagePull) int {
			return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Tag, b.Tag))
		})
		for i := range all {
			all[i].Day = time.Time{}
		}
		return all
	}
	sum := func(digest string, since time.Time) (n int64) {
		fx.Helper()
		for _, p := range list(digest, since) {
			n += p.Pulls
		}
		return n
	}
	uncounted := func(since time.Time) int64 {
		fx.Helper()
		n, err := fx.UncountedImagePulls(fx.Ctx, Account, since)
		fx.Must(err)
		return n
	}
	elsewhere := pull("sha256:a", "ada", "", 7, day)
	elsewhere.Registry.Region = mustRegion("us-west-2")
	nobody := pull("sha256:a", "ada", "", 7, day)
	nobody.Registry.Account = other
	add(pull("sha256:a", "ada", "1.0", 2, day.Add(time.Hour)), pull("sha256:a", "ada", "", 1, day.Add(2*time.Hour)),
		pull("sha256:a", "bob", "1.0", 5, day.Add(25*time.Hour)), pull("sha256:b", "ada", "", 9, day), elsewhere, nobody)
	add(pull("sha256:a", "ada", "1.0", 3, day)) // its last one is before that of the row
	want := func(principal, tag string, n int64, at time.Time) meta.ImagePull {
		p := pull("sha256:a", principal, tag, n, at)
		p.Day = time.Time{}
		return p
	}
	fx.Equal(list("sha256:a", day), []meta.ImagePull{want("ada", "", 1, day.Add(2*time.Hour)), want("ada", "1.0", 5, day.Add(time.Hour)),
		want("bob", "1.0", 5, day.Add(25*time.Hour))}, "the pulls of an image")
	fx.Equal(sum("sha256:a", day.Add(30*time.Hour)), int64(5), "the pulls of the second day")

	// Beyond the rows of an image, its pulls have no principal.
	var many []meta.ImagePull
	for i := range meta.MaxImagePullers + 3 {
		many = append(many, pull("sha256:c", fmt.Sprintf("p%03d", i), "", 1, day))
	}
	add(many...)
	add(many...)
	got := list("sha256:c", day)
	fx.Equal(len(got), meta.MaxImagePullers+1, "rows of an image with more principals")
	fx.Equal(got[0].Pulls, int64(6), "the pulls without a principal")
	fx.Equal(sum("sha256:c", day), int64(2*len(many)), "all of them")

	// Beyond the rows of a principal, and of the account, pulls are of no image. Others keep their room.
	next := day.AddDate(0, 0, 10)
	many = nil
	for i := range meta.MaxPrincipalPulls + 4 {
		many = append(many, pull(fmt.Sprintf("sha256:%d", i), "greedy", "", 1, next))
	}
	add(many...)
	fx.Equal(uncounted(next), int64(4), "the pulls of a principal that has pulled too many images")
	add(pull("sha256:a", "ada", "", 1, next))
	fx.Equal(sum("sha256:a", next), int64(1), "the pulls of another one")
	many = nil
	for i := range meta.MaxAccountPulls {
		many = append(many, pull(fmt.Sprintf("sha256:%d", i), fmt.Sprintf("p%d", i/(meta.MaxPrincipalPulls/2)), "", 1, next))
	}
	add(many...)
	fx.Equal(uncounted(next), int64(meta.MaxPrincipalPulls+6), "the pulls of an account with too many rows")
	fx.Equal(uncounted(next.AddDate(0, 0, 1)), int64(0), "those of the next day")

	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := fx.AddImagePulls(fx.Ctx, []meta.ImagePull{pull("sha256:race", "ada", "", 1, day)}); err != nil {
				fx.Error(err)
			}
		})
	}
	wg.Wait()
	fx.Equal(sum("sha256:race", day), int64(10), "ten writes at once")

	for n, err := 1, error(nil); n > 0; {
		n, err = fx.DeleteImagePulls(fx.Ctx, day.AddDate(0, 0, 1), 20)
		fx.Must(err)
	}
	fx.Equal(sum("sha256:a", day), int64(6), "after the deletion of the first day")
	account(fx, other)
	add(nobody)
	fx.Must(fx.DeleteAccount(fx.Ctx, other, true))
	account(fx, other)
	theirs, err := fx.ImagePulls(fx.Ctx, meta.Repository{Registry: nobody.Registry, Name: repo.Name}, "sha256:a", day)
	fx.Must(err)
	fx.Equal(len(theirs), 0, "rows of an earlier account with the number")
}

func testUsageOf(fx *Fixture) {
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	region := Registry.Region.String()
	row := func(kind meta.UsageKind, at time.Time, subject string, n int64) meta.UsageRow {
		return meta.UsageRow{UsageKey: meta.UsageKey{Account: Account, Kind: kind, Start: at, Region: region, Subject: subject},
			Activity: meta.Activity{Pulls: n}}
	}
	next := day.AddDate(0, 0, 1)
	fx.Must(fx.AddActivity(fx.Ctx, []meta.UsageRow{row(meta.ByRepository, day, "a", 1), row(meta.ByRepository, next, "a", 2),
		row(meta.ByRepository, day, "b", 3), row(meta.ByRepository, day, "c", 4), row(meta.ByTag, day, "a:1", 5)}))
	of := func(kind meta.UsageKind, names ...string) (total int64) {
		fx.Helper()
		all, err := fx.UsageOf(fx.Ctx, meta.UsageQuery{Registry: Registry, Kind: kind, Daily: true, From: day, To: next.AddDate(0, 0, 1)}, names)
		fx.Must(err)
		for _, r := range all {
			total += r.Pulls
		}
		return total
	}
	fx.Equal(of(meta.ByRepository, "a"), int64(3), "one repository")
	fx.Equal(of(meta.ByRepository, "a", "b", "none"), int64(6), "two of three")
	fx.Equal(of(meta.ByTag, "a:1", "a:2"), int64(5), "tags")
	fx.Equal(of(meta.ByRepository), int64(0), "no names")
}

func testCacheCounts(fx *Fixture) {
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	_, err := fx.CreateCacheRule(fx.Ctx, meta.CacheRule{Registry: Registry, Prefix: "hub", Host: "h.test", UpstreamPrefix: meta.RootPrefix})
	fx.Must(err)
	count := meta.CacheCount{Hits: 3, Misses: 1, Stale: 1, Saved: 10, Fetched: 5, Limited: 1, LimitedAt: day.Add(time.Hour)}
	at := func(prefix string, at time.Time) meta.CacheDay {
		return meta.CacheDay{Registry: Registry, Prefix: prefix, Day: at, CacheCount: count}
	}
	list := func(since time.Time) []meta.CacheDay {
		fx.Helper()
		all, err := fx.CacheCounts(fx.Ctx, Registry, since)
		fx.Must(err)
		return all
	}
	fx.Must(fx.AddCacheCounts(fx.Ctx, []meta.CacheDay{at("hub", day), at("none", day), at("hub", day.AddDate(0, 0, 1))}))
	fx.Must(fx.AddCacheCounts(fx.Ctx, []meta.CacheDay{at("hub", day)}))
	sum := at("hub", day)
	sum.Add(count)
	sum.Add(count)
	fx.Equal(list(day), []meta.CacheDay{sum}, "three counts of a rule; one that does not exist has none")
	fx.Equal(list(day.AddDate(0, 0, 1)), []meta.CacheDay{at("hub", day.AddDate(0, 0, 1))}, "the second day")
	n, err := fx.DeleteCacheCounts(fx.Ctx, day.AddDate(0, 0, 1), 10)
	fx.Must(err)
	fx.Equal(n, 1, "deleted rows")
	fx.Must(fx.DeleteCacheRule(fx.Ctx, Registry, "hub"))
	_, err = fx.CreateCacheRule(fx.Ctx, meta.CacheRule{Registry: Registry, Prefix: "hub", Host: "h.test", UpstreamPrefix: meta.RootPrefix})
	fx.Must(err)
	fx.Equal(len(list(day)), 0, "a later rule with the prefix")
}

func testOrders(fx *Fixture) {
	for i, repo := range []string{"bb", "aa", "cc"} {
		r := fx.Repo(repo)
		for j := range i + 1 {
			fx.Image(r, fmt.Sprint(repo, j), fmt.Sprintf("t%d", j), fmt.Sprintf("u%d", j))
		}
	}
	gone := fx.Repo("gone")
	fx.Image(gone, "gone", "t0")
	fx.Must(fx.DeleteRepository(fx.Ctx, gone, true))
	names := func(o meta.SearchOrder, step int) (all []string) {
		fx.Helper()
		for at := o.Start(); ; {
			page, err := fx.RepositoriesInOrder(fx.Ctx, Registry, o, at, step)
			fx.Must(err)
			for _, r := range page {
				if r.Name != "" {
					all = append(all, r.Name)
				}
				at = r.Place(o)
			}
			if len(page) < step {
				return all
			}
		}
	}
	for _, step := range []int{1, 2, 10} {
		fx.Equal(names(meta.SearchOrder{Key: meta.ByImages}, step), []string{"cc", "aa", "bb"}, "the most images first, by %d", step)
		fx.Equal(names(meta.SearchOrder{Key: meta.ByImages, Ascending: true}, step), []string{"bb", "aa", "cc"}, "the fewest first, by %d", step)
		for _, key := range []meta.SearchKey{meta.BySize, meta.ByPush, meta.ByPull} {
			down, up := names(meta.SearchOrder{Key: key}, step), names(meta.SearchOrder{Key: key, Ascending: true}, step)
			slices.Reverse(up)
			fx.Equal(down, up, "the two directions of %d by %d", key, step)
			fx.Equal(len(up), 3, "repositories in the order of %d by %d", key, step)
		}
	}
	totals, err := fx.RegistryTotals(fx.Ctx, Registry)
	fx.Must(err)
	fx.Equal(totals.Repositories, int64(3), "living repositories")
	fx.Equal(totals.Images, int64(7), "images, with those of the deleted repository")

	c, err := fx.Repository(fx.Ctx, Registry, name.MustRepo("cc"))
	fx.Must(err)
	for _, step := range []int{1, 2, 3, 10} {
		var newest, from []string
		for at := meta.NewestTag; ; {
			page, err := fx.NewestTags(fx.Ctx, c.ID, at, step)
			fx.Must(err)
			for _, one := range page {
				newest, at = append(newest, one.Tag), one.Position
			}
			if len(page) < step {
				break
			}
		}
		slices.Sort(newest) // the images of a stopped clock have one time
		fx.Equal(newest, []string{"t0", "t1", "t2", "u0", "u1", "u2"}, "tags by %d", step)
		page, err := fx.TagsFrom(fx.Ctx, c.ID, "t1", step)
		fx.Must(err)
		for _, one := range page {
			from = append(from, one.Tag)
		}
		fx.Equal(from, []string{"t1", "t2", "u0", "u1", "u2"}[:min(step, 5)], "tags from t1 on, %d", step)
	}
	d := Digest("cc0")
	n, err := fx.ImagesWithBlob(fx.Ctx, c.ID, d, 10)
	fx.Must(err)
	fx.Equal(n, 1, "images with a config")
}

func testWaiting(fx *Fixture) {
	counts := func(want ...int) {
		fx.Helper()
		requests, err := fx.CountOpenAccessRequests(fx.Ctx, Registry, 2)
		fx.Must(err)
		failing, err := fx.CountFailingIntegrations(fx.Ctx, Account, 2)
		fx.Must(err)
		fx.Equal([]int{requests, failing}, want, "what waits")
	}
	counts(0, 0)
	for i := range 3 {
		one, err := fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: fmt.Sprint("one", i), Kind: "OCI", Settings: "{}",
			Sealed: []byte("x")}, 10)
		fx.Must(err)
		counts(0, min(i, 2))
		fx.Must(fx.IntegrationTested(fx.Ctx, one, "it failed", true))
	}
	counts(0, 2)
}
