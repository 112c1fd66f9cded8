package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob/faultblob"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// attempts does the background work of a service over the stores of the fixture for some time, and returns when it attempted a kind of
// work, in minutes since its start.
func (c fixture) attempts(ctx context.Context, work string, faults *blobFaults, log *slog.Logger, interval, long time.Duration) []float64 {
	return c.attemptsWith(ctx, work, faults.next, log, interval, long)
}

func (c fixture) attemptsWith(ctx context.Context, work string, faults func(faultblob.Op) faultblob.Fault, log *slog.Logger, interval,
	long time.Duration) (at []float64) {
	start := time.Now()
	*c.runs = start
	now := func() time.Time { return c.clock.Add(time.Since(start)) }
	s := registry.New(c.store, faultblob.New(c.blobs, faults), registry.Options{Now: now, Log: log})
	r := jobs.New(jobs.Options{Meta: c.store, Now: now, Log: log, Report: func(kind string, _ error) {
		if kind == work {
			at = append(at, time.Since(start).Minutes())
		}
	}})
	s.AddWork(r, interval, true)
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	r.Run(ctx)
	return at
}

func logTo(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// A sweep of uploads is at the start and every ten minutes, and one minute after a failure.
func TestSweepsAreTriedAgainAfterAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newFixture(t, nil, registry.Quirks{}) // in the bubble, for its writer waits
		faults := &blobFaults{}
		faults.arm(faultblob.Stale, 1, faultblob.Before)
		at := c.attempts(t.Context(), registry.SweepWork, faults, slog.New(slog.DiscardHandler), 0, 22*time.Minute)
		if want := []float64{0, 1, 11, 21}; !slices.Equal(at, want) {
			t.Errorf("sweeps at the minutes %v, want %v", at, want)
		}
	})
}

// Collections are at the start and after each interval, and within a minute after a failure, which is logged. What is removed is
// logged.
func TestCollectionsAreTriedAgainAfterAMinute(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		interval time.Duration
		want     []float64 // the pauses, in minutes, at most; they are at most half shorter after a failure, and a tenth otherwise
	}{{time.Hour, []float64{1, 63, 63}}, {30 * time.Second, []float64{0.5, 0.525, 0.525}}} {
		later := time.Now().Add(48 * time.Hour)
		var log bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			c := newFixture(t, nil, registry.Quirks{})
			*c.clock = later
			c.must(t, c.DeleteBlob(t.Context(), c.repo, c.put(t, "unused")))
			faults := &blobFaults{}
			faults.arm(faultblob.List, 1, faultblob.Before)
			at := c.attempts(t.Context(), registry.CollectWork, faults, logTo(&log), test.interval, 4*test.interval)
			if len(at) < 4 || at[0] > 0.02 {
				t.Fatalf("every %s: collections at the minutes %v, want the first at once and more", test.interval, at)
			}
			for i, most := range test.want {
				least := 0.9 * most
				if i == 0 {
					least = 0.4 * most
				}
				if pause := at[i+1] - at[i]; pause < least || pause > most+0.04 {
					t.Errorf("every %s: collections at the minutes %v, want pause %d between %v and %v", test.interval, at, i, least, most)
				}
			}
		})
		for _, want := range []string{`msg="a job failed: it is repeated" kind=collection key="" `,
			`msg="collected what nothing refers to" repositories=0 images=0 blobs=1 bytes=6`} {
			if got := strings.Count(log.String(), want); got != 1 {
				t.Errorf("every %s: %q was logged %d times, want once: %s", test.interval, want, got, &log)
			}
		}
	}
}

// After a crash collections stay full until one has held nothing back: a collection that holds back looks for nothing.
func TestCollectionsStayFullWhileSomethingIsHeldBack(t *testing.T) {
	slowtest.Only(t, "it does the background work of 26 hours")
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	synctest.Test(t, func(t *testing.T) {
		c := newFixture(t, nil, registry.Quirks{})
		*c.clock = now.Add(-30 * 24 * time.Hour)
		c.collect(t, registry.CollectOptions{}) // the one before the long stop
		u, err := c.blobs.Begin(t.Context(), name.SHA256)
		c.must(t, err)
		_, err = c.blobs.Commit(t.Context(), u, strings.NewReader("unrecorded"), 100, digest("unrecorded"))
		c.must(t, err)
		*c.clock = now.Add(time.Hour)
		at := c.attempts(t.Context(), registry.CollectWork, &blobFaults{}, slog.New(slog.DiscardHandler), time.Hour, 26*time.Hour)
		if len(at) < 24 || len(at) > 28 {
			t.Errorf("%d collections in 26 hours, want about as many", len(at))
		}
		if got := c.stored(t); got != 0 {
			t.Errorf("%d blobs are stored, want none: the bytes without a record were not looked for", got)
		}
	})
}

