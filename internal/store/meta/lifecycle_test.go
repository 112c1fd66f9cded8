package meta_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// clock is a clock that only a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(noon.UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(d.Microseconds()) }

// onBoth runs a test on an empty store of each database, with its clock.
func onBoth(t *testing.T, test func(fx *metatest.Fixture, c *clock)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		test(metatest.NewFixture(t, openAt(t, t.TempDir(), c.now)), c)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		long(t)
		t.Parallel()
		c := newClock()
		test(metatest.NewFixture(t, openURL(t, pgtest.Start(t).NewDatabase(t), c.now)), c)
	})
}

// dueNow returns the repositories that are due, and queues them.
func dueNow(fx *metatest.Fixture) []int64 {
	fx.Helper()
	due, err := fx.DueLifecycles(fx.Ctx, 100)
	fx.Must(err)
	fx.Must(fx.QueueLifecycles(fx.Ctx, due))
	again, err := fx.DueLifecycles(fx.Ctx, 100)
	fx.Must(err)
	if len(again) > 0 {
		fx.Errorf("due after they were queued: %v", again)
	}
	return due
}

func setDocument(fx *metatest.Fixture, r meta.Repository, text string) {
	fx.Helper()
	_, err := fx.ChangeLifecycle(fx.Ctx, r, func(l *meta.Lifecycle) error { l.Policy = text; return nil })
	fx.Must(err)
}

// A policy is due an hour after it was evaluated, and a few minutes after a push. Many pushes are one evaluation, and do not put it off.
func TestLifecyclesAreDue(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		r, quiet, without := fx.Repo("app"), fx.Repo("quiet"), fx.Repo("without")
		setDocument(fx, r, "one")
		setDocument(fx, quiet, "one")
		wantDue := func(what string, want ...int64) {
			fx.Helper()
			fx.Equal(dueNow(fx), want, "%s", what)
		}
		wantDue("at once")
		fx.Image(without, "a")
		fx.Image(r, "a")
		for i := range 4 {
			c.advance(time.Minute)
			fx.Image(r, fmt.Sprint(i))
			wantDue("before five minutes")
		}
		c.advance(time.Minute)
		wantDue("five minutes after the first push", r.ID)
		c.advance(55 * time.Minute)
		wantDue("after an hour without a push", quiet.ID)
		c.advance(5 * time.Minute)
		wantDue("an hour after the last evaluation", r.ID)
		jobs, err := fx.Jobs(fx.Ctx, "", 0, 100)
		fx.Must(err)
		if len(jobs) != 2 { // of ChangeLifecycle; they have not run
			fx.Errorf("got %d jobs, want one for each repository", len(jobs))
		}
		// A deleted repository is not evaluated, and is when it has been restored.
		for i := range jobs {
			fx.Must(discardErr(fx.CancelJob(fx.Ctx, jobs[i].ID)))
		}
		fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
		c.advance(2 * time.Hour)
		dueNow(fx)
		jobs, err = fx.Jobs(fx.Ctx, "", 0, 1)
		fx.Must(err)
		if jobs[0].Key != fmt.Sprint(quiet.ID) {
			fx.Errorf("the last job: got %+v, want that of the repository that is not deleted", jobs[0])
		}
	})
}

func discardErr[T any](_ T, err error) error { return err }

