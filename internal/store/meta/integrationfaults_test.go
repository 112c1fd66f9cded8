package meta_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	for what, prepare := range sweptIntegrationChanges {
		moreSweptChanges[what] = prepare
	}
}

// far makes an integration for one call of a sweep.
func (s *sweeper) far() meta.Integration {
	i, err := s.CreateIntegration(s.Ctx, meta.Integration{Account: metatest.Account, Name: fmt.Sprint("far", s.i), Sealed: []byte("x")}, 0)
	s.Must(err)
	return i
}

// object returns an object of a kind that names cloud integrations.
func object(kind, label string, clouds ...string) meta.Object {
	o := meta.Object{Account: metatest.Account, Kind: kind, Name: label, Settings: `{}`, Sealed: []byte("x")}
	for _, cloud := range clouds {
		o.Uses = append(o.Uses, meta.ObjectName{Kind: meta.KindCloud, Name: cloud})
	}
	return o
}

// object makes an object for one call of a sweep.
func (s *sweeper) object(kind string, clouds ...string) meta.Object {
	o, err := s.PutObject(s.Ctx, object(kind, fmt.Sprint("object", s.i), clouds...))
	s.Must(err)
	return o
}

// config returns a configuration repository of an account of its own, stored or not, for one call of a sweep.
func (s *sweeper) config(stored bool) meta.ConfigRepository {
	account, err := name.ParseAccount(fmt.Sprintf("5%011d", s.i))
	s.Must(err)
	s.Must(s.CreateAccount(s.Ctx, meta.Account{ID: account}, metatest.Key(account, fmt.Sprintf("AKIACONFIG%010d", s.i))))
	c := meta.ConfigRepository{Account: account, Settings: `{}`, Sealed: []byte("x")}
	if stored {
		c, err = s.PutConfigRepository(s.Ctx, c)
		s.Must(err)
	}
	return c
}

// outside makes a copy that waits, for one call of a sweep.
func (s *sweeper) outside() (meta.OutsideCopy, meta.Repository) {
	i := s.far()
	r := s.Repo(fmt.Sprint("outside", s.i))
	d := s.Image(r, "x", "v1").Digest
	in := meta.ReplicationInput{Repository: r.ID, Digest: d.String(), Account: "111122223333", Region: "eu-west-2"}
	s.Must(s.CopyOutside(s.Ctx, r, in, i.ID))
	all, err := s.OutsideCopies(s.Ctx, i.ID, 1)
	s.Must(err)
	return all[0], r
}

func parseDigest(text string) name.Digest {
	d, err := name.ParseDigest(text)
	if err != nil {
		panic(err)
	}
	return d
}

