package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// background does the background work of the service until the test ends.
func (c fixture) background(t *testing.T) {
	t.Helper()
	now := func() time.Time { return *c.clock }
	r := jobs.New(jobs.Options{Meta: c.store, Now: now, Log: slog.New(slog.DiscardHandler), Poll: 10 * time.Millisecond})
	c.AddWork(r, 0, false)
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { cancel(); wait.Wait() })
}

// settled waits until no job of lifecycle policies is live.
func (c fixture) settled(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		live := 0
		for _, kind := range []string{meta.LifecycleJob, meta.LifecyclePreviewJob} {
			q, err := c.store.JobQueue(t.Context(), kind)
			c.must(t, err)
			live += q.Live
		}
		if live == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d jobs of lifecycle policies do not end", live)
		}
	}
}

// setLifecycle sets documents, of which each may be "".
func (c fixture) setLifecycle(t *testing.T, policy, extension string) {
	t.Helper()
	_, err := c.store.ChangeLifecycle(t.Context(), c.repo, func(l *meta.Lifecycle) error {
		l.Policy, l.Extension = policy, extension
		return nil
	})
	c.must(t, err)
}

// pushed stores an image at the present time of the fixture.
func (c fixture) pushed(t *testing.T, p meta.Put, tags ...string) name.Digest {
	t.Helper()
	c.must(t, c.store.PutImage(t.Context(), c.repo, metatest.As(p, tags...)))
	return p.Digest
}

func (c fixture) config(t *testing.T, content string) {
	t.Helper()
	_, err := c.store.AddBlob(t.Context(), c.repo, blob.Info{Digest: metatest.Digest(content), Size: int64(len(content))}, "")
	c.must(t, err)
}

// digests returns the images of the repository.
func (c fixture) digests(t *testing.T) map[name.Digest]bool {
	t.Helper()
	all, err := c.store.LifecycleImages(t.Context(), c.repo, func() {})
	c.must(t, err)
	there := map[name.Digest]bool{}
	for _, im := range all {
		there[im.Digest] = true
	}
	return there
}

// fillAtRandom stores images with tags, indexes and referrers over some days, and pins some.
func (c fixture) fillAtRandom(t *testing.T, random *rand.Rand) {
	t.Helper()
	c.config(t, "config")
	tags := []string{"a-1", "a-2", "a-3", "b-1", "b-2", "main", "1.0.0", "1.0.1", "1.1.0", "2.0.0", "x", "y"}
	var puts []meta.Put
	for i := range 4 + random.IntN(14) {
		*c.clock = c.clock.Add(time.Duration(random.IntN(30)) * time.Hour)
		p := metatest.Variant(i, "config")
		switch {
		case len(puts) > 1 && random.IntN(4) == 0:
			p = metatest.IndexOf(puts[random.IntN(len(puts))], puts[random.IntN(len(puts))])
		case len(puts) > 0 && random.IntN(4) == 0:
			p = metatest.ReferrerOf(puts[random.IntN(len(puts))].Digest, fmt.Sprint("application/", i), "config")
		}
		var some []string
		for range random.IntN(3) {
			some = append(some, tags[random.IntN(len(tags))])
		}
		slices.Sort(some)
		c.pushed(t, p, slices.Compact(some)...)
		puts = append(puts, p)
		if random.IntN(8) == 0 {
			_, err := c.store.PinImage(t.Context(), c.repo, p.Digest, alice.ARN, "")
			c.must(t, err)
		}
	}
}

