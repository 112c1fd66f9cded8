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
	for what, prepare := range sweptReplacements {
		moreSweptChanges[what] = prepare
	}
	for what, prepare := range sweptReported {
		sweptReads[what] = prepare
	}
}

var sweptReplacements = map[string]func(s *sweeper) func(context.Context) error{
	"ReplaceRegistryPolicy": func(s *sweeper) func(context.Context) error {
		reg := name.Registry{Account: s.account(), Region: metatest.Registry.Region}
		s.Must(s.PutRegistryPolicy(s.Ctx, reg, meta.BoundPolicy{Text: "{}"}))
		return func(ctx context.Context) error {
			return s.ReplaceRegistryPolicy(ctx, reg, meta.BoundPolicy{Text: "{}"}, meta.BoundPolicy{Text: `{"a":1}`})
		}
	},
	"ReplaceInline": func(s *sweeper) func(context.Context) error {
		e := s.entity(meta.User, "AIDA")
		s.Must(s.PutInline(s.Ctx, e.ID, meta.Inline{Name: "p", Text: "{}"}, 2048))
		return func(ctx context.Context) error {
			return s.ReplaceInline(ctx, e.ID, meta.Inline{Name: "p", Text: "[]"}, 2048, func(now string) error {
				if now != "{}" {
					return fmt.Errorf("the policy is %q", now)
				}
				return nil
			})
		}
	},
	"ReplaceReplicationRules": func(s *sweeper) func(context.Context) error {
		reg := name.Registry{Account: s.account(), Region: metatest.Registry.Region}
		rules := []meta.ReplicationRule{{Destinations: []name.Registry{metatest.Registry}}}
		s.Must(s.PutReplicationRules(s.Ctx, reg, rules))
		return func(ctx context.Context) error {
			return s.ReplaceReplicationRules(ctx, reg, append(rules, rules...), func(now []meta.ReplicationRule) error {
				if len(now) != 1 {
					return fmt.Errorf("there are %d rules", len(now))
				}
				return nil
			})
		}
	},
}

// reported reports an image that runs, always the same.
func (s *sweeper) reported() {
	d, err := name.ParseDigest("sha256:" + fmt.Sprintf("%064d", 1))
	s.Must(err)
	s.Must(s.PutReport(s.Ctx, metatest.Account, []meta.ImageReport{{Image: "h/app:1", Digest: d.String(), Repository: "h/app",
		CreatedAt: time.Now(), Details: "{}"}}, nil))
	s.Must(s.PutDeployments(s.Ctx, metatest.Account, "shop", "", []meta.Deployment{{Application: "shop", Image: "h/app:1",
		Repository: "h/app", Digest: d, Until: time.Now().Add(time.Hour)}}))
}

var sweptReported = map[string]func(s *sweeper) func(context.Context) (int, error){
	"ReportedRepositories": func(s *sweeper) func(context.Context) (int, error) {
		s.reported()
		return func(ctx context.Context) (int, error) {
			return length(s.Store.ReportedRepositories(ctx, metatest.Account, "", 10))
		}
	},
	"LastReports": func(s *sweeper) func(context.Context) (int, error) {
		s.reported()
		return func(ctx context.Context) (int, error) { return length(s.Store.LastReports(ctx, metatest.Account)) }
	},
	"ImagesReportedIn": func(s *sweeper) func(context.Context) (int, error) {
		s.reported()
		return func(ctx context.Context) (int, error) {
			return length(s.Store.ImagesReportedIn(ctx, metatest.Account, "h/app", "h/app"))
		}
	},
	"DeploymentsIn": func(s *sweeper) func(context.Context) (int, error) {
		s.reported()
		return func(ctx context.Context) (int, error) {
			return length(s.Store.DeploymentsIn(ctx, metatest.Account, "h/app", "h/app"))
		}
	},
}
