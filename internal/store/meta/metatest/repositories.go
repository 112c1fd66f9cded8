package metatest

import (
	"fmt"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testRepositories(fx *Fixture) {
	want := meta.Repository{
		Registry: Registry, Name: name.MustRepo("team/app"), CreatedAt: monday, ScanOnPush: true,
		Mutability: meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"dev-*", "*"}},
		Encryption: "KMS", KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/1", Policy: meta.BoundPolicy{
			Text: `{"Statement": []}`, IDs: map[string]string{"arn:aws:iam::111122223333:user/a": "AIDAA"}},
	}
	created, err := fx.CreateRepository(fx.Ctx, want, map[string]string{"team": "a"})
	fx.Must(err)
	want.ID = created.ID
	fx.Equal(created, want, "CreateRepository")
	for range 2 { // from the database and from the cache
		got, err := fx.Repository(fx.Ctx, Registry, want.Name)
		fx.Must(err)
		fx.Equal(got, want, "Repository")
	}
	_, err = fx.CreateRepository(fx.Ctx, want, nil)
	fx.Want(err, fault.RepositoryAlreadyExists, "the same name again")
	_, err = fx.Repository(fx.Ctx, name.Registry{Account: Account, Region: london}, want.Name)
	fx.Want(err, fault.RepositoryNotFound, "the name in another region")
	_, err = fx.Repository(fx.Ctx, name.Registry{Account: other, Region: Registry.Region}, want.Name)
	fx.Want(err, fault.RepositoryNotFound, "the name in another account")
}

// A repository that is created again under its name is another one: it contains nothing of the first, and a caller
// that has read the first does not write to the second. The clock may be frozen.
func testRepositoryAgain(fx *Fixture) {
	var ids []int64
	for round := range 3 {
		r := fx.Repo("team/app")
		for _, id := range ids {
			if r.ID <= id {
				fx.Errorf("round %d: got ID %d after %d, want IDs that grow", round, r.ID, id)
			}
		}
		ids = append(ids, r.ID)
		got, err := fx.Repository(fx.Ctx, Registry, r.Name)
		fx.Must(err)
		fx.Equal(got.ID, r.ID, "round %d: the ID", round)
		_, err = fx.Head(fx.Ctx, r.ID, Tag("v1"))
		fx.Want(err, fault.ImageNotFound, "round %d: a tag of the previous repository", round)
		_, err = fx.Holding(fx.Ctx, r.ID, Digest("config"))
		fx.Want(err, fault.BlobNotFound, "round %d: a blob of the previous repository", round)
		resourceTags, err := fx.ResourceTags(fx.Ctx, r)
		fx.Must(err)
		fx.Equal(len(resourceTags), 0, "round %d: resource tags of the previous repository", round)
		fx.Must(fx.PutResourceTags(fx.Ctx, r, map[string]string{"k": "v"}))
		fx.Image(r, "config", "v1")
		fx.Want(fx.DeleteRepository(fx.Ctx, r, false), fault.RepositoryNotEmpty, "round %d: deletion with an image", round)
		fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	}
	r := fx.Repo("team/app")
	p := fx.Image(r, "config")
	_, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Want(fx.DeleteRepository(fx.Ctx, r, false), 0, "a repository with deleted images alone")
}

func testRepositoryRace(fx *Fixture) {
	for round := range 4 {
		n := name.MustRepo("team/app")
		won := race(fx, 20, fault.RepositoryAlreadyExists, func(i int) error {
			_, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: Registry, Name: n,
				Mutability: meta.Mutability{Mode: meta.Mutable}, Policy: meta.BoundPolicy{Text: fmt.Sprint(i)}}, map[string]string{"by": fmt.Sprint(i)})
			return err
		})
		fx.Equal(won, 1, "round %d: acknowledged creations of one name", round)
		r, err := fx.Repository(fx.Ctx, Registry, n)
		fx.Must(err)
		resourceTags, err := fx.ResourceTags(fx.Ctx, r)
		fx.Must(err)
		fx.Equal(resourceTags, []meta.ResourceTag{{Key: "by", Value: r.Policy.Text}}, "the resource tags of the acknowledged call")
		fx.Equal(race(fx, 10, fault.RepositoryNotFound, func(int) error {
			return fx.DeleteRepository(fx.Ctx, r, true)
		}), 1, "round %d: acknowledged deletions", round)
	}
}

