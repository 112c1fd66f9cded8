package events_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// clock is a clock that runs, and that a test moves on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// installation has a store, the service of events and a runner.
type installation struct {
	t       testing.TB
	dir     string
	store   *meta.Store
	events  *events.Service
	clock   *clock
	options events.Options
}

func start(t testing.TB, o events.Options, receivers ...*hooktest.Receiver) *installation {
	t.Helper()
	i := &installation{t: t, clock: &clock{}, dir: t.TempDir()}
	metatest.Prepare(t, i.dir)
	roots := x509.NewCertPool()
	for _, r := range receivers {
		roots.AddCert(r.Certificate())
	}
	keys, err := identity.LoadKeyring(i.dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	o.Keys, o.Now, o.Log = keys, i.clock.now, slog.New(slog.DiscardHandler)
	if o.Keep == 0 {
		o.Keep, o.KeepFor = 1000, 24*time.Hour
	}
	if o.Egress == nil {
		o.Egress = egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: roots})
	}
	i.open(o)
	account := meta.Account{ID: metatest.Account, CreatedAt: time.Now(), Default: true}
	if err := i.store.CreateAccount(t.Context(), account, metatest.Key(metatest.Account, "AKIAEXAMPLEEXAMPLE01")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// open opens the store and makes the service.
func (i *installation) open(o events.Options) {
	i.t.Helper()
	var err error
	if i.store, err = meta.OpenSQLite(i.t.Context(), i.dir, i.clock.now); err != nil {
		i.t.Fatal(err)
	}
	o.Meta = i.store
	if i.events, err = events.New(o); err != nil {
		i.t.Fatal(err)
	}
	i.options = o
}

// run runs the background work until the test ends, or stop is called.
func (i *installation) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	r := jobs.New(jobs.Options{Meta: i.store, Now: i.clock.now, Log: slog.New(slog.DiscardHandler), Poll: 20 * time.Millisecond,
		Report: func(work string, err error) {
			if err != nil {
				i.t.Errorf("background work %s: %v", work, err)
			}
		}})
	i.events.AddWork(r)
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	i.t.Cleanup(stop)
	return stop
}

func (i *installation) hook(label, url, pattern string) (meta.Webhook, secret.String) {
	i.t.Helper()
	w, key, err := i.events.Create(i.t.Context(), events.NewWebhook{Registry: metatest.Registry, Name: label, URL: secret.New(url),
		Pattern: pattern})
	if err != nil {
		i.t.Fatal(err)
	}
	return w, key
}

// push records the events of pushes of images, each with a number as its tag.
func (i *installation) push(image string, tags ...string) {
	i.t.Helper()
	var all []event.Event
	for n, tag := range tags {
		o := event.Origin{ID: event.ID{byte(n)}, Registry: metatest.Registry, Time: i.clock.now()}
		copy(o.ID[1:], image+tag)
		im := event.Image{Repository: name.MustRepo("team/app"), Digest: metatest.Digest(image)}
		all = append(all, event.ImagePushed(o, im, []name.Tag{metatest.Tag(tag).Tag})...)
	}
	if err := i.store.RecordEvents(i.t.Context(), all); err != nil {
		i.t.Fatal(err)
	}
}

func (i *installation) webhook(id int64) meta.Webhook {
	i.t.Helper()
	w, err := i.store.WebhookByID(i.t.Context(), id)
	if err != nil {
		i.t.Fatal(err)
	}
	return w
}

// until waits until a condition holds.
func (i *installation) until(what string, holds func() bool) {
	i.t.Helper()
	for limit := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			i.t.Fatalf("%s: not within a minute", what)
		}
	}
}

func tagsOf(got []hooktest.Got, image string) (tags []string) {
	for _, g := range got {
		if g.Digest == metatest.Digest(image).String() {
			tags = append(tags, g.Tag)
		}
	}
	return tags
}

