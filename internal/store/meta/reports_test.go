package meta_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	for what, prepare := range sweptReportChanges {
		moreSweptChanges[what] = prepare
	}
}

func reportOf(label string) meta.ImageReport {
	return meta.ImageReport{Image: "r.test/" + label, Digest: "sha256:" + label, Repository: "r.test/" + label, Tag: "1", Details: `{}`}
}

// sweptReportChanges are the changes of reports of images, for the sweep of moreSweptChanges.
var sweptReportChanges = map[string]func(s *sweeper) func(context.Context) error{
	"PutReport": func(s *sweeper) func(context.Context) error {
		old := reportOf(fmt.Sprint("app", s.i))
		note := meta.Annotation{Subject: old.Image, Key: "CR-1", Type: "issue", Value: `1`}
		s.Must(s.PutReport(s.Ctx, metatest.Account, []meta.ImageReport{old}, []meta.Annotation{note}))
		index, again := old, old
		index.Digest, index.List, again.Details = old.Digest+"i", true, `{"x":1}`
		note.Key = "CR-2"
		return func(ctx context.Context) error {
			return s.PutReport(ctx, metatest.Account, []meta.ImageReport{index, again}, []meta.Annotation{note})
		}
	},
	"PutAnnotation": func(s *sweeper) func(context.Context) error {
		a := meta.Annotation{Subject: fmt.Sprint("r.test/app", s.i), Key: "quality", Type: "note", Value: `"passed"`}
		return func(ctx context.Context) error { return s.PutAnnotation(ctx, metatest.Account, a) }
	},
	"PutDeployments": func(s *sweeper) func(context.Context) error {
		app := fmt.Sprint("shop", s.i)
		d := func(image string) meta.Deployment {
			return meta.Deployment{Application: app, Namespace: "prod", Image: image, Repository: image,
				Digest: metatest.Digest(image + app), Until: time.Now().Add(time.Hour)}
		}
		s.Must(s.PutDeployments(s.Ctx, metatest.Account, app, "prod", []meta.Deployment{d("a"), d("b")}))
		return func(ctx context.Context) error {
			return s.PutDeployments(ctx, metatest.Account, app, "prod", []meta.Deployment{d("b"), d("c")})
		}
	},
}

// What an account has reported first is deleted when it has more than the limits, in rows and in bytes; the report that is stored stays,
// and other accounts keep what they have.
func TestReportsOfAnAccountAreTrimmed(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		seed := func(account string, n int) {
			fx.Must(fx.Write(fx.Ctx, func(t *meta.Tx) error {
				_, err := t.Exec(fmt.Sprintf(`INSERT INTO image_reports (account, image, digest, repository, tag, parent, is_list,
					type, config, os, architecture, size, created_at, reported_at, branch, git_repository, revision, message, pull,
					bytes, details)
					WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
					SELECT '%s', CAST(i AS TEXT), 'd', '', '', '', 0, '', '', '', '', 0, 0, i, '', '', '', '', '', 2, '{}' FROM n`, n, account))
				return err
			}))
		}
		other := name.MustAccount("999988887777")
		fx.Must(fx.CreateAccount(fx.Ctx, meta.Account{ID: other, Alias: "two"}, metatest.Key(other, "AKIATWO")))
		seed(metatest.Account.String(), meta.MaxReports)
		seed(other.String(), 3)
		images := func(want int, first string) {
			fx.Helper()
			all, err := fx.ImageReports(fx.Ctx, metatest.Account)
			fx.Must(err)
			oldest, newest := all[0], false
			for _, r := range all {
				if r.ReportedAt.Before(oldest.ReportedAt) {
					oldest = r
				}
				newest = newest || r.Image == "r.test/new"
			}
			if len(all) != want || oldest.Image != first || !newest {
				fx.Errorf("got %d reports, the oldest %s, the new one there: %t; want %d, the oldest %s", len(all), oldest.Image, newest,
					want, first)
			}
			if all, err := fx.ImageReports(fx.Ctx, other); err != nil || len(all) != 3 {
				fx.Errorf("another account: got %d reports and %v, want its 3", len(all), err)
			}
		}
		put := func() {
			fx.Helper()
			fx.Must(fx.PutReport(fx.Ctx, metatest.Account, []meta.ImageReport{reportOf("new")}, nil))
		}
		put()
		images(meta.MaxReports, "2")
		put() // the same again is no more
		images(meta.MaxReports, "2")
		fx.Must(fx.Write(fx.Ctx, func(t *meta.Tx) error {
			_, err := t.Exec(fmt.Sprintf(`UPDATE image_reports SET bytes = %d WHERE image = '9000'`, meta.MaxReportBytes))
			return err
		}))
		put()
		images(meta.MaxReports-200, "202")
		long := reportOf("long")
		long.Details = strings.Repeat("x", 513<<10)
		fx.Want(fx.PutReport(fx.Ctx, metatest.Account, []meta.ImageReport{long}, nil), fault.LimitExceeded, "details of 513 KiB")
	})
}

