package meta

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ReplicationRule copies what is pushed to the repositories that a filter selects to its destinations.
type ReplicationRule struct {
	Destinations []name.Registry
	Prefixes     []string // of names of repositories; none for all
}

// storedRule is the JSON of a rule.
type storedRule struct {
	To       [][2]string `json:"to"` // account and region
	Prefixes []string    `json:"prefixes,omitzero"`
}

// selects reports whether the rule is about a repository.
func (r *storedRule) selects(repo string) bool {
	return len(r.Prefixes) == 0 || slices.ContainsFunc(r.Prefixes, func(p string) bool { return strings.HasPrefix(repo, p) })
}

// ReplicationKind is the kind of the jobs that copy an image to a destination. Its key is that of ReplicationInput.
const ReplicationKind = "replication"

// ReplicationInput is the input of such a job.
type ReplicationInput struct {
	Repository int64  `json:"repository"`
	Digest     string `json:"digest"`
	Account    string `json:"account"` // of the destination
	Region     string `json:"region"`
}

func (i ReplicationInput) key() string {
	return fmt.Sprintf("%d %s %s/%s", i.Repository, i.Digest, i.Account, i.Region)
}

// PutReplicationRules replaces the replication rules of a registry; none removes them. What was pushed before is not copied.
//
// Errors: fault.AccountNotFound.
func (s *Store) PutReplicationRules(ctx context.Context, reg name.Registry, rules []ReplicationRule) error {
	return s.ReplaceReplicationRules(ctx, reg, rules, nil)
}

// ReplaceReplicationRules is PutReplicationRules, but only if check, which gets the rules of now, returns no error. check may run more than
// once; nil is none. Errors: those of PutReplicationRules and check.
func (s *Store) ReplaceReplicationRules(ctx context.Context, reg name.Registry, rules []ReplicationRule,
	check func(now []ReplicationRule) error) error {
	var stored []storedRule
	for _, r := range rules {
		one := storedRule{Prefixes: r.Prefixes}
		for _, d := range r.Destinations {
			one.To = append(one.To, [2]string{d.Account.String(), d.Region.String()})
		}
		stored = append(stored, one)
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("encoding replication rules: %w", err)
	}
	return s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, reg.Account); err != nil {
			return err
		}
		if check != nil {
			stored, err := replicationRules(t.ctx, t, reg)
			if err != nil {
				return err
			}
			now, err := plainRules(stored)
			if err == nil {
				err = check(now)
			}
			if err != nil {
				return err
			}
		}
		changed := event.PolicyChange{Type: event.PolicyReplication, Deleted: len(rules) == 0}
		if err := t.policyChanged(reg, name.Repo{}, changed, s.now()); err != nil {
			return err
		}
		if len(rules) == 0 {
			_, err := t.exec(`DELETE FROM replication_rules WHERE account = $1 AND region = $2`, reg.Account.String(), reg.Region.String())
			return err
		}
		_, err := t.exec(`INSERT INTO replication_rules (account, region, rules) VALUES ($1, $2, $3)
			ON CONFLICT (account, region) DO UPDATE SET rules = excluded.rules`, reg.Account.String(), reg.Region.String(), string(text))
		return err
	})
}

// ReplicationRules returns the replication rules of a registry, none if it has none.
func (s *Store) ReplicationRules(ctx context.Context, reg name.Registry) ([]ReplicationRule, error) {
	stored, err := replicationRules(ctx, s.read, reg)
	if err != nil {
		return nil, err
	}
	return plainRules(stored)
}

func plainRules(stored []storedRule) (rules []ReplicationRule, err error) {
	for _, r := range stored {
		one := ReplicationRule{Prefixes: r.Prefixes}
		for _, to := range r.To {
			account, err1 := name.ParseAccount(to[0])
			region, err2 := name.ParseRegion(to[1])
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
			one.Destinations = append(one.Destinations, name.Registry{Account: account, Region: region})
		}
		rules = append(rules, one)
	}
	return rules, nil
}