// A preview expires a day after it was completed, and its results go in bounded transactions.
func TestPreviewExpires(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		r := fx.Repo("app")
		fx.Must(fx.StartPreview(fx.Ctx, r, "one"))
		p, err := fx.AttemptPreview(fx.Ctx, r.ID)
		fx.Must(err)
		var all []meta.PreviewResult
		for i := range 1200 {
			all = append(all, meta.PreviewResult{Number: int64(i), Digest: fmt.Sprint(i)})
		}
		fx.Must(fx.AddPreviewResults(fx.Ctx, r.ID, p.ID, all))
		p.State = meta.PreviewComplete
		fx.Must(fx.EndPreview(fx.Ctx, r.ID, p, nil))
		c.advance(24*time.Hour - time.Second)
		if more, err := fx.ExpirePreview(fx.Ctx); err != nil || more {
			fx.Errorf("before a day: got %v, %v", more, err)
		}
		c.advance(time.Second)
		if p, err := fx.Preview(fx.Ctx, r.ID); err != nil || p.State != meta.PreviewExpired {
			fx.Errorf("after a day: got %+v, %v", p, err)
		}
		steps := 0
		for more := true; more; steps++ {
			more, err = fx.ExpirePreview(fx.Ctx)
			fx.Must(err)
		}
		left, err := fx.PreviewResults(fx.Ctx, r.ID, p.ID, 0, 9)
		fx.Must(err)
		if len(left) > 0 || steps < 4 {
			fx.Errorf("after %d steps there are %d results", steps, len(left))
		}
		fx.Must(fx.StartPreview(fx.Ctx, r, "two"))
	})
}

// An account has a bounded number of reports about images in use. One that is there already can be renewed.
func TestReportsOfUseAreBounded(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		fx.Must(fx.Write(fx.Ctx, func(t *meta.Tx) error {
			_, err := t.Exec(`INSERT INTO in_use (account, digest, used_by, until)
				WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
				SELECT '111122223333', 'sha256:' || CAST(i AS TEXT), 'cluster', 1 FROM n`)
			return err
		}))
		use := []meta.ImageUse{{Digest: metatest.Digest("x"), By: "cluster", Until: c.now().Add(time.Hour)}}
		fx.Want(fx.ReportUse(fx.Ctx, metatest.Account, use), fault.LimitExceeded, "one more than the limit")
		fx.Must(discardErr(fx.DeleteEndedUses(fx.Ctx, 1)))
		fx.Must(fx.ReportUse(fx.Ctx, metatest.Account, use))
		fx.Must(fx.ReportUse(fx.Ctx, metatest.Account, use))
	})
}

// Nothing is missing or there twice at the ends of pages, and what an evaluation has in memory is limited.
func TestLifecycleImagesByPages(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		r := fx.Repo("app")
		var children []meta.Put
		for i := range 7 {
			children = append(children, fx.Image(r, fmt.Sprint(i), fmt.Sprint("a", i), fmt.Sprint("b", i)))
			c.advance(time.Duration(i%2) * time.Second) // some have the same time
			fx.Must(discardErr(fx.PinImage(fx.Ctx, r, children[i].Digest, "p", "")))
			for user := range 3 {
				fx.Must(fx.ReportUse(fx.Ctx, metatest.Account, []meta.ImageUse{{Digest: children[i].Digest, By: fmt.Sprint(user),
					Until: c.now().Add(time.Hour)}}))
			}
			fx.Push(r, metatest.IndexOf(children...))
		}
		read := func() []lifecycle.Image {
			fx.Helper()
			all, err := fx.LifecycleImages(fx.Ctx, r, func() {})
			fx.Must(err)
			return all
		}
		want := read()
		if edges := len(want[len(want)-1].Children) + len(want[len(want)-2].Children); len(want) != 14 || edges != 7 {
			fx.Errorf("got %d images, and %d children of the last two, want 14 and 7", len(want), edges)
		}
		for page := 1; page < 16; page++ {
			fx.LimitScans(14, 14, page)
			fx.Equal(read(), want, "pages of %d", page)
		}
		for _, limits := range [][2]int{{13, 14}, {14, 13}} {
			for _, page := range []int{1, 7, 100} {
				fx.LimitScans(limits[0], limits[1], page)
				_, err := fx.LifecycleImages(fx.Ctx, r, func() {})
				fx.Want(err, fault.LimitExceeded, "at most %d images and %d tags, by pages of %d", limits[0], limits[1], page)
			}
		}
	})
}

