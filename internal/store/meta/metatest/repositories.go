package metatest

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testRepositories(w *World) {
	want := meta.Repository{
		Registry: Registry, Name: name.MustRepo("team/app"), CreatedAt: monday, ScanOnPush: true,
		Mutability: meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"dev-*", "*"}},
		Encryption: "KMS", KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/1", Policy: meta.BoundPolicy{Text: `{"Statement": []}`, IDs: map[string]string{"arn:aws:iam::111122223333:user/a": "AIDAA"}},
	}
	created, err := w.CreateRepository(w.Ctx, want, map[string]string{"team": "a"})
	w.Must(err)
	want.ID = created.ID
	w.Equal(created, want, "CreateRepository")
	for range 2 { // read and kept
		got, err := w.Repository(w.Ctx, Registry, want.Name)
		w.Must(err)
		w.Equal(got, want, "Repository")
	}
	_, err = w.CreateRepository(w.Ctx, want, nil)
	w.Want(err, fault.RepositoryAlreadyExists, "the same name again")
	_, err = w.Repository(w.Ctx, name.Registry{Account: Account, Region: london}, want.Name)
	w.Want(err, fault.RepositoryNotFound, "the name in another region")
	_, err = w.Repository(w.Ctx, name.Registry{Account: other, Region: Registry.Region}, want.Name)
	w.Want(err, fault.RepositoryNotFound, "the name in another account")
}

// A repository made again under its name is another one: nothing of the first is in it, and whoever found the first
// does not write into the second. The clock may stand still meanwhile.
func testRepositoryAgain(w *World) {
	var ids []int64
	for round := range 3 {
		r := w.Repo("team/app")
		for _, id := range ids {
			if r.ID <= id {
				w.Errorf("round %d: got ID %d after %d, want IDs that grow", round, r.ID, id)
			}
		}
		ids = append(ids, r.ID)
		got, err := w.Repository(w.Ctx, Registry, r.Name)
		w.Must(err)
		w.Equal(got.ID, r.ID, "round %d: the ID that is found", round)
		_, err = w.Head(w.Ctx, r.ID, Tag("v1"))
		w.Want(err, fault.ImageNotFound, "round %d: a tag of the one before", round)
		_, err = w.Holding(w.Ctx, r.ID, Digest("config"))
		w.Want(err, fault.BlobNotFound, "round %d: a blob of the one before", round)
		resourceTags, err := w.ResourceTags(w.Ctx, r)
		w.Must(err)
		w.Equal(len(resourceTags), 0, "round %d: resource tags of the one before", round)
		w.Must(w.PutResourceTags(w.Ctx, r, map[string]string{"k": "v"}))
		w.Image(r, "config", "v1")
		w.Want(w.DeleteRepository(w.Ctx, r, false), fault.RepositoryNotEmpty, "round %d: deletion with an image", round)
		w.Must(w.DeleteRepository(w.Ctx, r, true))
	}
	r := w.Repo("team/app")
	p := w.Image(r, "config")
	_, err := w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, Principal)
	w.Must(err)
	w.Want(w.DeleteRepository(w.Ctx, r, false), 0, "a repository with deleted images alone")
}

func testRepositoryRace(w *World) {
	for round := range 4 {
		n := name.MustRepo("team/app")
		won := race(w, 20, fault.RepositoryAlreadyExists, func(i int) error {
			_, err := w.CreateRepository(w.Ctx, meta.Repository{Registry: Registry, Name: n, Mutability: meta.Mutability{Mode: meta.Mutable}, Policy: meta.BoundPolicy{Text: fmt.Sprint(i)}}, map[string]string{"by": fmt.Sprint(i)})
			return err
		})
		w.Equal(won, 1, "round %d: creations of one name that were acknowledged", round)
		r, err := w.Repository(w.Ctx, Registry, n)
		w.Must(err)
		resourceTags, err := w.ResourceTags(w.Ctx, r)
		w.Must(err)
		w.Equal(resourceTags, []meta.ResourceTag{{Key: "by", Value: r.Policy.Text}}, "the resource tags, which are the winner's")
		w.Equal(race(w, 10, fault.RepositoryNotFound, func(int) error { return w.DeleteRepository(w.Ctx, r, true) }), 1, "round %d: deletions that were acknowledged", round)
	}
}

