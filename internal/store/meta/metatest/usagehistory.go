package metatest

import (
	"fmt"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Activity is added to the row of its hour and its day by any number of processes, within the number of rows, and goes when it is old.
func testUsageHistory(fx *Fixture) {
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	row := func(kind meta.UsageKind, at time.Time, region, subject string, a meta.Activity) meta.UsageRow {
		return meta.UsageRow{UsageKey: meta.UsageKey{Account: Account, Kind: kind, Start: at, Region: region, Subject: subject}, Activity: a}
	}
	region := Registry.Region.String()
	ten, eleven := day.Add(10*time.Hour), day.Add(11*time.Hour)
	fx.Must(fx.AddActivity(fx.Ctx, []meta.UsageRow{
		row(meta.ByRepository, ten.Add(time.Minute), region, "app", meta.Activity{Pulls: 1, Sent: 5}),
		row(meta.ByRepository, ten, region, "second", meta.Activity{Pushes: 1, Stored: 7}),
		row(meta.ByRepository, ten, "us-west-2", "app", meta.Activity{Pulls: 99}),
		row(meta.ByPrincipal, ten, region, Principal, meta.Activity{Denials: 3}),
		{UsageKey: meta.UsageKey{Account: other, Kind: meta.ByPrincipal, Start: ten, Region: region, Subject: "x"}}, // does not exist
	}))
	fx.Must(fx.AddActivity(fx.Ctx, []meta.UsageRow{row(meta.ByRepository, ten, region, "app", meta.Activity{Pulls: 2, Denials: 4}),
		row(meta.ByRepository, eleven, region, "app", meta.Activity{Pulls: 10})}))
	list := func(q meta.UsageQuery, limit int) (all []meta.UsageRow) {
		fx.Helper()
		q.Registry = Registry
		for at := (meta.UsageKey{}); ; {
			page, err := fx.UsageHistory(fx.Ctx, q, at, limit)
			fx.Must(err)
			all = append(all, page...)
			if len(page) < limit {
				return all
			}
			at = page[len(page)-1].UsageKey
		}
	}
	hours := meta.UsageQuery{Kind: meta.ByRepository, From: day, To: day.Add(24 * time.Hour)}
	want := []meta.UsageRow{row(meta.ByRepository, ten, region, "app", meta.Activity{Pulls: 3, Sent: 5, Denials: 4}),
		row(meta.ByRepository, ten, region, "second", meta.Activity{Pushes: 1, Stored: 7}),
		row(meta.ByRepository, eleven, region, "app", meta.Activity{Pulls: 10})}
	for limit := range 4 {
		fx.Equal(list(hours, limit+1), want, "hours in pages of %d", limit+1)
	}
	app := hours
	app.Subject, app.To = "app", eleven
	fx.Equal(list(app, 10), want[:1], "the hours of a repository before eleven")
	days := hours
	days.Daily = true
	fx.Equal(list(days, 10), []meta.UsageRow{row(meta.ByRepository, day, region, "app", meta.Activity{Pulls: 13, Sent: 5, Denials: 4}),
		row(meta.ByRepository, day, region, "second", meta.Activity{Pushes: 1, Stored: 7})}, "days")
	sums := func(q meta.UsageQuery, after time.Time, limit int) []meta.UsageRow {
		fx.Helper()
		q.Registry = Registry
		all, err := fx.UsageTotals(fx.Ctx, q, after, limit)
		fx.Must(err)
		return all
	}
	sum := func(at time.Time, a meta.Activity) meta.UsageRow { return row(meta.ByRepository, at, "", "", a) }
	both := []meta.UsageRow{sum(ten, meta.Activity{Pulls: 3, Sent: 5, Denials: 4, Pushes: 1, Stored: 7}),
		sum(eleven, meta.Activity{Pulls: 10})}
	fx.Equal(sums(hours, time.Time{}, 10), both, "the sums of hours")
	fx.Equal(sums(hours, time.Time{}, 1), both[:1], "the first sum of an hour")
	fx.Equal(sums(hours, ten, 10), both[1:], "the sums of later hours")
	fx.Equal(sums(app, time.Time{}, 10), []meta.UsageRow{sum(ten, meta.Activity{Pulls: 3, Sent: 5, Denials: 4})}, "the sums of a repository")
	fx.Equal(sums(days, time.Time{}, 10), []meta.UsageRow{sum(day, meta.Activity{Pulls: 13, Sent: 5, Denials: 4, Pushes: 1, Stored: 7})},
		"the sums of days")
	people := days
	people.Kind = meta.ByPrincipal
	fx.Equal(list(people, 10), []meta.UsageRow{row(meta.ByPrincipal, day, region, Principal, meta.Activity{Denials: 3})}, "principals")

	next := day.Add(24 * time.Hour)
	var many []meta.UsageRow
	for i := range meta.MaxUsageRows + 20 {
		many = append(many, row(meta.ByPrincipal, next, region, fmt.Sprintf("p%04d", i), meta.Activity{Pulls: 1}))
	}
	for len(many) > 0 {
		n := min(100, len(many))
		fx.Must(fx.AddActivity(fx.Ctx, many[:n]))
		many = many[n:]
	}
	people.From, people.To = next, next.Add(24*time.Hour)
	got := list(people, 1000)
	fx.Equal(len(got), meta.MaxUsageRows+1, "rows of a day with more principals")
	fx.Equal(got[0], row(meta.ByPrincipal, next, "", "", meta.Activity{Pulls: 20}), "the row for all others")

	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := fx.AddActivity(fx.Ctx, []meta.UsageRow{row(meta.ByRepository, next, region, "race", meta.Activity{Pulls: 1})}); err != nil {
				fx.Error(err)
			}
		})
	}
	wg.Wait()
	hours.From, hours.To = next, next.Add(time.Hour)
	fx.Equal(list(hours, 10), []meta.UsageRow{row(meta.ByRepository, next, region, "race", meta.Activity{Pulls: 10})}, "ten writes at once")

	for n, err := 1, error(nil); n > 0; {
		n, err = fx.DeleteUsage(fx.Ctx, Account, next, day, 2)
		fx.Must(err)
	}
	hours.From = day
	fx.Equal(len(list(hours, 10)), 1, "hours after the deletion of those of the first day")
	fx.Equal(len(list(days, 10)), 2, "days after that")
	account(fx, other)
	foreign := meta.UsageRow{UsageKey: meta.UsageKey{Account: other, Kind: meta.ByPrincipal, Start: ten, Region: region, Subject: "x"},
		Activity: meta.Activity{Pulls: 1}}
	fx.Must(fx.AddActivity(fx.Ctx, []meta.UsageRow{foreign}))
	fx.Must(fx.DeleteAccount(fx.Ctx, other, true))
	account(fx, other)
	theirs := meta.UsageQuery{Registry: name.Registry{Account: other, Region: Registry.Region}, Kind: meta.ByPrincipal, From: day, To: next}
	rows, err := fx.UsageHistory(fx.Ctx, theirs, meta.UsageKey{}, 10)
	fx.Must(err)
	fx.Equal(len(rows), 0, "rows of an earlier account with the number")
}

