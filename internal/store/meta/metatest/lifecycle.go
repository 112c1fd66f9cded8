package metatest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// setPolicy sets the document of ECR, which the store does not read.
func setPolicy(fx *Fixture, r meta.Repository, text string) meta.Lifecycle {
	fx.Helper()
	_, err := fx.ChangeLifecycle(fx.Ctx, r, func(l *meta.Lifecycle) error { l.Policy = text; return nil })
	fx.Must(err)
	return stored(fx, r)
}

func stored(fx *Fixture, r meta.Repository) meta.Lifecycle {
	fx.Helper()
	l, err := fx.Lifecycle(fx.Ctx, r.ID)
	fx.Must(err)
	return l
}

func testLifecycle(fx *Fixture) {
	r := fx.Repo("app")
	fx.Equal(stored(fx, r), meta.Lifecycle{}, "a repository without a policy")
	first := setPolicy(fx, r, "one")
	j := lease(fx, meta.LifecycleJob, 9, time.Minute, strconv.FormatInt(r.ID, 10))[0]
	if j.Account != Account.String() || first.Policy != "one" || first.Generation == 0 || !first.EvaluatedAt.IsZero() {
		fx.Errorf("after the first change: got the job %+v and %+v", j, first)
	}
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	fx.Must(fx.LifecycleEvaluated(fx.Ctx, r.ID, first, at))
	if got := stored(fx, r); !got.EvaluatedAt.Equal(at) || got.Generation != first.Generation {
		fx.Errorf("after the evaluation: got %+v", got)
	}
	before, err := fx.ChangeLifecycle(fx.Ctx, r, func(l *meta.Lifecycle) error { l.Extension = "two"; return nil })
	fx.Must(err)
	if got := stored(fx, r); before.Extension != "" || got.Policy != "one" || got.Extension != "two" || got.Generation == first.Generation ||
		!got.EvaluatedAt.Equal(at) {
		fx.Errorf("after the extension was set: got %+v, before %+v", got, before)
	}
	second := setPolicy(fx, r, "three")
	fx.Must(fx.LifecycleEvaluated(fx.Ctx, r.ID, first, at)) // of the policy that was replaced
	if got := stored(fx, r); !got.EvaluatedAt.IsZero() || second.Policy != "three" {
		fx.Errorf("after another policy was set: got %+v, want no time of evaluation", got)
	}
	refusal := errors.New("refused")
	if _, err := fx.ChangeLifecycle(fx.Ctx, r, func(*meta.Lifecycle) error { return refusal }); !errors.Is(err, refusal) {
		fx.Errorf("a refused change: got %v", err)
	}
	_, err = fx.ChangeLifecycle(fx.Ctx, r, func(l *meta.Lifecycle) error { *l = meta.Lifecycle{}; return nil })
	fx.Must(err)
	fx.Equal(stored(fx, r), meta.Lifecycle{}, "after both documents were deleted")
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	_, err = fx.ChangeLifecycle(fx.Ctx, r, func(*meta.Lifecycle) error { return nil })
	fx.Want(err, fault.RepositoryNotFound, "a change of a deleted repository")
}

// testGeneration checks which changes of images make decisions void: those that could improve the position of another image.
func testGeneration(fx *Fixture) {
	r := fx.Repo("app")
	a, b := fx.Image(r, "a", "a", "x"), fx.Image(r, "b", "b")
	setPolicy(fx, r, "one")
	changed := func(what string, want bool, change func() error) {
		fx.Helper()
		before := stored(fx, r).Generation
		fx.Must(change())
		if got := stored(fx, r).Generation != before; got != want {
			fx.Errorf("%s: got another generation %v, want %v", what, got, want)
		}
	}
	c := func(tags ...string) func() error {
		fx.Blob(r, "c")
		return func() error { return fx.PutImage(fx.Ctx, r, As(Variant(int(time.Now().UnixNano()), "c"), tags...)) }
	}
	changed("a push without a tag", false, c())
	changed("a push with a new tag", false, c("c"))
	changed("a push that moves a tag", false, c("x"))
	changed("a tag that moves to an image that was there", true, func() error { return fx.PutImage(fx.Ctx, r, As(b, "x")) })
	changed("a tag that stays", false, func() error { return fx.PutImage(fx.Ctx, r, As(b, "x")) })
	changed("a tag that is deleted", true, func() error {
		_, err := fx.DeleteTag(fx.Ctx, r, Tag("x").Tag, name.Digest{}, false, Principal)
		return err
	})
	changed("an image that is deleted", true, func() error {
		_, err := fx.DeleteImage(fx.Ctx, r, a.Digest, meta.AnyTags, Principal)
		return err
	})
	_, err := fx.ChangeLifecycle(fx.Ctx, r, func(l *meta.Lifecycle) error { l.Extension = "two"; return nil })
	fx.Must(err)
	changed("with an extension, a push that moves a tag", true, c("c"))
}