// An event that the receiver refuses delays the later events of its image, and no others; when it is received, they follow in order.
func TestFailingEventDelaysOnlyItsImage(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	var fixed atomic.Bool
	r.Answer(func(g hooktest.Got) int {
		if g.Tag == "a1" && !fixed.Load() {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	w, _ := i.hook("deploy", r.URL, "")
	i.run()
	i.push("a", "a1", "a2", "a3")
	i.push("b", "b1", "b2")
	i.push("c", "c1")
	got := r.Wait(t, "events of other images", func(all []hooktest.Got) bool {
		return len(tagsOf(all, "b")) == 2 && len(tagsOf(all, "c")) == 1 && len(tagsOf(all, "a")) >= 1
	})
	if a := tagsOf(got, "a"); slices.ContainsFunc(a, func(tag string) bool { return tag != "a1" }) {
		t.Errorf("the events of the image whose first one fails: got %q, want that one only", a)
	}
	i.until("the row of the failure", func() bool { return i.webhook(w.ID).Delivered == 3 })
	waiting, err := i.store.Deliveries(t.Context(), w.ID, meta.DeliveryWaiting, 0, 10)
	if err != nil || len(waiting) != 3 || waiting[2].Status != 500 || waiting[2].Error != "the receiver answered 500" {
		t.Errorf("waiting deliveries: got %+v, error %v, want three with the status of the first", waiting, err)
	}
	for n := range 10 { // more failures of the same event do not count against the receiver
		i.clock.advance(time.Hour)
		i.push("b", fmt.Sprint("n", n))
		i.until("an event of another image", func() bool { return i.webhook(w.ID).Delivered == int64(4+n) })
	}
	fixed.Store(true)
	i.clock.advance(2 * time.Hour)
	got = r.Wait(t, "the delayed events", func(all []hooktest.Got) bool { return slices.Contains(tagsOf(all, "a"), "a3") })
	var a []string // the clock of the test jumps, so that the lease of a job can end while it runs: then an event can be sent twice
	for _, tag := range tagsOf(got, "a") {
		if !slices.Contains(a, tag) {
			a = append(a, tag)
		}
	}
	if !slices.Equal(a, []string{"a1", "a2", "a3"}) {
		t.Errorf("the events of the image: got %q, want them in their order", a)
	}
	i.until("no row is left", func() bool {
		left, err := i.store.WaitingDeliveries(t.Context(), w.ID)
		return err == nil && len(left) == 0
	})
}

// A receiver that always fails holds few rows, is asked less and less, and gets everything when it works again.
func TestReceiverThatIsDown(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	var works atomic.Bool
	r.Answer(func(hooktest.Got) int {
		if works.Load() {
			return http.StatusOK
		}
		return http.StatusServiceUnavailable
	})
	w, _ := i.hook("deploy", r.URL, "")
	i.run()
	const images = 300
	for n := range images {
		i.push(fmt.Sprint("image", n), fmt.Sprint("t", n))
	}
	i.until("the pause", func() bool { return i.webhook(w.ID).Failures >= 5 })
	if n := len(r.All()); n > 20 {
		t.Errorf("attempts before the pause: got %d, want at most 20 of %d", n, images)
	}
	left, err := i.store.WaitingDeliveries(t.Context(), w.ID)
	if err != nil || len(left) > 100 {
		t.Errorf("rows of a receiver that is down: got %d, error %v, want one turn at most", len(left), err)
	}
	for range 5 {
		before := i.webhook(w.ID).Failures
		i.clock.advance(5 * time.Minute)
		i.until("an attempt", func() bool { return i.webhook(w.ID).Failures > before })
	}
	if n := len(r.All()); n > 40 {
		t.Errorf("attempts after five pauses: got %d, want few", n)
	}
	works.Store(true)
	i.clock.advance(5 * time.Minute)
	i.until("the end of the pauses", func() bool { return i.webhook(w.ID).Failures == 0 })
	i.clock.advance(2 * time.Hour) // those that failed before wait longer than the pauses
	i.until("all events", func() bool { return i.webhook(w.ID).Delivered == images })
}

// A receiver that does not answer delays no other, and is not waited for at the stop.
func TestHangingReceiverDelaysNoOther(t *testing.T) {
	t.Parallel()
	slow, quick := hooktest.New(t), hooktest.New(t)
	i := start(t, events.Options{}, slow, quick)
	end := make(chan struct{})
	slow.Answer(func(hooktest.Got) int { <-end; return http.StatusOK })
	defer close(end)
	w, _ := i.hook("slow", slow.URL, "")
	i.hook("quick", quick.URL, "")
	stop := i.run()
	i.push("a", "a1", "a2", "a3", "a4")
	quick.Wait(t, "the other receiver", func(all []hooktest.Got) bool { return len(all) == 4 })
	stop()
	if got := i.webhook(w.ID); got.Delivered != 0 || got.Failures != 0 {
		t.Errorf("after the stop: got %+v, want no failure that the stop has caused", got)
	}
	left, err := i.store.WaitingDeliveries(t.Context(), w.ID)
	if err != nil || len(left) != 0 && left[0].Attempts != 0 {
		t.Errorf("what waits after the stop: got %+v, error %v", left, err)
	}
}

// An event that is never received is given up after a day and can be sent again by hand; the next events of its image follow.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	var fixed atomic.Bool
	r.Answer(func(g hooktest.Got) int {
		if g.Tag == "a1" && !fixed.Load() {
			return http.StatusNotFound
		}
		return http.StatusOK
	})
	w, _ := i.hook("deploy", r.URL, "")
	i.run()
	i.push("a", "a1", "a2")
	i.until("the failure", func() bool { return i.webhook(w.ID).Failures == 1 })
	i.clock.advance(25 * time.Hour)
	r.Wait(t, "the next event of the image", func(all []hooktest.Got) bool { return slices.Contains(tagsOf(all, "a"), "a2") })
	var dead []meta.Delivery
	i.until("the dead letter", func() bool {
		dead, _ = i.store.Deliveries(t.Context(), w.ID, meta.DeliveryDead, 0, 10)
		return len(dead) == 1
	})
	fixed.Store(true)
	if err := i.store.Redeliver(t.Context(), w.ID, dead[0].ID); err != nil {
		t.Fatal(err)
	}
	i.until("the event that was sent again", func() bool { return i.webhook(w.ID).Delivered == 2 })
}

// A redirection is not followed, and an address that the server may not dial is not; the texts name no address.
func TestWebhooksReachNoInternalAddress(t *testing.T) {
	t.Parallel()
	inside, outside := hooktest.New(t), hooktest.New(t)
	i := start(t, events.Options{}, inside, outside)
	outside.Config.Handler = http.RedirectHandler(inside.URL+"/internal", http.StatusTemporaryRedirect)
	w, _ := i.hook("redirects", outside.URL, "")
	got, err := i.events.Test(t.Context(), w, "")
	if err != nil || got.Status != 307 || !strings.Contains(got.Error, "redirection, which is not followed") {
		t.Errorf("a redirection: got %+v, error %v", got, err)
	}
	if all := inside.All(); len(all) != 0 {
		t.Errorf("the target of the redirection got %+v", all)
	}

	closed := start(t, events.Options{Egress: egress.New(egress.Options{})})
	var texts []string
	for n, url := range []string{inside.URL, "https://169.254.169.254/latest", "https://[::1]:1/", "https://no-such-name.invalid/"} {
		w, _ := closed.hook(fmt.Sprint("w", n), url, "")
		got, err := closed.events.Test(t.Context(), w, "")
		if err != nil || got.Error == "" || got.Status != 0 {
			t.Errorf("%s: got %+v, error %v", url, got, err)
		}
		texts = append(texts, got.Error)
	}
	if all := slices.Compact(texts); len(all) != 1 || strings.ContainsAny(all[0], "0123456789") {
		t.Errorf("the texts for private addresses and unknown names: got %q, want one without an address", all)
	}
}

// A new secret signs beside the old one for a day.
func TestSecretsOverlap(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	w, old := i.hook("deploy", r.URL, "")
	w, fresh, err := i.events.Update(t.Context(), w, events.Change{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(n int, key secret.String) error {
		if _, err := i.events.Test(t.Context(), w, ""); err != nil {
			t.Fatal(err)
		}
		g := r.All()[n]
		return event.Verify(g.Signature, []byte(g.Body), i.clock.now(), event.SignatureTolerance, key)
	}
	if err1, err2 := verify(0, old), verify(1, fresh); err1 != nil || err2 != nil {
		t.Errorf("signatures while the secret is replaced: by the old one %v, by the new one %v", err1, err2)
	}
	i.clock.advance(25 * time.Hour)
	if err1, err2 := verify(2, old), verify(3, fresh); err1 == nil || err2 != nil {
		t.Errorf("signatures a day later: by the old one %v, by the new one %v", err1, err2)
	}
}

// URLs that are not usable are refused, without a part of them in the text.
func TestURLsOfWebhooks(t *testing.T) {
	t.Parallel()
	i := start(t, events.Options{})
	for _, url := range []string{"http://example.com/canary", "https:///canary", "https://user:canary@example.com/",
		"https://example.com/#canary",
		"https://example.com/\ncanary", "ftp://canary", "canary", "https:canary", "https://example.com/" + strings.Repeat("canary", 400)} {
		_, _, err := i.events.Create(t.Context(), events.NewWebhook{Registry: metatest.Registry, Name: "x", URL: secret.New(url)})
		if fault.From(err).Code != fault.InvalidParameter || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v, want InvalidParameter without the URL", url, err)
		}
	}
	_, _, err := i.events.Create(t.Context(), events.NewWebhook{Registry: metatest.Registry, Name: "x",
		URL: secret.New("https://example.com/"), Pattern: `{"detail":{"image-tag":"1.0"}}`})
	if err == nil || !strings.Contains(fault.From(err).Public, "detail.image-tag") {
		t.Errorf("a wrong pattern: got %v, want its path", err)
	}
}

// Only events that match the pattern are sent, and a webhook gets no event from before it was made.
func TestPatternsAndPositions(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	i.push("a", "before")
	w, _ := i.hook("deploy", r.URL, `{"detail":{"image-tag":[{"prefix":"v"}]}}`)
	i.run()
	i.push("a", "x1", "v1", "x2", "v2")
	got := r.Wait(t, "the events", func(all []hooktest.Got) bool { return len(all) == 2 })
	if tags := tagsOf(got, "a"); !slices.Equal(tags, []string{"v1", "v2"}) {
		t.Errorf("received: got %q, want v1 and v2", tags)
	}
	last, err := i.store.NewestEvent(t.Context(), metatest.Registry)
	if err != nil {
		t.Fatal(err)
	}
	i.until("the position", func() bool { return i.webhook(w.ID).Position == last })
}

// Rows of a webhook stay within their limit when every image fails; the events beyond it are read later.
func TestWaitingRowsAreBounded(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{Keep: 100_000, KeepFor: 24 * time.Hour}, r)
	// Every other image is received, so that the receiver does not count as failing.
	r.Answer(func(g hooktest.Got) int {
		if strings.HasPrefix(g.Tag, "ok") {
			return http.StatusOK
		}
		return http.StatusInternalServerError
	})
	w, _ := i.hook("deploy", r.URL, "")
	var all []event.Event
	for n := range 2*meta.MaxWaiting + 200 {
		o := event.Origin{ID: event.ID{byte(n), byte(n >> 8)}, Registry: metatest.Registry, Time: i.clock.now()}
		im := event.Image{Repository: name.MustRepo("team/app"), Digest: metatest.Digest(fmt.Sprint(n))}
		all = append(all, event.ImagePushed(o, im, []name.Tag{metatest.Tag(fmt.Sprint([]string{"ok", "bad"}[n%2], n)).Tag})...)
	}
	if err := i.store.RecordEvents(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	i.run()
	most := 0
	i.until("the webhook has read what it can", func() bool {
		left, err := i.store.WaitingDeliveries(t.Context(), w.ID)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(left))
		return len(left) >= meta.MaxWaiting
	})
	last, err := i.store.NewestEvent(t.Context(), metatest.Registry)
	if at := i.webhook(w.ID).Position; err != nil || at >= last {
		t.Errorf("position: got %d, error %v, want one before the newest event %d", at, err, last)
	}
	if most > meta.MaxWaiting {
		t.Errorf("waiting rows: got %d, want at most %d", most, meta.MaxWaiting)
	}
}

func region(n int) name.Region {
	r, _ := name.ParseRegion(fmt.Sprintf("eu-west-%d", n+1))
	return r
}

// Pulls and denials are counted, and callers without credentials make few rows whatever they send.
func TestCounts(t *testing.T) {
	t.Parallel()
	i := start(t, events.Options{Pulls: events.Counted, Denials: events.Counted})
	repo := meta.Repository{Registry: metatest.Registry, Name: name.MustRepo("team/app")}
	for range 1000 {
		i.events.Pulled(repo, metatest.Digest("a"))
	}
	for n := range 10_000 {
		reg := metatest.Registry
		reg.Region = region(n % 100)
		i.events.Denied(events.Denial{Registry: reg, Action: fmt.Sprint("ecr:A", n%500), RequestID: "x"})
	}
	i.events.Denied(events.Denial{Registry: metatest.Registry, Repository: repo.Name, Action: "ecr:PutImage", Principal: metatest.Principal,
		RequestID: "id"})
	i.run()() // the stop writes what is counted
	rows, bodies := 0, ""
	for n := range 101 {
		reg := metatest.Registry
		reg.Region = region(n)
		all, err := i.store.Events(t.Context(), reg, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		rows += len(all)
		for _, e := range all {
			bodies += e.Body + "\n"
		}
	}
	if rows > 42 {
		t.Errorf("rows: got %d, want at most 40 of callers without credentials and 2", rows)
	}
	for _, want := range []string{`"action-type":"PULL","count":1000,`,
		`"action":"ecr:PutImage","principal":"` + metatest.Principal + `","repository-name":"team/app","request-id":"id","count":1,`} {
		if !strings.Contains(bodies, want) {
			t.Errorf("the events have no %s:\n%s", want, bodies)
		}
	}
}

// Nothing is counted that the settings do not want.
func TestCountsAreOff(t *testing.T) {
	t.Parallel()
	i := start(t, events.Options{Pulls: events.Off, Denials: events.Off})
	i.events.Pulled(meta.Repository{Registry: metatest.Registry, Name: name.MustRepo("app")}, metatest.Digest("a"))
	i.events.Denied(events.Denial{Registry: metatest.Registry, Action: "ecr:PutImage"})
	i.run()()
	if id, err := i.store.NewestEvent(t.Context(), metatest.Registry); id != 0 || err != nil {
		t.Errorf("the newest event: got %d, error %v, want none", id, err)
	}
}

// An account cannot take the places of others for tests of webhooks.
func TestTestsOfAnAccountAreLimited(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	i := start(t, events.Options{}, r)
	arrived, end := make(chan struct{}, 9), make(chan struct{})
	r.Answer(func(hooktest.Got) int { arrived <- struct{}{}; <-end; return http.StatusOK })
	w, _ := i.hook("deploy", r.URL, "")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, err := i.events.Test(t.Context(), w, ""); err != nil {
				t.Errorf("a test within the limit: %v", err)
			}
		})
	}
	for range 4 {
		<-arrived
	}
	if _, err := i.events.Test(t.Context(), w, ""); fault.From(err).Code != fault.Throttled {
		t.Errorf("a test beyond the limit: got %v, want Throttled", err)
	}
	close(end)
	wait.Wait()
	if _, err := i.events.Test(t.Context(), w, ""); err != nil {
		t.Errorf("a test after the others: %v", err)
	}
}
