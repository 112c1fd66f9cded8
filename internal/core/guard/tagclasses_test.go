package guard_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// drawRule draws an entitlement to the repository app that depends on tags, versions, channels and times of releases.
func drawRule(t *rapid.T, slug string, now time.Time) string {
	r := entitlement.Rule{Repositories: []string{"app"}}
	some := func(label string, of ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 2, rapid.ID[string]).Draw(t, label)
	}
	r.Tags = some("tags", "1.*", "*7", "2.0.3", "*-rc", "none")
	r.Versions = rapid.SampledFrom([]string{"", "", ">=2", "<1.0.5"}).Draw(t, "versions")
	r.Channels = some("channels", slug+"stable", slug+"beta", "none")
	if rapid.Bool().Draw(t, "released") {
		r.ReleasedBefore = now.Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "hours")) * time.Hour).Format(time.RFC3339)
	}
	r.Present = rapid.IntRange(0, 4).Draw(t, "present") == 0
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// drawRepositoryPolicy draws a policy that allows and denies by the same keys, with operators that entitlements do not have.
func drawRepositoryPolicy(t *rapid.T, slug string, now time.Time) string {
	if rapid.Bool().Draw(t, "no policy") {
		return ""
	}
	conditions := []string{
		`"Null":{"ecrin:ReleaseChannel":"true"}`, `"Null":{"ecrin:ReleasedAt":"false"}`, `"Null":{"ecrin:ImageTag":"true"}`,
		`"ForAllValues:StringEquals":{"ecrin:ReleaseChannel":["` + slug + `stable"]}`,
		`"StringEquals":{"ecrin:ReleaseChannel":"` + slug + `beta"}`,
		`"ForAnyValue:StringNotEquals":{"ecrin:ReleaseChannel":["` + slug + `stable"]}`,
		`"DateGreaterThan":{"ecrin:ReleasedAt":"` + now.Format(time.RFC3339) + `"}`,
		`"DateLessThanIfExists":{"ecrin:ReleasedAt":"` + now.Add(-time.Hour).Format(time.RFC3339) + `"}`,
		`"StringLike":{"ecrin:ImageTag":"*${ecrin:ReleasedAt}*"}`, `"StringNotLike":{"ecrin:ReleasedAt":"*${ecrin:ImageTag}*"}`,
		`"ForAllValues:StringLike":{"ecrin:ImageTag":["1.*","2.*"]}`, `"StringLike":{"ecrin:ImageTag":"2.0.1*"}`,
		`"StringEquals":{"ecrin:ImageTag":["1.0.3","2026"]}`,
	}
	var statements []json.RawMessage
	for range rapid.IntRange(1, 2).Draw(t, "statements") {
		statements = append(statements, json.RawMessage(`{"Effect":"`+rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, "effect")+
			`","Principal":"*","Action":"ecr:*","Condition":{`+rapid.SampledFrom(conditions).Draw(t, "condition")+`}}`))
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A decision about an image with many tags is the one that all of its tags lead to, whatever the policies, and whichever tags releases
// name on which channels: one tag of each class stands for all others of it.
func TestTagsOfOneClassAreDecidedAlike(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	f.repository(home, "app", "")
	tags := append(numberedTags("1.0.", 40), numberedTags("2.0.", 40)...)
	for i := range tags {
		tags[i] = tags[i][:4] + fmt.Sprint(i%40) // 1.0.0 … 2.0.39
	}
	pulled := f.tagged(append(tags, "1.0.7-rc", "other", "2026")...)
	start := f.at
	n, allowed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		slug := fmt.Sprint("shop-", n)
		a, err := f.meta.PutApplication(ctx, meta.Application{ID: slug, Account: home, Slug: slug, Sealed: []byte("x")},
			[]meta.Channel{{ID: slug + "stable", Slug: "stable"}, {ID: slug + "beta", Slug: "beta"}})
		f.must(err)
		channels, err := f.meta.Channels(ctx, a.ID)
		f.must(err)
		for range rapid.IntRange(0, 4).Draw(t, "releases") {
			f.at = start.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "at")) * time.Hour)
			var images []meta.ReleaseImage
			for _, tag := range rapid.SliceOfN(rapid.SampledFrom(append(tags, "", "unknown")), 1, 3).Draw(t, "named") {
				images = append(images, meta.ReleaseImage{Repository: "app", Tag: tag})
			}
			if rapid.IntRange(0, 9).Draw(t, "by digest") == 0 {
				images[0] = meta.ReleaseImage{Repository: "app", Digest: pulled.Image.Digest.String()}
			}
			r, err := f.meta.PutRelease(ctx, meta.Release{Application: a.ID, Files: []byte("x"), Images: images})
			f.must(err)
			on := channels[:]
			if i := rapid.IntRange(0, 2).Draw(t, "channel"); i < 2 {
				on = channels[i : i+1]
			}
			all, err := f.meta.Promote(ctx, meta.Promotion{Application: a.ID, Release: r.Sequence, Label: "1"}, on, nil)
			f.must(err)
			if rapid.IntRange(0, 3).Draw(t, "demote") == 0 {
				_, err := f.meta.Demote(ctx, all[0].Channel, all[0].Sequence, false)
				f.must(err)
			}
		}
		f.at = start
		id := fmt.Sprint("customer-", n)
		_, err = f.meta.PutCustomer(ctx, meta.Customer{ID: id, Application: a.ID, Account: home, Name: id, Sealed: []byte("x"),
			LicenseHash: id, Details: "{}"})
		f.must(err)
		for i := range rapid.IntRange(1, 2).Draw(t, "entitlements") {
			_, err = f.meta.PutEntitlement(ctx, meta.Entitlement{ID: fmt.Sprint(id, "-", i), Application: a.ID, Customer: id,
				Rule: drawRule(t, slug, start)})
			f.must(err)
		}
		repo, err := f.meta.Repository(ctx, name.Registry{Account: home, Region: region}, repoNamed("app"))
		f.must(err)
		if text := drawRepositoryPolicy(t, slug, start); text != "" {
			f.setPolicy(repo, text)
		} else {
			f.must(f.meta.SetPolicy(ctx, repo, meta.BoundPolicy{}))
		}
		customer := identity.Caller{Kind: identity.Customer, Account: home, ARN: meta.CustomerARN(home, slug, id), UserID: id,
			Application: a.ID}
		ask := f.resolved(pulled)
		got, err := f.guard.DecideAlone(ctx, customer, guard.Origin{}, ask)
		f.must(err)
		want, err := f.guard.DecideWithEachTag(ctx, customer, guard.Origin{}, ask)
		f.must(err)
		if got.Verdict != want.Verdict || got.Layer != want.Layer {
			t.Fatalf("got the decision %+v, want %+v as with each tag", got, want)
		}
		if got.Allowed() {
			allowed++
		}
	})
	if allowed == 0 || allowed == n {
		t.Errorf("%d of %d decisions allow the pull: the test shows nothing", allowed, n)
	}
}

