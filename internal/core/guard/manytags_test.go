package guard_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// tagged stores an image with tags in the repository app, and returns the ask to pull it by its digest.
func (f *fixture) tagged(tags ...string) access { return f.taggedIn("app", tags...) }

// taggedIn is tagged for another repository.
func (f *fixture) taggedIn(repo string, tags ...string) access {
	f.t.Helper()
	ctx := f.t.Context()
	r, err := f.meta.Repository(ctx, name.Registry{Account: home, Region: region}, repoNamed(repo))
	f.must(err)
	config := registry.DigestOf(name.SHA256, []byte("config"))
	_, err = f.meta.AddBlob(ctx, r, blob.Info{Digest: config, Size: 6}, "")
	f.must(err)
	body := []byte(`{"schemaVersion":2,"mediaType":"` + manifest.OCIManifest + `","config":{
		"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + config.String() + `","size":6},"layers":[]}`)
	m, err := manifest.Parse(body, "")
	f.must(err)
	d := registry.DigestOf(name.SHA256, body)
	for some := range slices.Chunk(tags, 1000) {
		p := meta.Put{Manifest: m, Body: body, Digest: d, Principal: "p"}
		for _, t := range some {
			p.Tags = append(p.Tags, tagNamed(t))
		}
		f.must(f.meta.PutImage(ctx, r, p))
	}
	a := pull(home, repo)
	a.Image = guard.Image{Reference: name.Reference{Digest: d}, Stored: true}
	return a
}

// tagPolicy returns a policy that allows pulls under a condition, and denies them under another.
func tagPolicy(allowed, denied string) string {
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{` + allowed + `}}`
	if denied != "" {
		text += `,{"Effect":"Deny","Action":"ecr:*","Resource":"*","Condition":{` + denied + `}}`
	}
	return text + `]}`
}

func numberedTags(prefix string, n int) (tags []string) {
	for i := range n {
		tags = append(tags, fmt.Sprintf("%s-%05d", prefix, i))
	}
	return tags
}

// A decision about an image by its digest is the same for thousands of tags as for few: an explicit denial of one tag is
// the result, and otherwise one tag with which the pull is allowed suffices. It follows each change of the tags.
func TestDecideOfAnImageWithManyTags(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	const denial = "with an explicit deny in an identity-based policy"
	type row struct {
		what, policy string
		want         string // before the tag secret-1
		then         string // with it
	}
	rows := []row{
		{"one tag of many", tagPolicy(`"StringEquals":{"ecrin:ImageTag":"build-04999"}`, ""), "", ""},
		{"all tags", tagPolicy(`"ForAllValues:StringLike":{"ecrin:ImageTag":"build-*"}`, ""), "", ""}, // then by one tag alone
		{"a tag that it does not have", tagPolicy(`"StringEquals":{"ecrin:ImageTag":"secret-1"}`, ""), noIdentity, ""},
		{"a denied tag", tagPolicy(`"StringLike":{"ecrin:ImageTag":"build-*"}`, `"StringLike":{"ecrin:ImageTag":"secret-*"}`), "", denial},
		{"all but some", tagPolicy(`"Null":{"ecrin:ImageTag":"false"}`, `"StringNotLike":{"ecrin:ImageTag":["build-*","other"]}`), "", denial},
		{"a variable in the condition", tagPolicy(`"StringLike":{"ecrin:ImageTag":"${aws:username}-*"}`, ""), noIdentity, noIdentity},
		{"the tag in a variable", tagPolicy(`"StringLike":{"aws:username":"user-*"}`,
			`"StringEquals":{"aws:username":"user-${ecrin:ImageTag}"}`), "", ""},
	}
	var callers []identity.Caller
	for i, r := range rows {
		_, c := f.user(home, fmt.Sprint("user-", i), r.policy)
		callers = append(callers, c)
	}
	for _, n := range []int{2, 33, 5000} { // few, many, and too many to be kept in memory
		t.Log(n, "tags")
		tags := numberedTags("build", n)
		tags[n-1] = "build-04999"
		ask := f.tagged(tags...)
		for i, r := range rows {
			for range 2 { // the second decision may use what the first has read
				f.decide(fmt.Sprintf("%s, %d tags", r.what, n), callers[i], ask, r.want)
			}
		}
		f.tagged("secret-1")
		for i, r := range rows {
			f.decide(fmt.Sprintf("%s, %d tags and secret-1", r.what, n), callers[i], ask, r.then)
		}
		repo, err := f.meta.Repository(t.Context(), name.Registry{Account: home, Region: region}, repoNamed("app"))
		f.must(err)
		_, err = f.meta.DeleteTag(t.Context(), repo, tagNamed("secret-1"), name.Digest{}, false, "p")
		f.must(err)
	}
}

// A pull by digest under conditions on the tag does not cost more for an image with 20,000 tags than for one with 32: the
// tags are read and sorted by the conditions once after a change, and each decision evaluates one of each kind.
func TestCostOfManyTagsIsBounded(t *testing.T) { // not parallel: it counts allocations
	f := newFixture(t)
	f.repository(home, "app", "")
	_, user := f.user(home, "user", manyTagsPolicy)
	cost := func(ask access) float64 {
		resolved := f.resolved(ask)
		return testing.AllocsPerRun(20, func() {
			f.must(f.guard.Decide(t.Context(), user, ask.From, new(guard.Record), resolved))
		})
	}
	few := cost(f.tagged(numberedTags("build-1", 32)...))
	many := cost(f.tagged(numberedTags("build-1", 20_000)...))
	if many > few+32 {
		t.Errorf("a decision about an image with 20,000 tags allocates %.0f times, want at most a few more than the %.0f with 32 tags", many, few)
	}
}

const manyTagsPolicy = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringLike":{"ecrin:ImageTag":["build-1*","release-*"]}}},
	{"Effect":"Deny","Action":"ecr:*","Resource":"*","Condition":{"StringLike":{"ecrin:ImageTag":"secret-*"}}}]}`

func BenchmarkDecideByTag(b *testing.B) {
	for _, n := range []int{1, 32, 1000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newFixture(b)
			f.repository(home, "app", "")
			_, user := f.user(home, "user", manyTagsPolicy)
			ask := f.tagged(numberedTags("build-1", n)...)
			resolved := f.resolved(ask)
			b.ReportAllocs()
			for b.Loop() {
				f.must(f.guard.Decide(b.Context(), user, ask.From, new(guard.Record), resolved))
			}
		})
	}
}

// The first decision after each change of the tags.
func BenchmarkDecideByTagAfterAChange(b *testing.B) {
	f := newFixture(b)
	f.repository(home, "app", "")
	_, user := f.user(home, "user", manyTagsPolicy)
	ask := f.tagged(numberedTags("build-1", 20_000)...)
	resolved := f.resolved(ask)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		f.tagged(fmt.Sprint("build-2", i))
		b.StartTimer()
		f.must(f.guard.Decide(b.Context(), user, ask.From, new(guard.Record), resolved))
	}
}

// The tags of an image count for a request that reads or deletes it by its digest, and not for one that writes it.
func TestTagsCountOnlyForStoredImages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	_, user := f.user(home, "user", tagPolicy(`"StringEquals":{"ecrin:ImageTag":"v1"}`, ""))
	a := f.tagged("v1")
	f.decide("a read", user, a, "")
	a.Image.Stored = false
	f.decide("a write", user, a, noIdentity)
	a.Image.Stored, a.repo = true, repoNamed("none")
	f.decide("a read in a repository that does not exist", user, a, noIdentity)
}
