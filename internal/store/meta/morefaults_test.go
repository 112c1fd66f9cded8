package meta_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (s *sweeper) id(prefix string) string { return fmt.Sprintf("%s%012d", prefix, s.i) }

func (s *sweeper) account() name.Account {
	a, err := name.ParseAccount(fmt.Sprintf("3%011d", s.i))
	s.Must(err)
	s.Must(s.CreateAccount(s.Ctx, meta.Account{ID: a, CreatedAt: time.Now()}, metatest.Key(a, s.id("AKIC"))))
	return a
}

func (s *sweeper) policy() meta.Entity {
	e := s.entityOf(meta.ManagedPolicy, "ANPA")
	s.Must(s.CreateManagedPolicy(s.Ctx, e, "{}", map[string]string{"a": "b"}, 1000))
	return e
}

func (s *sweeper) session() meta.Session {
	return meta.Session{AccessKey: s.id("ASIA"), Account: metatest.Account, Kind: meta.RoleSession, Principal: "AROAROLE", Name: "x",
		SealedSecret: []byte{1}, Tags: map[string]string{"a": "b"}, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
}

func (s *sweeper) token() meta.Token {
	return meta.Token{ID: s.id("token"), Account: metatest.Account, Principal: "p", Region: metatest.Registry.Region, IssuedAt: time.Now(),
		ExpiresAt: time.Now().Add(time.Hour)}
}

func (s *sweeper) profile(e meta.Entity) meta.LoginProfile {
	return meta.LoginProfile{User: e.ID, Hash: "first", CreatedAt: time.Now()}
}

func (s *sweeper) gone() meta.Put {
	p := s.image("gone", "v1")
	_, err := s.DeleteImage(s.Ctx, s.r, p.Digest, meta.AnyTags, "p")
	s.Must(err)
	return p
}

// drain collects what earlier calls have left.
func (s *sweeper) drain() {
	later := time.Now().Add(time.Hour)
	for _, collect := range []func() (bool, error){
		func() (bool, error) { _, more, err := s.CollectRepositories(s.Ctx, later); return more, err },
		func() (bool, error) { _, more, err := s.CollectImage(s.Ctx, later); return more, err },
		func() (bool, error) { _, more, err := s.CollectHoldings(s.Ctx, later, later); return more, err },
	} {
		for more := true; more; {
			var err error
			more, err = collect()
			s.Must(err)
		}
	}
}

const readOnly = "arn:aws:iam::aws:policy/ReadOnlyAccess"

// The changes that sweptChanges lacks.
var moreSweptChanges = map[string]func(s *sweeper) func(context.Context) error{
	"SetAlias": func(s *sweeper) func(context.Context) error {
		a := s.account()
		return func(ctx context.Context) error { return s.SetAlias(ctx, a, fmt.Sprint("alias", s.i)) }
	},
	"DeleteAlias": func(s *sweeper) func(context.Context) error {
		a := s.account()
		s.Must(s.SetAlias(s.Ctx, a, fmt.Sprint("alias", s.i)))
		return func(ctx context.Context) error { return s.DeleteAlias(ctx, a, fmt.Sprint("alias", s.i)) }
	},
	"PutUpload": func(s *sweeper) func(context.Context) error {
		u := meta.Upload{ID: fmt.Sprintf("%036d", s.i), Repository: s.r.ID, Principal: "p", StartedAt: time.Now(),
			Blob: blob.Upload{ID: fmt.Sprintf("%032d", s.i)}}
		return func(ctx context.Context) error {
			return s.PutUpload(ctx, s.r, u, meta.Quota{Key: s.id("p"), Max: 10}, 10)
		}
	},
	"DeleteUpload": func(s *sweeper) func(context.Context) error {
		u := s.upload()
		return func(ctx context.Context) error { return s.DeleteUpload(ctx, u.ID) }
	},
	"DeleteUploads": func(s *sweeper) func(context.Context) error {
		u := s.upload()
		return func(ctx context.Context) error { return s.DeleteUploads(ctx, []string{u.ID}) }
	},
	"PutSession": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.PutSession(ctx, s.session(), meta.Quota{Key: s.id("p"), Max: 10})
		}
	},
	"PutToken": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.PutToken(ctx, s.token(), meta.Quota{Key: s.id("p"), Max: 10})
		}
	},
	"RevokeTokens": func(s *sweeper) func(context.Context) error {
		s.Must(s.PutToken(s.Ctx, s.token(), meta.Quota{}))
		return func(ctx context.Context) error {
			n, err := s.RevokeTokens(ctx, metatest.Account, s.token().ID)
			if err == nil && n != 1 {
				err = fmt.Errorf("revoked %d", n)
			}
			return err
		}
	},
	"SetUsed": func(s *sweeper) func(context.Context) error {
		e, k := s.entity(meta.Role, "AROA"), metatest.Key(metatest.Account, s.id("AKIA"))
		s.Must(s.PutAccessKey(s.Ctx, k, 1000))
		use := meta.Use{At: time.Now(), Region: "us-east-1", Service: "ecr"}
		return func(ctx context.Context) error {
			return s.SetUsed(ctx, map[string]meta.Use{k.ID: use}, map[string]meta.Use{e.ID: use})
		}
	},
	"CreateLoginProfile": func(s *sweeper) func(context.Context) error {
		p := s.profile(s.entity(meta.User, "AIDA"))
		return func(ctx context.Context) error { return s.CreateLoginProfile(ctx, p) }
	},
	"UpdateLoginProfile": func(s *sweeper) func(context.Context) error {
		p := s.profile(s.entity(meta.User, "AIDA"))
		s.Must(s.CreateLoginProfile(s.Ctx, p))
		return func(ctx context.Context) error { return s.UpdateLoginProfile(ctx, p.User, "first", "second", nil) }
	},
	"PasswordUsed": func(s *sweeper) func(context.Context) error {
		p := s.profile(s.entity(meta.User, "AIDA"))
		s.Must(s.CreateLoginProfile(s.Ctx, p))
		return func(ctx context.Context) error { return s.PasswordUsed(ctx, p.User, "first", "second", time.Now()) }
	},
	"DeleteLoginProfile": func(s *sweeper) func(context.Context) error {
		p := s.profile(s.entity(meta.User, "AIDA"))
		s.Must(s.CreateLoginProfile(s.Ctx, p))
		return func(ctx context.Context) error { return s.DeleteLoginProfile(ctx, p.User) }
	},
	"CreateManagedPolicy": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.CreateManagedPolicy(ctx, s.entityOf(meta.ManagedPolicy, "ANPA"), "{}", map[string]string{"a": "b"}, 1000)
		}
	},
	"CreatePolicyVersion": func(s *sweeper) func(context.Context) error {
		e := s.policy()
		return func(ctx context.Context) error {
			_, err := s.CreatePolicyVersion(ctx, e.ID, `{"a":1}`, true, 5)
			return err
		}
	},
	"DeletePolicyVersion": func(s *sweeper) func(context.Context) error {
		e := s.policy()
		v, err := s.CreatePolicyVersion(s.Ctx, e.ID, `{"a":1}`, false, 5)
		s.Must(err)
		return func(ctx context.Context) error { return s.DeletePolicyVersion(ctx, e.ID, v.Number) }
	},
	"DeleteEntity, a policy": func(s *sweeper) func(context.Context) error {
		e := s.policy()
		return func(ctx context.Context) error { return s.DeleteEntity(ctx, e) }
	},
	"UpdateEntity, another name": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.Group, "AGPA")
		return func(ctx context.Context) error {
			_, err := s.UpdateEntity(ctx, e, func(e *meta.Entity) error { e.Name = fmt.Sprint("other", s.i); return nil })
			return err
		}
	},
	"AddMember": func(s *sweeper) func(context.Context) error {
		g, u := s.entity(meta.Group, "AGPA"), s.entity(meta.User, "AIDA")
		return func(ctx context.Context) error { return s.AddMember(ctx, g.ID, u.ID, 10, 10) }
	},
	"RemoveMember": func(s *sweeper) func(context.Context) error {
		g, u := s.entity(meta.Group, "AGPA"), s.entity(meta.User, "AIDA")
		s.Must(s.AddMember(s.Ctx, g.ID, u.ID, 10, 10))
		return func(ctx context.Context) error { return s.RemoveMember(ctx, g.ID, u.ID) }
	},
	"DeleteInline": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		s.Must(s.PutInline(s.Ctx, e.ID, meta.Inline{Name: "p", Text: "{}"}, 2048))
		return func(ctx context.Context) error { return s.DeleteInline(ctx, e.ID, "p") }
	},
	"Detach": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		s.Must(s.Attach(s.Ctx, e.ID, readOnly, 10))
		return func(ctx context.Context) error { return s.Detach(ctx, e.ID, readOnly) }
	},
	"RemoveEntityTags": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		return func(ctx context.Context) error { return s.RemoveEntityTags(ctx, e.ID, []string{"a"}) }
	},
	"RemoveResourceTags": func(s *sweeper) func(context.Context) error {
		s.Must(s.PutResourceTags(s.Ctx, s.r, map[string]string{"a": "1"}))
		return func(ctx context.Context) error { return s.RemoveResourceTags(ctx, s.r, []string{"a"}) }
	},
	"SetScanOnPush": func(s *sweeper) func(context.Context) error {
		return func(ctx context.Context) error { return s.SetScanOnPush(ctx, s.r, true) }
	},
	"ReplacePolicy": func(s *sweeper) func(context.Context) error {
		s.Must(s.SetPolicy(s.Ctx, s.r, meta.BoundPolicy{Text: "{}"}))
		r, err := s.RepositoryByID(s.Ctx, s.r.ID)
		s.Must(err)
		return func(ctx context.Context) error {
			replaced, err := s.ReplacePolicy(ctx, r, meta.BoundPolicy{Text: `{"a":1}`})
			if err == nil && !replaced {
				err = errors.New("not replaced")
			}
			return err
		}
	},
	"PutRegistryPolicy": func(s *sweeper) func(context.Context) error {
		reg := name.Registry{Account: s.account(), Region: metatest.Registry.Region}
		return func(ctx context.Context) error { return s.PutRegistryPolicy(ctx, reg, meta.BoundPolicy{Text: "{}"}) }
	},
	"PutControlPolicy": func(s *sweeper) func(context.Context) error {
		p := meta.ControlPolicy{Name: "p", Kind: meta.ServiceControl, Account: s.account(), Text: "{}", UpdatedAt: time.Now()}
		return func(ctx context.Context) error { return s.PutControlPolicy(ctx, p) }
	},
	"DeleteControlPolicy": func(s *sweeper) func(context.Context) error {
		p := meta.ControlPolicy{Name: "p", Kind: meta.ResourceControl, Account: s.account(), Text: "{}", UpdatedAt: time.Now()}
		s.Must(s.PutControlPolicy(s.Ctx, p))
		return func(ctx context.Context) error { return s.DeleteControlPolicy(ctx, p.Kind, p.Account, "p") }
	},
	"RestoreRepository": func(s *sweeper) func(context.Context) error {
		s.image("x", "v1")
		s.Must(s.DeleteRepository(s.Ctx, s.r, true))
		return func(ctx context.Context) error { return s.RestoreRepository(ctx, s.r, s.r.Name) }
	},
	"CollectImage": func(s *sweeper) func(context.Context) error {
		s.drain()
		s.gone()
		return func(ctx context.Context) error {
			_, _, err := s.CollectImage(ctx, time.Now().Add(time.Hour))
			return err
		}
	},
	"CollectHoldings": func(s *sweeper) func(context.Context) error {
		s.drain()
		s.Blob(s.r, fmt.Sprint("unused", s.i))
		later := time.Now().Add(time.Hour)
		return func(ctx context.Context) error { _, _, err := s.CollectHoldings(ctx, later, later); return err }
	},
	"CollectRepositories": func(s *sweeper) func(context.Context) error {
		s.drain()
		s.Must(s.DeleteRepository(s.Ctx, s.r, true))
		return func(ctx context.Context) error {
			_, _, err := s.CollectRepositories(ctx, time.Now().Add(time.Hour))
			return err
		}
	},
	"AddBlobCandidates": func(s *sweeper) func(context.Context) error {
		d := []name.Digest{metatest.Digest(fmt.Sprint("bytes", s.i)), metatest.Digest(fmt.Sprint("more", s.i))}
		return func(ctx context.Context) error { return s.AddBlobCandidates(ctx, d) }
	},
	"SettleBlobCandidates": func(s *sweeper) func(context.Context) error {
		d := []name.Digest{metatest.Digest(fmt.Sprint("bytes", s.i)), metatest.Digest(fmt.Sprint("more", s.i))}
		s.Must(s.AddBlobCandidates(s.Ctx, d))
		return func(ctx context.Context) error { return s.SettleBlobCandidates(ctx, d[:1], nil) }
	},
}

