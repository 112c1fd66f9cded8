package meta_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// sweeper is a store whose statements fail, and the number of the current call.
type sweeper struct {
	*metatest.Fixture
	i int
	r meta.Repository // of the call
}

// image stores an image of the call's repository with its own blobs.
func (s *sweeper) image(what string, tags ...string) meta.Put {
	return s.Image(s.r, fmt.Sprint(what, s.i), tags...)
}

func (s *sweeper) upload() meta.Upload {
	u := meta.Upload{ID: fmt.Sprintf("%036d", s.i), Repository: s.r.ID, Principal: "p", StartedAt: time.Now(),
		Blob: blob.Upload{ID: fmt.Sprintf("%032d", s.i)}}
	s.Must(s.PutUpload(s.Ctx, s.r, u, meta.Quota{}, 0))
	return u
}

func (s *sweeper) entityOf(kind meta.EntityKind, prefix string) meta.Entity {
	return meta.Entity{ID: fmt.Sprintf("%s%012d", prefix, s.i), Account: metatest.Account, Kind: kind, Name: fmt.Sprint("n", s.i),
		Path: "/", CreatedAt: time.Now()}
}

func (s *sweeper) entity(kind meta.EntityKind, prefix string) meta.Entity {
	e := s.entityOf(kind, prefix)
	s.Must(s.CreateEntity(s.Ctx, e, map[string]string{"a": "b"}, 1000))
	return e
}

func parsed(d meta.Put, tag string) name.Tag { return metatest.As(d, tag).Tags[0] }