// The annotations of an account are bounded in the same way.
func TestAnnotationsOfAnAccountAreTrimmed(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		fx.Must(fx.Write(fx.Ctx, func(t *meta.Tx) error {
			_, err := t.Exec(fmt.Sprintf(`INSERT INTO image_annotations (account, subject, key, type, value, set_at)
				WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
				SELECT '%s', 's' || CAST(i AS TEXT), 'k', 'note', '1', i FROM n`, meta.MaxAnnotations, metatest.Account))
			return err
		}))
		for _, key := range []string{"a", "b"} {
			fx.Must(fx.PutAnnotation(fx.Ctx, metatest.Account, meta.Annotation{Subject: "new", Key: key, Type: "note", Value: "1"}))
		}
		for subject, want := range map[string]int{"s1": 0, "s2": 0, "s3": 1, "new": 2} {
			if all, err := fx.Annotations(fx.Ctx, metatest.Account, subject, 9); err != nil || len(all) != want {
				fx.Errorf("%s: got %d annotations and %v, want %d", subject, len(all), err, want)
			}
		}
	})
}

// A report of what an application runs replaces the one before, and with it what it has in use; what others run stays in use. A deployment
// ends with its time, and an account has a limited number.
func TestDeploymentsAreReplaced(t *testing.T) {
	onBoth(t, func(fx *metatest.Fixture, c *clock) {
		put := func(app string, until time.Duration, images ...string) error {
			var all []meta.Deployment
			for _, image := range images {
				all = append(all, meta.Deployment{Application: app, Image: image, Repository: image, Digest: metatest.Digest(image),
					Until: c.now().Add(until)})
			}
			return fx.PutDeployments(fx.Ctx, metatest.Account, app, "", all)
		}
		uses := func(by, image string, want int64) {
			fx.Helper()
			var got int64
			fx.Must(fx.Write(fx.Ctx, func(t *meta.Tx) (err error) {
				got, err = t.Exec(`UPDATE in_use SET until = until WHERE used_by = $1 AND digest = $2`, "application/"+by,
					metatest.Digest(image).String())
				return err
			}))
			if got != want {
				fx.Errorf("%s in use by %s: got %d rows, want %d", image, by, got, want)
			}
		}
		fx.Must(put("shop", time.Hour, "a", "b"))
		fx.Must(put("bank", 3*time.Hour, "b"))
		fx.Must(put("shop", time.Hour, "c"))
		uses("shop", "a", 0)
		uses("shop", "b", 0)
		uses("shop", "c", 1)
		uses("bank", "b", 1)
		running := func(want int) {
			fx.Helper()
			if all, err := fx.Deployments(fx.Ctx, metatest.Account); err != nil || len(all) != want {
				fx.Errorf("got %d deployments and %v, want %d", len(all), err, want)
			}
		}
		running(2)
		c.advance(2 * time.Hour)
		running(1)
		many := make([]string, 0, meta.MaxDeployments)
		for i := range cap(many) {
			many = append(many, fmt.Sprint("image", i))
		}
		fx.Want(put("large", time.Hour, many...), fault.LimitExceeded, "more deployments than the limit")
		running(1)
	})
}