// A tag that no release names has no time of a release, also if other tags of the image have one.
func TestTagsHaveTheReleasesOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	a, err := f.meta.PutApplication(ctx, meta.Application{ID: "shop", Account: home, Slug: "shop", Sealed: []byte("x")},
		[]meta.Channel{{ID: "stable", Slug: "stable"}})
	f.must(err)
	f.repository(home, "app", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*","Condition":{
		"StringEquals":{"ecrin:ImageTag":"other"},"Null":{"ecrin:ReleasedAt":"false"}}}]}`)
	ask := f.tagged("1.0", "other")
	_, err = f.meta.PutCustomer(ctx, meta.Customer{ID: "c", Application: a.ID, Account: home, Name: "c", Sealed: []byte("x"),
		LicenseHash: "c", Details: "{}"})
	f.must(err)
	for i, rule := range []string{`{"repositories":["app"]}`, `{"repositories":["none"],"channels":["stable"]}`} {
		_, err = f.meta.PutEntitlement(ctx, meta.Entitlement{ID: fmt.Sprint(i), Application: a.ID, Customer: "c", Rule: rule})
		f.must(err)
	}
	customer := identity.Caller{Kind: identity.Customer, Account: home, ARN: meta.CustomerARN(home, "shop", "c"), UserID: "c",
		Application: a.ID}
	f.decide("before a release", customer, ask, "")
	r, err := f.meta.PutRelease(ctx, meta.Release{Application: a.ID, Files: []byte("x"),
		Images: []meta.ReleaseImage{{Repository: "app", Tag: "1.0"}}})
	f.must(err)
	channels, err := f.meta.Channels(ctx, a.ID)
	f.must(err)
	_, err = f.meta.Promote(ctx, meta.Promotion{Application: a.ID, Release: r.Sequence, Label: "1"}, channels, nil)
	f.must(err)
	f.decide("after a release of the other tag", customer, ask, "")
}
