package meta_test

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// notSealed are the columns of bytes that are not sealed, and columns with the name of a secret that are none, each with the reason.
var notSealed = map[string]string{
	"manifests.body":      "content of images, which their readers may have",
	"audit_pending.lines": "lines of the audit trail, which has no secrets",
	"uploads.state":       "the state of a hash",
	"releases.files":      "files that a vendor gives to its customers",
}

// Every column that can hold a sealed value is one of SealedColumns, which a new master key seals again, or is listed with the reason
// why it is not sealed. A new table cannot be forgotten.
func TestEveryColumnOfBytesIsSealedOrListed(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for _, c := range meta.SealedColumns() {
		want[c.Table+"."+c.Column] = true
	}
	suspect := regexp.MustCompile(`(?i)^\w+\s+(BYTEA|BLOB)\b|^\w*(sealed|secret|password|credentials|private)\w*\s+(TEXT|BYTEA)`)
	found := map[string]bool{}
	for text := range migrationTexts(t) {
		table := ""
		for _, line := range strings.Split(text, "\n") {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "--")
			if m := regexp.MustCompile(`CREATE TABLE (\w+)`).FindStringSubmatch(line); m != nil {
				table = m[1]
				continue
			}
			if m := regexp.MustCompile(`ALTER TABLE (\w+) ADD COLUMN (.*)`).FindStringSubmatch(line); m != nil {
				table, line = m[1], m[2]
			}
			if name, _, _ := strings.Cut(line, " "); suspect.MatchString(line) && !strings.HasPrefix(line, "CREATE ") {
				found[table+"."+name] = true
			}
		}
	}
	for column := range found {
		if _, listed := notSealed[column]; want[column] == listed {
			t.Errorf("%s: it is neither in meta.SealedColumns (and identity's sealers) nor in the list of columns that are not sealed", column)
		}
	}
	for column := range want {
		if !found[column] {
			t.Errorf("%s is a sealed column and not in the schema", column)
		}
	}
	for column := range notSealed {
		if !found[column] {
			t.Errorf("%s is listed as not sealed and not in the schema", column)
		}
	}
}

// migrationTexts returns the texts of the migrations.
func migrationTexts(t *testing.T) map[string]bool {
	t.Helper()
	files, err := fs.Glob(meta.Migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for _, f := range files {
		text, err := fs.ReadFile(meta.Migrations, f)
		if err != nil {
			t.Fatal(err)
		}
		texts[string(text)] = true
	}
	return texts
}

// xored is a Resealing that changes each value in a way that can be seen.
func xored(from, to string) meta.Resealing {
	return meta.Resealing{From: from, To: to, Value: func(_ string, _ []string, sealed []byte) ([]byte, error) {
		out := slices.Clone(sealed)
		for i := range out {
			out[i] ^= 0xff
		}
		return out, nil
	}}
}

// Reseal passes over every row of every sealed column once, on both databases, and stores all or nothing.
func TestResealOnBothDatabases(t *testing.T) {
	t.Parallel()
	stores := map[string]*meta.Store{"SQLite": open(t), "PostgreSQL": openPostgres(t)}
	for database, s := range stores {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", database, err)
			}
		}
		_, err := s.ClaimInstallation(ctx, "i")
		must(err)
		must(s.CreateAccount(ctx, meta.Account{ID: metatest.Account}, meta.AccessKey{ID: "AKIA1", Account: metatest.Account,
			Principal: "p", SealedSecret: []byte("key")}))
		const many = 1100 // more than two pages
		for i := range many {
			must(s.PutSession(ctx, meta.Session{AccessKey: "ASIA" + string(rune('a'+i%26)) + time.Duration(i).String(), Account: metatest.Account,
				SealedSecret: []byte("session"), ExpiresAt: time.Now().Add(time.Hour)}, meta.Quota{}))
		}
		for _, n := range []string{"a", "b"} {
			_, err = s.PutSecret(ctx, meta.Secret{Registry: metatest.Registry, Name: n, Suffix: "s"}, sealedAs("secret"))
			must(err)
			_, err = s.CreateWebhook(ctx, meta.Webhook{Registry: metatest.Registry, Name: n, Sealed: []byte("hook")}, 0)
			must(err)
		}
		must(s.RecordMasterKey(ctx, "one"))
		refusing := xored("one", "two")
		refusing.Value = func(table string, row []string, sealed []byte) ([]byte, error) {
			if table == "webhooks" {
				return nil, errors.New("it does not open")
			}
			return []byte("half"), nil
		}
		if _, err := s.Reseal(ctx, refusing); err == nil || !strings.Contains(err.Error(), `the row ["`) ||
			!strings.Contains(err.Error(), "table webhooks") {
			t.Errorf("%s: a value that does not open: got %v, want an error that names its row", database, err)
		}
		if id, _, err := s.MasterKey(ctx); err != nil || id != "one" {
			t.Errorf("%s: after a refusal: got the key %s, %v, want one", database, id, err)
		}
		if k, err := s.AccessKey(ctx, "AKIA1"); err != nil || string(k.SealedSecret) != "key" {
			t.Errorf("%s: after a refusal: got the value %q, %v, want the one before", database, k.SealedSecret, err)
		}
		keep := xored("one", "two")
		keep.Keep = []meta.KeptKey{{Purpose: "p", MasterKey: "one", Sealed: []byte("kept"), ExpiresAt: time.Now().Add(time.Hour)}}
		values, err := s.Reseal(ctx, keep)
		must(err)
		if values["sessions"] != many || values["access_keys"] != 1 || values["secrets"] != 2 || values["webhooks"] != 2 {
			t.Errorf("%s: got %v values, want %d sessions, 1 access key, 2 secrets, 2 webhooks", database, values, many)
		}
		if _, err := s.Reseal(ctx, xored("one", "three")); !errors.Is(err, fault.TargetChanged) {
			t.Errorf("%s: with the key before: got %v, want TargetChanged", database, err)
		}
		values, err = s.Reseal(ctx, xored("two", "three"))
		must(err)
		if values["kept_keys"] != 1 {
			t.Errorf("%s: got %v values, want the kept key too", database, values)
		}
		kept, err := s.KeptKeys(ctx)
		must(err)
		k, err := s.AccessKey(ctx, "AKIA1")
		must(err)
		if string(k.SealedSecret) != "key" || len(kept) != 1 { // xored twice
			t.Errorf("%s: got the value %q and the kept keys %v, want the first value and one key", database, k.SealedSecret, kept)
		}
		end := xored("three", "four")
		end.EndTokens = true
		values, err = s.Reseal(ctx, end)
		must(err)
		if kept, err := s.KeptKeys(ctx); err != nil || len(kept) != 0 || values["sessions"] != 0 {
			t.Errorf("%s: after the end of all tokens: got the kept keys %v, %v and the values %v, want none", database, kept, err, values)
		}
	}
}

