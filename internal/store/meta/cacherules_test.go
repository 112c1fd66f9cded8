package meta_test

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// rule creates a rule in a registry of its own.
func (s *sweeper) rule() meta.CacheRule {
	r, err := s.CreateCacheRule(s.Ctx, meta.CacheRule{Registry: s.ownRegistry(), Prefix: "p", Host: "h.test", UpstreamPrefix: "ROOT"})
	s.Must(err)
	return r
}

func (s *sweeper) ownRegistry() name.Registry {
	return name.Registry{Account: s.account(), Region: metatest.Registry.Region}
}

func (s *sweeper) secret() meta.Secret {
	in := meta.Secret{Registry: s.ownRegistry(), Name: fmt.Sprint("s", s.i), Suffix: "AbCdEf"}
	out, err := s.PutSecret(s.Ctx, in, func(meta.Secret) []byte { return []byte("x") })
	s.Must(err)
	return out
}

func (s *sweeper) fetch() meta.CacheFetch {
	f, _, err := s.TakeCacheFetch(s.Ctx, fmt.Sprint("k", s.i), time.Hour)
	s.Must(err)
	return f
}

func init() {
	maps.Copy(moreSweptChanges, map[string]func(s *sweeper) func(context.Context) error{
		"CreateCacheRule": func(s *sweeper) func(context.Context) error {
			r := meta.CacheRule{Registry: s.ownRegistry(), Prefix: "p", Host: "h.test", UpstreamPrefix: "ROOT"}
			return func(ctx context.Context) error { _, err := s.CreateCacheRule(ctx, r); return err }
		},
		"UpdateCacheRule": func(s *sweeper) func(context.Context) error {
			r := s.rule()
			r.Credential = "arn:y"
			return func(ctx context.Context) error { _, err := s.UpdateCacheRule(ctx, r); return err }
		},
		"DeleteCacheRule": func(s *sweeper) func(context.Context) error {
			r := s.rule()
			return func(ctx context.Context) error { return s.DeleteCacheRule(ctx, r.Registry, r.Prefix) }
		},
		"PutSecret": func(s *sweeper) func(context.Context) error {
			one := s.secret()
			return func(ctx context.Context) error {
				_, err := s.PutSecret(ctx, one, func(meta.Secret) []byte { return []byte("y") })
				return err
			}
		},
		"DeleteSecret": func(s *sweeper) func(context.Context) error {
			one := s.secret()
			return func(ctx context.Context) error { return s.DeleteSecret(ctx, one.Registry, one.Name) }
		},
		"TakeCacheFetch": func(s *sweeper) func(context.Context) error {
			return func(ctx context.Context) error {
				_, _, err := s.TakeCacheFetch(ctx, fmt.Sprint("k", s.i), time.Hour)
				return err
			}
		},
		"RenewCacheFetch": func(s *sweeper) func(context.Context) error {
			f := s.fetch()
			f.Growing = meta.CacheGrowth{Upload: "u", Blob: "b"}
			return func(ctx context.Context) error { _, err := s.RenewCacheFetch(ctx, f, time.Hour); return err }
		},
		"EndCacheFetch": func(s *sweeper) func(context.Context) error {
			f := s.fetch()
			return func(ctx context.Context) error { return s.EndCacheFetch(ctx, f) }
		},
		"FailCacheFetch": func(s *sweeper) func(context.Context) error {
			f := s.fetch()
			return func(ctx context.Context) error { return s.FailCacheFetch(ctx, f, "{}", time.Hour) }
		},
		"LeaveCacheFetches": func(s *sweeper) func(context.Context) error {
			_, err := s.LeaveCacheFetches(s.Ctx) // those of the calls before, so that every call has the same number of statements
			s.Must(err)
			s.fetch()
			return func(ctx context.Context) error { _, err := s.LeaveCacheFetches(ctx); return err }
		},
		"PutCacheCheck": func(s *sweeper) func(context.Context) error {
			return func(ctx context.Context) error { return s.PutCacheCheck(ctx, s.r, "v1", "d") }
		},
		"PutImage, cached": func(s *sweeper) func(context.Context) error {
			p := metatest.As(metatest.ImageOf(fmt.Sprint("cached", s.i), "layer"), "v1")
			p.Cached = &meta.CacheRule{Prefix: "p", Host: "h.test"}
			return func(ctx context.Context) error { return s.PutImage(ctx, s.r, p) }
		},
	})
	maps.Copy(sweptReads, map[string]func(s *sweeper) func(context.Context) (int, error){
		"CacheRules": func(s *sweeper) func(context.Context) (int, error) {
			r := s.rule()
			return func(ctx context.Context) (int, error) { return length(s.CacheRules(ctx, r.Registry)) }
		},
		"Secrets": func(s *sweeper) func(context.Context) (int, error) {
			one := s.secret()
			return func(ctx context.Context) (int, error) {
				if _, err := s.Secret(ctx, one.Registry, one.Name); err != nil {
					return 0, err
				}
				return length(s.Secrets(ctx, one.Registry))
			}
		},
		"CacheFetch": func(s *sweeper) func(context.Context) (int, error) {
			f := s.fetch()
			return func(ctx context.Context) (int, error) {
				got, _, err := s.CacheFetch(ctx, f.Key)
				return len(got.Key), err
			}
		},
		"CacheCheck, ReferrerOfBlob": func(s *sweeper) func(context.Context) (int, error) {
			s.image("checked")
			s.Must(s.PutCacheCheck(s.Ctx, s.r, "v1", "d"))
			return func(ctx context.Context) (int, error) {
				c, _, err := s.CacheCheck(ctx, s.r.ID, "v1")
				if err != nil {
					return 0, err
				}
				d, err := s.ReferrerOfBlob(ctx, s.r.ID, metatest.Digest(fmt.Sprint("checked", s.i)))
				return len(c.Digest) + len(d.String()), err
			}
		},
	})
}