// lifecycleImages returns the images of a repository by their digests.
func lifecycleImages(fx *Fixture, r meta.Repository) map[name.Digest]lifecycle.Image {
	fx.Helper()
	all, err := fx.LifecycleImages(fx.Ctx, r, func() {})
	fx.Must(err)
	byDigest := map[name.Digest]lifecycle.Image{}
	for _, im := range all {
		byDigest[im.Digest] = im
	}
	if len(byDigest) != len(all) {
		fx.Errorf("got %d images, of which %d are different", len(all), len(byDigest))
	}
	return byDigest
}

func testLifecycleImages(fx *Fixture) {
	r, other := fx.Repo("app"), fx.Repo("other")
	child, gone, bare := fx.Image(r, "child"), fx.Image(r, "gone", "gone"), fx.Image(r, "bare", "moved")
	index := As(IndexOf(child), "b", "a")
	fx.Push(r, index)
	fx.Blob(r, "sig")
	referrer := ReferrerOf(index.Digest, "application/x", "sig")
	fx.Push(r, referrer)
	fx.Push(r, As(index, "moved"))
	fx.Image(other, "child", "other")
	_, err := fx.DeleteImage(fx.Ctx, r, gone.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	_, err = fx.PinImage(fx.Ctx, r, child.Digest, Principal, "")
	fx.Must(err)
	fx.Must(fx.ReportUse(fx.Ctx, Account, []meta.ImageUse{{Digest: bare.Digest, By: "cluster", Until: farAway},
		{Digest: index.Digest, By: "cluster", Until: time.UnixMicro(1)}}))
	fx.Must(fx.SetPulled(fx.Ctx, map[meta.PullKey]time.Time{{Repository: r.ID, Digest: index.Digest}: farAway}))

	got := lifecycleImages(fx, r)
	if len(got) != 4 {
		fx.Errorf("got %d images, want 4", len(got))
	}
	if im := got[index.Digest]; len(im.Tags) != 3 || im.Tags[0].Name != "a" || im.Tags[2].Name != "moved" || im.Tags[0].MovedAt.IsZero() ||
		!slices.Equal(im.Children, []name.Digest{child.Digest}) || im.Protection != 0 || im.PushedAt.IsZero() || !im.PulledAt.Equal(farAway) ||
		!im.UntaggedAt.IsZero() || im.Bytes == 0 {
		fx.Errorf("the index: got %+v", im)
	}
	if im := got[child.Digest]; im.Protection != lifecycle.Pinned || len(im.Tags) > 0 || !im.UntaggedAt.IsZero() {
		fx.Errorf("the child, which is pinned and never had a tag: got %+v", im)
	}
	if im := got[bare.Digest]; im.Protection != lifecycle.InUse || len(im.Tags) > 0 || im.UntaggedAt.IsZero() {
		fx.Errorf("the image in use that has lost its tag: got %+v", im)
	}
	if im := got[referrer.Digest]; im.Subject != index.Digest {
		fx.Errorf("the referrer: got %+v", im)
	}
}

// expire expires images as the policy now stored, and returns those that are deleted.
func expire(fx *Fixture, r meta.Repository, list ...meta.Expiry) []name.Digest {
	fx.Helper()
	var all []name.Digest
	for len(list) > 0 {
		n, gone, err := fx.ExpireImages(fx.Ctx, r, stored(fx, r).Generation, list, func([]meta.Expiry) []byte { return []byte("{}\n") })
		fx.Must(err)
		for _, e := range gone {
			all = append(all, e.Image.Digest)
		}
		list = list[n:]
	}
	return all
}

func due(im lifecycle.Image) meta.Expiry { return meta.Expiry{Image: &im} }

// testExpireImages checks that an image is deleted only if it is as the decision saw it.
func testExpireImages(fx *Fixture) {
	r := fx.Repo("app")
	setPolicy(fx, r, "one")
	push := func(config string, tags ...string) meta.Put { return fx.Image(r, config, tags...) }
	for _, c := range []struct {
		what   string
		change func(p meta.Put)
		follow func(e *meta.Expiry)
		gone   bool
	}{
		{what: "nothing has changed", gone: true},
		{what: "another tag", change: func(p meta.Put) { fx.Push(r, As(p, "more")) }},
		{what: "no tag", change: func(p meta.Put) {
			_, err := fx.DeleteTag(fx.Ctx, r, Tag("t").Tag, name.Digest{}, false, Principal)
			fx.Must(err)
		}},
		{what: "the tag has moved away and back", change: func(p meta.Put) { push("thief", "t"); fx.Push(r, As(p, "t")) }},
		{what: "deleted", change: func(p meta.Put) {
			_, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
			fx.Must(err)
		}},
		{what: "an index names it", change: func(p meta.Put) { fx.Push(r, IndexOf(p)) }},
		{what: "pinned", change: func(p meta.Put) {
			_, err := fx.PinImage(fx.Ctx, r, p.Digest, Principal, "")
			fx.Must(err)
		}},
		{what: "in use", change: func(p meta.Put) {
			fx.Must(fx.ReportUse(fx.Ctx, Account, []meta.ImageUse{{Digest: p.Digest, By: "cluster", Until: farAway}}))
		}},
		{what: "pulled, where that does not matter", gone: true, change: func(p meta.Put) {
			fx.Must(fx.SetPulled(fx.Ctx, map[meta.PullKey]time.Time{{Repository: r.ID, Digest: p.Digest}: farAway}))
		}},
		{what: "pulled, where that matters", follow: func(e *meta.Expiry) { e.ByPull = true }, change: func(p meta.Put) {
			fx.Must(fx.SetPulled(fx.Ctx, map[meta.PullKey]time.Time{{Repository: r.ID, Digest: p.Digest}: farAway}))
		}},
		{what: "a referrer whose subject is there", follow: func(e *meta.Expiry) {
			e.Follows, e.Image.Subject = true, fx.Image(r, "subject").Digest
		}},
		{what: "a referrer whose subject is gone", gone: true, follow: func(e *meta.Expiry) {
			e.Follows, e.Image.Subject = true, Digest("none")
		}},
	} {
		p := push(c.what, "t")
		e := due(lifecycleImages(fx, r)[p.Digest])
		if c.follow != nil {
			c.follow(&e)
		}
		if c.change != nil {
			c.change(p)
		}
		if now := lifecycleImages(fx, r)[p.Digest]; c.what == "the tag has moved away and back" && now.Tags[0] == e.Image.Tags[0] {
			continue // the clock of the store stands
		}
		got := expire(fx, r, e)
		if (len(got) == 1) != c.gone {
			fx.Errorf("%s: got %v deleted, want %v", c.what, got, c.gone)
		}
		_, err := fx.Head(fx.Ctx, r.ID, ByDigest(p.Digest))
		if want := c.gone || c.what == "deleted"; errors.Is(err, fault.ImageNotFound) != want {
			fx.Errorf("%s: got the image with the error %v", c.what, err)
		}
		if c.gone {
			fx.Must(fx.RestoreImage(fx.Ctx, r, p.Digest, nil, Principal, false))
		}
	}
	history, err := fx.TagHistory(fx.Ctx, r.ID, "t", 0, 100)
	fx.Must(err)
	if !slices.ContainsFunc(history, func(m meta.TagMove) bool { return m.To == "" && m.Principal == meta.ExpiredBy }) {
		fx.Errorf("the history of the tag has no entry of the policy: %+v", history)
	}
}

// testExpireRefuses checks that nothing is deleted by a decision that is void, and in transactions of bounded size otherwise.
func testExpireRefuses(fx *Fixture) {
	r := fx.Repo("app")
	var list []meta.Expiry
	l := setPolicy(fx, r, "one")
	for i := range 120 {
		fx.Image(r, fmt.Sprint(i), fmt.Sprint("t", i))
	}
	for _, im := range lifecycleImages(fx, r) {
		list = append(list, due(im))
	}
	victim := fx.Image(r, "victim")
	_, err := fx.DeleteImage(fx.Ctx, r, victim.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	n, gone, err := fx.ExpireImages(fx.Ctx, r, l.Generation, list, nil)
	fx.Want(err, fault.TargetChanged, "after an image was deleted")
	if len(gone) > 0 || len(lifecycleImages(fx, r)) != 120 {
		fx.Errorf("a void decision has dealt with %d images and deleted %d", n, len(gone))
	}
	calls := 0
	for generation := stored(fx, r).Generation; len(list) > 0; calls++ {
		n, gone, err := fx.ExpireImages(fx.Ctx, r, generation, list, nil)
		fx.Must(err)
		if n == 0 || n > 60 || len(gone) != n {
			fx.Fatalf("one transaction has dealt with %d images and deleted %d, want the same number, from 1 to 60", n, len(gone))
		}
		list = list[n:]
	}
	if left := lifecycleImages(fx, r); len(left) != 0 || calls < 2 {
		fx.Errorf("after %d transactions %d images are left", calls, len(left))
	}
	// An image with more rows than a transaction usually has.
	var layers []string
	for i := range 700 {
		layers = append(layers, fmt.Sprint("layer", i))
		fx.Blob(r, layers[i])
	}
	fx.Push(r, ImageOf(layers...))
	for _, im := range lifecycleImages(fx, r) {
		if got := expire(fx, r, due(im)); len(got) != 1 {
			fx.Errorf("an image with many layers: got %v deleted", got)
		}
	}
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	_, _, err = fx.ExpireImages(fx.Ctx, r, 0, []meta.Expiry{due(lifecycle.Image{Digest: victim.Digest})}, nil)
	fx.Want(err, fault.RepositoryNotFound, "in a deleted repository")
}

func testPins(fx *Fixture) {
	r := fx.Repo("app")
	a, b := fx.Image(r, "a"), fx.Image(r, "b")
	for _, p := range []meta.Put{a, b} {
		_, err := fx.PinImage(fx.Ctx, r, p.Digest, Principal, "first")
		fx.Must(err)
	}
	p, err := fx.PinImage(fx.Ctx, r, a.Digest, Principal, "second")
	fx.Must(err)
	if p.Reason != "second" || p.Digest != a.Digest.String() || p.Principal != Principal || p.At.IsZero() {
		fx.Errorf("the pin: got %+v", p)
	}
	_, err = fx.PinImage(fx.Ctx, r, Digest("none"), Principal, "")
	fx.Want(err, fault.ImageNotFound, "pinning no image")
	all := func(limit int) (digests []string) {
		fx.Helper()
		for after := ""; ; {
			page, err := fx.Pins(fx.Ctx, r.ID, after, limit)
			fx.Must(err)
			for _, p := range page {
				digests, after = append(digests, p.Digest), p.Digest
			}
			if len(page) < limit {
				return digests
			}
		}
	}
	want := []string{a.Digest.String(), b.Digest.String()}
	slices.Sort(want)
	fx.Equal(all(1), want, "the pages of pins")
	_, err = fx.DeleteImage(fx.Ctx, r, a.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Equal(all(9), []string{b.Digest.String()}, "the pins without that of a deleted image")
	fx.Must(fx.RestoreImage(fx.Ctx, r, a.Digest, nil, Principal, false))
	fx.Equal(all(9), want, "the pins after the image was restored")
	fx.Must(fx.UnpinImage(fx.Ctx, r, a.Digest))
	fx.Want(fx.UnpinImage(fx.Ctx, r, a.Digest), fault.ImageNotPinned, "unpinning twice")
	fx.Equal(all(9), []string{b.Digest.String()}, "the pins after one was taken back")
}

func testImageUses(fx *Fixture) {
	past := time.UnixMicro(1_000_000)
	var uses []meta.ImageUse
	for i := range 7 {
		uses = append(uses, meta.ImageUse{Digest: Digest("x"), By: fmt.Sprint(i), Until: past})
	}
	fx.Must(fx.ReportUse(fx.Ctx, Account, uses))
	fx.Must(fx.ReportUse(fx.Ctx, Account, []meta.ImageUse{{Digest: Digest("x"), By: "0", Until: farAway}}))
	fx.Must(fx.ReportUse(fx.Ctx, Account, []meta.ImageUse{{Digest: Digest("x"), By: "zoo", Until: farAway},
		{Digest: Digest("y"), By: "1", Until: farAway}}))
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{{"", 9, []string{"0", "zoo"}}, {"", 1, []string{"0"}}, {"0", 9, []string{"zoo"}}, {"zoo", 9, nil}} {
		uses, err := fx.ImageUses(fx.Ctx, Account, Digest("x"), c.after, c.limit)
		fx.Must(err)
		var got []string
		for _, u := range uses {
			got = append(got, u.By)
			if !u.Until.Equal(farAway) {
				fx.Errorf("the use by %s: got until %s", u.By, u.Until)
			}
		}
		fx.Equal(got, c.want, "uses after %q", c.after)
	}
	for _, want := range []int64{4, 2, 0} {
		n, err := fx.DeleteEndedUses(fx.Ctx, 4)
		fx.Must(err)
		if n != want {
			fx.Errorf("the ended uses: got %d deleted, want %d", n, want)
		}
	}
	fx.Want(fx.ReportUse(fx.Ctx, Account, make([]meta.ImageUse, 501)), fault.InvalidParameter, "a report of too many images")
}

func testPreview(fx *Fixture) {
	r := fx.Repo("app")
	_, err := fx.Preview(fx.Ctx, r.ID)
	fx.Want(err, fault.LifecyclePreviewNotFound, "no preview")
	fx.Must(fx.StartPreview(fx.Ctx, r, "one"))
	fx.Want(fx.StartPreview(fx.Ctx, r, "two"), fault.LifecyclePreviewInProgress, "a second preview")
	state := func(want meta.PreviewState) meta.Preview {
		fx.Helper()
		p, err := fx.Preview(fx.Ctx, r.ID)
		fx.Must(err)
		if p.State != want {
			fx.Errorf("the preview: got %+v, want the state %d", p, want)
		}
		return p
	}
	state(meta.PreviewInProgress)
	key := strconv.FormatInt(r.ID, 10)
	j := lease(fx, meta.LifecyclePreviewJob, 1, time.Minute, key)[0]
	first, err := fx.AttemptPreview(fx.Ctx, r.ID)
	fx.Must(err)
	result := meta.PreviewResult{Number: 3, Digest: "sha256:x", Tags: []string{"a", "b"}, PushedAt: time.UnixMicro(5).UTC(),
		Action: lifecycle.Archive, Priority: 9, Class: lifecycle.Archived}
	fx.Must(fx.AddPreviewResults(fx.Ctx, r.ID, first.ID, []meta.PreviewResult{result}))
	p, err := fx.AttemptPreview(fx.Ctx, r.ID)
	fx.Must(err)
	fx.Want(fx.AddPreviewResults(fx.Ctx, r.ID, first.ID, []meta.PreviewResult{result}), fault.TargetChanged,
		"results of an attempt that is over")
	fx.Want(fx.EndPreview(fx.Ctx, r.ID, first, nil), fault.TargetChanged, "the end of an attempt that is over")
	var all []meta.PreviewResult
	for i := range 1100 {
		result.Number, result.Digest = int64(i+1), fmt.Sprint("sha256:", i)
		all = append(all, result)
	}
	fx.Must(fx.AddPreviewResults(fx.Ctx, r.ID, p.ID, all))
	p.State, p.Expiring, p.Archiving = meta.PreviewComplete, 4, 1100
	fx.Must(fx.EndPreview(fx.Ctx, r.ID, p, nil))
	fx.Equal(state(meta.PreviewComplete), p, "the complete preview")
	var got []meta.PreviewResult
	for after := int64(0); ; {
		page, err := fx.PreviewResults(fx.Ctx, r.ID, p.ID, after, 300)
		fx.Must(err)
		if got = append(got, page...); len(page) == 0 {
			break
		}
		after = page[len(page)-1].Number
	}
	fx.Equal(got, all, "the pages of results")
	one, found, err := fx.PreviewResult(fx.Ctx, r.ID, p.ID, "sha256:77")
	fx.Must(err)
	_, none, err := fx.PreviewResult(fx.Ctx, r.ID, p.ID, "sha256:x")
	fx.Must(err)
	if fx.Equal(one, all[77], "one result"); !found || none {
		fx.Errorf("one result: got found %v, and %v for that of an earlier attempt", found, none)
	}
	fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobDone, Forget: true}))

	// A preview whose job was canceled has failed, and another can begin.
	fx.Must(fx.StartPreview(fx.Ctx, r, "two"))
	j = lease(fx, meta.LifecyclePreviewJob, 1, time.Minute, key)[0]
	fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobCanceled}))
	state(meta.PreviewFailed)
	fx.Must(fx.StartPreview(fx.Ctx, r, strings.Repeat("x", 30_720)))
	state(meta.PreviewInProgress)
	for steps := 0; ; steps++ {
		done, err := fx.ClearPreview(fx.Ctx, r.ID)
		fx.Must(err)
		if done {
			if steps < 2 {
				fx.Errorf("the results were deleted in %d transactions, want bounded ones", steps+1)
			}
			break
		}
	}
	if more, err := fx.ExpirePreview(fx.Ctx); err != nil || more {
		fx.Errorf("ExpirePreview before a day: got %v, %v", more, err)
	}
}