// What is in memory at an evaluation is read by pages: nothing is missing at their ends, and it takes its time.
func TestLifecycleOfManyImages(t *testing.T) {
	slowtest.Only(t, "it stores 100,000 images")
	for name, open := range map[string]func(*testing.T) *meta.Store{"SQLite": open, "PostgreSQL": openPostgres} {
		t.Run(name, func(t *testing.T) {
			if name == "PostgreSQL" {
				long(t)
			}
			const n = 100_000
			fx := metatest.NewFixture(t, open(t))
			r := fill(t, fx, n)
			policy, err := lifecycle.Parse(fiftyRules())
			fx.Must(err)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began, cpu := time.Now(), processorTime(t)
			all, err := fx.LifecycleImages(fx.Ctx, r, func() {})
			fx.Must(err)
			read, readCPU := time.Since(began), processorTime(t)-cpu
			result, err := lifecycle.Evaluate(fx.Ctx, policy, all, time.Now())
			fx.Must(err)
			runtime.ReadMemStats(&after)
			t.Logf("%s: read %d images in %s (%s of the processor), with the evaluation %s (%s), %d MB; %d expire", name, n, read, readCPU,
				time.Since(began), processorTime(t)-cpu, (after.TotalAlloc-before.TotalAlloc)>>20, result.Expire.Images)
			tags, subjects := 0, 0
			for _, im := range all {
				tags += len(im.Tags)
				if im.Subject.String() != "" {
					subjects++
				}
			}
			if len(all) != n || tags != n*9/10 || subjects != n*9/10 {
				t.Errorf("got %d images, %d tags and %d subjects", len(all), tags, subjects)
			}
			if took := processorTime(t) - cpu; took > 10*time.Second {
				t.Errorf("reading and evaluating took %s of the processor, want about 2 s", took)
			}
		})
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fiftyRules returns a policy of 50 rules with counts, ages and patterns.
func fiftyRules() string {
	var rules []string
	for i := range 49 {
		condition := `"countType":"imageCountMoreThan","countNumber":100`
		if i%2 == 1 {
			condition = `"countType":"sinceImagePushed","countUnit":"days","countNumber":3000`
		}
		rules = append(rules, fmt.Sprintf(`{"rulePriority":%d,"selection":{"tagStatus":"tagged","tagPatternList":["t%02d*","*%02d*"],%s},`+
			`"action":{"type":"expire"}}`, i+1, i, i, condition))
	}
	rules = append(rules, `{"rulePriority":50,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":50000},`+
		`"action":{"type":"expire"}}`)
	return `{"rules":[` + strings.Join(rules, ",") + `]}`
}

// The operations on lifecycle policies take part in the sweeps of faults.
func init() {
	policyOf := func(s *sweeper) meta.Lifecycle {
		setDocument(s.Fixture, s.r, "one")
		l, err := s.Lifecycle(s.Ctx, s.r.ID)
		s.Must(err)
		return l
	}
	preview := func(s *sweeper) meta.Preview {
		s.Must(s.StartPreview(s.Ctx, s.r, "one"))
		p, err := s.AttemptPreview(s.Ctx, s.r.ID)
		s.Must(err)
		s.Must(s.AddPreviewResults(s.Ctx, s.r.ID, p.ID, []meta.PreviewResult{{Number: 1, Digest: "a"}, {Number: 2, Digest: "b"}}))
		return p
	}
	maps.Copy(moreSweptChanges, map[string]func(s *sweeper) func(context.Context) error{
		"ChangeLifecycle": func(s *sweeper) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := s.ChangeLifecycle(ctx, s.r, func(l *meta.Lifecycle) error { l.Policy = "one"; return nil })
				return err
			}
		},
		"LifecycleEvaluated": func(s *sweeper) func(context.Context) error {
			l := policyOf(s)
			return func(ctx context.Context) error { return s.LifecycleEvaluated(ctx, s.r.ID, l, time.Now()) }
		},
		"ExpireImages": func(s *sweeper) func(context.Context) error {
			s.image("a", "a")
			s.image("b")
			l := policyOf(s)
			all, err := s.LifecycleImages(s.Ctx, s.r, func() {})
			s.Must(err)
			list := []meta.Expiry{{Image: &all[0]}, {Image: &all[1]}}
			return func(ctx context.Context) error {
				_, _, err := s.ExpireImages(ctx, s.r, l.Generation, list, func([]meta.Expiry) []byte { return []byte("{}\n") })
				return err
			}
		},
		"DeleteImage with a policy": func(s *sweeper) func(context.Context) error {
			p := s.image("a", "a")
			policyOf(s)
			return func(ctx context.Context) error {
				_, err := s.DeleteImage(ctx, s.r, p.Digest, meta.AnyTags, "p")
				return err
			}
		},
		"PinImage": func(s *sweeper) func(context.Context) error {
			p := s.image("a", "a")
			return func(ctx context.Context) error { return discardErr(s.PinImage(ctx, s.r, p.Digest, "p", "r")) }
		},
		"UnpinImage": func(s *sweeper) func(context.Context) error {
			p := s.image("a", "a")
			s.Must(discardErr(s.PinImage(s.Ctx, s.r, p.Digest, "p", "r")))
			return func(ctx context.Context) error { return s.UnpinImage(ctx, s.r, p.Digest) }
		},
		"ReportUse": func(s *sweeper) func(context.Context) error {
			d := metatest.Digest(fmt.Sprint(s.i))
			return func(ctx context.Context) error {
				return s.ReportUse(ctx, metatest.Account, []meta.ImageUse{{Digest: d, By: "a", Until: noon}, {Digest: d, By: "b", Until: noon}})
			}
		},
		"StartPreview": func(s *sweeper) func(context.Context) error {
			return func(ctx context.Context) error { return s.StartPreview(ctx, s.r, "one") }
		},
		"AddPreviewResults": func(s *sweeper) func(context.Context) error {
			p := preview(s)
			return func(ctx context.Context) error {
				return s.AddPreviewResults(ctx, s.r.ID, p.ID, []meta.PreviewResult{{Number: 3, Digest: "c"}, {Number: 4, Digest: "d"}})
			}
		},
		"EndPreview": func(s *sweeper) func(context.Context) error {
			p := preview(s)
			p.State = meta.PreviewComplete
			return func(ctx context.Context) error { return s.EndPreview(ctx, s.r.ID, p, nil) }
		},
		"ClearPreview": func(s *sweeper) func(context.Context) error {
			preview(s)
			return func(ctx context.Context) error { return discardErr(s.ClearPreview(ctx, s.r.ID)) }
		},
	})
	maps.Copy(sweptReads, map[string]func(s *sweeper) func(context.Context) (int, error){
		"LifecycleImages": func(s *sweeper) func(context.Context) (int, error) {
			child := s.image("child", "a", "b")
			s.Push(s.r, metatest.IndexOf(child))
			s.Must(discardErr(s.PinImage(s.Ctx, s.r, child.Digest, "p", "")))
			return func(ctx context.Context) (int, error) {
				all, err := s.LifecycleImages(ctx, s.r, func() {})
				n := len(all)
				for _, im := range all {
					n += len(im.Tags) + len(im.Children) + int(im.Protection)
				}
				return n, err
			}
		},
		"Lifecycle": func(s *sweeper) func(context.Context) (int, error) {
			policyOf(s)
			return func(ctx context.Context) (int, error) {
				l, err := s.Lifecycle(ctx, s.r.ID)
				return len(l.Policy), err
			}
		},
		"Preview": func(s *sweeper) func(context.Context) (int, error) {
			p := preview(s)
			return func(ctx context.Context) (int, error) {
				now, err := s.Preview(ctx, s.r.ID)
				if err != nil {
					return 0, err
				}
				if _, found, err := s.PreviewResult(ctx, s.r.ID, p.ID, "a"); err != nil || !found {
					return 0, err
				}
				n, err := length(s.PreviewResults(ctx, s.r.ID, p.ID, 0, 9))
				return n + int(now.State), err
			}
		},
		"Pins": func(s *sweeper) func(context.Context) (int, error) {
			s.Must(discardErr(s.PinImage(s.Ctx, s.r, s.image("a").Digest, "p", "")))
			return func(ctx context.Context) (int, error) { return length(s.Pins(ctx, s.r.ID, "", 9)) }
		},
	})
}
