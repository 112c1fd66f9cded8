package meta_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// invariants are queries that count violations.
var invariants = map[string]string{
	"a tag of an image that does not exist or is deleted": `SELECT COUNT(*) FROM tags t WHERE NOT EXISTS
		(SELECT 1 FROM images i WHERE i.repository = t.repository AND i.digest = t.digest AND i.deleted_at = 0)`,
	"an image without its manifest":           `SELECT COUNT(*) FROM images i WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = i.digest AND LENGTH(m.body) = i.manifest_size)`,
	"an image that is tagged and has no tag":  `SELECT COUNT(*) FROM images i WHERE i.tagged = 1 AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = i.repository AND t.digest = i.digest)`,
	"an image that is untagged and has a tag": `SELECT COUNT(*) FROM images i WHERE i.tagged = 0 AND EXISTS (SELECT 1 FROM tags t WHERE t.repository = i.repository AND t.digest = i.digest)`,
	"an image whose blob the repository does not hold": `SELECT COUNT(*) FROM image_references r
		JOIN images i ON i.repository = r.repository AND i.digest = r.digest AND i.deleted_at = 0
		WHERE r.kind = 1 AND NOT EXISTS (SELECT 1 FROM repository_blobs b WHERE b.repository = r.repository AND b.digest = r.target)`,
	"an index whose image does not exist or is deleted": `SELECT COUNT(*) FROM image_references r
		JOIN images i ON i.repository = r.repository AND i.digest = r.digest AND i.deleted_at = 0
		WHERE r.kind = 2 AND NOT EXISTS (SELECT 1 FROM images c WHERE c.repository = r.repository AND c.digest = r.target AND c.deleted_at = 0)`,
	"a reference of a deleted image with a kind of other images, or the reverse": `SELECT COUNT(*) FROM image_references r
		JOIN images i ON i.repository = r.repository AND i.digest = r.digest WHERE (r.kind <= 2) <> (i.deleted_at = 0)`,
	"an image without references": `SELECT COUNT(*) FROM images i WHERE i.deleted_at = 0
		AND NOT EXISTS (SELECT 1 FROM image_references r WHERE r.repository = i.repository AND r.digest = i.digest)`,
	"a move whose from is not the to of the previous move": `SELECT COUNT(*) FROM (SELECT from_digest, LAG(to_digest, 1, '')
		OVER (PARTITION BY repository, tag ORDER BY id) AS before FROM tag_history) h WHERE from_digest <> before`,
	"a tag of another image than its last move": `SELECT COUNT(*) FROM tags t WHERE digest <> COALESCE(
		(SELECT to_digest FROM tag_history h WHERE h.repository = t.repository AND h.tag = t.tag ORDER BY id DESC LIMIT 1), '')`,
	"a history that ends at an image, of a tag that does not exist": `SELECT COUNT(*) FROM tag_history h WHERE to_digest <> ''
		AND id = (SELECT MAX(id) FROM tag_history l WHERE l.repository = h.repository AND l.tag = h.tag)
		AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = h.repository AND t.tag = h.tag)`,
	"an upload of a repository that is deleted": `SELECT COUNT(*) FROM uploads u JOIN repositories r ON r.id = u.repository
		WHERE r.deleted_at > 0`,
	"two repositories of one name that are not deleted": `SELECT COUNT(*) FROM (SELECT 1 FROM repositories WHERE deleted_at = 0
		GROUP BY account, region, name HAVING COUNT(*) > 1) q`,
	"a repository with too many resource tags": `SELECT COUNT(*) FROM (SELECT 1 FROM repository_labels
		GROUP BY repository HAVING COUNT(*) > 50) q`,
	"a managed policy without its default version": `SELECT COUNT(*) FROM entities e WHERE kind = 4 AND NOT EXISTS
		(SELECT 1 FROM policy_versions v WHERE v.policy = e.id AND v.number = e.default_version)`,
	"a version with a number above the last one": `SELECT COUNT(*) FROM policy_versions v JOIN entities e ON e.id = v.policy WHERE v.number > e.last_version OR e.kind <> 4`,
	"an attachment of a policy that does not exist": `SELECT COUNT(*) FROM entity_attachments a WHERE a.policy NOT LIKE 'arn:aws:iam::aws:%' AND NOT EXISTS
		(SELECT 1 FROM entities e WHERE e.kind = 4 AND a.policy = 'arn:aws:iam::' || e.account || ':policy' || e.path || e.name)`,
	"a boundary that does not exist": `SELECT COUNT(*) FROM entities b WHERE b.boundary NOT IN ('') AND b.boundary NOT LIKE 'arn:aws:iam::aws:%' AND NOT EXISTS
		(SELECT 1 FROM entities e WHERE e.kind = 4 AND b.boundary = 'arn:aws:iam::' || e.account || ':policy' || e.path || e.name)`,
	"a name that is not folded": `SELECT COUNT(*) FROM entities WHERE folded <> LOWER(name)`,
	"a member of an entity that cannot have members": `SELECT COUNT(*) FROM entity_members m JOIN entities c ON c.id = m.container JOIN entities e ON e.id = m.member
		WHERE NOT (c.kind = 2 AND e.kind = 1 OR c.kind = 5 AND e.kind = 3) OR c.account <> e.account`,
	"a key without a principal": `SELECT COUNT(*) FROM access_keys k WHERE k.principal <> k.account AND NOT EXISTS
		(SELECT 1 FROM entities e WHERE e.id = k.principal AND e.account = k.account AND e.kind = 1)`,
	"a control policy or setting of an account that does not exist": `SELECT COUNT(*) FROM (SELECT account FROM control_policies WHERE account <> '' UNION ALL SELECT account FROM account_settings) q
		WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.id = q.account)`,
	"an alias of two accounts": `SELECT COUNT(*) FROM (SELECT 1 FROM accounts WHERE alias <> '' GROUP BY alias HAVING COUNT(*) > 1) q`,
	"a repository without totals, or with wrong ones": `SELECT COUNT(*) FROM repositories r WHERE r.collecting = 0 AND NOT EXISTS
		(SELECT 1 FROM repository_totals t WHERE t.repository = r.id AND t.account = r.account AND t.region = r.region
			AND t.images = (SELECT COUNT(*) FROM images i WHERE i.repository = r.id AND i.deleted_at = 0)
			AND t.bytes = (SELECT COALESCE(SUM(b.size), 0) FROM repository_blobs b WHERE b.repository = r.id))`,
	"totals of a repository that does not exist": `SELECT COUNT(*) FROM repository_totals t WHERE NOT EXISTS
		(SELECT 1 FROM repositories r WHERE r.id = t.repository)`,
	"a quota with wrong amounts": `SELECT COUNT(*) FROM storage_quotas q WHERE
		q.repositories <> (SELECT COUNT(*) FROM repositories r WHERE r.account = q.account AND r.deleted_at = 0
			AND (q.prefix = '' OR r.name || '/' LIKE q.prefix || '/%'))
		OR q.images <> (SELECT COALESCE(SUM(t.images), 0) FROM repositories r JOIN repository_totals t ON t.repository = r.id
			WHERE r.account = q.account AND r.deleted_at = 0 AND (q.prefix = '' OR r.name || '/' LIKE q.prefix || '/%'))
		OR q.bytes <> (SELECT COALESCE(SUM(t.bytes), 0) FROM repositories r JOIN repository_totals t ON t.repository = r.id
			WHERE r.account = q.account AND (q.prefix = '' OR r.name || '/' LIKE q.prefix || '/%'))`,
	"an account without a key": `SELECT COUNT(*) FROM accounts a WHERE NOT EXISTS (SELECT 1 FROM access_keys k WHERE k.account = a.id)`,
}

