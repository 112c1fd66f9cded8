package usage

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// log is a pull log with an application of two customers.
type log struct {
	*Service
	t     *testing.T
	store *meta.Store
	app   meta.Application
	now   time.Time
}

func newLog(t *testing.T, o PullOptions) *log {
	t.Helper()
	l := &log{t: t, now: time.Date(2026, 11, 2, 10, 30, 0, 0, time.UTC)}
	store, err := meta.OpenSQLite(t.Context(), t.TempDir(), func() time.Time { return l.now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	metatest.NewFixture(t, store)
	if l.app, err = store.PutApplication(t.Context(), meta.Application{ID: "shop-id", Account: metatest.Account, Slug: "shop",
		Sealed: []byte("x")}, nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"big", "small"} {
		if _, err := store.PutCustomer(t.Context(), meta.Customer{ID: id, Application: l.app.ID, Account: metatest.Account, Name: "Name of " + id,
			Sealed: []byte("x"), LicenseHash: id, Details: "{}"}); err != nil {
			t.Fatal(err)
		}
	}
	l.store, l.Service = store, New(store, func() time.Time { return l.now }, o)
	return l
}

// pulled notes n pulls of a customer; "" for requests without a valid licence from different networks.
func (l *log) pulled(customer string, n int) {
	for i := range n {
		p, e := Pull{Registry: metatest.Registry, Application: l.app.ID, Customer: customer, Kind: PullRegistry,
			Action: PullManifest, Image: "shop/api",
			Reference: "1"}, Ending{At: l.now, Request: fmt.Sprint(customer, i), Status: 200, Sent: 10,
			Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
		if customer == "" {
			p.Application, p.Slug, p.Code, e.Status = "", "shop", "UNAUTHORIZED", 401
		}
		l.Pulled(p, e)
	}
}

func (l *log) flush() {
	l.t.Helper()
	if err := l.flushPulls(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// stored returns how many lines of each customer are stored.
func (l *log) stored() map[string]int {
	l.t.Helper()
	all, err := l.store.PullCounts(l.t.Context(), l.app.ID)
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// A customer who floods the log, and callers without a licence, take no room of others: neither of what waits nor of
// what is stored. What was sent is counted all the same.
func TestFloodsOfTheLog(t *testing.T) {
	t.Parallel()
	l := newLog(t, PullOptions{Keep: 1000})
	l.pulled("big", maxPullsOfCustomer+500)
	l.pulled("", 3*maxStrangersOfSlug)
	for range 3 * maxStrangersOfAddress { // one network
		l.Pulled(Pull{Slug: "other", Code: "UNAUTHORIZED"}, Ending{At: l.now, Status: 401, Address: netip.MustParseAddr("2001:db8::1")})
	}
	l.pulled("small", 30)
	if got, want := int(l.DroppedPulls()), 500+2*maxStrangersOfSlug+2*maxStrangersOfAddress; got != want {
		t.Errorf("got %d dropped lines, want %d", got, want)
	}
	l.flush()
	if got, want := fmt.Sprint(l.stored()), fmt.Sprint(map[string]int{"": maxStrangersOfSlug, "big": maxPullsOfCustomer,
		"small": 30}); got != want {
		t.Errorf("stored: got %s, want %s", got, want)
	}
	rows, err := l.store.EgressOfCustomers(t.Context(), l.app.ID, meta.MonthOf(l.now), "", true, 10)
	if err != nil || len(rows) != 3 || rows[1].Customer != "big" || rows[1].Pulls != maxPullsOfCustomer+500 ||
		rows[0].Sent != 10*(rows[1].Pulls+30) {
		t.Errorf("egress: got %+v, %v, want all pulls of big, and the sum", rows, err)
	}
	l.now = l.now.Add(time.Minute)
	if err := l.sweepPulls(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(l.stored()), fmt.Sprint(map[string]int{"": 200, "big": 770, "small": 30}); got != want {
		t.Errorf("after the sweep: got %s, want %s", got, want)
	}
	l.now = l.now.Add(91 * 24 * time.Hour)
	if err := l.sweepPulls(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := l.stored(); len(got) != 0 {
		t.Errorf("after 91 days: got %v, want no lines", got)
	}
	if rows, err := l.store.EgressOfCustomers(t.Context(), l.app.ID, 202611, "", true, 10); err != nil || len(rows) != 3 {
		t.Errorf("egress after 91 days: got %+v, %v, want it kept", rows, err)
	}
	l.now = l.now.AddDate(3, 0, 0)
	if err := l.sweepPulls(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if rows, err := l.store.EgressOfCustomers(t.Context(), l.app.ID, 202611, "", true, 10); err != nil || len(rows) != 0 {
		t.Errorf("egress after three years: got %+v, %v, want none", rows, err)
	}
}

// When many customers flood the log, one of which few lines wait still has room.
func TestQuietCustomersHaveRoom(t *testing.T) {
	t.Parallel()
	l := newLog(t, PullOptions{})
	for i := range 30 {
		l.pulled(fmt.Sprint("flood", i), maxPullsOfCustomer)
	}
	l.pulled("small", fewPulls)
	n := 0
	for _, line := range l.pulls.lines {
		if line.Customer == "small" {
			n++
		}
	}
	if n != fewPulls || len(l.pulls.lines) > 2*maxPulls {
		t.Errorf("got %d lines of small of %d, want %d", n, len(l.pulls.lines), fewPulls)
	}
}

// The room for lines that wait ends exactly at its limits.
func TestRoomForLines(t *testing.T) {
	t.Parallel()
	var w pulls
	take := func(n int, of func(i int) pullLine) (got int) {
		for i := range n {
			if l := of(i); w.room(l) {
				w.lines, got = append(w.lines, l), got+1
			}
		}
		return got
	}
	customer := func(id string) func(int) pullLine {
		return func(int) pullLine { return pullLine{PullLine: meta.PullLine{Customer: id}} }
	}
	stranger := func(slug string, address int) pullLine {
		return pullLine{slug: slug, from: netip.AddrFrom4([4]byte{10, 0, byte(address >> 8), byte(address)})}
	}
	expect := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	expect("one slug", take(maxStrangers, func(i int) pullLine { return stranger("shop", i) }), maxStrangersOfSlug)
	expect("one address", take(maxStrangers, func(i int) pullLine { return stranger(fmt.Sprint(i), 5000) }), maxStrangersOfAddress)
	expect("all strangers", take(2*maxStrangers, func(i int) pullLine { return stranger(fmt.Sprint("s", i), 6000+i) }),
		maxStrangers-maxStrangersOfSlug-maxStrangersOfAddress)
	for i := range (maxPulls - maxStrangers) / maxPullsOfCustomer {
		expect("a customer", take(maxPullsOfCustomer+2, customer(fmt.Sprint("greedy", i))), maxPullsOfCustomer)
	}
	room := maxPulls - len(w.lines)
	expect("the last customer before all have waited", take(room, customer("last")), room)
	expect("all", len(w.lines), maxPulls)
	expect("a customer beyond it", take(maxPullsOfCustomer, customer("quiet")), fewPulls)
	expect("a customer of whom many wait", take(1, customer("greedy0")), 0)
	for i := range maxPulls {
		take(1, customer(fmt.Sprint("many", i)))
	}
	expect("twice as many", len(w.lines), 2*maxPulls)
}

// What cannot be written waits, in its order and within bounds, and is written once when the store works again. Noting
// a request never waits.
func TestLogOfAStoreThatFails(t *testing.T) {
	t.Parallel()
	l := newLog(t, PullOptions{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 12 {
		l.pulled("big", 1000)
		if i == 0 {
			l.pulled("small", 20)
		}
		if err := l.flushPulls(gone); err == nil {
			t.Fatal("writing with a context that has ended: got no error")
		}
	}
	if n := len(l.pulls.lines); n != maxPullsOfCustomer+20 {
		t.Errorf("got %d lines that wait, want %d and those of small", n, maxPullsOfCustomer)
	}
	l.flush()
	l.flush()
	if got, want := fmt.Sprint(l.stored()), fmt.Sprint(map[string]int{"big": maxPullsOfCustomer, "small": 20}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	rows, err := l.store.EgressOfCustomers(t.Context(), l.app.ID, 202611, "", true, 10)
	if err != nil || len(rows) != 3 || rows[1].Pulls != 12_000 || rows[2].Pulls != 20 {
		t.Errorf("egress: got %+v, %v, want 12000 and 20 pulls", rows, err)
	}
}

// Lines of an application that was deleted go later than it, and new ones are left out.
func TestLogOfADeletedApplication(t *testing.T) {
	t.Parallel()
	l := newLog(t, PullOptions{})
	l.pulled("big", 3)
	l.pulled("", 3)
	l.flush()
	l.pulled("big", 3)
	l.pulled("", 3)
	if err := l.store.DeleteApplication(t.Context(), l.app, true); err != nil {
		t.Fatal(err)
	}
	l.flush()
	if got, want := fmt.Sprint(l.stored()), fmt.Sprint(map[string]int{"": 3, "big": 3}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := l.sweepPulls(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := l.stored(); len(got) != 0 {
		t.Errorf("after the sweep: got %v, want no lines", got)
	}
}

func TestFairLevel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		counts []int
		limit  int
		want   int
	}{{nil, 5, 0}, {[]int{3}, 5, 3}, {[]int{9}, 5, 5}, {[]int{1, 9}, 5, 4}, {[]int{9, 9, 1}, 5, 2}, {[]int{2, 2, 2}, 6,
		2}, {[]int{5, 5}, 1, 0}} {
		counts := map[string]int{}
		for i, n := range tt.counts {
			counts[fmt.Sprint(i)] = n
		}
		if got := fairLevel(counts, tt.limit); got != tt.want {
			t.Errorf("%v, limit %d: got %d, want %d", tt.counts, tt.limit, got, tt.want)
		}
	}
}

func TestTextsOfTheLog(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a\x00b\r\nc": "ab c", "\xff\xfe": "", strings.Repeat("é", 500) + "x": "",
		strings.Repeat("y", 500): strings.Repeat("y", 200)} {
		if got := clip(in, 200); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// BenchmarkPulled is what noting a request adds to it.
func BenchmarkPulled(b *testing.B) {
	s := New(nil, time.Now, PullOptions{})
	p := Pull{Registry: metatest.Registry, Application: "a", Customer: "c", Kind: PullProxy, Action: PullBlob,
		Image: "registry.example.com/team/app"}
	e := Ending{At: time.Now(), Status: 200, Sent: 1000, Agent: "containerd/v2", Address: netip.MustParseAddr("192.0.2.1")}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			s.pulls.lines, s.pulls.customers = nil, nil
		}
		s.Pulled(p, e)
	}
}
