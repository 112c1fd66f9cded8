package meta_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The tests find a write that does not name what it makes stale, for each table with cached values; and the list of
// these tables is complete.
func TestWriteWithoutScopeIsFound(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	fx.Image(r, "config", "v1")
	people(fx)
	fx.Must(s.PutRegistryPolicy(t.Context(), metatest.Registry, meta.BoundPolicy{Text: "{}"}))
	fx.Must(s.PutResourceTags(t.Context(), r, map[string]string{"k": "v"}))
	fx.Must(s.PutSetting(t.Context(), metatest.Registry, "S", "v"))
	fx.Must(s.PutEntityTags(t.Context(), "AIDABOB", map[string]string{"k": "v"}, 9))
	fx.Must(s.PutInline(t.Context(), "AIDABOB", meta.Inline{Name: "i"}, 99))
	fx.Must(s.PutToken(t.Context(), meta.Token{ID: "t", Account: metatest.Account, Region: name.MustRegion("eu-west-1")}, meta.Quota{}))
	fx.Must(s.PutSession(t.Context(), meta.Session{AccessKey: "ASIA", Account: metatest.Account, SealedSecret: []byte{1}}, meta.Quota{}))
	for text, scope := range map[string]string{
		`UPDATE accounts SET alias = 'x'`:              "identity",
		`UPDATE access_keys SET active = 0`:            "keys",
		`UPDATE tokens SET revoked_at = 1`:             "tokens",
		`DELETE FROM sessions`:                         "sessions",
		`DELETE FROM account_settings`:                 "settings",
		`UPDATE registry_policies SET policy = ''`:     "registry-policies",
		`UPDATE repositories SET policy = ''`:          "repositories",
		`DELETE FROM repository_labels`:                "resource-tags 1",
		`UPDATE repository_blobs SET size = 1`:         "images 1",
		`UPDATE image_references SET kind = 3`:         "images 1",
		`UPDATE images SET deleted_at = 1`:             "images 1",
		`DELETE FROM tags`:                             "images 1",
		`UPDATE entities SET boundary = ''`:            "identity",
		`DELETE FROM entity_tags`:                      "identity",
		`DELETE FROM entity_policies`:                  "identity",
		`DELETE FROM entity_attachments`:               "identity",
		`DELETE FROM entity_members`:                   "identity",
		`DELETE FROM policy_versions`:                  "identity",
		`DELETE FROM control_policies`:                 "identity",
		`UPDATE tag_history SET principal = principal`: "",
		`DELETE FROM tag_history WHERE id = 0`:         "", // no row
		`DELETE FROM tags WHERE tag = 'none'`:          "", // no row
	} {
		run := func(scope string) error {
			return s.WriteOnly(t.Context(), func(tx *meta.Tx) error {
				if scope != "" {
					tx.Touch(scope)
				}
				if _, err := tx.Exec(text); err != nil {
					return err
				}
				return nil
			})
		}
		if scope != "" {
			for _, wrong := range []string{"", map[bool]string{true: "keys", false: "identity"}[scope == "identity"]} {
				if err := run(wrong); err == nil || !strings.Contains(err.Error(), "changes cached values") {
					t.Errorf("%s with scope %q: got %v, want an error that names the missing scope", text, wrong, err)
				}
			}
		}
		if err := run(scope); err != nil {
			t.Errorf("%s with scope %q: %v", text, scope, err)
		}
	}
	for _, text := range statements(t) {
		if err := meta.StaleBy(text); err != nil {
			t.Error(err)
		}
	}
	have, want := meta.Caches(), tables(t)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the list of cached tables has %q, the schema %q", have, want)
	}
}

// The text of a scope is decoded as the same scope, and an invalid text as everything.
func TestScopeTexts(t *testing.T) {
	t.Parallel()
	d := metatest.Digest("x").String()
	for _, text := range []string{
		"identity", "keys", "keys AKIA1", "tokens", "tokens t-1", "sessions", "settings", "registry-policies", "resource-tags 7", "images 7",
		"access 7", "access 0",
		"repository 111122223333 eu-west-1 team/app", "repositories", "offers", "image 7 " + d, "holding 7 " + d, "tag 7 v1.0", "everything",
	} {
		if got := meta.ScopeText(text); got != text {
			t.Errorf("scope %q: got %q, want the same", text, got)
		}
	}
	for _, text := range []string{
		"", " ", "unknown", "identity x", "identity ", "keys a b", "resource-tags", "resource-tags x", "resource-tags 7 8",
		"images", "image 7", "image 7 sha256:x", "image x " + d,
		"tag 7", "tag 7 " + strings.Repeat("x", 200), "tag 7 v1 v2", "repository 1 eu-west-1 team/app",
		"repository 111122223333 eu-west-1", "holding 7 v1",
	} {
		if got := meta.ScopeText(text); got != "everything" {
			t.Errorf("scope %q: got %q, want everything", text, got)
		}
	}
}

func FuzzScope(f *testing.F) {
	f.Add("tag 7 v1.0")
	f.Add("repository 111122223333 eu-west-1 team/app")
	f.Fuzz(func(t *testing.T, text string) {
		once := meta.ScopeText(text)
		if again := meta.ScopeText(once); again != once {
			t.Errorf("%q is decoded as %q, and that as %q", text, once, again)
		}
	})
}
