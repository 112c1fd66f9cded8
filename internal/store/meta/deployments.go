package meta

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Deployment is an image that an application runs.
type Deployment struct {
	Application string
	Namespace   string // "" for none
	Image       string // as it was given
	Repository  string // HOST/PATH
	Tag         string // "" for none
	Digest      name.Digest
	Until       time.Time
	ReportedAt  time.Time // PutDeployments sets it
	ReportedBy  string    // ARN
}

// user returns the name under which the images of an application are in use.
func (d Deployment) user() string {
	if d.Namespace == "" {
		return "application/" + d.Application
	}
	return "application/" + d.Namespace + "/" + d.Application
}

// PutDeployments stores which images an application runs in a namespace, all with the same time until which this holds, instead of what
// was stored for the application and namespace. The images are in use, so that no lifecycle policy acts on them; those that the
// application does not run any more are not in use by it.
//
// Errors: fault.AccountNotFound, fault.LimitExceeded (of deployments, and of images in use).
func (s *Store) PutDeployments(ctx context.Context, of name.Account, application, namespace string, all []Deployment) error {
	return s.write.doMany(ctx, 2*len(all)+2, func(t *tx) error {
		if err := accountExists(t, of); err != nil {
			return err
		}
		account, now := of.String(), micros(s.now())
		user := Deployment{Application: application, Namespace: namespace}.user()
		if _, err := t.exec(`DELETE FROM in_use WHERE account = $1 AND used_by = $4 AND digest IN (SELECT digest FROM image_deployments
			WHERE account = $1 AND application = $2 AND namespace = $3)`, account, application, namespace, user); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM image_deployments WHERE account = $1 AND (until <= $2 OR application = $3 AND namespace = $4)`,
			account, now, application, namespace); err != nil {
			return err
		}
		var uses []ImageUse
		for _, d := range all {
			if _, err := t.exec(`INSERT INTO image_deployments (account, application, namespace, image, repository, tag, digest, until,
				reported_at, reported_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
				ON CONFLICT (account, application, namespace, image) DO UPDATE SET digest = excluded.digest`,
				account, application, namespace, d.Image, d.Repository, d.Tag, d.Digest.String(), micros(d.Until), now, d.ReportedBy); err != nil {
				return err
			}
			uses = append(uses, ImageUse{Digest: d.Digest, By: user, Until: d.Until})
		}
		var n int
		if err := t.row(t.ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM image_deployments WHERE account = $1 LIMIT $2) q`,
			args{account, MaxDeployments + 1}, &n); err != nil {
			return err
		}
		if n > MaxDeployments {
			return fault.LimitExceeded.New("an account can have at most %d deployments of images", MaxDeployments)
		}
		return t.reportUses(account, uses)
	})
}

const deploymentColumns = `application, namespace, image, repository, tag, digest, until, reported_at, reported_by`

func scanDeployment(scan func(...any) error) (d Deployment, err error) {
	var digest string
	var until, reported int64
	err = scan(&d.Application, &d.Namespace, &d.Image, &d.Repository, &d.Tag, &digest, &until, &reported, &d.ReportedBy)
	if err == nil {
		d.Digest, err = name.ParseDigest(digest)
	}
	d.Until, d.ReportedAt = fromMicros(until), fromMicros(reported)
	return d, err
}

// Deployments returns where images of an account run now, in the order of applications, namespaces and names of images.
func (s *Store) Deployments(ctx context.Context, of name.Account) (all []Deployment, err error) {
	err = s.read.rows(ctx, `SELECT `+deploymentColumns+`
		FROM image_deployments WHERE account = $1 AND until > $2 ORDER BY application, namespace, image`,
		args{of.String(), micros(s.now())}, func(scan func(...any) error) error {
			d, err := scanDeployment(scan)
			all = append(all, d)
			return err
		})
	return all, err
}

// DeploymentsIn is Deployments for the repositories from one name to another one.
func (s *Store) DeploymentsIn(ctx context.Context, of name.Account, from, to string) (all []Deployment, err error) {
	err = s.read.rows(ctx, `SELECT `+deploymentColumns+`
		FROM image_deployments WHERE account = $1 AND repository >= $2 AND repository <= $3 AND until > $4`,
		args{of.String(), from, to, micros(s.now())}, func(scan func(...any) error) error {
			d, err := scanDeployment(scan)
			all = append(all, d)
			return err
		})
	slices.SortFunc(all, func(a, b Deployment) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Image, b.Image))
	})
	return all, err
}
