package meta

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ImageReport is what a pipeline has reported about a manifest under a name.
type ImageReport struct {
	Image         string // as it was given
	Digest        string // of the manifest
	Repository    string // HOST/PATH
	Tag           string // "" for none
	Parent        string // digest of the index that it is in; "" for none
	List          bool   // it is an index, which has no config, platform and size
	Type          string // of the registry
	Config        string // digest
	OS            string
	Architecture  string
	Size          int64 // bytes of config and layers
	CreatedAt     time.Time
	ReportedAt    time.Time // PutReport sets it
	Branch        string
	GitRepository string
	Revision      string // of the commit
	Message       string // the first line of its message
	Pull          string // URL of the newest pull request; "" for none
	Details       string // JSON; "" in lists
}

// Annotation is a named value of an image.
type Annotation struct {
	Subject string // the name or a digest of the image
	Key     string
	Type    string
	Value   string    // JSON
	SetAt   time.Time // PutReport and PutAnnotation set it
}

// The limits of an account. What was reported first is deleted when there is more.
const (
	MaxReports       = 10_000
	MaxReportBytes   = 256 << 20 // of the details of all reports
	MaxAnnotations   = 50_000
	MaxDeployments   = 10_000
	maxTrimmed       = 200 // rows that one report deletes
	maxReportDetails = 512 << 10
)

// PutReport stores what was reported about an image: the rows of its manifests, and its annotations instead of those of the same subjects
// and types. Rows that exist are replaced. It sets the times. What the account has reported first is deleted if it has too much.
//
// Errors: fault.AccountNotFound, fault.LimitExceeded (the details of one row have more than 512 KiB).
func (s *Store) PutReport(ctx context.Context, of name.Account, rows []ImageReport, annotations []Annotation) error {
	return s.write.doMany(ctx, len(rows)+len(annotations)+1, func(t *tx) error {
		if err := accountExists(t, of); err != nil {
			return err
		}
		account, now := of.String(), micros(s.now())
		for _, r := range rows {
			if len(r.Details) > maxReportDetails {
				return fault.LimitExceeded.New("what is known about an image has at most %d bytes", maxReportDetails)
			}
			if _, err := t.exec(`INSERT INTO image_reports (account, image, digest, repository, tag, parent, is_list, type, config, os, architecture,
				size, created_at, reported_at, branch, git_repository, revision, message, pull, bytes, details)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
				ON CONFLICT (account, image, digest) DO UPDATE SET parent = excluded.parent, type = excluded.type, config = excluded.config,
				os = excluded.os, architecture = excluded.architecture, size = excluded.size, created_at = excluded.created_at,
				reported_at = excluded.reported_at, branch = excluded.branch, git_repository = excluded.git_repository,
				revision = excluded.revision, message = excluded.message, pull = excluded.pull, bytes = excluded.bytes, details = excluded.details`,
				account, r.Image, r.Digest, r.Repository, r.Tag, r.Parent, truth(r.List), r.Type, r.Config, r.OS, r.Architecture, r.Size,
				micros(r.CreatedAt), now, r.Branch, r.GitRepository, r.Revision, r.Message, r.Pull, len(r.Details), r.Details); err != nil {
				return err
			}
		}
		for _, a := range annotations {
			if _, err := t.exec(`DELETE FROM image_annotations WHERE account = $1 AND subject = $2 AND type = $3`, account, a.Subject,
				a.Type); err != nil {
				return err
			}
		}
		for _, a := range annotations {
			if err := t.annotate(account, a, now); err != nil {
				return err
			}
		}
		return t.trimReports(account)
	})
}

// PutAnnotation stores an annotation, in place of one of the same subject and key. It sets the time.
//
// Errors: fault.AccountNotFound.
func (s *Store) PutAnnotation(ctx context.Context, of name.Account, a Annotation) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, of); err != nil {
			return err
		}
		if err := t.annotate(of.String(), a, micros(s.now())); err != nil {
			return err
		}
		return t.trimReports(of.String())
	})
}

func (t *tx) annotate(account string, a Annotation, now int64) error {
	_, err := t.exec(`INSERT INTO image_annotations (account, subject, key, type, value, set_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account, subject, key) DO UPDATE SET type = excluded.type, value = excluded.value, set_at = excluded.set_at`,
		account, a.Subject, a.Key, a.Type, a.Value, now)
	return err
}

// trimReports deletes what an account has reported first, beyond its limits, up to maxTrimmed rows of each table.
func (t *tx) trimReports(account string) error {
	var n, bytes, notes int64
	if err := t.row(t.ctx, `SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM image_reports WHERE account = $1`, args{account},
		&n, &bytes); err != nil {
		return err
	}
	if over := n - MaxReports; over > 0 || bytes > MaxReportBytes {
		if bytes > MaxReportBytes {
			over = maxTrimmed // as many as hold the excess of one report, whatever their size
		}
		if _, err := t.exec(`DELETE FROM image_reports WHERE account = $1 AND (image, digest) IN (
			SELECT image, digest FROM image_reports WHERE account = $1 ORDER BY reported_at LIMIT $2)`, account,
			min(over, maxTrimmed)); err != nil {
			return err
		}
	}
	if err := t.row(t.ctx, `SELECT COUNT(*) FROM image_annotations WHERE account = $1`, args{account}, &notes); err != nil {
		return err
	}
	if over := notes - MaxAnnotations; over > 0 {
		_, err := t.exec(`DELETE FROM image_annotations WHERE account = $1 AND (subject, key) IN (
			SELECT subject, key FROM image_annotations WHERE account = $1 ORDER BY set_at LIMIT $2)`, account,
			min(over, maxTrimmed))
		return err
	}
	return nil
}