// randomDocuments returns a policy of ECR and perhaps an extension.
func randomDocuments(random *rand.Rand) (policy, extension string) {
	condition := func() string {
		if random.IntN(2) == 0 {
			return fmt.Sprintf(`"countType":"imageCountMoreThan","countNumber":%d`, 1+random.IntN(3))
		}
		return fmt.Sprintf(`"countType":"sinceImagePushed","countUnit":"days","countNumber":%d`, 1+random.IntN(4))
	}
	var rules []string
	patterns := []string{"a-*", "b-*", "*1", "1.*", "main"}
	random.Shuffle(len(patterns), func(i, j int) { patterns[i], patterns[j] = patterns[j], patterns[i] })
	for i, p := range patterns[:random.IntN(4)] {
		rules = append(rules, fmt.Sprintf(`{"rulePriority":%d,"selection":{"tagStatus":"tagged","tagPatternList":["%s"],%s},"action":{"type":"expire"}}`,
			i+1, p, condition()))
	}
	if random.IntN(2) == 0 {
		rules = append(rules, `{"rulePriority":8,"selection":{"tagStatus":"untagged",`+condition()+`},"action":{"type":"expire"}}`)
	}
	last := `"action":{"type":"expire"}}`
	if random.IntN(4) == 0 {
		last = `"action":{"type":"transition","targetStorageClass":"archive"}}`
	}
	rules = append(rules, `{"rulePriority":9,"selection":{"tagStatus":"any",`+condition()+`},`+last)
	if random.IntN(2) == 0 {
		extension = `{"version":"ecrin-lifecycle-1","protect":[{"patterns":["x"]}],"rules":[{"priority":1,"select":{"tagStatus":"tagged",` +
			`"tags":{"semver":"<2"}},"keep":{"count":1,"order":"version"},"action":"expire"}]}`
	}
	return `{"rules":[` + strings.Join(rules, ",") + `]}`, extension
}

