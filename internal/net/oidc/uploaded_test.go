package oidc

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// KeyIDs names what can verify tokens, and ParseIssuer takes what a token can have as its issuer.
func TestUploadedKeys(t *testing.T) {
	t.Parallel()
	ec := `{"kty":"EC","kid":"e","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	set := `{"keys":[` + ec + `,{"kty":"oct","kid":"o","k":"AAAA"},{"kty":"EC"}]}`
	if got, err := KeyIDs([]byte(set)); err != nil || strings.Join(got, " ") != "e" {
		t.Errorf("KeyIDs: got %q and %v, want e alone", got, err)
	}
	if _, err := KeyIDs([]byte("x")); err == nil {
		t.Error("KeyIDs of no JSON: got no error")
	}
	if k, err := uploaded(set, "e"); err != nil || k.public == nil {
		t.Errorf("the uploaded key: got %v and %v", k, err)
	}
	for _, text := range []string{set, "x"} {
		if _, err := uploaded(text, "other"); !errors.Is(err, fault.InvalidIdentityToken) {
			t.Errorf("a key that %.20s does not have: got %v, want %v", text, err, fault.InvalidIdentityToken)
		}
	}
	for text, ok := range map[string]bool{"https://kubernetes.default.svc.cluster.local": true, "https://a.example/b": true, "http://a": false,
		"a.example": false, "https://": false, "https://a?b": false} {
		if got, err := ParseIssuer(text); (err == nil) != ok || ok && "https://"+got != text {
			t.Errorf("ParseIssuer(%q): got %q and %v, want ok = %t", text, got, err, ok)
		}
	}
}