// sweptChanges are the changes of a store. Each prepares what it needs and returns the operation.
var sweptChanges = map[string]func(s *sweeper) func(context.Context) error{
	"CreateRepository": func(s *sweeper) func(context.Context) error {
		r := meta.Repository{Registry: metatest.Registry, Name: mustRepo(s.T, fmt.Sprint("new/", s.i)), CreatedAt: time.Now(),
			Mutability: meta.Mutability{Mode: meta.Mutable}, Encryption: meta.EncryptionAES256}
		return func(ctx context.Context) error {
			_, err := s.CreateRepository(ctx, r, map[string]string{"k": "v"})
			return err
		}
	},
	"Reseal": func(s *sweeper) func(context.Context) error {
		_, err := s.ClaimInstallation(s.Ctx, "i")
		s.Must(err)
		// One secret, so that every call has the same number of statements.
		_, err = s.PutSecret(s.Ctx, meta.Secret{Registry: metatest.Registry, Name: "n"}, sealedAs(fmt.Sprint("x", s.i)))
		s.Must(err)
		from, _, err := s.MasterKey(s.Ctx)
		s.Must(err)
		_, err = s.Reseal(s.Ctx, xored(from, fmt.Sprint("first", s.i))) // removes the kept key of the call before, which has expired
		s.Must(err)
		from, _, err = s.MasterKey(s.Ctx)
		s.Must(err)
		r := xored(from, fmt.Sprint("key", s.i))
		r.Keep = []meta.KeptKey{{Purpose: "p", MasterKey: from, Sealed: []byte("x"), ExpiresAt: time.Now().Add(-time.Hour)}}
		return func(ctx context.Context) error { _, err := s.Reseal(ctx, r); return err }
	},
	"CreateByTemplate": func(s *sweeper) func(context.Context) error {
		v := meta.Template{Registry: metatest.Registry, Prefix: fmt.Sprint("p", s.i), Cases: meta.ForPush, Role: "r",
			Tags: []meta.ResourceTag{{Key: "a", Value: "b"}}}
		_, err := s.CreateTemplate(s.Ctx, v, 1000)
		s.Must(err)
		return func(ctx context.Context) error {
			_, err := s.CreateByTemplate(ctx, v.Registry, mustRepo(s.T, v.Prefix+"/app"), meta.ForPush, false)
			return err
		}
	},
	"CreateTemplate": func(s *sweeper) func(context.Context) error {
		v := meta.Template{Registry: metatest.Registry, Prefix: fmt.Sprint("p", s.i), Cases: meta.ForPush}
		return func(ctx context.Context) error { _, err := s.CreateTemplate(ctx, v, 1000); return err }
	},
	"UpdateTemplate": func(s *sweeper) func(context.Context) error {
		v := meta.Template{Registry: metatest.Registry, Prefix: fmt.Sprint("p", s.i), Cases: meta.ForPush}
		old, err := s.CreateTemplate(s.Ctx, v, 1000)
		s.Must(err)
		old.Description = "changed"
		return func(ctx context.Context) error { _, err := s.UpdateTemplate(ctx, old); return err }
	},
	"PutPullExclusion": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.PutPullExclusion(ctx, metatest.Registry, fmt.Sprint("p", s.i), 1000)
			return err
		}
	},
	"DeleteRepository": func(s *sweeper) func(context.Context) error {
		s.image("x", "v1")
		return func(ctx context.Context) error { return s.DeleteRepository(ctx, s.r, true) }
	},
	"SetPolicy": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error { return s.SetPolicy(ctx, s.r, meta.BoundPolicy{Text: "{}"}) }
	},
	"SetMutability": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error { return s.SetMutability(ctx, s.r, meta.Mutability{Mode: "IMMUTABLE"}) }
	},
	"PutResourceTags": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.PutResourceTags(ctx, s.r, map[string]string{"a": "1", "b": "2"})
		}
	},
	"AddBlob": func(s *sweeper) func(context.Context) error {
		u := s.upload()
		return func(ctx context.Context) error {
			added, err := s.AddBlob(ctx, s.r, blob.Info{Digest: metatest.Digest(fmt.Sprint("b", s.i)), Size: 3}, u.ID)
			if err == nil && !added {
				err = errors.New("not added")
			}
			return err
		}
	},
	"AdvanceUpload": func(s *sweeper) func(context.Context) error {
		u := s.upload()
		u.Blob.Size = 10
		return func(ctx context.Context) error { return s.AdvanceUpload(ctx, u, 0) }
	},
	"MountBlob": func(s *sweeper) func(context.Context) error {
		s.Blob(s.r, fmt.Sprint("mounted", s.i))
		to := s.Repo(fmt.Sprint("to/", s.i))
		return func(ctx context.Context) error {
			return s.MountBlob(ctx, s.r, to, metatest.Digest(fmt.Sprint("mounted", s.i)))
		}
	},
	"RemoveBlob": func(s *sweeper) func(context.Context) error {
		s.Blob(s.r, fmt.Sprint("free", s.i))
		return func(ctx context.Context) error {
			return s.RemoveBlob(ctx, s.r, metatest.Digest(fmt.Sprint("free", s.i)))
		}
	},
	"PutImage": func(s *sweeper) func(context.Context) error {
		config := fmt.Sprint("config", s.i)
		s.Blob(s.r, config)
		s.Blob(s.r, "layer")
		p := metatest.As(metatest.ImageOf(config, "layer"), "v1", "v2")
		return func(ctx context.Context) error { return s.PutImage(ctx, s.r, p) }
	},
	"PutImage, a tag moves": func(s *sweeper) func(context.Context) error {
		s.image("old", "v1")
		next := s.image("new")
		return func(ctx context.Context) error { return s.PutImage(ctx, s.r, metatest.As(next, "v1")) }
	},
	"PutImage, an index": func(s *sweeper) func(context.Context) error {
		p := metatest.As(metatest.IndexOf(s.image("one"), s.image("two")), "v1")
		return func(ctx context.Context) error { return s.PutImage(ctx, s.r, p) }
	},
	"PutImage, a deleted image": func(s *sweeper) func(context.Context) error {
		p := s.image("gone", "v1")
		_, err := s.DeleteImage(s.Ctx, s.r, p.Digest, meta.AnyTags, "p")
		s.Must(err)
		return func(ctx context.Context) error { return s.PutImage(ctx, s.r, p) }
	},
	"RestoreImage": func(s *sweeper) func(context.Context) error {
		p := s.image("gone", "v1")
		_, err := s.DeleteImage(s.Ctx, s.r, p.Digest, meta.AnyTags, "p")
		s.Must(err)
		return func(ctx context.Context) error { return s.RestoreImage(ctx, s.r, p.Digest, p.Tags, "p", false) }
	},
	"DeleteImage": func(s *sweeper) func(context.Context) error {
		p := s.image("x", "v1", "v2")
		return func(ctx context.Context) error {
			removed, err := s.DeleteImage(ctx, s.r, p.Digest, []string{"v1", "v2"}, "p")
			if err == nil && len(removed) != 2 {
				err = fmt.Errorf("removed %v", removed)
			}
			return err
		}
	},
	"DeleteTag": func(s *sweeper) func(context.Context) error {
		p := s.image("x", "v1", "v2")
		return func(ctx context.Context) error {
			_, err := s.DeleteTag(ctx, s.r, parsed(p, "v1"), p.Digest, true, "p")
			return err
		}
	},
	"DeleteTag, the last": func(s *sweeper) func(context.Context) error {
		p := s.image("x", "v1")
		return func(ctx context.Context) error {
			_, err := s.DeleteTag(ctx, s.r, parsed(p, "v1"), p.Digest, true, "p")
			return err
		}
	},
	"SetPulled": func(s *sweeper) func(context.Context) error {
		p := s.image("x")
		return func(ctx context.Context) error {
			return s.SetPulled(ctx, map[meta.PullKey]time.Time{{Repository: s.r.ID, Digest: p.Digest}: time.Now().Add(time.Hour)})
		}
	},
	"CreateEntity": func(s *sweeper) func(context.Context) error {
		e := s.entityOf(meta.User, "AIDA")
		return func(ctx context.Context) error { return s.CreateEntity(ctx, e, map[string]string{"a": "b"}, 1000) }
	},
	"UpdateEntity": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		return func(ctx context.Context) error {
			_, err := s.UpdateEntity(ctx, e, func(e *meta.Entity) error { e.Path = "/other/"; return nil })
			return err
		}
	},
	"DeleteEntity": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		return func(ctx context.Context) error { return s.DeleteEntity(ctx, e) }
	},
	"PutInline": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		return func(ctx context.Context) error {
			return s.PutInline(ctx, e.ID, meta.Inline{Name: "p", Text: "{}"}, 2048)
		}
	},
	"Attach": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		return func(ctx context.Context) error {
			return s.Attach(ctx, e.ID, "arn:aws:iam::aws:policy/ReadOnlyAccess", 10)
		}
	},
	"PutEntityTags": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		return func(ctx context.Context) error {
			return s.PutEntityTags(ctx, e.ID, map[string]string{"x": "1", "y": "2"}, 50)
		}
	},
	"PutAccessKey": func(s *sweeper) func(context.Context) error {
		k := metatest.Key(metatest.Account, fmt.Sprintf("AKIA%012d", s.i))
		return func(ctx context.Context) error { return s.PutAccessKey(ctx, k, 1000) }
	},
	"SetAccessKeyActive": func(s *sweeper) func(context.Context) error {
		k := metatest.Key(metatest.Account, fmt.Sprintf("AKIA%012d", s.i))
		s.Must(s.PutAccessKey(s.Ctx, k, 1000))
		return func(ctx context.Context) error { return s.SetAccessKeyActive(ctx, k.ID, false) }
	},
	"DeleteAccessKey": func(s *sweeper) func(context.Context) error {
		k := metatest.Key(metatest.Account, fmt.Sprintf("AKIA%012d", s.i))
		s.Must(s.PutAccessKey(s.Ctx, k, 1000))
		return func(ctx context.Context) error { return s.DeleteAccessKey(ctx, k.ID) }
	},
	"PutSetting": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.PutSetting(ctx, metatest.Registry, fmt.Sprint("s", s.i), "v")
		}
	},
	"CreateAccount, DeleteAccount": func(s *sweeper) func(context.Context) error {
		a, err := name.ParseAccount(fmt.Sprintf("2%011d", s.i))
		s.Must(err)
		s.Must(s.CreateAccount(s.Ctx, meta.Account{ID: a, CreatedAt: time.Now()}, metatest.Key(a, fmt.Sprintf("AKIB%012d", s.i))))
		return func(ctx context.Context) error { return s.DeleteAccount(ctx, a, true) }
	},
}