func replicationRules(ctx context.Context, q querier, reg name.Registry) ([]storedRule, error) {
	var text string
	err := q.row(ctx, `SELECT rules FROM replication_rules WHERE account = $1 AND region = $2`, args{reg.Account.String(),
		reg.Region.String()}, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var rules []storedRule
	if err == nil {
		err = json.Unmarshal([]byte(text), &rules)
	}
	return rules, err
}

// replicate enqueues the jobs that copy an image of a repository to the destinations of the rules.
func (s *Store) replicate(t *tx, r Repository, d name.Digest) error {
	rules, err := replicationRules(t.ctx, t, r.Registry)
	if err != nil || rules == nil {
		return err
	}
	var to [][2]string
	for _, rule := range rules {
		if !rule.selects(r.Name.String()) {
			continue
		}
		for _, d := range rule.To {
			if !slices.Contains(to, d) {
				to = append(to, d)
			}
		}
	}
	for _, one := range to {
		if err := t.replicateTo(r, d, one, s.now()); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) replicateTo(r Repository, d name.Digest, to [2]string, now time.Time) error {
	in := ReplicationInput{Repository: r.ID, Digest: d.String(), Account: to[0], Region: to[1]}
	outside, err := t.integrationFor(r.Registry.Account.String(), to[0], to[1])
	if err != nil {
		return err
	}
	if outside != 0 {
		return t.copyOutside(r, in, outside, now)
	}
	if err := t.setReplication(in, ReplicationStarted, "", now); err != nil {
		return err
	}
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encoding the input of a replication: %w", err)
	}
	return t.enqueue(NewJob{Kind: ReplicationKind, Key: in.key(), Account: r.Registry.Account.String(), Input: string(text)}, now)
}

// ReplicationState is how far a replication is.
type ReplicationState int

// The states.
const (
	ReplicationStarted ReplicationState = iota + 1
	ReplicationComplete
	ReplicationFailed
)

// Replication is the replication of an image to a destination.
type Replication struct {
	To    name.Registry
	State ReplicationState
	Code  string // why it failed
}

func (t *tx) setReplication(in ReplicationInput, state ReplicationState, code string, now time.Time) error {
	_,
		err := t.exec(`INSERT INTO replications (repository, digest, account, region, state, code, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (repository, digest, account, region) DO UPDATE SET state = excluded.state, code = excluded.code,
			changed_at = excluded.changed_at`,
		in.Repository, in.Digest, in.Account, in.Region, int(state), code, micros(now))
	return err
}

// FailReplication records that the replication of an image of a repository has failed, with a code. The first failure is an event of the
// destination.
func (s *Store) FailReplication(ctx context.Context, in ReplicationInput, r Repository, d name.Digest, to name.Registry,
	code string) error {
	return s.write.do(ctx, func(t *tx) error {
		var before ReplicationState
		if _, err := t.one(`SELECT state FROM replications WHERE repository = $1 AND digest = $2 AND account = $3 AND region = $4`,
			args{in.Repository, in.Digest, in.Account, in.Region}, &before); err != nil {
			return err
		}
		if err := t.setReplication(in, ReplicationFailed, code, s.now()); err != nil || before == ReplicationFailed {
			return err
		}
		return t.replicated(event.Image{Repository: r.Name, Digest: d}, nil, r.Registry, to, false, s.now())
	})
}

// replicated adds the events of a replication: one for each tag, or one without a tag.
func (t *tx) replicated(i event.Image, tags []name.Tag, from, to name.Registry, ok bool, at time.Time) error {
	if len(tags) == 0 {
		tags = []name.Tag{{}}
	}
	for _, tag := range tags {
		if err := t.event(event.Replicated(t.origin(to, at), i, tag, from, ok)); err != nil {
			return err
		}
	}
	return nil
}

// Replications returns the replications of an image, in the order of their destinations.
func (s *Store) Replications(ctx context.Context, repository int64, d name.Digest) (all []Replication, err error) {
	err = s.read.rows(ctx,
		`SELECT account, region, state, code FROM replications WHERE repository = $1 AND digest = $2 ORDER BY account, region`,
		args{repository, d.String()}, func(scan func(...any) error) error {
			var one Replication
			var account, region string
			err := scan(&account, &region, &one.State, &one.Code)
			if err == nil {
				one.To.Account, err = name.ParseAccount(account)
			}
			if err == nil {
				one.To.Region, err = name.ParseRegion(region)
			}
			all = append(all, one)
			return err
		})
	return all, err
}

// Copied is what CopyImage did.
type Copied struct {
	New  bool       // the image was not in the repository before
	Tags []name.Tag // that point to it now and did not before
	Kept []name.Tag // that are immutable and stay on another image
}

// CopyImage copies an image to another repository of this installation, with the tags that it has at that moment: no byte of a blob is
// read. p holds its manifest, bytes, digest and the principal for the tag history, and tags to set. Images to which an index refers must
// have been copied before.
//
// Errors: fault.ImageNotFound (the source has been deleted), fault.RepositoryNotFound (of either), fault.LayersNotFound (the source lost a
// blob meanwhile), fault.ReferencedImagesNotFound, fault.ManifestInvalid, fault.StorageQuotaExceeded.
func (s *Store) CopyImage(ctx context.Context, from, to Repository, p Put, o CopyOptions) (out Copied, err error) {
	children, annotations, err := summarize(p)
	if err != nil {
		return Copied{}, err
	}
	blobs, cost, asked := p.Manifest.Blobs(), p.cost(children), p.Tags
	if o.AllTags {
		p.Tags = nil // some may stay on another image, so the new one is not stored as tagged
	}
	err = s.write.doMany(ctx, cost+2*len(blobs), func(t *tx) error {
		out = Copied{}
		if err := checkRepository(t, from); err != nil {
			return err
		}
		now, err := current(t, to)
		if err != nil {
			return err
		}
		live, err := livesIn(t, from.ID, p.Digest)
		if err != nil {
			return err
		}
		if !live {
			return fault.ImageNotFound.New("the image with digest '%s' is no longer in the repository '%s'", p.Digest, from.Name)
		}
		for _, b := range blobs {
			if err := t.hold(from.ID, now, b.Digest, micros(s.now())); err != nil {
				return err
			}
		}
		if live, err = livesIn(t, to.ID, p.Digest); err != nil {
			return err
		}
		if out.New = !live; out.New {
			if _, err := t.exec(`DELETE FROM image_references WHERE repository = $1 AND digest = $2`, to.ID, p.Digest.String()); err != nil {
				return err
			}
			if err := insertImage(t, now, p, children, annotations, micros(s.now())); err != nil {
				return err
			}
		}
		tags := slices.Clone(asked)
		if o.AllTags {
			texts, err := t.column(`SELECT tag FROM tags WHERE repository = $1 AND digest = $2 ORDER BY tag LIMIT $3`, from.ID, p.Digest.String(),
				MaxTagsPerImage)
			if err != nil {
				return err
			}
			for _, text := range texts {
				tag, err := name.ParseTag(text)
				if err != nil {
					return err
				}
				tags = append(tags, tag)
			}
		}
		p.RefuseSame = false
		for _, tag := range tags {
			var before string
			if _, err := t.one(`SELECT digest FROM tags WHERE repository = $1 AND tag = $2`, args{to.ID, tag.String()}, &before); err != nil {
				return err
			}
			switch {
			case before == p.Digest.String():
				continue
			case before != "" && now.Mutability.Freezes(tag) && o.AllTags:
				out.Kept = append(out.Kept, tag)
				continue
			}
			if _, err := s.moveTag(t, now, tag, p); err != nil {
				return err
			}
			out.Tags = append(out.Tags, tag)
		}
		if o.Replication != (ReplicationInput{}) {
			if err := t.setReplication(o.Replication, ReplicationComplete, "", s.now()); err != nil {
				return err
			}
		}
		if !out.New && len(out.Tags) == 0 {
			return nil
		}
		if err := s.lifecyclePushed(t, to.ID, !out.New, len(out.Tags) > 0); err != nil {
			return err
		}
		if o.Last {
			return t.replicated(event.Image{Repository: now.Name, Digest: p.Digest}, out.Tags, from.Registry, now.Registry, true, s.now())
		}
		if err := s.replicate(t, now, p.Digest); err != nil {
			return err
		}
		return t.event(pushed(t.origin(now.Registry, s.now()), now, p, out.Tags)...)
	})
	return out, err
}

// CopyOptions say how CopyImage copies.
type CopyOptions struct {
	AllTags bool // with the tags of the source; those that are immutable and on another image stay
	Last    bool // the copy is not replicated to the destinations of its registry
	// Replication, if not zero, is recorded as complete in the same transaction.
	Replication ReplicationInput
}

func livesIn(t *tx, repository int64, d name.Digest) (bool, error) {
	var one int
	return t.one(`SELECT 1 FROM images WHERE repository = $1 AND digest = $2 AND deleted_at <= 0`, args{repository, d.String()}, &one)
}

// hold lets a repository hold a blob that another one holds. If that one does not hold it, nothing changes.
func (t *tx) hold(from int64, to Repository, d name.Digest, at int64) error {
	var size int64
	var mediaType string
	found, err := t.one(`SELECT size, media_type FROM repository_blobs WHERE repository = $1 AND digest = $2 AND condemned_at >= 0`,
		args{from, d.String()}, &size, &mediaType)
	if err != nil || !found {
		return err
	}
	_, err = addBlob(t, to, d, size, mediaType, fromMicros(at))
	return err
}
