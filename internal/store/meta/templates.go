package meta

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CreationCase is a reason for which a repository is created without a call of CreateRepository, or a set of them.
// Source: ECR API reference, CreateRepositoryCreationTemplate, appliedFor.
type CreationCase uint8

// The cases. Their numbers are stored.
const (
	ForReplication CreationCase = 1 << iota
	ForPullThrough
	ForPush
)

// RootPrefix is the prefix of the template, or of the rule of a pull-through cache, for the repositories that no other one applies to.
// Sources: ECR API reference, CreateRepositoryCreationTemplate and CreatePullThroughCacheRule.
const RootPrefix = "ROOT"

// Template is a repository creation template.
type Template struct {
	Registry    name.Registry
	Prefix      string // as in the request: RootPrefix, or the beginning of names before a slash, which it may end with
	Description string
	Cases       CreationCase
	Mutability  Mutability // the zero Mode for the default
	Encryption  string     // "" for the default
	Policy      BoundPolicy
	Lifecycle   string // text of a lifecycle policy; "" for none
	Tags        []ResourceTag
	Role        string // ARN of customRoleArn; "" for none

	CreatedAt, UpdatedAt time.Time
	Revision             int64 // differs after each change
}

// TemplateKey returns a prefix without the slash that it may end with: two templates of a registry cannot have the same.
func TemplateKey(prefix string) string { return strings.TrimSuffix(prefix, "/") }

// Repository returns the repository with a name that the template makes; it is not stored, and its ID is 0. The settings that the
// template does not have are the defaults of ECR.
func (v Template) Repository(reg name.Registry, repo name.Repo) Repository {
	r := Repository{Registry: reg, Name: repo, Mutability: v.Mutability, Encryption: cmp.Or(v.Encryption, EncryptionAES256), Policy: v.Policy}
	if r.Mutability.Mode == "" {
		r.Mutability.Mode = Mutable
	}
	return r
}

// Check returns why the template can create no repository: nil if it can.
//
// Errors: fault.InvalidParameter (resource tags without a role). Source: ECR user guide, repository creation templates.
func (v Template) Check(repo name.Repo) error {
	if len(v.Tags) > 0 && v.Role == "" {
		return fault.InvalidParameter.New("The repository with name '%s' cannot be created: the repository creation template '%s' has resourceTags and no customRoleArn, which they need", repo, v.Prefix)
	}
	return nil
}

func templateNotFound(prefix string) error {
	return fault.TemplateNotFound.New("The repository creation template with prefix '%s' does not exist", name.Clip(prefix))
}

const templateColumns = `account, region, prefix, cases, revision, written, description, mutability, exclusions, encryption, role, created_at,
	updated_at, labels, policy, policy_ids, lifecycle`

func scanTemplate(scan func(...any) error) (v Template, err error) {
	var account, region, key, filters, labels, ids string
	var created, updated int64
	if err := scan(&account, &region, &key, &v.Cases, &v.Revision, &v.Prefix, &v.Description, &v.Mutability.Mode, &filters, &v.Encryption,
		&v.Role, &created, &updated, &labels, &v.Policy.Text, &ids, &v.Lifecycle); err != nil {
		return Template{}, err
	}
	v.CreatedAt, v.UpdatedAt = fromMicros(created), fromMicros(updated)
	if filters != "" {
		v.Mutability.Filters = strings.Split(filters, " ")
	}
	var err1, err2, err3 error
	v.Registry.Account, err1 = name.ParseAccount(account)
	v.Registry.Region, err2 = name.ParseRegion(region)
	v.Policy.IDs, err3 = idsOf(ids)
	return v, errors.Join(err1, err2, err3, json.Unmarshal([]byte(labels), &v.Tags))
}

