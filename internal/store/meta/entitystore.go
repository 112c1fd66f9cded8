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

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// kindNames are IAM's names of the kinds in error texts.
var kindNames = [...]string{User: "user", Group: "group", Role: "role", ManagedPolicy: "policy",
	InstanceProfile: "instance profile", OIDCProvider: "OpenIDConnect provider"}

func noSuchEntity(kind EntityKind, entityName string) error {
	switch kind {
	case InstanceProfile:
		return fault.NoSuchEntity.New("Instance Profile %s cannot be found.", name.Clip(entityName))
	case ManagedPolicy, OIDCProvider:
		return fault.NoSuchEntity.New("The %s %s was not found.", kindNames[kind], name.Clip(entityName))
	}
	return fault.NoSuchEntity.New("The %s with name %s cannot be found.", kindNames[kind], name.Clip(entityName))
}

func entityExists(kind EntityKind, entityName string) error {
	switch kind {
	case ManagedPolicy:
		return fault.EntityAlreadyExists.New("A policy called %s already exists. Duplicate names are not allowed.", entityName)
	case InstanceProfile:
		return fault.EntityAlreadyExists.New("Instance Profile %s already exists.", entityName)
	case OIDCProvider:
		return fault.EntityAlreadyExists.New("Provider with url https://%s already exists.", entityName)
	}
	return fault.EntityAlreadyExists.New("%s with name %s already exists.",
		strings.ToUpper(kindNames[kind][:1])+kindNames[kind][1:], entityName)
}

// quotas are IAM's names of the limits on the number of entities of a kind.
var quotas = [...]string{User: "UsersPerAccount", Group: "GroupsPerAccount", Role: "RolesPerAccount",
	ManagedPolicy: "PoliciesPerAccount", InstanceProfile: "InstanceProfilesPerAccount", OIDCProvider: "OpenIdConnectProvidersPerAccount"}

func overQuota(quota string, maxCount int) error {
	return fault.LimitExceeded.New("Cannot exceed quota for %s: %d", quota, maxCount)
}

const entityColumns = `id, account, kind, name, path, created_at, updated_at, description, boundary, trust, trust_ids, max_session, service, default_version, last_version, client_ids, thumbprints, last_used_at, last_used_region`

// entityColumnsOf is entityColumns for a table named e, for joins.
const entityColumnsOf = `e.id, e.account, e.kind, e.name, e.path, e.created_at, e.updated_at, e.description, e.boundary, e.trust, e.trust_ids, e.max_session, e.service, e.default_version, e.last_version, e.client_ids, e.thumbprints, e.last_used_at, e.last_used_region`

func scanEntity(scan func(...any) error) (Entity, error) {
	var e Entity
	var account, ids, clients, prints string
	var created, updated, session, used int64
	err := scan(&e.ID, &account, &e.Kind, &e.Name, &e.Path, &created, &updated, &e.Description, &e.Boundary, &e.Trust.Text, &ids, &session,
		&e.Service, &e.DefaultVersion, &e.LastVersion, &clients, &prints, &used, &e.LastUsedRegion)
	if err != nil {
		return Entity{}, err
	}
	e.CreatedAt, e.UpdatedAt, e.LastUsedAt = fromMicros(created), fromMicros(updated), fromMicros(used)
	e.MaxSession = time.Duration(session) * time.Second
	var err1, err2, err3, err4 error
	e.Account, err1 = name.ParseAccount(account)
	e.Trust.IDs, err2 = idsOf(ids)
	e.ClientIDs, err3 = listOf(clients)
	e.Thumbprints, err4 = listOf(prints)
	return e, errors.Join(err1, err2, err3, err4)
}

// listText and listOf encode and decode a list of strings as JSON, "" for none.
func listText(list []string) string {
	if len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic("meta: " + err.Error()) // cannot happen: slices of strings can be encoded
	}
	return string(b)
}

func listOf(text string) (list []string, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	return list, nil
}

// identity runs a change of data that decisions depend on. It increments IdentityGeneration.
func (s *Store) identity(ctx context.Context, fn func(*tx) error) error {
	return s.write.do(ctx, func(t *tx) error {
		t.touch(scope{kind: scopeIdentity})
		return fn(t)
	})
}

// IdentityGeneration returns a number that grows with every change to entities, their policies, memberships and tags,
// to accounts and to control policies: after the commit, and before the change is acknowledged. While the number
// stays the same, what was read of these is current. Access keys, tokens, sessions, settings and the policies of
// resources do not count: reads of these are always current.
func (s *Store) IdentityGeneration() uint64 { return s.generation.Load() }