// sweptIntegrationChanges are the changes of integrations, for the sweep of moreSweptChanges.
var sweptIntegrationChanges = map[string]func(s *sweeper) func(context.Context) error{
	"CreateIntegration": func(s *sweeper) func(context.Context) error {
		label := fmt.Sprint("new", s.i)
		return func(ctx context.Context) error {
			_, err := s.CreateIntegration(ctx, meta.Integration{Account: metatest.Account, Name: label, Sealed: []byte("x")}, 1<<30)
			return err
		}
	},
	"UpdateIntegration": func(s *sweeper) func(context.Context) error {
		i := s.far()
		i.Sealed = []byte("y") // a new version alone is no change to the sweep
		return func(ctx context.Context) error { _, err := s.UpdateIntegration(ctx, i); return err }
	},
	"IntegrationTested": func(s *sweeper) func(context.Context) error {
		i := s.far()
		return func(ctx context.Context) error { return s.IntegrationTested(ctx, i, "broken", true) }
	},
	"CopyOutside": func(s *sweeper) func(context.Context) error {
		i, r := s.far(), s.Repo(fmt.Sprint("outside", s.i)) // a copy that waits already would only get other times
		in := meta.ReplicationInput{Repository: r.ID, Digest: s.Image(r, "x", "v1").Digest.String(), Account: "111122223333", Region: "eu-west-2"}
		return func(ctx context.Context) error { return s.CopyOutside(ctx, r, in, i.ID) }
	},
	"OutsideCopied": func(s *sweeper) func(context.Context) error {
		c, r := s.outside()
		d := parseDigest(c.Input.Digest)
		return func(ctx context.Context) error { return s.OutsideCopied(ctx, c, r, d, nil) }
	},
	"OutsideFailed": func(s *sweeper) func(context.Context) error {
		c, r := s.outside()
		d := parseDigest(c.Input.Digest)
		return func(ctx context.Context) error { return s.OutsideFailed(ctx, c, r, d, "Code", time.Now()) }
	},
	"PutObject": func(s *sweeper) func(context.Context) error {
		o := object(meta.KindRuntime, fmt.Sprint("new", s.i))
		return func(ctx context.Context) error { _, err := s.PutObject(ctx, o); return err }
	},
	"PutObject/changed": func(s *sweeper) func(context.Context) error {
		o := s.object(meta.KindCluster, s.object(meta.KindCloud).Name)
		o.Settings, o.Uses = `{"x":1}`, nil
		return func(ctx context.Context) error { _, err := s.PutObject(ctx, o); return err }
	},
	"ObjectTested": func(s *sweeper) func(context.Context) error {
		o := s.object(meta.KindCloud)
		return func(ctx context.Context) error { return s.ObjectTested(ctx, o, "broken") }
	},
	"DeleteObject": func(s *sweeper) func(context.Context) error {
		o := s.object(meta.KindCluster, s.object(meta.KindCloud).Name)
		return func(ctx context.Context) error { return s.DeleteObject(ctx, o.Account, o.Kind, o.Name) }
	},
	"PutConfigRepository": func(s *sweeper) func(context.Context) error {
		c := s.config(false)
		return func(ctx context.Context) error { _, err := s.PutConfigRepository(ctx, c); return err }
	},
	"PutConfigRepository/changed": func(s *sweeper) func(context.Context) error {
		c := s.config(true)
		c.Settings = `{"x":1}`
		return func(ctx context.Context) error { _, err := s.PutConfigRepository(ctx, c); return err }
	},
	"SyncConfigRepository": func(s *sweeper) func(context.Context) error {
		c := s.config(true)
		all, _, err := s.LeaseJobs(s.Ctx, meta.ConfigRepositoryKind, "", 1000, time.Minute)
		s.Must(err)
		for _, j := range all {
			s.Must(s.EndJob(s.Ctx, j, meta.JobEnd{State: meta.JobDone, Forget: true}))
		}
		return func(ctx context.Context) error { _, err := s.SyncConfigRepository(ctx, c.Account); return err }
	},
	"RemoveConfigRepository": func(s *sweeper) func(context.Context) error {
		c := s.config(true)
		return func(ctx context.Context) error { return s.RemoveConfigRepository(ctx, c.Account, false) }
	},
	"RemoveConfigRepository/keep": func(s *sweeper) func(context.Context) error {
		c := s.config(true)
		return func(ctx context.Context) error { return s.RemoveConfigRepository(ctx, c.Account, true) }
	},
	"ConfigRepositoryDone": func(s *sweeper) func(context.Context) error {
		c := s.config(true)
		s.Must(s.RemoveConfigRepository(s.Ctx, c.Account, false))
		return func(ctx context.Context) error { return s.ConfigRepositoryDone(ctx, c) }
	},
	"SaveConfigState": func(s *sweeper) func(context.Context) error {
		c := s.config(true)
		return func(ctx context.Context) error { _, err := s.SaveConfigState(ctx, c, `{"x":1}`); return err }
	},
	"CreateIntegration/kept": func(s *sweeper) func(context.Context) error {
		c := s.config(true)
		return func(ctx context.Context) error {
			_, err := s.CreateIntegration(ctx, meta.Integration{Account: c.Account, Name: "kept", Sealed: []byte("x")}, 0)
			return err
		}
	},
	"DeleteIntegration": func(s *sweeper) func(context.Context) error {
		i := s.far()
		return func(ctx context.Context) error { return s.DeleteIntegration(ctx, i) }
	},
}
