package identity

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// BenchmarkRotate seals 50,000 sessions again.
func BenchmarkRotate(b *testing.B) {
	dir := b.TempDir()
	m, err := meta.OpenSQLite(b.Context(), dir, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	k, err := LoadKeyring(dir, "", true)
	if err != nil {
		b.Fatal(err)
	}
	account, err := name.ParseAccount("111122223333")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := m.ClaimInstallation(b.Context(), "i"); err != nil {
		b.Fatal(err)
	}
	root := New(m, k, time.Now, Options{}).newKey("AKIA", account, account.String()).AccessKey
	if err := m.CreateAccount(b.Context(), meta.Account{ID: account}, root); err != nil {
		b.Fatal(err)
	}
	if err := m.RecordMasterKey(b.Context(), k.ID()); err != nil {
		b.Fatal(err)
	}
	const values, writers = 50_000, 16
	done := make(chan error)
	for w := range writers {
		go func() {
			for i := w; i < values; i += writers {
				id := fmt.Sprintf("ASIA%d", i)
				v := meta.Session{AccessKey: id, Account: account, Kind: meta.RoleSession, Principal: "AROA", Name: "build",
					SealedSecret: k.sealSecret(id, secret.New(strings.Repeat("x", 40))), ExpiresAt: time.Now().Add(time.Hour)}
				if err := m.PutSession(context.Background(), v, meta.Quota{}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		next, err := NextKeyring(b.TempDir(), true)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Rotate(b.Context(), m, k, next, time.Now(), Rotation{}); err != nil {
			b.Fatal(err)
		}
		k = next
	}
}
