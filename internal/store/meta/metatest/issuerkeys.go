package metatest

import (
	"errors"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// testIssuerKeys: the keys of a provider are replaced as a whole, and go with it.
func testIssuerKeys(fx *Fixture) {
	e := meta.Entity{ID: "oidc-1", Account: Account, Kind: meta.OIDCProvider, Name: "issuer.example"}
	want := func(keys, by string) {
		fx.Helper()
		got, err := fx.IssuerKeys(fx.Ctx, e)
		if err != nil || got.Keys != keys || got.UpdatedBy != by || got.UpdatedAt.IsZero() != (keys == "") {
			fx.Errorf("the keys: got %+v and %v, want %q by %q", got, err, keys, by)
		}
	}
	if err := fx.PutIssuerKeys(fx.Ctx, e, "a", "x"); !errors.Is(err, fault.NoSuchEntity) {
		fx.Errorf("keys of a provider that does not exist: got %v, want %v", err, fault.NoSuchEntity)
	}
	fx.Must(fx.CreateEntity(fx.Ctx, e, nil, 10))
	want("", "")
	fx.Must(fx.PutIssuerKeys(fx.Ctx, e, "a", "x"))
	want("a", "x")
	fx.Must(fx.PutIssuerKeys(fx.Ctx, e, "a", "y")) // no change
	want("a", "x")
	fx.Must(fx.PutIssuerKeys(fx.Ctx, e, "b", "y"))
	want("b", "y")
	fx.Must(fx.DeleteEntity(fx.Ctx, e))
	want("", "")
}
