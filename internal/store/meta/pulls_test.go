package meta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// shopOf makes an application with the customers big and small.
func shopOf(fx *metatest.Fixture) meta.Application {
	fx.Helper()
	a, _ := fx.Application("shop")
	for _, id := range []string{"big", "small"} {
		_, err := fx.PutCustomer(fx.Ctx, meta.Customer{ID: id, Application: a.ID, Account: a.Account, Name: "Name of " + id, Sealed: []byte("x"),
			LicenseHash: id, Details: "{}"})
		fx.Must(err)
	}
	return a
}

// vendorEvents returns the details of stored events with an action.
func vendorEvents(fx *metatest.Fixture, action string) (all []string) {
	fx.Helper()
	events, err := fx.Events(fx.Ctx, metatest.Registry, 0, 1000)
	fx.Must(err)
	for _, e := range events {
		if _, detail, _ := strings.Cut(e.Body, `"detail":`); strings.Contains(detail, action) {
			all = append(all, detail)
		}
	}
	return all
}

// Lines come page by page, the newest first, each once, however the filters select them; a filter that selects nothing ends.
func TestPullLines(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		a := shopOf(fx)
		var lines []meta.PullLine
		for i := range 25 {
			l := meta.PullLine{Application: a.ID, Customer: []string{"big", "small", ""}[i%3], At: c.now().Add(time.Duration(i/2) * time.Second),
				Request: fmt.Sprint(i), Kind: "PROXY", Action: "BLOB", Image: fmt.Sprint("r.test/", i%2), Status: 200, Sent: int64(i)}
			if i%5 == 0 {
				l.Status, l.Code, l.UpstreamStatus, l.UpstreamCode = 502, "UNKNOWN", 401, "UNAUTHORIZED"
			}
			lines = append(lines, l)
		}
		fx.Must(fx.PutPullLines(fx.Ctx, append(lines, meta.PullLine{Application: "gone", At: c.now()})))
		end := c.now().Add(time.Hour)
		big, none := "big", ""
		for _, tt := range []struct {
			q    meta.PullQuery
			want func(meta.PullLine) bool
		}{
			{meta.PullQuery{}, func(meta.PullLine) bool { return true }},
			{meta.PullQuery{Customer: &big}, func(l meta.PullLine) bool { return l.Customer == big }},
			{meta.PullQuery{Customer: &none}, func(l meta.PullLine) bool { return l.Customer == "" }},
			{meta.PullQuery{Failed: true}, func(l meta.PullLine) bool { return l.Code != "" }},
			{meta.PullQuery{Image: "r.test/1", Status: 200}, func(l meta.PullLine) bool { return l.Image == "r.test/1" && l.Status == 200 }},
			{meta.PullQuery{Customer: &big, From: lines[9].At}, func(l meta.PullLine) bool {
				return l.Customer == big && !l.At.Before(lines[9].At)
			}},
			{meta.PullQuery{Image: "none"}, func(meta.PullLine) bool { return false }},
		} {
			tt.q.Application, tt.q.To = a.ID, end
			var got, want []string
			for _, l := range lines {
				if tt.want(l) {
					want = append(want, l.Request)
				}
			}
			slices.Reverse(want)
			for after := (meta.PullLineKey{}); ; {
				page, next, err := fx.Pulls(fx.Ctx, tt.q, after, 4)
				fx.Must(err)
				for _, l := range page {
					got = append(got, l.Request)
				}
				if after = next; next.Zero() {
					break
				}
			}
			if !slices.Equal(got, want) {
				fx.Errorf("%+v: got %v, want %v", tt.q, got, want)
			}
		}
	})
}