// CreateEntity stores a new entity with its tags. The account may have at most maxCount entities of its kind. Managed
// policies are created by CreateManagedPolicy.
//
// Errors: fault.EntityAlreadyExists (also for a name that differs only in case), fault.LimitExceeded,
// fault.AccountNotFound, fault.NoSuchEntity (the boundary).
func (s *Store) CreateEntity(ctx context.Context, e Entity, tags map[string]string, maxCount int) error {
	return s.identity(ctx, func(t *tx) error { return insertEntity(t, e, tags, maxCount) })
}

// CreateManagedPolicy stores a new managed policy with its tags and its first version, which becomes the default.
// Errors: those of CreateEntity.
func (s *Store) CreateManagedPolicy(ctx context.Context, e Entity, text string, tags map[string]string, maxCount int) error {
	e.Kind, e.DefaultVersion, e.LastVersion = ManagedPolicy, 1, 1
	return s.identity(ctx, func(t *tx) error {
		if err := insertEntity(t, e, tags, maxCount); err != nil {
			return err
		}
		return insertVersion(t, e.ID, PolicyVersion{Number: 1, Text: text, CreatedAt: e.CreatedAt})
	})
}

func insertEntity(t *tx, e Entity, tags map[string]string, maxCount int) error {
	if err := accountExists(t, e.Account); err != nil {
		return err
	}
	var n int
	if _, err := t.one(`SELECT COUNT(*) FROM entities WHERE account = $1 AND kind = $2`, args{e.Account.String(), e.Kind}, &n); err != nil {
		return err
	}
	var one int
	taken, err := t.one(`SELECT 1 FROM entities WHERE account = $1 AND kind = $2 AND folded = $3`,
		args{e.Account.String(), e.Kind, strings.ToLower(e.Name)}, &one)
	switch {
	case err != nil:
		return err
	case taken:
		return entityExists(e.Kind, e.Name)
	case n >= maxCount:
		return overQuota(quotas[e.Kind], maxCount)
	}
	if err := policyExists(t, e.Account, e.Boundary); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO entities (id, account, kind, name, folded, path, created_at, updated_at, description, boundary, trust, trust_ids, max_session, service, default_version, last_version, client_ids, thumbprints)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		e.ID, e.Account.String(), e.Kind, e.Name, strings.ToLower(e.Name), e.Path, micros(e.CreatedAt), micros(e.UpdatedAt),
		e.Description, e.Boundary,
		e.Trust.Text, idsText(e.Trust.IDs), int64(e.MaxSession/time.Second), e.Service, e.DefaultVersion, e.LastVersion,
		listText(e.ClientIDs), listText(e.Thumbprints)); err != nil {
		return err
	}
	return putTags(t, e.ID, e.Kind, tags)
}

// Entity returns an entity by its name, which is case-sensitive. Errors: fault.NoSuchEntity.
func (s *Store) Entity(ctx context.Context, account name.Account, kind EntityKind, entityName string) (Entity, error) {
	return scanEntity(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+entityColumns+` FROM entities WHERE account = $1 AND kind = $2 AND name = $3`,
			args{account.String(), kind, entityName}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noSuchEntity(kind, entityName)
		}
		return err
	})
}

// resolvedIn reads again, inside the transaction, an entity that was read before it. Errors: fault.NoSuchEntity (it
// was deleted, even if another entity has its name now), fault.TargetChanged (it has another name or path).
func resolvedIn(t *tx, e Entity) (Entity, error) {
	now, err := scanEntity(func(dest ...any) error {
		found, err := t.one(`SELECT `+entityColumns+` FROM entities WHERE id = $1`, args{e.ID}, dest...)
		if err == nil && !found {
			return noSuchEntity(e.Kind, e.Name)
		}
		return err
	})
	if err == nil && (now.Name != e.Name || now.Path != e.Path) {
		return Entity{}, fault.TargetChanged.New("the %s %s has another name or path now", kindNames[e.Kind], name.Clip(e.Name))
	}
	return now, err
}

// entityIn reads an entity inside a transaction. Errors: fault.NoSuchEntity.
func entityIn(t *tx, account name.Account, kind EntityKind, entityName string) (Entity, error) {
	return scanEntity(func(dest ...any) error {
		found, err := t.one(`SELECT `+entityColumns+` FROM entities WHERE account = $1 AND kind = $2 AND name = $3`,
			args{account.String(), kind, entityName}, dest...)
		if err == nil && !found {
			return noSuchEntity(kind, entityName)
		}
		return err
	})
}

// EntityByID returns an entity by its unique id. Errors: fault.NoSuchEntity.
func (s *Store) EntityByID(ctx context.Context, id string) (Entity, error) {
	return scanEntity(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+entityColumns+` FROM entities WHERE id = $1`, args{id}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noSuchID(id)
		}
		return err
	})
}

