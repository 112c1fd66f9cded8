package meta_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// query is a cached read.
type query struct {
	what string
	run  func(s *meta.Store) (any, error)
}

func (q query) result(s *meta.Store) string {
	v, err := q.run(s)
	if err != nil {
		var e *fault.Error
		if errors.As(err, &e) {
			return e.Code.String()
		}
		return err.Error()
	}
	return fmt.Sprintf("%+v", v)
}

// cacheFixture is a store with few repositories, images, tags and keys, so that random changes often concern the same
// one.
type cacheFixture struct {
	*metatest.Fixture
	mu     sync.Mutex
	ids    []int64 // of all repositories, also of deleted ones
	images []meta.Put
	tags   []name.Tag
	// channels are those of the application shop, which has a release for each tag of the repository app.
	channels []meta.Channel

	replacing sync.Mutex // held while a key, the sessions or the account are replaced
}

const maxRepos, maxKeys = 3, 4

func (fx *cacheFixture) repo(i int) (meta.Repository, error) {
	r, err := fx.Repository(fx.Ctx, metatest.Registry, mustRepo(fx.T, fmt.Sprint("team/app", i)))
	if !errors.Is(err, fault.RepositoryNotFound) {
		return r, err
	}
	r, err = fx.CreateRepository(fx.Ctx, meta.Repository{Registry: metatest.Registry,
		Name: mustRepo(fx.T, fmt.Sprint("team/app", i)), Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	if err == nil {
		fx.mu.Lock()
		fx.ids = append(fx.ids, r.ID)
		fx.mu.Unlock()
	}
	return r, err
}

// queries returns reads of all values that the caches may hold.
func (fx *cacheFixture) queries() (all []query) {
	fx.mu.Lock()
	ids := fx.ids[max(0, len(fx.ids)-2*maxRepos):]
	fx.mu.Unlock()
	add := func(what string, run func(s *meta.Store) (any, error)) {
		all = append(all, query{what, run})
	}
	for i := range maxRepos {
		add(fmt.Sprint("repository ", i), func(s *meta.Store) (any, error) {
			return s.Repository(fx.Ctx, metatest.Registry, mustRepo(fx.T, fmt.Sprint("team/app", i)))
		})
	}
	for _, r := range []name.Registry{replaced, metatest.Registry} {
		add(fmt.Sprint("registry policy of ", r), func(s *meta.Store) (any, error) { return s.RegistryPolicy(fx.Ctx, r) })
	}
	for _, id := range ids {
		add(fmt.Sprint("resource tags of ", id), func(s *meta.Store) (any, error) { return s.ResourceTags(fx.Ctx, meta.Repository{ID: id}) })
		for _, tag := range fx.tags {
			add(fmt.Sprint("tag ", tag, " of ", id), func(s *meta.Store) (any, error) { return s.Head(fx.Ctx, id, name.Reference{Tag: tag}) })
		}
		for i, p := range fx.images {
			add(fmt.Sprint("image ", i, " of ", id), func(s *meta.Store) (any, error) { return s.Head(fx.Ctx, id, metatest.ByDigest(p.Digest)) })
			add(fmt.Sprint("tags that lead to image ", i, " of ", id), func(s *meta.Store) (any, error) {
				tags, err := s.TagsLeadingTo(fx.Ctx, id, p.Digest)
				return slices.Sorted(slices.Values(tags)), err
			})
			for _, b := range p.Manifest.Blobs() {
				add(fmt.Sprint("blob of image ", i, " of ", id), func(s *meta.Store) (any, error) { return s.Holding(fx.Ctx, id, b.Digest) })
			}
		}
		add(fmt.Sprint("tag list of ", id), func(s *meta.Store) (any, error) {
			list, err := s.TagList(fx.Ctx, id)
			return string(list), err
		})
	}
	for i := range maxKeys {
		add(fmt.Sprint("key ", i), func(s *meta.Store) (any, error) { return s.AccessKey(fx.Ctx, fmt.Sprint("AKIA", i)) })
		add(fmt.Sprint("token ", i), func(s *meta.Store) (any, error) {
			k, err := s.Token(fx.Ctx, fmt.Sprint("token", i))
			return []any{k.ID, k.RevokedAt.IsZero()}, err
		})
		add(fmt.Sprint("session ", i), func(s *meta.Store) (any, error) { return s.Session(fx.Ctx, fmt.Sprint("ASIA", i)) })
		add(fmt.Sprint("offers ", i), func(s *meta.Store) (any, error) {
			channels, first, err := s.ChannelsOfImage(fx.Ctx, "shop", "app", []string{fmt.Sprint(i)}, "")
			return fmt.Sprint(channels, first.UnixMicro()), err
		})
		add(fmt.Sprint("setting ", i), func(s *meta.Store) (any, error) { return s.Setting(fx.Ctx, replaced, fmt.Sprint("SETTING", i)) })
	}
	return all
}

// replaced is a registry whose account the changes delete and create again.
var replaced = name.Registry{Account: name.MustAccount("444455556666"), Region: name.MustRegion("eu-west-1")}

// change makes a random change. It may be refused because of earlier changes.
func (fx *cacheFixture) change(random *rand.Rand) (what string, err error) {
	r, err := fx.repo(random.IntN(maxRepos))
	if err != nil {
		return "finding a repository", err
	}
	p := fx.images[random.IntN(len(fx.images))]
	config := fx.images[random.IntN(4)].Manifest.Config.Digest // an index has none
	tag := fx.tags[random.IntN(len(fx.tags))]
	i := random.IntN(maxKeys)
	switch what = changes[random.IntN(len(changes))]; what {
	case "push":
		for _, b := range p.Manifest.Blobs() {
			if _, err := fx.AddBlob(fx.Ctx, r, blob.Info{Digest: b.Digest, Size: b.Size}, ""); err != nil {
				return what, err
			}
		}
		p.Tags = []name.Tag{tag}
		err = fx.PutImage(fx.Ctx, r, p)
	case "delete tag":
		_, err = fx.DeleteTag(fx.Ctx, r, tag, name.Digest{}, random.IntN(2) == 0, "p")
	case "delete image":
		_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, "p")
	case "restore image":
		err = fx.RestoreImage(fx.Ctx, r, p.Digest, []name.Tag{tag}, "p", false)
	case "remove blob":
		err = fx.RemoveBlob(fx.Ctx, r, config)
	case "mount blob":
		var to meta.Repository
		if to, err = fx.repo(random.IntN(maxRepos)); err == nil {
			err = fx.MountBlob(fx.Ctx, r, to, config)
		}
	case "delete repository":
		err = fx.DeleteRepository(fx.Ctx, r, true)
	case "set policy":
		err = fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{Text: fmt.Sprint(random.Int())})
	case "turn key":
		err = fx.SetAccessKeyActive(fx.Ctx, fmt.Sprint("AKIA", i), random.IntN(2) == 0)
	case "replace key":
		fx.replacing.Lock()
		defer fx.replacing.Unlock()
		if err = fx.DeleteAccessKey(fx.Ctx, fmt.Sprint("AKIA", i)); err == nil {
			k := metatest.Key(replaced.Account, fmt.Sprint("AKIA", i))
			k.SealedSecret = fmt.Appendf(nil, "%d", random.Int())
			err = fx.PutAccessKey(fx.Ctx, k, 100)
		}
	case "revoke token":
		_, err = fx.RevokeTokens(fx.Ctx, replaced.Account, fmt.Sprint("token", i))
	case "put setting":
		err = fx.PutSetting(fx.Ctx, replaced, fmt.Sprint("SETTING", i), fmt.Sprint(random.Int()))
	case "put resource tags":
		err = fx.PutResourceTags(fx.Ctx, r, map[string]string{fmt.Sprint(i): fmt.Sprint(random.Int())})
	case "remove resource tag":
		err = fx.RemoveResourceTags(fx.Ctx, r, []string{fmt.Sprint(i)})
	case "put registry policy":
		err = fx.PutRegistryPolicy(fx.Ctx, replaced, meta.BoundPolicy{Text: []string{"", fmt.Sprint(random.Int())}[i%2]})
	case "promote":
		_, err = fx.Promote(fx.Ctx, meta.Promotion{Application: "shop", Release: int64(1 + i), Label: "1"}, fx.channels[:1+i%2], nil)
	case "demote":
		_, err = fx.Demote(fx.Ctx, fx.channels[0].ID, int64(1+random.IntN(3)), i%2 == 0)
	case "forget sessions":
		fx.replacing.Lock()
		defer fx.replacing.Unlock()
		if _, err = fx.DeleteExpired(fx.Ctx, time.Now().AddDate(0, 0, 1), 1000); err == nil { // deletes the sessions of putSessions
			err = fx.putSessions()
		}
	case "replace account":
		fx.replacing.Lock()
		defer fx.replacing.Unlock()
		if err = fx.DeleteAccount(fx.Ctx, replaced.Account, true); err == nil {
			err = fx.createReplaced()
		}
	}
	return what, err
}