// Every change of a repository checks inside its transaction that the repository exists.
func testRepositoryDeleted(fx *Fixture) {
	r, kept := fx.Repo("gone"), fx.Repo("kept")
	p := fx.Image(r, "config", "v1")
	fx.Blob(r, "loose")
	inKept := fx.Blob(kept, "kept")
	fx.Must(fx.PutUpload(fx.Ctx, r, meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", State: []byte{}}, StartedAt: monday}, meta.Quota{}, 0))
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	for what, call := range map[string]func() error{
		"AddBlob": func() error {
			_, err := fx.AddBlob(fx.Ctx, r, blob.Info{Digest: Digest("new"), Size: 3}, "")
			return err
		},
		"MountBlob from": func() error { return fx.MountBlob(fx.Ctx, r, kept, Digest("config")) },
		"MountBlob to":   func() error { return fx.MountBlob(fx.Ctx, kept, r, inKept) },
		"RemoveBlob":     func() error { return fx.RemoveBlob(fx.Ctx, r, Digest("loose")) },
		"PutUpload": func() error {
			return fx.PutUpload(fx.Ctx, r, meta.Upload{ID: "u2", Blob: blob.Upload{State: []byte{}}}, meta.Quota{}, 0)
		},
		"PutImage":    func() error { return fx.PutImage(fx.Ctx, r, As(p, "v2")) },
		"DeleteImage": func() error { _, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, Principal); return err },
		"DeleteTag": func() error {
			_, err := fx.DeleteTag(fx.Ctx, r, Tag("v1").Tag, name.Digest{}, true, Principal)
			return err
		},
		"DeleteRepository":   func() error { return fx.DeleteRepository(fx.Ctx, r, true) },
		"SetMutability":      func() error { return fx.SetMutability(fx.Ctx, r, meta.Mutability{Mode: meta.Immutable}) },
		"SetScanOnPush":      func() error { return fx.SetScanOnPush(fx.Ctx, r, true) },
		"SetPolicy":          func() error { return fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{Text: "{}"}) },
		"PutResourceTags":    func() error { return fx.PutResourceTags(fx.Ctx, r, map[string]string{"k": "v"}) },
		"RemoveResourceTags": func() error { return fx.RemoveResourceTags(fx.Ctx, r, []string{"k"}) },
	} {
		fx.Want(call(), fault.RepositoryNotFound, "%s in a deleted repository", what)
	}
	_, err := fx.Upload(fx.Ctx, r.ID, "u")
	fx.Want(err, fault.UploadNotFound, "the upload of a deleted repository")
	_, err = fx.Repository(fx.Ctx, Registry, r.Name)
	fx.Want(err, fault.RepositoryNotFound, "the deleted repository")
}

func testRepositorySettings(fx *Fixture) {
	r, second := fx.Repo("team/app"), fx.Repo("team/second")
	m := meta.Mutability{Mode: meta.MutableWithExclusion, Filters: []string{"v*", "release-*"}}
	fx.Must(fx.SetMutability(fx.Ctx, r, m))
	fx.Must(fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{Text: `{"Version": "2012-10-17"}`, IDs: map[string]string{"x": "AROAX"}}))
	r.Mutability, r.Policy = m, meta.BoundPolicy{Text: `{"Version": "2012-10-17"}`, IDs: map[string]string{"x": "AROAX"}}
	for _, want := range []meta.Repository{r, second} {
		got, err := fx.Repository(fx.Ctx, Registry, want.Name)
		fx.Must(err)
		fx.Equal(got, want, "%s after its settings", want.Name)
	}
	fx.Must(fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{}))
	fx.Must(fx.SetMutability(fx.Ctx, r, meta.Mutability{Mode: meta.Immutable}))
	r.Mutability, r.Policy = meta.Mutability{Mode: meta.Immutable}, meta.BoundPolicy{}
	fx.Must(fx.SetScanOnPush(fx.Ctx, r, !r.ScanOnPush))
	r.ScanOnPush = !r.ScanOnPush
	got, err := fx.Repository(fx.Ctx, Registry, r.Name)
	fx.Must(err)
	fx.Equal(got, r, "after resetting the settings")
}