// Entities returns an account's entities of a kind whose path begins with pathPrefix, ordered by name: those after
// the name after, at most limit. It also reads the entities between them that have other paths.
func (s *Store) Entities(ctx context.Context, account name.Account, kind EntityKind, pathPrefix, after string,
	limit int) ([]Entity, error) {
	return s.entities(ctx, `SELECT `+entityColumns+` FROM entities WHERE account = $1 AND kind = $2 AND name > $3 AND SUBSTR(path, 1, $4) = $5
		ORDER BY name LIMIT $6`, account.String(), kind, position(after), len([]rune(pathPrefix)), pathPrefix, limit)
}

func (s *Store) entities(ctx context.Context, text string, a ...any) ([]Entity, error) {
	var all []Entity
	err := s.read.rows(ctx, text, a, func(scan func(...any) error) error {
		e, err := scanEntity(scan)
		all = append(all, e)
		return err
	})
	return all, err
}

// CountEntities returns the number of entities of each kind in an account.
func (s *Store) CountEntities(ctx context.Context, account name.Account) (map[EntityKind]int, error) {
	all := map[EntityKind]int{}
	err := s.read.rows(ctx, `SELECT kind, COUNT(*) FROM entities WHERE account = $1 GROUP BY kind`, args{account.String()},
		func(scan func(...any) error) error {
			var kind EntityKind
			var n int
			err := scan(&kind, &n)
			all[kind] = n
			return err
		})
	return all, err
}

// UpdateEntity changes an entity that was read before, in one transaction, and returns the changed entity. change
// gets the current entity and may run more than once. It may change the name too, but not id, account, kind,
// creation, last version and last use. An error of change ends the transaction.
//
// Errors: fault.NoSuchEntity (also for a new boundary or default version), fault.EntityAlreadyExists (another entity
// has the new name), fault.TargetChanged (name or path changed since it was read), those of change.
func (s *Store) UpdateEntity(ctx context.Context, resolved Entity, change func(*Entity) error) (Entity, error) {
	var e Entity
	err := s.identity(ctx, func(t *tx) (err error) {
		if e, err = resolvedIn(t, resolved); err != nil {
			return err
		}
		before := e
		if err := change(&e); err != nil {
			return err
		}
		e.ID, e.Account, e.Kind, e.CreatedAt = before.ID, before.Account, before.Kind, before.CreatedAt
		e.LastVersion, e.LastUsedAt, e.LastUsedRegion = before.LastVersion, before.LastUsedAt, before.LastUsedRegion
		var one int
		if folded := strings.ToLower(e.Name); folded != strings.ToLower(before.Name) {
			taken, err := t.one(`SELECT 1 FROM entities WHERE account = $1 AND kind = $2 AND folded = $3`,
				args{e.Account.String(), e.Kind, folded}, &one)
			if err != nil {
				return err
			}
			if taken {
				return entityExists(e.Kind, e.Name)
			}
		}
		if e.Boundary != before.Boundary {
			if err := policyExists(t, e.Account, e.Boundary); err != nil {
				return err
			}
		}
		if e.DefaultVersion != before.DefaultVersion {
			found, err := t.one(`SELECT 1 FROM policy_versions WHERE policy = $1 AND number = $2`, args{e.ID, e.DefaultVersion}, &one)
			if err != nil {
				return err
			}
			if !found {
				return fault.NoSuchEntity.New("Policy %s version v%d does not exist or is not attachable.", e.ARN(), e.DefaultVersion)
			}
		}
		_, err = t.exec(`UPDATE entities SET name = $2, folded = $3, path = $4, updated_at = $5, description = $6, boundary = $7, trust = $8, trust_ids = $9,
			max_session = $10, service = $11, default_version = $12, client_ids = $13, thumbprints = $14 WHERE id = $1`,
			e.ID, e.Name, strings.ToLower(e.Name), e.Path, micros(e.UpdatedAt), e.Description, e.Boundary, e.Trust.Text, idsText(e.Trust.IDs),
			int64(e.MaxSession/time.Second), e.Service, e.DefaultVersion, listText(e.ClientIDs), listText(e.Thumbprints))
		return err
	})
	if err != nil {
		return Entity{}, err
	}
	return e, nil
}