var changes = []string{
	"push", "push", "push", "push", "push", "push", "delete tag", "delete tag", "delete image", "delete image",
	"restore image", "restore image",
	"remove blob", "mount blob", "delete repository", "set policy", "turn key", "turn key", "replace key", "revoke token",
	"put setting", "replace account",
	"put resource tags", "remove resource tag", "put registry policy", "forget sessions", "promote", "promote", "demote",
}

// createReplaced creates the account of replaced, with keys, tokens and sessions.
func (fx *cacheFixture) createReplaced() error {
	if err := fx.CreateAccount(fx.Ctx, meta.Account{ID: replaced.Account}, metatest.Key(replaced.Account, "AKIA0")); err != nil {
		return err
	}
	for i := range maxKeys {
		if i > 0 {
			if err := fx.PutAccessKey(fx.Ctx, metatest.Key(replaced.Account, fmt.Sprint("AKIA", i)), 100); err != nil {
				return err
			}
		}
		if err := fx.PutToken(fx.Ctx, meta.Token{ID: fmt.Sprint("token", i), Account: replaced.Account, Region: replaced.Region,
			ExpiresAt: time.Now().Add(time.Hour)}, meta.Quota{}); err != nil {
			return err
		}
	}
	return fx.putSessions()
}

// putSessions puts the sessions that the queries read. They have expired and are kept until they are forgotten.
func (fx *cacheFixture) putSessions() error {
	for i := range maxKeys {
		if err := fx.putSession(i, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (fx *cacheFixture) putSession(i int, at time.Time) error {
	return fx.PutSession(fx.Ctx, meta.Session{AccessKey: fmt.Sprint("ASIA", i), Account: replaced.Account,
		Kind: meta.RoleSession, SealedSecret: []byte{1}, IssuedAt: at, ExpiresAt: at}, meta.Quota{})
}

func newCacheFixture(t *testing.T) *cacheFixture { return newCacheFixtureIn(t, open(t)) }

func newCacheFixtureIn(t *testing.T, s *meta.Store) *cacheFixture {
	t.Helper()
	fx := &cacheFixture{Fixture: metatest.NewFixture(t, s)}
	for i := range 4 {
		fx.images = append(fx.images, metatest.ImageOf(fmt.Sprint("config", i), "shared layer"))
		fx.tags = append(fx.tags, metatest.Tag(fmt.Sprint("t", i)).Tag)
	}
	inner := metatest.IndexOf(fx.images[0], fx.images[1])
	fx.images = append(fx.images, inner, metatest.IndexOf(inner, fx.images[2]))
	fx.Must(fx.createReplaced())
	_, err := fx.PutApplication(fx.Ctx, meta.Application{ID: "shop", Account: metatest.Account, Slug: "shop", Sealed: []byte("x")},
		[]meta.Channel{{ID: "a", Slug: "a"}, {ID: "b", Slug: "b"}})
	fx.Must(err)
	fx.channels, err = fx.Channels(fx.Ctx, "shop")
	fx.Must(err)
	for i := range maxKeys {
		_, err := fx.PutRelease(fx.Ctx, meta.Release{Application: "shop", Files: []byte("x"),
			Images: []meta.ReleaseImage{{Repository: "app", Tag: fmt.Sprint(i)}}})
		fx.Must(err)
	}
	return fx
}

// After concurrent changes and reads the caches hold what the database holds.
func TestCachesAreExact(t *testing.T) {
	t.Parallel()
	fx := newCacheFixture(t)
	seed := seedtest.Seed(t)
	for round := range slowtest.Soak(3, 100, 300) {
		var wg sync.WaitGroup
		done, stop := context.WithCancel(t.Context())
		queries := fx.queries()
		for reader := range 3 {
			random := rand.New(rand.NewPCG(seed, uint64(round*100+reader)))
			wg.Go(func() {
				for done.Err() == nil {
					queries[random.IntN(len(queries))].result(fx.Store)
				}
			})
		}
		var writers sync.WaitGroup
		for writer := range 4 {
			random := rand.New(rand.NewPCG(seed, uint64(round*100+50+writer)))
			writers.Go(func() {
				for range 6 {
					what, err := fx.change(random)
					var refused *fault.Error
					if err != nil && (!errors.As(err, &refused) || refused.Code == fault.Unavailable) {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		}
		writers.Wait()
		stop()
		wg.Wait()
		for _, q := range fx.queries() {
			if kept, read := q.result(fx.Store), q.result(fx.Fresh()); kept != read {
				t.Fatalf("seed %d, round %d: %s: got\n%s\nfrom the caches, want\n%s", seed, round, q.what, kept, read)
			}
		}
	}
}

// A reader that begins after a change sees it, whatever other readers and writers do at the same time.
func TestChangesAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	fx := newCacheFixture(t)
	r, err := fx.repo(0)
	fx.Must(err)
	for _, p := range fx.images {
		for _, b := range p.Manifest.Blobs() {
			_, err := fx.AddBlob(t.Context(), r, blob.Info{Digest: b.Digest, Size: b.Size}, "")
			fx.Must(err)
		}
	}
	done, stop := context.WithCancel(t.Context())
	defer stop()
	var readers, writers sync.WaitGroup
	queries := fx.queries()
	seed := seedtest.Seed(t)
	for n := range uint64(2) {
		readers.Go(func() {
			random := seedtest.New(seed, n)
			for done.Err() == nil {
				queries[random.IntN(len(queries))].result(fx.Store)
			}
		})
	}
	check := func(what string, got, want any) {
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	regions := [maxKeys]name.Region{name.MustRegion("eu-west-1"), name.MustRegion("eu-west-2"), name.MustRegion("eu-west-3"),
		name.MustRegion("eu-north-1")}
	for i := range maxKeys { // each writer has its own tag, image, key, setting, resource tag and registry
		writers.Go(func() {
			key, p, tag := fmt.Sprint("AKIA", i), fx.images[i], fx.tags[i]
			for round := range 12 {
				active := round%2 == 0
				fx.must(fx.SetAccessKeyActive(fx.Ctx, key, active))
				k, err := fx.AccessKey(fx.Ctx, key)
				fx.must(err)
				check("key turned on", k.Active, active)

				fx.must(fx.PutSetting(fx.Ctx, replaced, fmt.Sprint("SETTING", i), fmt.Sprint(round)))
				v, err := fx.Setting(fx.Ctx, replaced, fmt.Sprint("SETTING", i))
				fx.must(err)
				check("setting", v, fmt.Sprint(round))

				fx.must(fx.PutResourceTags(fx.Ctx, r, map[string]string{key: fmt.Sprint(round)}))
				resourceTags, err := fx.ResourceTags(fx.Ctx, r)
				fx.must(err)
				check("resource tag", slices.Contains(resourceTags, meta.ResourceTag{Key: key, Value: fmt.Sprint(round)}), true)

				reg := name.Registry{Account: replaced.Account, Region: regions[i]}
				fx.must(fx.PutRegistryPolicy(fx.Ctx, reg, meta.BoundPolicy{Text: fmt.Sprint(round)}))
				policy, err := fx.RegistryPolicy(fx.Ctx, reg)
				fx.must(err)
				check("registry policy", policy.Text, fmt.Sprint(round))

				q := p
				q.Tags = []name.Tag{tag}
				fx.must(fx.PutImage(fx.Ctx, r, q))
				h, err := fx.Head(fx.Ctx, r.ID, name.Reference{Tag: tag})
				fx.must(err)
				check("tag pushed", h.Digest.String(), p.Digest.String())
				held, err := fx.Holding(fx.Ctx, r.ID, p.Manifest.Config.Digest)
				fx.must(err)
				check("config referenced", held.Referenced, true)

				_, err = fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, "p")
				fx.must(err)
				for _, ref := range []name.Reference{{Tag: tag}, {Digest: p.Digest}} {
					if _, err := fx.Head(fx.Ctx, r.ID, ref); !errors.Is(err, fault.ImageNotFound) {
						t.Errorf("deleted image by %s: got %v, want ImageNotFound", ref, err)
					}
				}
				held, err = fx.Holding(fx.Ctx, r.ID, p.Manifest.Config.Digest)
				fx.must(err)
				check("config no longer referenced", held.Referenced, false)
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
}

// must reports an error without ending the test: it is called by goroutines.
func (fx *cacheFixture) must(err error) {
	if err != nil {
		fx.Error(err)
	}
}

// Values of the caches are shared; a change to a caller's copy of the outer value does not change the cached one.
func TestCachedRepositoryIsACopy(t *testing.T) {
	t.Parallel()
	fx := metatest.NewFixture(t, open(t))
	r := fx.RepoWith("team/app", meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"a", "b"}})
	for range 2 {
		got, err := fx.Repository(t.Context(), metatest.Registry, r.Name)
		fx.Must(err)
		if got.Policy.Text != "" || !slices.Equal(got.Mutability.Filters, []string{"a", "b"}) {
			t.Errorf("got %+v, want the repository as it was created", got)
		}
		got.Policy, got.Mutability.Filters = meta.BoundPolicy{Text: "changed"}, nil
	}
}