func testResourceTags(fx *Fixture) {
	r, second := fx.Repo("team/app"), fx.Repo("team/second")
	many := map[string]string{}
	for i := range meta.MaxResourceTags {
		many[fmt.Sprintf("k%02d", i)] = "v"
	}
	fx.Must(fx.PutResourceTags(fx.Ctx, r, many))
	fx.Must(fx.PutResourceTags(fx.Ctx, r, map[string]string{"k00": "new", "k49": ""}))
	fx.Want(fx.PutResourceTags(fx.Ctx, r, map[string]string{"k01": "lost", "one more": "v"}), fault.TooManyTags,
		"resource tag %d", meta.MaxResourceTags+1)
	fx.Must(fx.PutResourceTags(fx.Ctx, r, nil))
	fx.Must(fx.RemoveResourceTags(fx.Ctx, r, []string{"k02", "never there"}))
	all, err := fx.ResourceTags(fx.Ctx, r)
	fx.Must(err)
	fx.Equal(len(all), meta.MaxResourceTags-1, "resource tags")
	fx.Equal(all[:3], []meta.ResourceTag{{Key: "k00", Value: "new"}, {Key: "k01", Value: "v"}, {Key: "k03", Value: "v"}},
		"the first resource tags by key")
	all, err = fx.ResourceTags(fx.Ctx, second)
	fx.Must(err)
	fx.Equal(len(all), 0, "resource tags of the other repository")
	many["one more"] = "v"
	_, err = fx.CreateRepository(fx.Ctx, meta.Repository{Registry: Registry, Name: name.MustRepo("team/new"),
		Mutability: meta.Mutability{Mode: meta.Mutable}}, many)
	fx.Want(err, fault.TooManyTags, "a repository with %d resource tags", len(many))
	_, err = fx.Repository(fx.Ctx, Registry, name.MustRepo("team/new"))
	fx.Want(err, fault.RepositoryNotFound, "the repository that was refused because of its resource tags")
}

func testResourceTagRace(fx *Fixture) {
	r := fx.Repo("team/app")
	won := race(fx, 30, fault.TooManyTags, func(i int) error {
		return fx.PutResourceTags(fx.Ctx, r, map[string]string{fmt.Sprint("a", i): "v", fmt.Sprint("b", i): "v"})
	})
	fx.Equal(won, meta.MaxResourceTags/2, "acknowledged pairs of resource tags")
	all, err := fx.ResourceTags(fx.Ctx, r)
	fx.Must(err)
	fx.Equal(len(all), meta.MaxResourceTags, "resource tags")
}

