package pagetoken_test

import (
	"errors"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

type position struct {
	PushedAt    int64
	Digest, Tag string
}

// OpenJSON accepts only the tokens that SealJSON made, each only for its listing.
func FuzzPageToken(f *testing.F) {
	s := sealer("ecr")
	at := position{PushedAt: 1_700_000_000_000_000, Digest: "sha256:ab", Tag: "latest"}
	good := s.Listing("images 1 ").SealJSON(at)
	var back position
	if err := s.Listing("images 1 ").OpenJSON(good, &back); err != nil || back != at {
		f.Fatalf("OpenJSON of a token: got %+v, %v, want %+v", back, err, at)
	}
	f.Add("images 1 ", good)
	f.Add("images 2 ", good)
	f.Add("images 1 ", good[:len(good)-1])
	f.Add("images 1 ", "AAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, scope, token string) {
		var got position
		err := s.Listing(scope).OpenJSON(token, &got)
		switch {
		case token == "" && (err != nil || got != position{}):
			t.Errorf(`OpenJSON("") = %+v, %v; want the zero position`, got, err)
		case token != "" && err == nil && (scope != "images 1 " || got != at):
			t.Errorf("Listing(%q).OpenJSON(%q) = %+v, which was never sealed", scope, token, got)
		case err != nil && got != position{}:
			t.Errorf("Listing(%q).OpenJSON(%q): got an error and %+v, want only the error", scope, token, got)
		}
	})
}

// OpenJSON refuses a token whose position does not have the type of the destination.
func TestOpenJSONRefusesOtherForms(t *testing.T) {
	t.Parallel()
	l := sealer("ecr").Listing("images")
	var got position
	for what, token := range map[string]string{"a number": l.SealJSON(7), "no JSON": l.Seal("{")} {
		if err := l.OpenJSON(token, &got); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("OpenJSON of a token of %s: %v, want InvalidParameter", what, err)
		}
	}
}