// Whatever statement of a change fails, and however, the change fails, and all or nothing of it is stored.
func TestNoOtherChangeSurvivesAFault(t *testing.T) {
	t.Parallel()
	for what, prepare := range moreSweptChanges {
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

// length is a number of results for sweptReads.
func length[T any](all []T, err error) (int, error) { return len(all), err }

func one[T any](_ T, err error) (int, error) { return 1, err }

// sweptReads are the reads of a store. Each prepares what it needs and returns the read, which returns the number of its results.
var sweptReads = map[string]func(s *sweeper) func(context.Context) (int, error){
	"Repositories": func(s *sweeper) func(context.Context) (int, error) {
		s.Repo(fmt.Sprint("other/", s.i))
		return func(ctx context.Context) (int, error) { return length(s.Repositories(ctx, metatest.Registry, "", 2)) }
	},
	"Images": func(s *sweeper) func(context.Context) (int, error) {
		s.image("x", "v1", "v2")
		s.image("y", "v3")
		return func(ctx context.Context) (int, error) {
			all, err := s.Images(ctx, s.r.ID, meta.Any, meta.Position{}, 10)
			n := len(all)
			for _, im := range all {
				n += len(im.Tags)
			}
			return n, err
		}
	},
	"Image": func(s *sweeper) func(context.Context) (int, error) {
		p := s.image("x", "v1", "v2")
		return func(ctx context.Context) (int, error) {
			im, err := s.Store.Image(ctx, s.r.ID, p.Digest)
			return len(im.Tags), err
		}
	},
	"ImageIDs": func(s *sweeper) func(context.Context) (int, error) {
		p := s.image("x", "v1", "v2", "v3")
		s.image("y", "v4")
		return func(ctx context.Context) (int, error) {
			im, err := s.ImageIDs(ctx, s.r.ID, meta.Any, meta.Position{}, 10)
			if err != nil {
				return 0, err
			}
			i := 0
			for im[i].Digest != p.Digest.String() {
				i++
			}
			return length(s.ImageIDs(ctx, s.r.ID, meta.Any, im[i].Position, 2))
		}
	},
	"Tags": func(s *sweeper) func(context.Context) (int, error) {
		s.image("x", "v1", "v2")
		return func(ctx context.Context) (int, error) { return length(s.Tags(ctx, s.r.ID, "", -1)) }
	},
	"TagList": func(s *sweeper) func(context.Context) (int, error) {
		s.image("x", "v1", "v2")
		return func(ctx context.Context) (int, error) { return length(s.TagList(ctx, s.r.ID)) }
	},
	"TagsLeadingTo": func(s *sweeper) func(context.Context) (int, error) {
		p := s.image("x", "v1")
		s.Push(s.r, metatest.As(metatest.IndexOf(p), "v2"))
		return func(ctx context.Context) (int, error) { return length(s.TagsLeadingTo(ctx, s.r.ID, p.Digest)) }
	},
	"TagHistory": func(s *sweeper) func(context.Context) (int, error) {
		s.image("x", "v1")
		s.image("y", "v1")
		return func(ctx context.Context) (int, error) { return length(s.TagHistory(ctx, s.r.ID, "v1", 0, 10)) }
	},
	"Referrers": func(s *sweeper) func(context.Context) (int, error) {
		p := s.image("x", "v1")
		for _, kind := range []string{"a/a", "b/b"} {
			s.Blob(s.r, "config")
			s.Push(s.r, metatest.ReferrerOf(p.Digest, kind, "config"))
		}
		return func(ctx context.Context) (int, error) {
			page, more, err := s.Referrers(ctx, s.r.ID, p.Digest, nil, "", 10)
			if more {
				return -1, err
			}
			return len(page), err
		}
	},
	"Head, Body": func(s *sweeper) func(context.Context) (int, error) {
		p := s.image("x", "v1")
		return func(ctx context.Context) (int, error) {
			h, err := s.Head(ctx, s.r.ID, metatest.Tag("v1"))
			if err != nil || h.Digest != p.Digest {
				return 0, err
			}
			return one(s.Body(ctx, p.Digest))
		}
	},
	"Holding, Held, Holders": func(s *sweeper) func(context.Context) (int, error) {
		d := s.Blob(s.r, fmt.Sprint("b", s.i))
		return func(ctx context.Context) (int, error) {
			h, err := s.Holding(ctx, s.r.ID, d)
			if err != nil {
				return 0, err
			}
			held, err := s.Held(ctx, d)
			if err != nil || !held || h.Digest != d {
				return 0, err
			}
			return length(s.Holders(ctx, metatest.Registry, d, 10))
		}
	},
	"DeletedImages": func(s *sweeper) func(context.Context) (int, error) {
		p := s.gone()
		return func(ctx context.Context) (int, error) {
			if _, _, err := s.DeletedImage(ctx, s.r.ID, p.Digest); err != nil {
				return 0, err
			}
			return length(s.DeletedImages(ctx, s.r.ID, 10))
		}
	},
	"DeletedRepositories": func(s *sweeper) func(context.Context) (int, error) {
		s.Must(s.DeleteRepository(s.Ctx, s.r, true))
		return func(ctx context.Context) (int, error) {
			if _, err := s.DeletedRepository(ctx, metatest.Registry, s.r.ID); err != nil {
				return 0, err
			}
			return length(s.DeletedRepositories(ctx, metatest.Registry, 0, 1))
		}
	},
	"ResourceTags": func(s *sweeper) func(context.Context) (int, error) {
		s.Must(s.PutResourceTags(s.Ctx, s.r, map[string]string{"a": "1", "b": "2"}))
		return func(ctx context.Context) (int, error) { return length(s.ResourceTags(ctx, s.r)) }
	},
	"Setting, RegistryPolicy": func(s *sweeper) func(context.Context) (int, error) {
		reg := name.Registry{Account: s.account(), Region: metatest.Registry.Region}
		s.Must(s.PutSetting(s.Ctx, reg, "s", "v"))
		s.Must(s.PutRegistryPolicy(s.Ctx, reg, meta.BoundPolicy{Text: "{}", IDs: map[string]string{"a": "b"}}))
		return func(ctx context.Context) (int, error) {
			v, err := s.Setting(ctx, reg, "s")
			if err != nil || v != "v" {
				return 0, err
			}
			p, err := s.RegistryPolicy(ctx, reg)
			return len(p.IDs), err
		}
	},
	"Upload, IdleUploads": func(s *sweeper) func(context.Context) (int, error) {
		u := s.upload()
		return func(ctx context.Context) (int, error) {
			if _, err := s.Upload(ctx, s.r.ID, u.ID); err != nil {
				return 0, err
			}
			later := time.Now().Add(time.Hour)
			if n, _, err := s.EmptyUploads(ctx, later, meta.IdlePosition{}, 1); err != nil || len(n) != 1 {
				return 0, err
			}
			all, _, err := s.IdleUploads(ctx, later, meta.IdlePosition{}, 1)
			return len(all), err
		}
	},
	"AccessKeys": func(s *sweeper) func(context.Context) (int, error) {
		k := metatest.Key(s.account(), s.id("AKIA"))
		s.Must(s.PutAccessKey(s.Ctx, k, 1000))
		return func(ctx context.Context) (int, error) {
			if _, err := s.AccessKey(ctx, k.ID); err != nil {
				return 0, err
			}
			if n, err := length(s.AccessKeysOf(ctx, k.Account, k.Principal)); err != nil || n != 2 {
				return 0, err
			}
			return length(s.AccessKeys(ctx, k.Account))
		}
	},
	"Account": func(s *sweeper) func(context.Context) (int, error) {
		a := s.account()
		return func(ctx context.Context) (int, error) { return one(s.Account(ctx, a)) }
	},
	"Accounts": func(s *sweeper) func(context.Context) (int, error) {
		s.account()
		return func(ctx context.Context) (int, error) {
			all, err := s.Accounts(ctx)
			return min(len(all), 2), err
		}
	},
	"Session, Token": func(s *sweeper) func(context.Context) (int, error) {
		s.Must(errors.Join(s.PutSession(s.Ctx, s.session(), meta.Quota{}), s.PutToken(s.Ctx, s.token(), meta.Quota{})))
		return func(ctx context.Context) (int, error) {
			v, err := s.Session(ctx, s.session().AccessKey)
			if err != nil || len(v.Tags) != 1 {
				return 0, err
			}
			if _, err := s.Token(ctx, s.token().ID); err != nil {
				return 0, err
			}
			all, err := s.Tokens(ctx, metatest.Account, time.Now())
			return min(len(all), 1), err
		}
	},
	"entities": func(s *sweeper) func(context.Context) (int, error) {
		g, u := s.entity(meta.Group, "AGPA"), s.entity(meta.User, "AIDA")
		s.Must(errors.Join(s.AddMember(s.Ctx, g.ID, u.ID, 10, 10), s.PutInline(s.Ctx, u.ID, meta.Inline{Name: "p", Text: "{}"}, 2048),
			s.PutInline(s.Ctx, u.ID, meta.Inline{Name: "q", Text: "{}"}, 2048), s.Attach(s.Ctx, u.ID, readOnly, 10),
			s.CreateLoginProfile(s.Ctx, s.profile(u))))
		return func(ctx context.Context) (n int, err error) {
			for _, read := range []func() (int, error){
				func() (int, error) { return length(s.Members(ctx, g.ID)) },
				func() (int, error) { return length(s.Containers(ctx, u.ID)) },
				func() (int, error) { return length(s.Inlines(ctx, u.ID)) },
				func() (int, error) { return length(s.Attachments(ctx, u.ID)) },
				func() (int, error) { tags, err := s.EntityTags(ctx, u.ID); return len(tags), err },
				func() (int, error) { return one(s.Entity(ctx, metatest.Account, meta.User, u.Name)) },
				func() (int, error) { return one(s.EntityByID(ctx, u.ID)) },
				func() (int, error) { return one(s.LoginProfile(ctx, u.ID)) },
				func() (int, error) { return length(s.Entities(ctx, metatest.Account, meta.User, "/", "", 1)) },
			} {
				more, err := read()
				if n += more; err != nil {
					return n, err
				}
			}
			return n, nil
		}
	},
	"policies": func(s *sweeper) func(context.Context) (int, error) {
		a := s.account()
		u := s.entityOf(meta.User, "AIDA")
		u.Account = a
		s.Must(errors.Join(s.CreateEntity(s.Ctx, u, nil, 1000), s.Attach(s.Ctx, u.ID, readOnly, 10)))
		p := s.policy()
		return func(ctx context.Context) (n int, err error) {
			for _, read := range []func() (int, error){
				func() (int, error) { return length(s.PolicyVersions(ctx, p.ID)) },
				func() (int, error) { return length(s.AttachedTo(ctx, a, readOnly)) },
				func() (int, error) {
					attached, _, err := s.AttachmentCounts(ctx, a)
					return len(attached), err
				},
				func() (int, error) { count, err := s.CountEntities(ctx, a); return len(maps.Clone(count)), err },
			} {
				more, err := read()
				if n += more; err != nil {
					return n, err
				}
			}
			return n, nil
		}
	},
	"ControlPolicies": func(s *sweeper) func(context.Context) (int, error) {
		p := meta.ControlPolicy{Name: "p", Kind: meta.ServiceControl, Account: s.account(), Text: "{}", UpdatedAt: time.Now()}
		s.Must(s.PutControlPolicy(s.Ctx, p))
		return func(ctx context.Context) (int, error) {
			all, err := s.ControlPolicies(ctx)
			return min(len(all), 1), err
		}
	},
	"what is collected": func(s *sweeper) func(context.Context) (int, error) {
		s.gone()
		s.Blob(s.r, fmt.Sprint("unused", s.i))
		s.Must(s.AddBlobCandidates(s.Ctx, []name.Digest{metatest.Digest("bytes")}))
		return func(ctx context.Context) (n int, err error) {
			later := time.Now().Add(time.Hour)
			if _, err := s.CollectionState(ctx); err != nil {
				return 0, err
			}
			records, err := s.CollectableRecords(ctx, later)
			if err != nil || records.Images == 0 {
				return 0, err
			}
			blobs, _, err := s.CollectableBlobs(ctx, "", later, 1000)
			if err != nil || blobs.Blobs == 0 {
				return 0, err
			}
			if n, err := length(s.Manifests(ctx, "", 1)); err != nil || n != 1 {
				return 0, err
			}
			if n, err := length(s.RecordedBlobs(ctx, "", "", 1)); err != nil || n != 1 {
				return 0, err
			}
			return length(s.BlobCandidates(ctx, "", 10))
		}
	},
}

// Whatever statement of a read fails, and however, the read fails: nobody takes a part of the answer for the whole.
func TestNoReadSurvivesAFault(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptReads {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := openAt(t, dir, time.Now)
			fx := metatest.NewFixture(t, s)
			want := 0
			faulttest.Sweep(t, faultmeta.In(dir), func(i int) faulttest.Call {
				each := &sweeper{Fixture: fx, i: i}
				each.r = fx.Repo(fmt.Sprint("team/app-", i))
				do := prepare(each)
				return faulttest.Call{Do: func() error {
					n, err := do(t.Context())
					if want == 0 {
						want = n
					}
					if err == nil && (n != want || n == 0) {
						t.Errorf("call %d: got %d results, want %d and some", i, n, want)
					}
					return err
				}}
			})
		})
	}
}