// A collection that ends with its context is neither reported nor logged as failed.
func TestACollectionThatEndsWithTheServerIsNoFailure(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	var log bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	at := c.attemptsWith(ctx, registry.CollectWork, func(op faultblob.Op) faultblob.Fault {
		if op != faultblob.List {
			return faultblob.None
		}
		stop()
		return faultblob.Before
	}, logTo(&log), time.Hour, time.Minute)
	if len(at) != 0 || log.Len() > 0 {
		t.Errorf("got %d reports and the log %q, want none", len(at), &log)
	}
}

// What is removed or moved away is logged, and a failure to delete too.
func TestRemovalsAreLogged(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	var log bytes.Buffer
	faults := &blobFaults{}
	s := registry.New(c.store, faultblob.New(c.blobs, faults.next),
		registry.Options{Now: func() time.Time { return *c.clock }, Log: logTo(&log)})
	wantLog := func(want string) {
		t.Helper()
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("got the log %q, want %q once", &log, want)
		}
		log.Reset()
	}
	wantNone := func(what string) {
		t.Helper()
		if log.Len() > 0 {
			t.Errorf("%s: got the log %q, want none", what, &log)
		}
	}
	c.must(t, s.SweepUploads(t.Context()))
	wantNone("a sweep without uploads")
	c.begin(t)
	c.upload(t, "abandoned")
	*c.clock = c.clock.Add(8 * 24 * time.Hour)
	c.must(t, s.SweepUploads(t.Context()))
	wantLog(`msg="removed abandoned uploads" count=2`)
	c.must(t, c.DeleteBlob(t.Context(), c.repo, c.put(t, "unused")))
	faults.arm(faultblob.Delete, 1, faultblob.Before)
	blobs := registry.CollectPlace{Stage: registry.CollectBlobs}
	if out, err := s.Collect(t.Context(), blobs, registry.CollectOptions{}); err != nil || out.Failed != 1 {
		t.Errorf("a collection: got %+v, %v, want one failure", out, err)
	}
	wantLog(`msg="the bytes of a blob that nothing refers to cannot be deleted" digest=` + digest("unused").String() +
		` error="injected fault"`)
	d := c.put(t, "bytes")
	c.must(t, writeFile(c.file(t, d), "other"))
	if _, err := s.Verify(t.Context(), registry.VerifyPlace{}, 0); err != nil {
		t.Error(err)
	}
	wantLog(`msg="a stored blob is damaged" digest=` + d.String())
}

// A verification reads as many bytes in a second as its rate, waits no longer than five seconds for one manifest, and ends with
// its caller.
func TestVerificationsKeepTheirRate(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.layered(t, strings.Repeat("c", 1000), strings.Repeat("l", 1000), "v1")
	size := len(manifestOf(strings.Repeat("c", 1000), strings.Repeat("l", 1000)))
	for _, test := range []struct {
		stage registry.VerifyStage
		rate  int64
		want  time.Duration
	}{
		{registry.VerifyBlobs, 0, 0}, {registry.VerifyBlobs, 1000, 2 * time.Second}, {registry.VerifyBlobs, 500, 4 * time.Second},
		{registry.VerifyManifests, 0, 0}, {registry.VerifyManifests, int64(size), time.Second}, {registry.VerifyManifests, 1, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			out, err := c.Verify(t.Context(), registry.VerifyPlace{Stage: test.stage}, test.rate)
			if got := time.Since(start); err != nil || got.Round(time.Millisecond) != test.want {
				t.Errorf("stage %d at %d bytes/s: got %s, %v, want %s: %+v", test.stage, test.rate, got, err, test.want, out)
			}
			for _, rate := range []int64{1, 0} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if rate == 0 {
					cancel()
				}
				start = time.Now()
				_, err = c.Verify(ctx, registry.VerifyPlace{Stage: test.stage}, rate)
				if got := time.Since(start); err == nil || got > time.Millisecond {
					t.Errorf("stage %d at %d bytes/s, a caller that goes: got %v after %s, want an error", test.stage, rate, err, got)
				}
			}
		})
	}
}

// A verification whose caller goes while it waits for one manifest does not go on with the next.
func TestAVerificationEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	for i := range 3 {
		c.layered(t, fmt.Sprint("config ", i), "layer", "v1")
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		out, err := c.Verify(ctx, registry.VerifyPlace{Stage: registry.VerifyManifests}, 1)
		if !errors.Is(err, context.DeadlineExceeded) || out.Manifests != 1 {
			t.Errorf("got %d manifests, %v, want one and DeadlineExceeded", out.Manifests, err)
		}
	})
}