// Each byte that a repository held and does not hold any more counts once, for that repository, whatever has removed it.
func testReleasedBytes(fx *Fixture) {
	r, second, gone := fx.Repo("app"), fx.Repo("second"), fx.Repo("gone")
	deleted := fx.layered(r, "v1", "layer of the first", "shared")
	fx.layered(second, "v1", "shared")
	fx.layered(gone, "v1", "shared", "of a deleted repository")
	fx.Blob(second, "removed by a client")
	fx.Must(fx.RemoveBlob(fx.Ctx, second, Digest("removed by a client")))
	want := map[string]int64{"second": int64(len("removed by a client"))}
	check := func(when string) {
		fx.Helper()
		for _, daily := range []bool{false, true} {
			rows, err := fx.UsageHistory(fx.Ctx, meta.UsageQuery{Registry: Registry, Kind: meta.ByRepository, Daily: daily,
				From: time.Unix(0, 0), To: always().AddDate(1, 0, 0)}, meta.UsageKey{}, 100)
			fx.Must(err)
			got := map[string]int64{}
			for _, one := range rows {
				got[one.Subject] += one.Released
			}
			fx.Equal(got, want, "released bytes %s, by day: %t", when, daily)
		}
	}
	check("after a blob was removed")
	_, err := fx.DeleteImage(fx.Ctx, r, deleted.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Must(fx.DeleteRepository(fx.Ctx, gone, true))
	fx.collectImages(never)
	fx.collectHoldings(never, never)
	fx.collectRepositories(never)
	check("before a collection")
	for range 2 { // the second one has nothing to remove
		fx.collectAll()
		want["app"] = int64(len("layer of the first" + "shared"))
		want["gone"] = int64(len("shared" + "of a deleted repository"))
		check("after a collection")
	}
	fx.layered(r, "v2", "shared")
	check("after the blob was pushed again")
}