// An execution deletes exactly the images that the preview of the same moment shows as expiring, and a second one deletes nothing.
func TestPreviewEqualsExecution(t *testing.T) {
	t.Parallel()
	rounds := slowtest.Soak(12, 60, 300)
	seed, deleted := seedtest.Seed(t), 0
	for n := range rounds {
		random := seedtest.New(seed, uint64(n))
		c := newFixture(t, nil, registry.Quirks{})
		c.fillAtRandom(t, random)
		policy, extension := randomDocuments(random)
		before := c.digests(t)
		c.background(t)

		c.setLifecycle(t, "", "") // the extension that the preview applies is stored without the policy
		if extension != "" {
			c.setLifecycle(t, "", `{"version":"ecrin-lifecycle-1","protect":[{"patterns":["*"]}]}`)
			c.settled(t)
		}
		result, err := c.TestLifecycle(t.Context(), home.Account, c.repo, policy, extension)
		c.must(t, err)
		want := maps.Clone(before)
		for _, v := range result.Verdicts {
			if v.Action == lifecycle.Expire {
				delete(want, v.Image.Digest)
			}
		}
		if extension == "" {
			c.must(t, c.store.StartPreview(t.Context(), c.repo, policy))
			c.settled(t)
			c.wantPreview(t, want, before)
		}
		c.setLifecycle(t, policy, extension)
		c.settled(t)
		got := c.digests(t)
		if !maps.Equal(got, want) {
			t.Errorf("round %d: with %s and %q an execution left %d of %d images, and a test of the documents %d: %v, want %v", n, policy, extension,
				len(got), len(before), len(want), slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
		}
		deleted += len(before) - len(got)
		c.setLifecycle(t, policy+" ", extension)
		c.settled(t)
		if again := c.digests(t); !maps.Equal(again, got) {
			t.Errorf("round %d: a second execution left %d of %d images", n, len(again), len(got))
		}
	}
	if deleted < rounds {
		t.Errorf("%d rounds deleted %d images: too few to test anything", rounds, deleted)
	}
}

// wantPreview checks that the preview of the repository expires the images of before that want does not have.
func (c fixture) wantPreview(t *testing.T, want, before map[name.Digest]bool) {
	t.Helper()
	p, err := c.store.Preview(t.Context(), c.repo.ID)
	c.must(t, err)
	results, err := c.store.PreviewResults(t.Context(), c.repo.ID, p.ID, 0, 1000)
	c.must(t, err)
	left := maps.Clone(before)
	for _, r := range results {
		if r.Action == lifecycle.Expire {
			maps.DeleteFunc(left, func(d name.Digest, _ bool) bool { return d.String() == r.Digest })
		}
	}
	if p.State != meta.PreviewComplete || !maps.Equal(left, want) || int(p.Expiring) != len(before)-len(want) {
		t.Errorf("the preview is in the state %d, expires %d images and leaves %d, want %d", p.State, p.Expiring, len(left), len(want))
	}
}

// An index goes with its images and with its referrers in one execution, in an order in which each may be deleted.
func TestLifecycleDeletesIndexesBeforeTheirImages(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.config(t, "config")
	var children []meta.Put
	for i := range 30 {
		children = append(children, metatest.Variant(i, "config"))
		c.pushed(t, children[i])
	}
	*c.clock = c.clock.Add(time.Hour)
	inner := metatest.IndexOf(children[:10]...)
	outer := metatest.IndexOf(append(slices.Clone(children[10:20]), inner)...)
	signature := metatest.ReferrerOf(outer.Digest, "application/signature", "config")
	ofSignature := metatest.ReferrerOf(signature.Digest, "application/of-signature", "config")
	for _, p := range []meta.Put{inner, outer, signature, ofSignature} {
		c.pushed(t, p)
	}
	kept := c.pushed(t, metatest.IndexOf(children[20:]...), "keep")
	*c.clock = c.clock.Add(48 * time.Hour)
	c.background(t)
	c.setLifecycle(t, `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days",`+
		`"countNumber":1},"action":{"type":"expire"}}]}`, "")
	c.settled(t)
	left := c.digests(t)
	for i, p := range children {
		if left[p.Digest] != (i >= 20) {
			t.Errorf("the image %d: got it there %v", i, left[p.Digest])
		}
	}
	if len(left) != 11 || !left[kept] {
		t.Errorf("got %d images, want the kept index and its images", len(left))
	}
}

// A job whose document cannot be read has failed for good, and says why. A run that does nothing leaves no job, except the first one after
// a change.
func TestLifecycleJobsThatAreKept(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.background(t)
	jobsOf := func() []meta.Job {
		t.Helper()
		c.settled(t)
		all, err := c.store.Jobs(t.Context(), home.Account.String(), 0, 100)
		c.must(t, err)
		return all
	}
	const text = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},` +
		`"action":{"type":"expire"}}]}`
	c.setLifecycle(t, text, "")
	if all := jobsOf(); len(all) != 1 || all[0].State != meta.JobDone || all[0].Kind != meta.LifecycleJob {
		t.Fatalf("the first run: got %+v, want a job that is done", all)
	}
	c.must(t, c.store.Enqueue(t.Context(), meta.NewJob{Kind: meta.LifecycleJob, Key: fmt.Sprint(c.repo.ID), Account: home.Account.String()}))
	if all := jobsOf(); len(all) != 1 {
		t.Errorf("a second run without a change: got %+v, want no more jobs", all)
	}
	c.setLifecycle(t, "{}", "")
	if all := jobsOf(); len(all) != 2 || all[0].State != meta.JobFailed || !strings.Contains(all[0].Error, "InvalidParameter: ") {
		t.Errorf("a document that cannot be read: got %+v, want a job that failed", all)
	}
	c.must(t, c.store.StartPreview(t.Context(), c.repo, "{}"))
	c.settled(t)
	if p, err := c.store.Preview(t.Context(), c.repo.ID); err != nil || p.State != meta.PreviewFailed {
		t.Errorf("a preview of a document that cannot be read: got %+v, %v, want a failed one", p, err)
	}
	c.must(t, c.store.DeleteRepository(t.Context(), c.repo, true))
	c.must(t, c.store.Enqueue(t.Context(), meta.NewJob{Kind: meta.LifecycleJob, Key: fmt.Sprint(c.repo.ID), Account: home.Account.String()}))
	if all := jobsOf(); all[0].State != meta.JobFailed {
		t.Errorf("the job of a deleted repository: got %+v, want none", all[0])
	}
}

// While clients delete the newest images and move tags, an execution never leaves fewer images than its rule keeps.
func TestLifecycleCountsWhatIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.config(t, "config")
	const all, keep = 200, 20
	var digests []name.Digest
	for i := range all {
		*c.clock = c.clock.Add(time.Minute)
		digests = append(digests, c.pushed(t, metatest.Variant(i, "config"), fmt.Sprint("v", i)))
	}
	c.background(t)
	c.setLifecycle(t, fmt.Sprintf(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPatternList":["v*"],`+
		`"countType":"imageCountMoreThan","countNumber":%d},"action":{"type":"expire"}}]}`, keep), "")
	for i := range 3 * keep {
		if _, err := c.store.DeleteImage(t.Context(), c.repo, digests[all-1-i], meta.AnyTags, alice.ARN); err != nil &&
			!errors.Is(err, fault.ImageNotFound) {
			t.Fatal(err)
		}
	}
	c.settled(t)
	// An evaluation that the deletions have overtaken each time gave up, and left the rest to the next one.
	c.must(t, c.store.Enqueue(t.Context(), meta.NewJob{Kind: meta.LifecycleJob, Key: fmt.Sprint(c.repo.ID), Account: home.Account.String()}))
	c.settled(t)
	history, err := c.store.TagHistory(t.Context(), c.repo.ID, "", 0, 1000)
	c.must(t, err)
	slices.Reverse(history)
	left, byPolicy := 0, 0
	for _, m := range history {
		switch {
		case m.To != "":
			left++
			continue
		case m.Principal == meta.ExpiredBy:
			byPolicy++
			if left <= keep {
				t.Fatalf("the policy has deleted %s when %d images were there, and keeps %d", m.Tag, left, keep)
			}
		}
		left--
	}
	if byPolicy == 0 {
		t.Error("the policy has deleted nothing")
	}
}

