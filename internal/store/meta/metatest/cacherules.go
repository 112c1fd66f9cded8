package metatest

import (
	"fmt"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Rules of a registry: one for a prefix, at most MaxCacheRules, seen at once, and gone with the account.
func testCacheRules(fx *Fixture) {
	other := name.Registry{Account: Registry.Account, Region: mustRegion("eu-west-3")}
	prefixes := func(reg name.Registry, want ...string) {
		fx.Helper()
		all, err := fx.CacheRules(fx.Ctx, reg)
		fx.Must(err)
		var got []string
		for _, r := range all {
			got = append(got, r.Prefix)
		}
		fx.Equal(got, want, "the rules of %s", reg.Region)
	}
	prefixes(Registry)
	in := meta.CacheRule{Registry: Registry, Prefix: "hub", Upstream: "docker-hub", Host: "h.test", UpstreamPrefix: meta.RootPrefix,
		Credential: "arn:x"}
	r, err := fx.CreateCacheRule(fx.Ctx, in)
	fx.Must(err)
	_, err = fx.CreateCacheRule(fx.Ctx, in)
	fx.Want(err, fault.PullThroughCacheRuleAlreadyExists, "a rule with the same prefix")
	in.Registry, in.Prefix = other, "a"
	_, err = fx.CreateCacheRule(fx.Ctx, in)
	fx.Must(err)
	prefixes(Registry, "hub")
	prefixes(other, "a")
	r.Credential, r.Role = "arn:y", "arn:z"
	r.UpdatedAt, err = fx.UpdateCacheRule(fx.Ctx, r)
	fx.Must(err)
	all, err := fx.CacheRules(fx.Ctx, Registry)
	fx.Must(err)
	fx.Equal(all, []meta.CacheRule{r}, "the rule after its change")
	_, err = fx.UpdateCacheRule(fx.Ctx, meta.CacheRule{Registry: Registry, Prefix: "none"})
	fx.Want(err, fault.PullThroughCacheRuleNotFound, "a change of an unknown rule")
	for i := range meta.MaxCacheRules - 1 {
		r.Prefix = fmt.Sprintf("p%02d", i)
		_, err := fx.CreateCacheRule(fx.Ctx, r)
		fx.Must(err)
	}
	r.Prefix = "more"
	_, err = fx.CreateCacheRule(fx.Ctx, r)
	fx.Want(err, fault.LimitExceeded, "a rule too many")
	fx.Must(fx.DeleteCacheRule(fx.Ctx, Registry, "hub"))
	fx.Want(fx.DeleteCacheRule(fx.Ctx, Registry, "hub"), fault.PullThroughCacheRuleNotFound, "a second deletion")
	_, err = fx.CreateCacheRule(fx.Ctx, r)
	fx.Must(err)
}

// Secrets keep their suffix, and are of one account and region.
func testSecrets(fx *Fixture) {
	seal := func(text string) func(meta.Secret) []byte {
		return func(s meta.Secret) []byte { return []byte(text + " " + s.ARN()) }
	}
	one, err := fx.PutSecret(fx.Ctx, meta.Secret{Registry: Registry, Name: "a/b", Suffix: "AbCdEf"}, seal("1"))
	fx.Must(err)
	fx.Equal(string(one.Sealed), "1 "+one.ARN(), "the sealed value")
	again, err := fx.PutSecret(fx.Ctx, meta.Secret{Registry: Registry, Name: "a/b", Suffix: "XXXXXX"}, seal("2"))
	fx.Must(err)
	fx.Equal(again.ARN(), one.ARN(), "the ARN of another value")
	got, err := fx.Secret(fx.Ctx, Registry, "a/b")
	fx.Must(err)
	fx.Equal(got, again, "Secret")
	_, err = fx.PutSecret(fx.Ctx, meta.Secret{Registry: Registry, Name: "A", Suffix: "AbCdEf"}, seal("3"))
	fx.Must(err)
	all, err := fx.Secrets(fx.Ctx, Registry)
	fx.Must(err)
	fx.Equal(slices.Collect(func(yield func(string) bool) {
		for _, s := range all {
			yield(s.Name)
		}
	}), []string{"A", "a/b"}, "Secrets")
	other := name.Registry{Account: Registry.Account, Region: mustRegion("eu-west-3")}
	_, err = fx.Secret(fx.Ctx, other, "a/b")
	fx.Want(err, fault.SecretNotFound, "a secret of another region")
	fx.Want(fx.DeleteSecret(fx.Ctx, other, "a/b"), fault.SecretNotFound, "the deletion of one")
	fx.Must(fx.DeleteSecret(fx.Ctx, Registry, "a/b"))
	fx.Want(fx.DeleteSecret(fx.Ctx, Registry, "a/b"), fault.SecretNotFound, "a second deletion")
}

// An image that a rule has brought needs no blobs, its tag is marked, and a tag that a push has set is left alone.
func testCachedImages(fx *Fixture) {
	r := fx.Repo("cached")
	rule := &meta.CacheRule{Registry: Registry, Prefix: "p", Host: "h.test"}
	cached := func(p meta.Put, tags ...string) meta.Put {
		p = As(p, tags...)
		p.Cached = rule
		return p
	}
	first, second := ImageOf("config", "layer"), ImageOf("another config", "layer")
	fx.Want(fx.PutImage(fx.Ctx, r, As(first, "v1")), fault.LayersNotFound, "a push without its blobs")
	fx.Push(r, cached(first, "v1"))
	fx.names(r, Tag("v1"), first.Digest)
	by, err := fx.ReferrerOfBlob(fx.Ctx, r.ID, Digest("layer"))
	fx.Must(err)
	fx.Equal(by, first.Digest, "the image of a layer that is not here")
	_, err = fx.Holding(fx.Ctx, r.ID, Digest("layer"))
	fx.Want(err, fault.BlobNotFound, "the layer")
	im, err := fx.Store.Image(fx.Ctx, r.ID, first.Digest)
	fx.Must(err)
	fx.Equal(im.Bytes, int64(len("config")+len("layer")), "the size of the image")
	check := func(ref string, want string, known bool) {
		fx.Helper()
		c, ok, err := fx.CacheCheck(fx.Ctx, r.ID, ref)
		fx.Must(err)
		fx.Equal([]any{c.Digest, ok}, []any{want, known}, "the comparison of %s", ref)
	}
	check("v1", first.Digest.String(), true)
	fx.Push(r, cached(second, "v1"))
	fx.names(r, Tag("v1"), second.Digest)
	pushed := fx.Image(r, "pushed", "v1", "v2")
	check("v1", second.Digest.String(), true)
	fx.Push(r, cached(first, "v1"))
	fx.names(r, Tag("v1"), pushed.Digest)
	fx.Push(r, cached(first, "v2"))
	fx.names(r, Tag("v2"), pushed.Digest)
	check("v2", "", false)
	fx.Must(fx.PutCacheCheck(fx.Ctx, r, first.Digest.String(), ""))
	check(first.Digest.String(), "", true)
	index := IndexOf(ImageOf("of a platform"))
	fx.Push(r, cached(index, "all"))
	fx.names(r, Tag("all"), index.Digest)
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	fx.Want(fx.PutCacheCheck(fx.Ctx, r, "v1", ""), fault.RepositoryNotFound, "a comparison in a deleted repository")
}

func mustRegion(s string) name.Region {
	r, err := name.ParseRegion(s)
	if err != nil {
		panic(err)
	}
	return r
}

// One process has the right to fetch until it ends; then another one takes it, and the first one can neither renew nor end it.
func testCacheFetches(fx *Fixture) {
	take := func(key string, life time.Duration, want bool) meta.CacheFetch {
		fx.Helper()
		f, mine, err := fx.TakeCacheFetch(fx.Ctx, key, life)
		fx.Must(err)
		fx.Equal(mine, want, "the right to %s", key)
		return f
	}
	first := take("a", time.Hour, true)
	fx.Equal(first.Left, meta.CacheGrowth{}, "what was left before the first")
	first.Growing = meta.CacheGrowth{Upload: "u", Blob: "b"}
	ok, err := fx.RenewCacheFetch(fx.Ctx, first, time.Hour)
	fx.Must(err)
	fx.Equal(ok, true, "a renewal")
	fx.Equal(take("a", time.Hour, false).Growing, first.Growing, "where the first process writes")
	seen, found, err := fx.CacheFetch(fx.Ctx, "a")
	fx.Must(err)
	fx.Equal(found && seen.Growing == first.Growing && !seen.Ends.IsZero(), true, "CacheFetch: got %+v", seen)
	ok, err = fx.RenewCacheFetch(fx.Ctx, first, -time.Second) // its time has ended
	fx.Must(err)
	fx.Equal(ok, true, "the last renewal")
	second := take("a", time.Hour, true)
	fx.Equal(second.Left, first.Growing, "what the first process has left")
	ok, err = fx.RenewCacheFetch(fx.Ctx, first, time.Hour)
	fx.Must(err)
	fx.Equal(ok, false, "a renewal by the first process, after the second one has the right")
	fx.Must(fx.EndCacheFetch(fx.Ctx, first))
	fx.Must(fx.FailCacheFetch(fx.Ctx, first, "{}", time.Hour))
	fx.Equal(take("a", time.Hour, false).Failure, "", "the failure after one of the first process")
	fx.Must(fx.FailCacheFetch(fx.Ctx, second, `{"x":1}`, time.Hour))
	fx.Equal(take("a", time.Hour, false).Failure, `{"x":1}`, "the failure")
	third := take("b", time.Hour, true)
	fx.Must(fx.FailCacheFetch(fx.Ctx, third, "", 0))
	third = take("b", time.Hour, true)
	fx.Must(fx.EndCacheFetch(fx.Ctx, third))
	_, found, err = fx.CacheFetch(fx.Ctx, "b")
	fx.Must(err)
	fx.Equal(found, false, "a fetch that has ended")

	for i := range 20 { // what ended long ago goes, some with each call
		old := take(fmt.Sprint("old", i), -2*time.Hour, true)
		old.Growing = meta.CacheGrowth{Upload: fmt.Sprint("u", i), Blob: "b"}
		_, err := fx.RenewCacheFetch(fx.Ctx, old, -2*time.Hour)
		fx.Must(err)
	}
	take("c", time.Hour, true)
	_, found, err = fx.CacheFetch(fx.Ctx, "old0")
	fx.Must(err)
	fx.Equal(found, false, "a fetch that ended two hours ago")
	left := take("d", time.Hour, true)
	left.Growing = meta.CacheGrowth{Upload: "left", Blob: "b"}
	_, err = fx.RenewCacheFetch(fx.Ctx, left, time.Hour)
	fx.Must(err)
	all, err := fx.LeaveCacheFetches(fx.Ctx)
	fx.Must(err)
	fx.Equal(slices.Contains(all, left.Growing), true, "what the process has left: got %+v", all)
	take("d", time.Hour, true)
	take("a", time.Hour, true)
}
