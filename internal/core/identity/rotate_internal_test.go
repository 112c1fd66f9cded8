package identity

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Every sealed column of the database has a sealer, so that a new master key seals it again, and the other way round.
func TestEverySealedColumnHasASealer(t *testing.T) {
	t.Parallel()
	var want []string
	for _, c := range meta.SealedColumns() {
		want = append(want, c.Table)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(sealers)); !slices.Equal(got, want) {
		t.Errorf("the sealers are of the tables %q, and the sealed columns of %q", got, want)
	}
}

// A key for a purpose that no sealed column has is refused: what it would seal would be lost with a new master key.
func TestBoxOfAnUnknownPurpose(t *testing.T) {
	t.Parallel()
	k, err := LoadKeyring(t.TempDir(), "", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Box("a new table"); err == nil || !strings.Contains(err.Error(), "SealedColumns") {
		t.Errorf("got %v, want an error that names the list", err)
	}
	for _, purpose := range []string{webhookPurpose, keptPurpose} {
		if _, err := k.Box(purpose); err != nil {
			t.Errorf("the purpose %s: %v", purpose, err)
		}
	}
}