// Row DP8: a lifecycle policy deletes nothing in a repository whose images are protected, and its preview says so. It does when the
// protection ends.
func TestDP8LifecycleLeavesProtectedImages(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.config(t, "config")
	for i := range 3 {
		c.pushed(t, metatest.Variant(i, "config"))
	}
	before := c.digests(t)
	*c.clock = c.clock.Add(48 * time.Hour)
	const policy = `{"rules":[{"rulePriority":1,"description":"delete what is older than a day","selection":{"tagStatus":"any",` +
		`"countType":"sinceImagePushed","countUnit":"days","countNumber":1},"action":{"type":"expire"}}]}`
	c.must(t, c.store.SetProtection(t.Context(), c.repo, meta.ProtectsContents))
	c.setLifecycle(t, policy, "")
	r, err := c.store.RepositoryByID(t.Context(), c.repo.ID)
	c.must(t, err)
	result, err := c.TestLifecycle(t.Context(), home.Account, r, policy, "")
	c.must(t, err)
	for i := range result.Verdicts {
		if v := &result.Verdicts[i]; v.Action != lifecycle.None || !strings.Contains(v.Reason(), "deletion protection") {
			t.Errorf("the verdict of a protected image: got %v, %s, want none because of deletion protection", v.Action, v.Reason())
		}
	}
	c.background(t)
	c.settled(t)
	if got := c.digests(t); len(got) != len(before) {
		t.Fatalf("%d images are left of %d that are protected", len(got), len(before))
	}
	// A decision from before the protection deletes nothing either.
	l, err := c.store.Lifecycle(t.Context(), c.repo.ID)
	c.must(t, err)
	images, err := c.store.LifecycleImages(t.Context(), c.repo, func() {})
	c.must(t, err)
	list := []meta.Expiry{{Image: &images[0]}}
	_, gone, err := c.store.ExpireImages(t.Context(), c.repo, l.Generation, list, nil)
	if len(gone) != 0 || !errors.Is(err, fault.RepositoryProtected) {
		t.Errorf("an expiry that was decided before: got %d images gone, %v, want RepositoryProtected", len(gone), err)
	}
	c.must(t, c.store.SetProtection(t.Context(), c.repo, meta.Unprotected))
	c.setLifecycle(t, policy, "")
	c.settled(t)
	if got := c.digests(t); len(got) != 0 {
		t.Errorf("%d images are left after the protection ended, want none", len(got))
	}
}