// A threshold has one event in a month, however many processes add to what was sent, and however often; another month
// and another amount have their own.
func TestEgressThresholds(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		a := shopOf(fx)
		put := func(customer string, bytes int64) {
			fx.Helper()
			_, err := fx.PutEgressThreshold(fx.Ctx, meta.EgressThreshold{Application: a.ID, Customer: customer, Bytes: bytes,
				Region: metatest.Registry.Region.String()})
			fx.Must(err)
		}
		add := func(month meta.Month, customer string, bytes int64) {
			fx.Helper()
			fx.Must(fx.AddEgress(fx.Ctx, []meta.Egress{{Application: a.ID, Month: month, Customer: customer, Kind: "PROXY", Image: "r.test/a",
				Pulls: 1, Sent: bytes}}))
		}
		check := func(what string, want int) {
			fx.Helper()
			if got := vendorEvents(fx, "EGRESS_THRESHOLD"); len(got) != want {
				fx.Errorf("%s: got the events %v, want %d", what, got, want)
			}
		}
		now := meta.MonthOf(c.now())
		put("", 100)
		put("big", 50)
		add(now, "big", 49)
		check("below", 0)
		add(now, "small", 51)
		check("all have reached it", 1)
		var adding sync.WaitGroup
		for range 8 {
			adding.Go(func() { add(now, "big", 1) })
		}
		adding.Wait()
		check("big has reached it", 2)
		add(now+1, "big", 60)
		check("the next month", 3)
		put("big", 0)
		add(now+2, "big", 60)
		check("without a threshold", 3)
		put("small", 20)
		check("an amount that is reached already", 4)
		put("small", 20)
		check("the same amount again", 4)
		put("small", 30)
		check("another amount", 5)
		want := `"application":"shop","customer-id":"small","customer-name":"Name of small","month":"` + now.String() +
			`","threshold-bytes":30,"sent-bytes":51`
		if got := vendorEvents(fx, "EGRESS_THRESHOLD"); !strings.Contains(got[4], want) {
			fx.Errorf("got the event %s, want %s", got[4], want)
		}
		for _, customer := range []string{"", "big"} { // that of a deleted application, and of a customer of another
			if _, err := fx.PutEgressThreshold(fx.Ctx, meta.EgressThreshold{Application: "gone", Customer: customer, Bytes: 1}); err == nil {
				fx.Error("a threshold of an application that does not exist: got no error")
			}
		}
		h, err := fx.EgressThreshold(fx.Ctx, a.ID, "small")
		if _, none := fx.EgressThreshold(fx.Ctx, a.ID, "big"); err != nil || h.Bytes != 30 || !errors.Is(none, fault.ObjectNotFound) {
			fx.Errorf("got the threshold %+v, %v, and of another customer %v", h, err, none)
		}
		sums, err := fx.EgressOfCustomers(fx.Ctx, a.ID, now, "", true, 10)
		fx.Must(err)
		if len(sums) != 3 || sums[0].Sent != 108 || sums[0].Pulls != 10 || sums[1].Sent != 57 || sums[2].Sent != 51 {
			fx.Errorf("got the sums %+v, want 108, 57 and 51 bytes", sums)
		}
	})
}

// A customer has rows of a bounded number of images in a month, and one for all others; pages have each row once.
func TestEgressOfManyImages(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		a := shopOf(fx)
		var rows []meta.Egress
		for i := range meta.MaxEgressImages + 10 {
			rows = append(rows, meta.Egress{Application: a.ID, Month: 202611, Customer: "big", Kind: "PROXY",
				Image: fmt.Sprintf("r.test/%04d", i), Sent: 1})
		}
		rows = append(rows, meta.Egress{Application: a.ID, Month: 202611, Customer: "small", Kind: "CHART", Image: "shop/x", Sent: 5})
		fx.Must(fx.AddEgress(fx.Ctx, rows))
		sum, n, others := int64(0), 0, int64(0)
		for after := (meta.EgressKey{}); ; {
			page, err := fx.Egress(fx.Ctx, a.ID, 202611, after, 300)
			fx.Must(err)
			for _, e := range page {
				if sum, n = sum+e.Sent, n+1; e.Image == "" {
					others = e.Sent
				}
				after = meta.EgressKey{Customer: e.Customer, Kind: e.Kind, Image: e.Image}
			}
			if len(page) < 300 {
				break
			}
		}
		if n != meta.MaxEgressImages+2 || sum != meta.MaxEgressImages+15 || others != 10 {
			fx.Errorf("got %d rows with %d bytes, %d of others; want %d with %d, and 10", n, sum, others, meta.MaxEgressImages+2,
				meta.MaxEgressImages+15)
		}
		images := 0
		for after, first := (meta.EgressKey{}), true; ; first = false {
			page, err := fx.EgressOfImages(fx.Ctx, a.ID, 202611, "", after, first, 1)
			fx.Must(err)
			if images += len(page); len(page) < 1 {
				break
			}
			after = meta.EgressKey{Kind: page[0].Kind, Image: page[0].Image}
		}
		if images != meta.MaxEgressImages+11 {
			fx.Errorf("got %d sums of images, want %d", images, meta.MaxEgressImages+11)
		}
	})
}

// A threshold is reached by the byte that makes it, and not by the one before.
func TestThresholdIsReachedByItsLastByte(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		a, now := shopOf(fx), meta.MonthOf(c.now())
		_, err := fx.PutEgressThreshold(fx.Ctx, meta.EgressThreshold{Application: a.ID, Customer: "big", Bytes: 50,
			Region: metatest.Registry.Region.String()})
		fx.Must(err)
		for i, sent := range []int64{49, 1, 1} {
			fx.Must(fx.AddEgress(fx.Ctx, []meta.Egress{{Application: a.ID, Month: now, Customer: "big", Kind: "PROXY", Image: "r.test/a", Pulls: 1,
				Sent: sent}}))
			if got := vendorEvents(fx, "EGRESS_THRESHOLD"); len(got) != min(i, 1) {
				fx.Errorf("after %d additions: got the events %v, want %d", i+1, got, min(i, 1))
			}
		}
	})
}