// conflicts are the reasons why an entity cannot be deleted, in the order in which IAM reports them.
var conflicts = []struct {
	kinds []EntityKind
	text  string
	why   string
}{
	{[]EntityKind{User}, `SELECT 1 FROM login_profiles WHERE $1 <> '' AND entity = $2`,
		"Cannot delete entity, must delete login profile first."},
	{[]EntityKind{User}, `SELECT 1 FROM access_keys WHERE account = $1 AND principal = $2 LIMIT 1`,
		"Cannot delete entity, must delete access keys first."},
	{[]EntityKind{User, Group, Role}, `SELECT 1 FROM entity_attachments WHERE $1 <> '' AND entity = $2 LIMIT 1`,
		"Cannot delete entity, must detach all policies first."},
	{[]EntityKind{User, Group, Role}, `SELECT 1 FROM entity_policies WHERE $1 <> '' AND entity = $2 LIMIT 1`,
		"Cannot delete entity, must delete policies first."},
	{[]EntityKind{User}, `SELECT 1 FROM entity_members WHERE $1 <> '' AND member = $2 LIMIT 1`,
		"Cannot delete entity, must remove users from group first."},
	{[]EntityKind{Role}, `SELECT 1 FROM entity_members WHERE $1 <> '' AND member = $2 LIMIT 1`,
		"Cannot delete entity, must remove roles from instance profile first."},
	{[]EntityKind{Group}, `SELECT 1 FROM entity_members WHERE $1 <> '' AND container = $2 LIMIT 1`,
		"Cannot delete entity, must remove users from group first."},
	{[]EntityKind{InstanceProfile}, `SELECT 1 FROM entity_members WHERE $1 <> '' AND container = $2 LIMIT 1`,
		"Cannot delete entity, must remove roles from instance profile first."},
	{[]EntityKind{ManagedPolicy}, `SELECT 1 FROM policy_versions WHERE $1 <> '' AND policy = $2 LIMIT 1 OFFSET 1`,
		"This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."},
}

// DeleteEntity deletes an entity that was read before. Policies that name it as a principal (trust policies,
// repository policies) stay unchanged; that principal then matches no one.
//
// Errors: fault.NoSuchEntity, fault.TargetChanged (name or path changed since it was read), fault.DeleteConflict: a
// user with a login profile, access keys, inline or attached policies, or groups; a group with members or policies; a role with
// policies or instance profiles; a managed policy that is attached, is a boundary, or has more than its default
// version; an instance profile with a role.
func (s *Store) DeleteEntity(ctx context.Context, resolved Entity) error {
	return s.identity(ctx, func(t *tx) error {
		e, err := resolvedIn(t, resolved)
		if err != nil {
			return err
		}
		var one int
		for _, c := range conflicts {
			if !slices.Contains(c.kinds, e.Kind) {
				continue
			}
			found, err := t.one(c.text, args{e.Account.String(), e.ID}, &one)
			if err != nil {
				return err
			}
			if found {
				return fault.DeleteConflict.New("%s", c.why)
			}
		}
		if e.Kind == ManagedPolicy {
			if err := notInUse(t, e); err != nil {
				return err
			}
		}
		_, err = t.exec(`DELETE FROM entities WHERE id = $1`, e.ID)
		return err
	})
}

// notInUse checks that a managed policy is not attached and not a boundary. Errors: fault.DeleteConflict.
func notInUse(t *tx, e Entity) error {
	var one int
	arn := e.ARN()
	attached, err := t.one(`SELECT 1 FROM entity_attachments WHERE policy = $1 LIMIT 1`, args{arn}, &one)
	if err != nil {
		return err
	}
	boundary, err := t.one(`SELECT 1 FROM entities WHERE account = $1 AND boundary = $2 AND boundary <> '' LIMIT 1`,
		args{e.Account.String(), arn}, &one)
	if err == nil && (attached || boundary) {
		err = fault.DeleteConflict.New("Cannot delete a policy attached to entities.")
	}
	return err
}

// policyExists checks, inside the transaction, that an account has a managed policy. The managed policies of AWS
// exist in every account; "" means no policy. Errors: fault.NoSuchEntity.
func policyExists(t *tx, owner name.Account, arn string) error {
	if arn == "" {
		return nil
	}
	none := fault.NoSuchEntity.New("Policy %s does not exist or is not attachable.", name.Clip(arn))
	parsed, named, err := name.ParseEntityARN(arn)
	if err != nil || parsed.Partition != name.DefaultPartition || named.Kind != name.IAMPolicy {
		return none
	}
	if parsed.AWS {
		return nil
	}
	if parsed.Account != owner {
		return none
	}
	e, err := entityIn(t, owner, ManagedPolicy, named.Name)
	if errors.Is(err, fault.NoSuchEntity) || err == nil && e.ARN() != arn {
		return none
	}
	return err
}

// checkEntity checks, inside the transaction, that an entity exists. Errors: fault.NoSuchEntity.
func checkEntity(t *tx, id string) error {
	_, err := kindOf(t, id)
	return err
}

// kindOf returns the kind of an entity. Errors: fault.NoSuchEntity.
func kindOf(t *tx, id string) (kind EntityKind, err error) {
	found, err := t.one(`SELECT kind FROM entities WHERE id = $1`, args{id}, &kind)
	if err == nil && !found {
		err = noSuchID(id)
	}
	return kind, err
}

func noSuchID(id string) error {
	return fault.NoSuchEntity.New("Nothing with the id %s exists.", name.Clip(id))
}