// CreateTemplate stores a new template, of which a registry has at most maxCount.
//
// Errors: fault.TemplateAlreadyExists, fault.LimitExceeded, fault.AccountNotFound.
func (s *Store) CreateTemplate(ctx context.Context, v Template, maxCount int) (Template, error) {
	labels, err := labelsText(v.Tags)
	if err != nil {
		return Template{}, err
	}
	v.CreatedAt = fromMicros(micros(s.now()))
	v.UpdatedAt = v.CreatedAt
	account, region := v.Registry.Account.String(), v.Registry.Region.String()
	err = s.write.do(ctx, func(t *tx) (err error) {
		if err := accountExists(t, v.Registry.Account); err != nil {
			return err
		}
		if v.Revision, err = t.newID(s.now()); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO creation_templates (`+templateColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ON CONFLICT (account, region, prefix) DO NOTHING`,
			account, region, TemplateKey(v.Prefix), int(v.Cases), v.Revision, v.Prefix, v.Description, v.Mutability.Mode,
			strings.Join(v.Mutability.Filters, " "), v.Encryption, v.Role, micros(v.CreatedAt), micros(v.UpdatedAt), labels, v.Policy.Text,
			idsText(v.Policy.IDs), v.Lifecycle)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.TemplateAlreadyExists.New("The repository creation template with prefix '%s' already exists", name.Clip(v.Prefix))
		}
		var count int
		if _, err := t.one(`SELECT COUNT(*) FROM creation_templates WHERE account = $1 AND region = $2`, args{account, region},
			&count); err != nil {
			return err
		}
		if count > maxCount {
			return fault.LimitExceeded.New("A registry can have at most %d repository creation templates", maxCount)
		}
		return s.templateEvent(t, v, false)
	})
	return v, err
}

func labelsText(tags []ResourceTag) (string, error) {
	text, err := json.Marshal(tags)
	if err != nil {
		return "", fmt.Errorf("encoding the resource tags of a template: %w", err)
	}
	return string(text), nil
}

// UpdateTemplate replaces all of a template but its prefix and the time of its creation.
//
// Errors: fault.TargetChanged (the template was changed or deleted after v was read).
func (s *Store) UpdateTemplate(ctx context.Context, v Template) (Template, error) {
	labels, err := labelsText(v.Tags)
	if err != nil {
		return Template{}, err
	}
	before := v.Revision
	v.UpdatedAt = fromMicros(micros(s.now()))
	err = s.write.do(ctx, func(t *tx) (err error) {
		if v.Revision, err = t.newID(s.now()); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE creation_templates SET cases = $5, revision = $6, description = $7, mutability = $8, exclusions = $9,
			encryption = $10, role = $11, updated_at = $12, labels = $13, policy = $14, policy_ids = $15, lifecycle = $16
			WHERE account = $1 AND region = $2 AND prefix = $3 AND revision = $4`,
			v.Registry.Account.String(), v.Registry.Region.String(), TemplateKey(v.Prefix), before, int(v.Cases), v.Revision, v.Description,
			v.Mutability.Mode, strings.Join(v.Mutability.Filters, " "), v.Encryption, v.Role, micros(v.UpdatedAt), labels, v.Policy.Text,
			idsText(v.Policy.IDs), v.Lifecycle)
		if err := templateChanged(v, n, err); err != nil {
			return err
		}
		return s.templateEvent(t, v, false)
	})
	return v, err
}

// DeleteTemplate deletes a template.
//
// Errors: fault.TargetChanged (the template was changed or deleted after v was read).
func (s *Store) DeleteTemplate(ctx context.Context, v Template) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM creation_templates WHERE account = $1 AND region = $2 AND prefix = $3 AND revision = $4`,
			v.Registry.Account.String(), v.Registry.Region.String(), TemplateKey(v.Prefix), v.Revision)
		if err := templateChanged(v, n, err); err != nil {
			return err
		}
		return s.templateEvent(t, v, true)
	})
}

// templateEvent adds the event of a change of a template.
func (s *Store) templateEvent(t *tx, v Template, deleted bool) error {
	return t.policyChanged(v.Registry, name.Repo{}, event.PolicyChange{Type: event.PolicyCreationTemplate, Name: v.Prefix, Deleted: deleted},
		s.now())
}

func templateChanged(v Template, rows int64, err error) error {
	if err == nil && rows == 0 {
		err = fault.TargetChanged.New("the repository creation template '%s' was changed by another request", name.Clip(v.Prefix))
	}
	return err
}