// Whatever statement of a change fails, and however, the change fails, and all or nothing of it is stored.
func TestNoChangeSurvivesAFault(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptChanges {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := openAt(t, dir, time.Now)
			fx := metatest.NewFixture(t, s)
			faulttest.Sweep(t, faultmeta.In(dir), func(i int) faulttest.Call {
				one := &sweeper{Fixture: fx, i: i}
				one.r = fx.Repo(fmt.Sprint("team/app-", i))
				do := prepare(one)
				return faulttest.Call{Do: func() error { return do(t.Context()) }, State: faulttest.Changes(t, dir)}
			})
		})
	}
}

// A write of the last group before the store closes has the outcome of its commit: one that failed is not answered as
// stored, and one that succeeded is stored.
func TestLastGroupAtCloseHasItsOutcome(t *testing.T) {
	t.Parallel()
	for round := range 20 { // which of two channels the caller sees first is random
		fails := round%2 == 0
		dir := t.TempDir()
		s, faults := openAt(t, dir, time.Now), faultmeta.In(dir)
		release := s.Hold()
		const writes = 3
		outcomes := make(chan error, writes)
		for i := range writes {
			go func() {
				outcomes <- s.Write(context.Background(), setting(fmt.Sprint(i), func(*meta.Tx) error { return nil }))
			}()
			for s.Waiting() != i+1 {
				runtime.Gosched()
			}
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		<-s.Closing()
		if fails {
			faults.ArmAll("COMMIT", faultmeta.Before)
		}
		release()
		for range writes {
			if err := <-outcomes; (err != nil) != fails {
				t.Errorf("a write of the last group, which fails: %t: got %v", fails, err)
			}
		}
		err := <-closed
		faults.Disarm()
		if !fails && err != nil {
			t.Errorf("closing: %v", err)
		}
		want := "0 1 2"
		if fails {
			want = ""
		}
		if got := stored(t, openAt(t, dir, time.Now)); got != want {
			t.Errorf("after the last group, which fails: %t: %q is stored, want %q", fails, got, want)
		}
	}
}

// What is deleted, or may become unused, is a candidate of the collection as part of the same change, and what is collected is none
// afterwards: if that cannot be recorded, the change is not made, since nothing would ever free the space.
func TestNothingIsDeletedWithoutACandidate(t *testing.T) {
	t.Parallel()
	const inserted, deleted = "INSERT INTO candidates", "DELETE FROM candidates"
	for what, statement := range map[string]string{
		"DeleteRepository": inserted, "DeleteImage": inserted, "DeleteTag, the last": inserted, "AddBlob": inserted, "MountBlob": inserted,
		"CollectImage": deleted,
	} {
		dir := t.TempDir()
		fx := metatest.NewFixture(t, openAt(t, dir, time.Now))
		one := &sweeper{Fixture: fx, r: fx.Repo("team/app")}
		prepare := sweptChanges[what]
		if prepare == nil {
			prepare = moreSweptChanges[what]
		}
		do, changed := prepare(one), faulttest.Changes(t, dir)
		faultmeta.In(dir).ArmText(statement, 1, faultmeta.Before)
		err := do(t.Context())
		failed, _ := faultmeta.In(dir).Disarm()
		if now := changed(); !errors.Is(err, faultmeta.ErrInjected) || len(failed) != 1 || now != "" {
			t.Errorf("%s without its candidate, statements %q: got %v and the changes %q, want the error and none", what, failed, err, now)
		}
	}
}