// sound checks the invariants, and the integrity of the file of SQLite.
func sound(ctx context.Context, s *meta.Store) (errs error) {
	for what, text := range invariants {
		n, err := s.Count(ctx, text)
		if err == nil && n != 0 {
			err = fmt.Errorf("found %d times %s", n, what)
		}
		errs = errors.Join(errs, err)
	}
	if s.PostgreSQL() {
		return errs
	}
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		said, err := s.Column(ctx, `PRAGMA `+pragma)
		if err == nil && (len(said) > 1 || len(said) == 1 && said[0] != "ok") {
			err = fmt.Errorf("%s: %q", pragma, said)
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// Each check finds its violation.
func TestInvariantsCanFail(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{
		`DELETE FROM images`, `DELETE FROM manifests`, `UPDATE images SET tagged = 1 - tagged`, `DELETE FROM repository_blobs`,
		`UPDATE images SET deleted_at = 1 WHERE tagged = 0`, `DELETE FROM image_references`, `UPDATE tag_history SET from_digest = 'x'`,
		`DELETE FROM tag_history`, `DELETE FROM tags`, `UPDATE repositories SET deleted_at = 1`, `DELETE FROM access_keys`,
		`DELETE FROM policy_versions`, `UPDATE policy_versions SET number = number + 1`, `DELETE FROM entities WHERE kind = 4`,
		`DELETE FROM entity_attachments; DELETE FROM entities WHERE kind = 4`,
		`UPDATE entities SET folded = name`, `UPDATE entity_members SET container = member`,
		`UPDATE access_keys SET principal = 'AIDANONE' WHERE principal <> account`,
		`UPDATE control_policies SET account = '999999999999'`,
		`UPDATE repository_totals SET images = images + 1`, `UPDATE repository_totals SET bytes = 0`, `DELETE FROM repository_totals`,
		`INSERT INTO repository_totals (repository, account, region, images, bytes) VALUES (1, '', '', 0, 0)`,
		`UPDATE storage_quotas SET repositories = 0`, `UPDATE storage_quotas SET images = 0`, `UPDATE storage_quotas SET bytes = 0`,
		`INSERT INTO accounts (id, alias, created_at, is_default) SELECT '999999999999', alias, 0, 0 FROM accounts`,
	} {
		s := open(t)
		fx := metatest.NewFixture(t, s)
		r := fx.Repo("team/app")
		p := fx.Image(r, "config")
		fx.Push(r, metatest.As(metatest.IndexOf(p), "v1"))
		fx.Must(s.PutUpload(t.Context(), r, meta.Upload{ID: "u"}, meta.Quota{}, 0))
		people(fx)
		_, err := s.PutStorageQuota(t.Context(), meta.StorageQuota{Account: metatest.Account, Prefix: "team"})
		fx.Must(err)
		if err := sound(t.Context(), s); err != nil {
			t.Fatalf("before: %v", err)
		}
		fx.Must(s.Write(t.Context(), func(tx *meta.Tx) error { _, err := tx.Exec(broken); return err }))
		if sound(t.Context(), s) == nil {
			t.Errorf("%s: not found", broken)
		}
	}
}

// people creates one entity of each kind, and what belongs to them.
func people(fx *metatest.Fixture) {
	fx.Helper()
	make := func(kind meta.EntityKind, id string) {
		fx.Must(fx.CreateEntity(fx.Ctx, meta.Entity{ID: id, Account: metatest.Account, Kind: kind, Name: "Bob", Path: "/"}, nil, 9))
	}
	fx.Must(fx.CreateManagedPolicy(fx.Ctx, meta.Entity{ID: "ANPABOB", Account: metatest.Account, Name: "Limit", Path: "/x/"}, "{}", nil, 9))
	make(meta.User, "AIDABOB")
	make(meta.Group, "AGPABOB")
	const arn = "arn:aws:iam::111122223333:policy/x/Limit"
	fx.Must(fx.Attach(fx.Ctx, "AGPABOB", arn, 9))
	bob, err := fx.EntityByID(fx.Ctx, "AIDABOB")
	fx.Must(err)
	_, err = fx.UpdateEntity(fx.Ctx, bob, func(e *meta.Entity) error { e.Boundary = arn; return nil })
	fx.Must(err)
	fx.Must(fx.AddMember(fx.Ctx, "AGPABOB", "AIDABOB", 9, 0))
	k := metatest.Key(metatest.Account, "AKIABOB")
	k.Principal = "AIDABOB"
	fx.Must(fx.PutAccessKey(fx.Ctx, k, 2))
	fx.Must(fx.PutControlPolicy(fx.Ctx, meta.ControlPolicy{Kind: meta.ServiceControl, Account: metatest.Account, Name: "c"}))
	fx.Must(fx.SetAlias(fx.Ctx, metatest.Account, "alias"))
}