// In an hour at most 200 denials of an application have an event for their image; beyond it each customer has one, and no more.
func TestDenialsOfAnHourAreBounded(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		a := shopOf(fx)
		deny := func(customer, image string) {
			fx.Helper()
			fx.Must(fx.PutPullDenials(fx.Ctx, []meta.PullDenial{{Application: a.ID, Region: metatest.Registry.Region.String(), Customer: customer,
				Image: image, Code: "DENIED", Request: "id", At: c.now()}}))
		}
		for i := range 199 {
			deny(fmt.Sprint("customer", i), "r.test/a")
		}
		deny("last", "r.test/last")
		deny("late", "r.test/late")
		deny("late", "r.test/later")
		deny("last", "r.test/later")
		got := vendorEvents(fx, "PULL_DENIED")
		if len(got) != 201 {
			fx.Fatalf("got %d events, want 200 and one of a further customer", len(got))
		}
		of := func(customer, image string) bool {
			return slices.ContainsFunc(got, func(e string) bool {
				return strings.Contains(e, `"customer-id":"`+customer+`"`) && strings.Contains(e, `"image":"`+image+`"`)
			})
		}
		if !of("last", "r.test/last") || of("late", "r.test/late") || of("late", "r.test/later") || of("last", "r.test/later") {
			fx.Errorf("got the events %v, want the last one with its image, and that of the further customer without", got[195:])
		}
	})
}

// Denials have one event for a customer, an image and an hour, and within an hour a bounded number.
func TestPullDenials(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		a := shopOf(fx)
		deny := func(customer, image string) {
			fx.Helper()
			fx.Must(fx.PutPullDenials(fx.Ctx, []meta.PullDenial{{Application: a.ID, Region: metatest.Registry.Region.String(), Customer: customer,
				Image: image, Code: "DENIED", Request: "id", At: c.now()}}))
		}
		check := func(what string, want int) {
			fx.Helper()
			if got := vendorEvents(fx, "PULL_DENIED"); len(got) != want {
				fx.Errorf("%s: got the events %v, want %d", what, got, want)
			}
		}
		deny("big", "r.test/a")
		deny("big", "r.test/a")
		deny("big", "r.test/b")
		deny("small", "r.test/a")
		check("two images of two customers", 3)
		want := `"result":"DENIED","action-type":"PULL_DENIED","application":"shop","customer-id":"big","customer-name":"Name of big",` +
			`"image":"r.test/a","error-code":"DENIED","request-id":"id"`
		if got := vendorEvents(fx, "PULL_DENIED")[0]; !strings.Contains(got, want) {
			fx.Errorf("got the event %s, want %s", got, want)
		}
		deny("", "r.test/a")
		deny("", "r.test/b")
		check("licences that do not exist", 4)
		for i := range 50 {
			deny("big", fmt.Sprint("r.test/", i))
		}
		check("many images of a customer", 3+20) // 20 of big and one for all others, one of small, one without a licence
		c.advance(time.Hour)
		deny("big", "r.test/a")
		check("the next hour", 24)
		n, err := fx.DeleteOldPullDenials(fx.Ctx, a.ID, c.now(), 1000)
		fx.Must(err)
		if n != 23 {
			fx.Errorf("got %d deleted rows, want those of the hour before", n)
		}
		for i := range 19 {
			deny("big", fmt.Sprint("r.test/", i))
		}
		deny("big", "r.test/a")
		check("an image again when the customer has as many as have events", 24+19)
	})
}

// The last pull of each image and tag is kept, and a bounded number of a customer.
func TestPulledImages(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		a := shopOf(fx)
		put := func(image, tag, digest string, at time.Duration) {
			fx.Helper()
			fx.Must(fx.PutPulledImages(fx.Ctx, []meta.PulledImage{{Application: a.ID, Customer: "big", Image: image, Reference: tag, Digest: digest,
				Token: "east", At: c.now().Add(at)}, {Application: "gone", Customer: "big"}}))
		}
		put("r.test/a", "1", "new", time.Minute)
		put("r.test/a", "1", "old", 0) // of another process, which was slower
		put("r.test/a", "x", "x", 0)
		all, err := fx.PulledImages(fx.Ctx, a.ID, "big")
		fx.Must(err)
		if len(all) != 2 || all[0].Digest != "new" || all[1].Digest != "x" || all[1].Token != "east" {
			fx.Errorf("got %+v, want the newest digest of 1, and x", all)
		}
		for i := range meta.MaxPulledImages {
			put("r.test/b", fmt.Sprint(i), "d", time.Hour+time.Duration(i)*time.Second)
		}
		all, err = fx.PulledImages(fx.Ctx, a.ID, "big")
		fx.Must(err)
		if len(all) != meta.MaxPulledImages || all[0].Image != "r.test/b" {
			fx.Errorf("got %d images from %+v on, want %d without the first two", len(all), all[0], meta.MaxPulledImages)
		}
	})
}