// testLifecycleGoes checks that nothing about lifecycle policies outlives its repository.
func testLifecycleGoes(fx *Fixture) {
	r := fx.Repo("app")
	im := fx.Image(r, "a", "a")
	setPolicy(fx, r, "one")
	_, err := fx.PinImage(fx.Ctx, r, im.Digest, Principal, "")
	fx.Must(err)
	fx.Must(fx.StartPreview(fx.Ctx, r, "one"))
	p, err := fx.AttemptPreview(fx.Ctx, r.ID)
	fx.Must(err)
	fx.Must(fx.AddPreviewResults(fx.Ctx, r.ID, p.ID, []meta.PreviewResult{{Number: 1, Digest: "sha256:x"}}))
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	if got := stored(fx, r); got.Policy != "one" {
		fx.Errorf("the policy of a deleted repository, which may be restored: got %+v", got)
	}
	for more := true; more; {
		_, more, err = fx.CollectRepositories(fx.Ctx, farAway)
		fx.Must(err)
	}
	pins, err := fx.Pins(fx.Ctx, r.ID, "", 9)
	fx.Must(err)
	results, err := fx.PreviewResults(fx.Ctx, r.ID, p.ID, 0, 9)
	fx.Must(err)
	_, err = fx.Preview(fx.Ctx, r.ID)
	fx.Want(err, fault.LifecyclePreviewNotFound, "the preview of a collected repository")
	if got := stored(fx, r); got != (meta.Lifecycle{}) || len(pins) > 0 || len(results) > 0 {
		fx.Errorf("after the collection: got %+v, %v, %v", got, pins, results)
	}
}