// Template returns the template of a registry with a prefix. Errors: fault.TemplateNotFound.
func (s *Store) Template(ctx context.Context, reg name.Registry, prefix string) (Template, error) {
	return templateOf(ctx, s.read, reg, prefix)
}

func templateOf(ctx context.Context, q querier, reg name.Registry, prefix string) (Template, error) {
	return scanTemplate(func(dest ...any) error {
		err := q.row(ctx, `SELECT `+templateColumns+` FROM creation_templates WHERE account = $1 AND region = $2 AND prefix = $3`,
			args{reg.Account.String(), reg.Region.String(), TemplateKey(prefix)}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return templateNotFound(prefix)
		}
		return err
	})
}

// Templates returns up to limit templates of a registry in the order of their prefixes, starting after the one with the prefix after.
func (s *Store) Templates(ctx context.Context, reg name.Registry, after string, limit int) ([]Template, error) {
	var all []Template
	err := s.read.rows(ctx, `SELECT `+templateColumns+` FROM creation_templates
		WHERE account = $1 AND region = $2 AND prefix > $3 ORDER BY prefix LIMIT $4`,
		args{reg.Account.String(), reg.Region.String(), position(TemplateKey(after)), limit}, func(scan func(...any) error) error {
			v, err := scanTemplate(scan)
			all = append(all, v)
			return err
		})
	return all, err
}

// TemplateFor returns the template that applies when a repository is created in a case: of the templates that have the case, the one with
// the longest prefix that, followed by a slash, begins the name, or that with RootPrefix.
//
// Errors: fault.TemplateNotFound (none applies).
func (s *Store) TemplateFor(ctx context.Context, reg name.Registry, repo name.Repo, c CreationCase) (Template, error) {
	return templateFor(ctx, s.read, reg, repo, c)
}

func templateFor(ctx context.Context, q querier, reg name.Registry, repo name.Repo, c CreationCase) (Template, error) {
	best := ""
	err := q.rows(ctx, `SELECT prefix, cases FROM creation_templates WHERE account = $1 AND region = $2`,
		args{reg.Account.String(), reg.Region.String()}, func(scan func(...any) error) error {
			var prefix string
			var cases CreationCase
			err := scan(&prefix, &cases)
			switch {
			case cases&c == 0:
			case prefix == RootPrefix && best == "", strings.HasPrefix(repo.String(), prefix+"/") && (best == RootPrefix || len(prefix) > len(best)):
				best = prefix
			}
			return err
		})
	if err == nil && best == "" {
		err = fault.TemplateNotFound.New("no repository creation template applies to the repository with name '%s'", repo)
	}
	if err != nil {
		return Template{}, err
	}
	return templateOf(ctx, q, reg, best)
}

// CreateByTemplate creates a repository with the settings of the template that applies in the case, and with the defaults of ECR if none
// does and orDefault is true.
//
// Errors: fault.TemplateNotFound (none applies), those of Template.Check, fault.RepositoryAlreadyExists, fault.AccountNotFound,
// fault.StorageQuotaExceeded.
func (s *Store) CreateByTemplate(ctx context.Context, reg name.Registry, repo name.Repo, c CreationCase,
	orDefault bool) (r Repository, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		v, err := templateFor(t.ctx, t, reg, repo, c)
		if errors.Is(err, fault.TemplateNotFound) && orDefault {
			err = nil
		}
		if err != nil {
			return err
		}
		if err := v.Check(repo); err != nil {
			return err
		}
		r = v.Repository(reg, repo)
		r.CreatedAt = fromMicros(micros(s.now()))
		tags := map[string]string{}
		for _, one := range v.Tags {
			tags[one.Key] = one.Value
		}
		if err := s.createRepository(t, &r, tags); err != nil {
			return err
		}
		if v.Lifecycle == "" {
			return nil
		}
		return t.putLifecycle(r, Lifecycle{Policy: v.Lifecycle}, s.now())
	})
	return r, err
}