// A blob that was stored again between two calls is verified from its beginning, and one of another place too.
func TestAVerificationGoesOnOnlyWithTheSameBytes(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	content := strings.Repeat("0123456789", 100_000)
	d := c.put(t, content)
	c.StopVerifySoon()
	first, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0)
	if err != nil || first.Next.Blob != d.String() || first.Next.Offset <= 0 || first.Next.Offset >= int64(len(content)) {
		t.Fatalf("the first call: got %+v, %v, want a place within the blob", first, err)
	}
	for what, change := range map[string]func(*registry.VerifyPlace){
		"the same":     func(*registry.VerifyPlace) {},
		"stored again": func(p *registry.VerifyPlace) { p.StoredAt = p.StoredAt.Add(-time.Second) },
		"another blob": func(p *registry.VerifyPlace) { p.Blob = digest("other").String() },
		"no state":     func(p *registry.VerifyPlace) { p.State = nil },
	} {
		next := first.Next
		change(&next)
		second, err := c.Verify(t.Context(), next, 0)
		want := first.Next.Offset + second.Bytes
		if what != "the same" {
			want = second.Bytes
		}
		if err != nil || second.Next.Offset != want || second.Next.Blob != d.String() || len(second.Damages) != 0 {
			t.Errorf("%s: got %+v, %v, want offset %d", what, second.Next, err, want)
		}
	}
	c.must(t, writeFile(c.file(t, d), content[:len(content)-1]+"x"))
	if _, err := c.Verify(t.Context(), first.Next, 0); err != nil {
		t.Error(err)
	}
}

// Collections without gaps hold nothing back; one after a gap holds back for a day from its beginning, and a dry one before it
// neither ends nor begins that. What is held back after an upgrade stays held back as long as that says.
func TestWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	s := registry.New(c.store, c.blobs,
		registry.Options{Now: func() time.Time { return *c.clock }, Grace: week, Log: slog.New(slog.DiscardHandler)})
	want := func(what string, o registry.CollectOptions, until time.Time) {
		t.Helper()
		if out, err := s.Collect(t.Context(), registry.CollectPlace{}, o); err != nil || !out.HeldUntil.Equal(until) {
			t.Errorf("%s: got held until %v, %v, want %v", what, out.HeldUntil, err, until)
		}
	}
	none := time.Time{}
	want("a new installation", registry.CollectOptions{Grace: week}, none)
	*c.clock = c.clock.Add(24 * time.Hour)
	want("after a day", registry.CollectOptions{Grace: week}, none)
	*c.clock = c.clock.Add(24*time.Hour + time.Microsecond)
	day := c.clock.Add(24 * time.Hour)
	want("a dry one after a gap", registry.CollectOptions{Grace: week, Dry: true}, day)
	want("now", registry.CollectOptions{Grace: week, Dry: true, Now: true}, none)
	*c.clock = c.clock.Add(time.Hour)
	day = day.Add(time.Hour)
	want("the first after it", registry.CollectOptions{Grace: week}, day)
	*c.clock = day.Add(-time.Microsecond)
	want("before its end", registry.CollectOptions{Grace: week}, day)
	*c.clock = day
	want("at its end", registry.CollectOptions{Grace: week}, none)
	// An upgrade of a database with images, and then a long stop.
	c.layered(t, "config", "layer", "v1")
	c.sql(t, `UPDATE collection SET prepared_at = 0, ran_at = 0, hold_until = 0`)
	upgrade := c.clock.Add(week)
	want("after an upgrade", registry.CollectOptions{Grace: week}, upgrade)
	*c.clock = c.clock.Add(48 * time.Hour)
	want("after a stop since the upgrade", registry.CollectOptions{Grace: week}, upgrade)
	want("again", registry.CollectOptions{Grace: week}, upgrade)
}

// More blobs than one query reads are counted and found.
func TestCollectionsReadAllPages(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	var digests []name.Digest
	const many = 1001 // two pages of 500 and one blob
	for i := range many {
		u, err := c.blobs.Begin(t.Context(), name.SHA256)
		c.must(t, err)
		content := fmt.Sprintf("%04d", i)
		_, err = c.blobs.Commit(t.Context(), u, strings.NewReader(content), 100, digest(content))
		c.must(t, err)
		digests = append(digests, digest(content))
	}
	*c.clock = time.Now().Add(48 * time.Hour)
	all := registry.Collection{Blobs: many, Bytes: 4 * many}
	c.wantCollected(t, registry.CollectOptions{Full: true, Dry: true}, all)
	// The same blobs, held by a repository and not used, and held by none.
	held := fmt.Sprintf(`SELECT %d, digest, 4, 1 FROM candidates WHERE kind = 5`, c.repo.ID)
	c.must(t, c.store.AddBlobCandidates(t.Context(), digests))
	c.sql(t, `INSERT INTO repository_blobs (repository, digest, size, added_at) `+held,
		fmt.Sprintf(`UPDATE candidates SET kind = 3, repository = %d`, c.repo.ID))
	c.wantCollected(t, registry.CollectOptions{Dry: true}, all)
	c.sql(t, `DELETE FROM candidates`, `DELETE FROM repository_blobs`)
	c.wantCollected(t, registry.CollectOptions{Full: true}, all)
}
