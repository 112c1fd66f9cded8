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
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// question is a cached read, with its answer as a text.
type question struct {
	what string
	ask  func(s *meta.Store) (any, error)
}

func (q question) answer(s *meta.Store) string {
	v, err := q.ask(s)
	if err != nil {
		var e *fault.Error
		if errors.As(err, &e) {
			return e.Code.String()
		}
		return err.Error()
	}
	return fmt.Sprintf("%+v", v)
}

// town is what the random changes happen in: few things, so that they meet often.
type town struct {
	*metatest.World
	mu     sync.Mutex
	ids    []int64 // of all repositories that ever were
	images []meta.Put
	tags   []name.Tag

	visiting sync.Mutex // two that replace a key at once would make it twice
}

const townRepos, townKeys = 3, 4

func (w *town) repo(i int) (meta.Repository, error) {
	r, err := w.Repository(w.Ctx, metatest.Registry, mustRepo(w.T, fmt.Sprint("team/app", i)))
	if !errors.Is(err, fault.RepositoryNotFound) {
		return r, err
	}
	r, err = w.CreateRepository(w.Ctx, meta.Repository{Registry: metatest.Registry, Name: mustRepo(w.T, fmt.Sprint("team/app", i)), Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	if err == nil {
		w.mu.Lock()
		w.ids = append(w.ids, r.ID)
		w.mu.Unlock()
	}
	return r, err
}

// questions are all that the caches can answer about the town.
func (w *town) questions() (all []question) {
	w.mu.Lock()
	ids := w.ids[max(0, len(w.ids)-2*townRepos):]
	w.mu.Unlock()
	add := func(what string, ask func(s *meta.Store) (any, error)) {
		all = append(all, question{what, ask})
	}
	for i := range townRepos {
		add(fmt.Sprint("repository ", i), func(s *meta.Store) (any, error) {
			return s.Repository(w.Ctx, metatest.Registry, mustRepo(w.T, fmt.Sprint("team/app", i)))
		})
	}
	for _, r := range []name.Registry{visiting, metatest.Registry} {
		add(fmt.Sprint("registry policy of ", r), func(s *meta.Store) (any, error) { return s.RegistryPolicy(w.Ctx, r) })
	}
	for _, id := range ids {
		add(fmt.Sprint("resource tags of ", id), func(s *meta.Store) (any, error) { return s.ResourceTags(w.Ctx, meta.Repository{ID: id}) })
		for _, tag := range w.tags {
			add(fmt.Sprint("tag ", tag, " of ", id), func(s *meta.Store) (any, error) { return s.Head(w.Ctx, id, name.Reference{Tag: tag}) })
		}
		for i, p := range w.images {
			add(fmt.Sprint("image ", i, " of ", id), func(s *meta.Store) (any, error) { return s.Head(w.Ctx, id, metatest.ByDigest(p.Digest)) })
			for _, b := range p.Manifest.Blobs() {
				add(fmt.Sprint("blob of image ", i, " of ", id), func(s *meta.Store) (any, error) { return s.Holding(w.Ctx, id, b.Digest) })
			}
		}
		add(fmt.Sprint("tag list of ", id), func(s *meta.Store) (any, error) {
			list, err := s.TagList(w.Ctx, id)
			return string(list), err
		})
	}
	for i := range townKeys {
		add(fmt.Sprint("key ", i), func(s *meta.Store) (any, error) { return s.AccessKey(w.Ctx, fmt.Sprint("AKIA", i)) })
		add(fmt.Sprint("token ", i), func(s *meta.Store) (any, error) {
			k, err := s.Token(w.Ctx, fmt.Sprint("token", i))
			return []any{k.ID, k.RevokedAt.IsZero()}, err
		})
		add(fmt.Sprint("session ", i), func(s *meta.Store) (any, error) { return s.Session(w.Ctx, fmt.Sprint("ASIA", i)) })
		add(fmt.Sprint("setting ", i), func(s *meta.Store) (any, error) { return s.Setting(w.Ctx, visiting, fmt.Sprint("SETTING", i)) })
	}
	return all
}

// visiting is a registry whose account comes and goes.
var visiting = name.Registry{Account: name.MustAccount("444455556666"), Region: name.MustRegion("eu-west-1")}

// change does something at random. It may be refused, because others did something before.
func (w *town) change(random *rand.Rand) (what string, err error) {
	r, err := w.repo(random.IntN(townRepos))
	if err != nil {
		return "finding a repository", err
	}
	p := w.images[random.IntN(len(w.images))]
	tag := w.tags[random.IntN(len(w.tags))]
	i := random.IntN(townKeys)
	switch what = changes[random.IntN(len(changes))]; what {
	case "push":
		for _, b := range p.Manifest.Blobs() {
			if _, err := w.AddBlob(w.Ctx, r, blob.Info{Digest: b.Digest, Size: b.Size}, ""); err != nil {
				return what, err
			}
		}
		p.Tags = []name.Tag{tag}
		err = w.PutImage(w.Ctx, r, p)
	case "delete tag":
		_, err = w.DeleteTag(w.Ctx, r, tag, name.Digest{}, random.IntN(2) == 0, "p")
	case "delete image":
		_, err = w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, "p")
	case "restore image":
		err = w.RestoreImage(w.Ctx, r, p.Digest, []name.Tag{tag}, "p")
	case "remove blob":
		err = w.RemoveBlob(w.Ctx, r, p.Manifest.Config.Digest)
	case "mount blob":
		var to meta.Repository
		if to, err = w.repo(random.IntN(townRepos)); err == nil {
			err = w.MountBlob(w.Ctx, r, to, p.Manifest.Config.Digest)
		}
	case "delete repository":
		err = w.DeleteRepository(w.Ctx, r, true)
	case "set policy":
		err = w.SetPolicy(w.Ctx, r, meta.BoundPolicy{Text: fmt.Sprint(random.Int())})
	case "turn key":
		err = w.SetAccessKeyActive(w.Ctx, fmt.Sprint("AKIA", i), random.IntN(2) == 0)
	case "replace key":
		w.visiting.Lock()
		defer w.visiting.Unlock()
		if err = w.DeleteAccessKey(w.Ctx, fmt.Sprint("AKIA", i)); err == nil {
			k := metatest.Key(visiting.Account, fmt.Sprint("AKIA", i))
			k.SealedSecret = fmt.Appendf(nil, "%d", random.Int())
			err = w.PutAccessKey(w.Ctx, k, 100)
		}
	case "revoke token":
		_, err = w.RevokeTokens(w.Ctx, visiting.Account, fmt.Sprint("token", i))
	case "put setting":
		err = w.PutSetting(w.Ctx, visiting, fmt.Sprint("SETTING", i), fmt.Sprint(random.Int()))
	case "put resource tags":
		err = w.PutResourceTags(w.Ctx, r, map[string]string{fmt.Sprint(i): fmt.Sprint(random.Int())})
	case "remove resource tag":
		err = w.RemoveResourceTags(w.Ctx, r, []string{fmt.Sprint(i)})
	case "put registry policy":
		err = w.PutRegistryPolicy(w.Ctx, visiting, meta.BoundPolicy{Text: []string{"", fmt.Sprint(random.Int())}[i%2]})
	case "forget sessions":
		w.visiting.Lock()
		defer w.visiting.Unlock()
		if err = w.putSession(random.Int(), time.Now().AddDate(0, 0, 1)); err == nil { // the clock of the sessions in visit is a day behind
			err = w.putSessions()
		}
	case "replace account":
		w.visiting.Lock()
		defer w.visiting.Unlock()
		if err = w.DeleteAccount(w.Ctx, visiting.Account, true); err == nil {
			err = w.visit()
		}
	}
	return what, err
}

var changes = []string{
	"push", "push", "push", "push", "push", "push", "delete tag", "delete tag", "delete image", "delete image", "restore image", "restore image",
	"remove blob", "mount blob", "delete repository", "set policy", "turn key", "turn key", "replace key", "revoke token", "put setting", "replace account",
	"put resource tags", "remove resource tag", "put registry policy", "forget sessions",
}

// visit makes the account that comes and goes, with keys and tokens.
func (w *town) visit() error {
	if err := w.CreateAccount(w.Ctx, meta.Account{ID: visiting.Account}, metatest.Key(visiting.Account, "AKIA0")); err != nil {
		return err
	}
	for i := range townKeys {
		if i > 0 {
			if err := w.PutAccessKey(w.Ctx, metatest.Key(visiting.Account, fmt.Sprint("AKIA", i)), 100); err != nil {
				return err
			}
		}
		if err := w.PutToken(w.Ctx, meta.Token{ID: fmt.Sprint("token", i), Account: visiting.Account, Region: visiting.Region, ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
			return err
		}
	}
	return w.putSessions()
}

// putSessions makes the sessions that are asked for, which have ended but are kept, until a later one is put.
func (w *town) putSessions() error {
	for i := range townKeys {
		if err := w.putSession(i, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (w *town) putSession(i int, at time.Time) error {
	return w.PutSession(w.Ctx, meta.Session{AccessKey: fmt.Sprint("ASIA", i), Account: visiting.Account, Kind: meta.RoleSession, SealedSecret: []byte{1}, IssuedAt: at, ExpiresAt: at})
}

func newTown(t *testing.T) *town { return newTownIn(t, open(t)) }

func newTownIn(t *testing.T, s *meta.Store) *town {
	t.Helper()
	w := &town{World: metatest.NewWorld(t, s)}
	for i := range 4 {
		w.images = append(w.images, metatest.ImageOf(fmt.Sprint("config", i), "shared layer"))
		w.tags = append(w.tags, metatest.Tag(fmt.Sprint("t", i)).Tag)
	}
	w.Must(w.visit())
	return w
}

// After any number of changes and reads at once, what the caches answer is what the database says.
func TestCachesAreExact(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rounds := 12
	if slow {
		rounds = 300
	}
	for round := range rounds {
		var wg sync.WaitGroup
		done, stop := context.WithCancel(t.Context())
		asked := w.questions()
		for reader := range 3 {
			random := rand.New(rand.NewPCG(seed, uint64(round*100+reader)))
			wg.Go(func() {
				for done.Err() == nil {
					asked[random.IntN(len(asked))].answer(w.Store)
				}
			})
		}
		var writers sync.WaitGroup
		for writer := range 4 {
			random := rand.New(rand.NewPCG(seed, uint64(round*100+50+writer)))
			writers.Go(func() {
				for range 6 {
					what, err := w.change(random)
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
		for _, q := range w.questions() {
			if kept, read := q.answer(w.Store), q.answer(w.Fresh()); kept != read {
				t.Fatalf("seed %d, round %d: %s: the caches say\n%s\nand the database\n%s", seed, round, q.what, kept, read)
			}
		}
	}
}

// Whoever has changed something sees it so at once, whatever others do and keep at the time.
func TestChangesAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	r, err := w.repo(0)
	w.Must(err)
	for _, p := range w.images {
		for _, b := range p.Manifest.Blobs() {
			_, err := w.AddBlob(t.Context(), r, blob.Info{Digest: b.Digest, Size: b.Size}, "")
			w.Must(err)
		}
	}
	done, stop := context.WithCancel(t.Context())
	defer stop()
	var readers, writers sync.WaitGroup
	asked := w.questions()
	for range 2 {
		readers.Go(func() {
			for done.Err() == nil {
				asked[rand.IntN(len(asked))].answer(w.Store)
			}
		})
	}
	see := func(what string, got, want any) {
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	regions := [townKeys]name.Region{name.MustRegion("eu-west-1"), name.MustRegion("eu-west-2"), name.MustRegion("eu-west-3"), name.MustRegion("eu-north-1")}
	for i := range townKeys { // each has a tag, an image, a key, a setting, a resource tag and a registry for itself
		writers.Go(func() {
			key, p, tag := fmt.Sprint("AKIA", i), w.images[i], w.tags[i]
			for round := range 12 {
				active := round%2 == 0
				w.must(w.SetAccessKeyActive(w.Ctx, key, active))
				k, err := w.AccessKey(w.Ctx, key)
				w.must(err)
				see("key turned on", k.Active, active)

				w.must(w.PutSetting(w.Ctx, visiting, fmt.Sprint("SETTING", i), fmt.Sprint(round)))
				v, err := w.Setting(w.Ctx, visiting, fmt.Sprint("SETTING", i))
				w.must(err)
				see("setting", v, fmt.Sprint(round))

				w.must(w.PutResourceTags(w.Ctx, r, map[string]string{key: fmt.Sprint(round)}))
				resourceTags, err := w.ResourceTags(w.Ctx, r)
				w.must(err)
				see("resource tag", slices.Contains(resourceTags, meta.ResourceTag{Key: key, Value: fmt.Sprint(round)}), true)

				reg := name.Registry{Account: visiting.Account, Region: regions[i]}
				w.must(w.PutRegistryPolicy(w.Ctx, reg, meta.BoundPolicy{Text: fmt.Sprint(round)}))
				policy, err := w.RegistryPolicy(w.Ctx, reg)
				w.must(err)
				see("registry policy", policy.Text, fmt.Sprint(round))

				q := p
				q.Tags = []name.Tag{tag}
				w.must(w.PutImage(w.Ctx, r, q))
				h, err := w.Head(w.Ctx, r.ID, name.Reference{Tag: tag})
				w.must(err)
				see("tag pushed", h.Digest.String(), p.Digest.String())
				held, err := w.Holding(w.Ctx, r.ID, p.Manifest.Config.Digest)
				w.must(err)
				see("config referenced", held.Referenced, true)

				_, err = w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, "p")
				w.must(err)
				for _, ref := range []name.Reference{{Tag: tag}, {Digest: p.Digest}} {
					if _, err := w.Head(w.Ctx, r.ID, ref); !errors.Is(err, fault.ImageNotFound) {
						t.Errorf("deleted image by %s: got %v, want ImageNotFound", ref, err)
					}
				}
				held, err = w.Holding(w.Ctx, r.ID, p.Manifest.Config.Digest)
				w.must(err)
				see("config no longer referenced", held.Referenced, false)
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
}

// must notes an error without ending the test: it is called by goroutines.
func (w *town) must(err error) {
	if err != nil {
		w.Error(err)
	}
}

// The values that the caches hand out are shared; changing a copy of the outer value changes nothing for others.
func TestCachedRepositoryIsACopy(t *testing.T) {
	t.Parallel()
	w := metatest.NewWorld(t, open(t))
	r := w.RepoWith("team/app", meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"a", "b"}})
	for range 2 {
		got, err := w.Repository(t.Context(), metatest.Registry, r.Name)
		w.Must(err)
		if got.Policy.Text != "" || !slices.Equal(got.Mutability.Filters, []string{"a", "b"}) {
			t.Errorf("got %+v, want it as it was made", got)
		}
		got.Policy, got.Mutability.Filters = meta.BoundPolicy{Text: "changed"}, nil
	}
}