// A process that still has the earlier master key can store no value that nobody could open, and other changes go on.
func TestOldMasterKeySealsNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t).NewDatabase(t)
	a, b := openURL(t, url, time.Now), openURL(t, url, time.Now)
	ctx := t.Context()
	key := func(id string) meta.AccessKey {
		return meta.AccessKey{ID: id, Account: metatest.Account, Principal: metatest.Account.String(), SealedSecret: []byte("x"), Active: true}
	}
	_, err := a.ClaimInstallation(ctx, "i")
	err = errors.Join(err, a.CreateAccount(ctx, meta.Account{ID: metatest.Account}, key("AKIA1")),
		a.RecordMasterKey(ctx, "one"), b.RecordMasterKey(ctx, "one"), b.PutAccessKey(ctx, key("AKIA2"), 10))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := a.OtherProcesses(ctx); err != nil || n == 0 {
		t.Errorf("with another process: got %d connections, %v, want some", n, err)
	}
	if _, err := a.Reseal(ctx, xored("one", "two")); err != nil {
		t.Fatal(err)
	}
	sealed := map[string]func() error{
		"an access key": func() error { return b.PutAccessKey(ctx, key("AKIA3"), 10) },
		"a session": func() error {
			return b.PutSession(ctx, meta.Session{AccessKey: "ASIA1", Account: metatest.Account, SealedSecret: []byte("x")}, meta.Quota{})
		},
		"a secret": func() error {
			_, err := b.PutSecret(ctx, meta.Secret{Registry: metatest.Registry, Name: "n"}, sealedAs("x"))
			return err
		},
		"a webhook": func() error {
			_, err := b.CreateWebhook(ctx, meta.Webhook{Registry: metatest.Registry, Name: "n", Sealed: []byte("x")}, 0)
			return err
		},
		"a start": func() error { return b.RecordMasterKey(ctx, "one") },
	}
	for what, do := range sealed {
		if err := do(); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the master key was replaced") {
			t.Errorf("%s by a process with the earlier key: got %v, want Unavailable", what, err)
		}
	}
	if _, err := b.AccessKey(ctx, "AKIA3"); !errors.Is(err, fault.AccessKeyNotFound) {
		t.Errorf("the refused access key: got %v, want none", err)
	}
	if err := b.CreateAccount(ctx, meta.Account{ID: metatest.Account}, key("AKIA1")); !errors.Is(err, fault.AccountAlreadyExists) {
		t.Errorf("a change without sealed values: got %v, want its own answer", err)
	}
}

// sealedAs returns a function that seals every secret as a text.
func sealedAs(text string) func(meta.Secret) []byte {
	return func(meta.Secret) []byte { return []byte(text) }
}