// Everything that changes a repository looks again, in its transaction, whether it is still there.
func testRepositoryGone(w *World) {
	r, kept := w.Repo("gone"), w.Repo("kept")
	p := w.Image(r, "config", "v1")
	w.Blob(r, "loose")
	inKept := w.Blob(kept, "kept")
	w.Must(w.PutUpload(w.Ctx, r, meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", State: []byte{}}, StartedAt: monday}))
	w.Must(w.DeleteRepository(w.Ctx, r, true))
	for what, call := range map[string]func() error{
		"AddBlob": func() error {
			_, err := w.AddBlob(w.Ctx, r, blob.Info{Digest: Digest("new"), Size: 3}, "")
			return err
		},
		"MountBlob from": func() error { return w.MountBlob(w.Ctx, r, kept, Digest("config")) },
		"MountBlob to":   func() error { return w.MountBlob(w.Ctx, kept, r, inKept) },
		"RemoveBlob":     func() error { return w.RemoveBlob(w.Ctx, r, Digest("loose")) },
		"PutUpload":      func() error { return w.PutUpload(w.Ctx, r, meta.Upload{ID: "u2", Blob: blob.Upload{State: []byte{}}}) },
		"PutImage":       func() error { return w.PutImage(w.Ctx, r, As(p, "v2")) },
		"DeleteImage":    func() error { _, err := w.DeleteImage(w.Ctx, r, p.Digest, meta.AnyTags, Principal); return err },
		"DeleteTag": func() error {
			_, err := w.DeleteTag(w.Ctx, r, Tag("v1").Tag, name.Digest{}, true, Principal)
			return err
		},
		"DeleteRepository":   func() error { return w.DeleteRepository(w.Ctx, r, true) },
		"SetMutability":      func() error { return w.SetMutability(w.Ctx, r, meta.Mutability{Mode: meta.Immutable}) },
		"SetPolicy":          func() error { return w.SetPolicy(w.Ctx, r, meta.BoundPolicy{Text: "{}"}) },
		"PutResourceTags":    func() error { return w.PutResourceTags(w.Ctx, r, map[string]string{"k": "v"}) },
		"RemoveResourceTags": func() error { return w.RemoveResourceTags(w.Ctx, r, []string{"k"}) },
	} {
		w.Want(call(), fault.RepositoryNotFound, "%s in a deleted repository", what)
	}
	_, err := w.Upload(w.Ctx, r.ID, "u")
	w.Want(err, fault.UploadNotFound, "the upload of a deleted repository")
	_, err = w.Repository(w.Ctx, Registry, r.Name)
	w.Want(err, fault.RepositoryNotFound, "the deleted repository")
}

func testRepositorySettings(w *World) {
	r, beside := w.Repo("team/app"), w.Repo("team/beside")
	m := meta.Mutability{Mode: meta.MutableWithExclusion, Filters: []string{"v*", "release-*"}}
	w.Must(w.SetMutability(w.Ctx, r, m))
	w.Must(w.SetPolicy(w.Ctx, r, meta.BoundPolicy{Text: `{"Version": "2012-10-17"}`, IDs: map[string]string{"x": "AROAX"}}))
	r.Mutability, r.Policy = m, meta.BoundPolicy{Text: `{"Version": "2012-10-17"}`, IDs: map[string]string{"x": "AROAX"}}
	for _, want := range []meta.Repository{r, beside} {
		got, err := w.Repository(w.Ctx, Registry, want.Name)
		w.Must(err)
		w.Equal(got, want, "%s after its settings", want.Name)
	}
	w.Must(w.SetPolicy(w.Ctx, r, meta.BoundPolicy{}))
	w.Must(w.SetMutability(w.Ctx, r, meta.Mutability{Mode: meta.Immutable}))
	r.Mutability, r.Policy = meta.Mutability{Mode: meta.Immutable}, meta.BoundPolicy{}
	got, err := w.Repository(w.Ctx, Registry, r.Name)
	w.Must(err)
	w.Equal(got, r, "after taking the settings back")
}

func testResourceTags(w *World) {
	r, beside := w.Repo("team/app"), w.Repo("team/beside")
	many := map[string]string{}
	for i := range meta.MaxResourceTags {
		many[fmt.Sprintf("k%02d", i)] = "v"
	}
	w.Must(w.PutResourceTags(w.Ctx, r, many))
	w.Must(w.PutResourceTags(w.Ctx, r, map[string]string{"k00": "new", "k49": ""}))
	w.Want(w.PutResourceTags(w.Ctx, r, map[string]string{"k01": "lost", "one more": "v"}), fault.TooManyTags, "resource tag %d", meta.MaxResourceTags+1)
	w.Must(w.PutResourceTags(w.Ctx, r, nil))
	w.Must(w.RemoveResourceTags(w.Ctx, r, []string{"k02", "never there"}))
	all, err := w.ResourceTags(w.Ctx, r)
	w.Must(err)
	w.Equal(len(all), meta.MaxResourceTags-1, "resource tags")
	w.Equal(all[:3], []meta.ResourceTag{{Key: "k00", Value: "new"}, {Key: "k01", Value: "v"}, {Key: "k03", Value: "v"}}, "the first resource tags by key")
	all, err = w.ResourceTags(w.Ctx, beside)
	w.Must(err)
	w.Equal(len(all), 0, "resource tags of the repository beside")
	many["one more"] = "v"
	_, err = w.CreateRepository(w.Ctx, meta.Repository{Registry: Registry, Name: name.MustRepo("team/new"), Mutability: meta.Mutability{Mode: meta.Mutable}}, many)
	w.Want(err, fault.TooManyTags, "a repository with %d resource tags", len(many))
	_, err = w.Repository(w.Ctx, Registry, name.MustRepo("team/new"))
	w.Want(err, fault.RepositoryNotFound, "the repository that was refused for its resource tags")
}

func testResourceTagRace(w *World) {
	r := w.Repo("team/app")
	won := race(w, 30, fault.TooManyTags, func(i int) error {
		return w.PutResourceTags(w.Ctx, r, map[string]string{fmt.Sprint("a", i): "v", fmt.Sprint("b", i): "v"})
	})
	w.Equal(won, meta.MaxResourceTags/2, "pairs of resource tags that found room")
	all, err := w.ResourceTags(w.Ctx, r)
	w.Must(err)
	w.Equal(len(all), meta.MaxResourceTags, "resource tags")
}

// Some texts name $2 before $1, or $4 between $1 and $2. A driver that counted the marks in the order of the text would
// swap their values without an error.
func testPlaceholders(w *World) {
	r, beside := w.Repo("team/app"), w.Repo("team/beside")
	w.Must(w.SetPolicy(w.Ctx, r, meta.BoundPolicy{Text: "the policy"})) // SET policy = $2 WHERE id = $1
	got, err := w.Repository(w.Ctx, Registry, r.Name)
	w.Must(err)
	w.Equal(got.Policy.Text, "the policy", "SetPolicy")
	got, err = w.Repository(w.Ctx, Registry, beside.Name)
	w.Must(err)
	w.Equal(got.Policy.Text, "", "the policy beside")

	p, q := w.Image(r, "one", "v1", "v2"), w.Image(r, "two", "v1", "v2")
	w.Push(r, As(p, "v1"))
	all, err := w.TagHistory(w.Ctx, r.ID, "v1", 0, 100)
	w.Must(err)
	page, err := w.TagHistory(w.Ctx, r.ID, "v1", all[0].ID, 1) // tag = $4 AND id < $2 … LIMIT $3
	w.Must(err)
	w.Equal(page, all[1:2], "the second move of v1, of %d", len(all))

	w.Must(w.PutUpload(w.Ctx, r, meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", State: []byte("s0")}, StartedAt: monday}))
	u := meta.Upload{ID: "u", Blob: blob.Upload{ID: "b", Size: 7, State: []byte("s1")}, Parts: 3, SmallPart: 5}
	w.Must(w.AdvanceUpload(w.Ctx, u, 0)) // SET size = $3, state = $4 … WHERE id = $1 AND size = $2
	read, err := w.Upload(w.Ctx, r.ID, "u")
	w.Must(err)
	w.Equal([]any{read.Blob.Size, string(read.Blob.State), read.Parts, read.SmallPart}, []any{int64(7), "s1", 3, int64(5)}, "AdvanceUpload")

	when := monday.Add(time.Hour) // SET pulled_at = $3 WHERE repository = $1 AND digest = $2 AND pulled_at < $3
	w.Must(w.SetPulled(w.Ctx, map[meta.PullKey]time.Time{{Repository: r.ID, Digest: q.Digest}: when}))
	im, err := w.Store.Image(w.Ctx, r.ID, q.Digest)
	w.Must(err)
	w.Equal(im.PulledAt, when, "SetPulled")
}

// ResourceTags belong to a repository, not to its name.
func testResourceTagsAgain(w *World) {
	for round := range 3 {
		r := w.Repo("team/app")
		check := func(want ...meta.ResourceTag) {
			w.Helper()
			got, err := w.ResourceTags(w.Ctx, r)
			w.Must(err)
			w.Equal(got, want, "round %d: ResourceTags", round)
		}
		check()
		w.Must(w.PutResourceTags(w.Ctx, r, map[string]string{"round": fmt.Sprint(round), "k": "v"}))
		check(meta.ResourceTag{Key: "k", Value: "v"}, meta.ResourceTag{Key: "round", Value: fmt.Sprint(round)})
		w.Must(w.RemoveResourceTags(w.Ctx, r, []string{"k"}))
		check(meta.ResourceTag{Key: "round", Value: fmt.Sprint(round)})
		w.Must(w.DeleteRepository(w.Ctx, r, true))
	}
}

func testReplacePolicy(w *World) {
	r := w.Repo("team/app")
	policy := func() meta.BoundPolicy {
		w.Helper()
		got, err := w.Repository(w.Ctx, Registry, r.Name)
		w.Must(err)
		return got.Policy
	}
	w.Equal(race(w, 8, fault.Validation, func(i int) error { // all have read the repository without a policy
		done, err := w.ReplacePolicy(w.Ctx, r, meta.BoundPolicy{Text: fmt.Sprint(i), IDs: map[string]string{"i": fmt.Sprint(i)}})
		if err == nil && !done {
			err = fault.Validation.New("not replaced")
		}
		return err
	}), 1, "replacements of one policy")
	now := policy()
	w.Equal(now.IDs, map[string]string{"i": now.Text}, "the ids, which are the winner's")
	r.Policy = now
	done, err := w.ReplacePolicy(w.Ctx, r, meta.BoundPolicy{})
	w.Must(err)
	w.Equal(done, true, "replaced by none")
	w.Equal(policy(), meta.BoundPolicy{}, "the policy")
	w.Must(w.DeleteRepository(w.Ctx, r, true))
	_, err = w.ReplacePolicy(w.Ctx, r, now)
	w.Want(err, fault.RepositoryNotFound, "of a deleted repository")
}