const reportColumns = `image, digest, repository, tag, parent, is_list, type, config, os, architecture, size, created_at, reported_at, branch,
	git_repository, revision, message, pull`

func scanReport(scan func(...any) error, more ...any) (r ImageReport, err error) {
	var list int
	var created, reported int64
	err = scan(append([]any{&r.Image, &r.Digest, &r.Repository, &r.Tag, &r.Parent, &list, &r.Type, &r.Config, &r.OS, &r.Architecture, &r.Size,
		&created, &reported, &r.Branch, &r.GitRepository, &r.Revision, &r.Message, &r.Pull}, more...)...)
	r.List, r.CreatedAt, r.ReportedAt = list == 1, fromMicros(created), fromMicros(reported)
	return r, err
}

// ImageReports returns what an account has reported, without details, at most MaxReports and those of one trimming more, in the order
// of their names and digests.
func (s *Store) ImageReports(ctx context.Context, of name.Account) (all []ImageReport, err error) {
	err = s.read.rows(ctx, `SELECT `+reportColumns+` FROM image_reports WHERE account = $1 ORDER BY image, digest LIMIT $2`,
		args{of.String(), 2 * MaxReports}, func(scan func(...any) error) error {
			r, err := scanReport(scan)
			all = append(all, r)
			return err
		})
	return all, err
}

// ReportedRepositories returns the names of the repositories of which images have been reported or run now, those after a name, at most
// limit, in their order.
func (s *Store) ReportedRepositories(ctx context.Context, of name.Account, after string, limit int) (all []string, err error) {
	one := func(scan func(...any) error) error {
		var repository string
		err := scan(&repository)
		all = append(all, repository)
		return err
	}
	if err = s.read.rows(ctx, `SELECT DISTINCT repository FROM image_reports WHERE account = $1 AND repository > $2 AND is_list = 0
		ORDER BY repository LIMIT $3`, args{of.String(), position(after), limit}, one); err != nil {
		return nil, err
	}
	if err = s.read.rows(ctx, `SELECT DISTINCT repository FROM image_deployments WHERE account = $1 AND repository > $2 AND until > $4
		ORDER BY repository LIMIT $3`, args{of.String(), position(after), limit, micros(s.now())}, one); err != nil {
		return nil, err
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(limit, len(all))], nil
}

// LastReport is when something was last reported of a repository.
type LastReport struct {
	Repository string
	At         time.Time
}

// LastReports returns for all repositories of which images have been reported when the last report was, and for others of which images run
// now when that was last reported, in no order. It reads no reports.
func (s *Store) LastReports(ctx context.Context, of name.Account) (all []LastReport, err error) {
	known := map[string]bool{}
	one := func(scan func(...any) error) error {
		var r LastReport
		var at int64
		err := scan(&r.Repository, &at)
		if r.At = fromMicros(at); !known[r.Repository] {
			known[r.Repository] = true
			all = append(all, r)
		}
		return err
	}
	if err = s.read.rows(ctx, `SELECT repository, MAX(reported_at) FROM image_reports WHERE account = $1 AND is_list = 0 GROUP BY repository`,
		args{of.String()}, one); err != nil {
		return nil, err
	}
	return all, s.read.rows(ctx, `SELECT repository, MAX(reported_at) FROM image_deployments WHERE account = $1 AND until > $2
		GROUP BY repository`, args{of.String(), micros(s.now())}, one)
}

// ImagesReportedIn returns what an account has reported of the images of the repositories from one name to another one, without details and
// without indexes of images, in the order of their names and digests.
func (s *Store) ImagesReportedIn(ctx context.Context, of name.Account, from, to string) (all []ImageReport, err error) {
	err = s.read.rows(ctx, `SELECT `+reportColumns+` FROM image_reports
		WHERE account = $1 AND repository >= $2 AND repository <= $3 AND is_list = 0`, args{of.String(), from, to},
		func(scan func(...any) error) error {
			r, err := scanReport(scan)
			all = append(all, r)
			return err
		})
	slices.SortFunc(all, func(a, b ImageReport) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Digest, b.Digest))
	})
	return all, err
}

// ReportsOf returns what an account has reported under a name, with details, at most limit, in the order of digests.
func (s *Store) ReportsOf(ctx context.Context, of name.Account, image string, limit int) (all []ImageReport, err error) {
	err = s.read.rows(ctx, `SELECT `+reportColumns+`, details FROM image_reports WHERE account = $1 AND image = $2 ORDER BY digest LIMIT $3`,
		args{of.String(), image, limit}, func(scan func(...any) error) error {
			var details string
			r, err := scanReport(scan, &details)
			r.Details = details
			all = append(all, r)
			return err
		})
	return all, err
}

// Annotations returns the annotations of a name or digest of an image, at most limit, in the order of their keys.
func (s *Store) Annotations(ctx context.Context, of name.Account, subject string, limit int) (all []Annotation, err error) {
	err = s.read.rows(ctx, `SELECT subject, key, type, value, set_at FROM image_annotations WHERE account = $1 AND subject = $2
		ORDER BY key LIMIT $3`, args{of.String(), subject, limit}, func(scan func(...any) error) error {
		var a Annotation
		var at int64
		err := scan(&a.Subject, &a.Key, &a.Type, &a.Value, &at)
		a.SetAt = fromMicros(at)
		all = append(all, a)
		return err
	})
	return all, err
}