// Some statements use $2 before $1, or $4 between $1 and $2. A driver that numbers parameters in the order of the
// text would swap their values without an error.
func testPlaceholders(fx *Fixture) {
	r, second := fx.Repo("team/app"), fx.Repo("team/second")
	fx.Must(fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{Text: "the policy"})) // SET policy = $2 WHERE id = $1
	got, err := fx.Repository(fx.Ctx, Registry, r.Name)
	fx.Must(err)
	fx.Equal(got.Policy.Text, "the policy", "SetPolicy")
	got, err = fx.Repository(fx.Ctx, Registry, second.Name)
	fx.Must(err)
	fx.Equal(got.Policy.Text, "", "the policy of the other repository")

	p, q := fx.Image(r, "one", "v1", "v2"), fx.Image(r, "two", "v1", "v2")
	fx.Push(r, As(p, "v1"))
	all, err := fx.TagHistory(fx.Ctx, r.ID, "v1", 0, 100)
	fx.Must(err)
	page, err := fx.TagHistory(fx.Ctx, r.ID, "v1", all[0].ID, 1) // tag = $4 AND id < $2 … LIMIT $3
	fx.Must(err)
	fx.Equal(page, all[1:2], "the second move of v1, of %d", len(all))

	fx.Must(fx.PutUpload(fx.Ctx, r, meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", State: []byte("s0")}, StartedAt: monday}, meta.Quota{}, 0))
	u := meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", Size: 7, State: []byte("s1")}, Parts: 3, SmallPart: 5}
	fx.Must(fx.AdvanceUpload(fx.Ctx, u, 0)) // SET size = $3, state = $4 … WHERE id = $1 AND size = $2
	read, err := fx.Upload(fx.Ctx, r.ID, "u")
	fx.Must(err)
	fx.Equal([]any{read.Blob.Size, string(read.Blob.State), read.Parts, read.SmallPart}, []any{int64(7), "s1", 3, int64(5)}, "AdvanceUpload")

	when := monday.Add(time.Hour) // SET pulled_at = $3 WHERE repository = $1 AND digest = $2 AND pulled_at <= $4
	fx.Must(fx.SetPulled(fx.Ctx, map[meta.PullKey]time.Time{{Repository: r.ID, Digest: q.Digest}: when}))
	im, err := fx.Store.Image(fx.Ctx, r.ID, q.Digest)
	fx.Must(err)
	fx.Equal(im.PulledAt, when, "SetPulled")
}

// ResourceTags belong to a repository, not to its name.
func testResourceTagsAgain(fx *Fixture) {
	for round := range 3 {
		r := fx.Repo("team/app")
		check := func(want ...meta.ResourceTag) {
			fx.Helper()
			got, err := fx.ResourceTags(fx.Ctx, r)
			fx.Must(err)
			fx.Equal(got, want, "round %d: ResourceTags", round)
		}
		check()
		fx.Must(fx.PutResourceTags(fx.Ctx, r, map[string]string{"round": fmt.Sprint(round), "k": "v"}))
		check(meta.ResourceTag{Key: "k", Value: "v"}, meta.ResourceTag{Key: "round", Value: fmt.Sprint(round)})
		fx.Must(fx.RemoveResourceTags(fx.Ctx, r, []string{"k"}))
		check(meta.ResourceTag{Key: "round", Value: fmt.Sprint(round)})
		fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	}
}

func testReplacePolicy(fx *Fixture) {
	r := fx.Repo("team/app")
	policy := func() meta.BoundPolicy {
		fx.Helper()
		got, err := fx.Repository(fx.Ctx, Registry, r.Name)
		fx.Must(err)
		return got.Policy
	}
	fx.Equal(race(fx, 8, fault.Validation, func(i int) error { // all calls have read the repository without a policy
		done, err := fx.ReplacePolicy(fx.Ctx, r, meta.BoundPolicy{Text: fmt.Sprint(i), IDs: map[string]string{"i": fmt.Sprint(i)}})
		if err == nil && !done {
			err = fault.Validation.New("not replaced")
		}
		return err
	}), 1, "replacements of one policy")
	now := policy()
	fx.Equal(now.IDs, map[string]string{"i": now.Text}, "the ids of the acknowledged policy")
	r.Policy = now
	done, err := fx.ReplacePolicy(fx.Ctx, r, meta.BoundPolicy{})
	fx.Must(err)
	fx.Equal(done, true, "replaced by no policy")
	fx.Equal(policy(), meta.BoundPolicy{}, "the policy")
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	_, err = fx.ReplacePolicy(fx.Ctx, r, now)
	fx.Want(err, fault.RepositoryNotFound, "of a deleted repository")
}

// A deleted repository is listed, and comes back with its images and tags under a name that is free.
func testRestoreRepository(fx *Fixture) {
	var ids []int64
	for range 3 { // three repositories of one name, one after the other
		r := fx.Repo("again")
		fx.Image(r, "config", "v1")
		fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
		ids = append([]int64{r.ID}, ids...)
	}
	living := fx.Repo("again")
	var got []int64
	for below := int64(0); ; {
		page, err := fx.DeletedRepositories(fx.Ctx, living.Registry, below, 2)
		fx.Must(err)
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			if d.DeletedAt.IsZero() {
				fx.Errorf("deleted repository %d: got no time of its deletion", d.ID)
			}
			got, below = append(got, d.ID), d.ID
		}
	}
	if !slices.Equal(got, ids) {
		fx.Errorf("deleted repositories: got %d, want %d", got, ids)
	}
	d, err := fx.DeletedRepository(fx.Ctx, living.Registry, ids[1])
	fx.Must(err)
	fx.Want(fx.RestoreRepository(fx.Ctx, d.Repository, living.Name), fault.RepositoryAlreadyExists, "restore under a name that is taken")
	free := name.MustRepo("again/before")
	fx.Must(fx.RestoreRepository(fx.Ctx, d.Repository, free))
	fx.Want(fx.RestoreRepository(fx.Ctx, d.Repository, name.MustRepo("again/twice")), fault.RepositoryNotFound,
		"restore of a living repository")
	back, err := fx.Repository(fx.Ctx, living.Registry, free)
	fx.Must(err)
	if tags, err := fx.Tags(fx.Ctx, back.ID, "", -1); back.ID != ids[1] || err != nil || !slices.Equal(tags, []string{"v1"}) {
		fx.Errorf("restored: got the repository %d with the tags %q, %v, want %d with v1", back.ID, tags, err, ids[1])
	}
	_, err = fx.DeletedRepository(fx.Ctx, living.Registry, ids[1])
	fx.Want(err, fault.RepositoryNotFound, "a restored repository among the deleted ones")
}
