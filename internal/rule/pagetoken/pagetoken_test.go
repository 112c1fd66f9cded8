package pagetoken_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// sealer returns a Sealer with the given key.
func sealer(key string) pagetoken.Sealer {
	return pagetoken.New(func(data []byte) []byte {
		h := hmac.New(sha256.New, []byte(key))
		h.Write(data)
		return h.Sum(nil)
	})
}

func TestTokenGivesThePosition(t *testing.T) {
	t.Parallel()
	l := sealer("ecr").Listing("images", "7", "TAGGED")
	for _, want := range []string{"", "a", "team/app", "\x00\n\xff", strings.Repeat("x", 200)} {
		token := l.Seal(want)
		if got, err := l.Open(token); err != nil || got != want {
			t.Errorf("Open(Seal(%q)) = %q, %v", want, got, err)
		}
		if got, want := len(token), pagetoken.Length(len(want)); got != want {
			t.Errorf("a token of %q : got %d characters, Length returns %d", token, got, want)
		}
		if strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("the token %q has characters that must be escaped in a URL", token)
		}
	}
}

// A token is valid only for one listing of one API.
func TestTokenOfAnotherListing(t *testing.T) {
	t.Parallel()
	token := sealer("ecr").Listing("images", "7").Seal("x")
	for what, l := range map[string]pagetoken.Listing{
		"of another API":        sealer("iam").Listing("images", "7"),
		"of another operation":  sealer("ecr").Listing("repositories", "7"),
		"of another argument":   sealer("ecr").Listing("images", "8"),
		"of fewer arguments":    sealer("ecr").Listing("images"),
		"of more arguments":     sealer("ecr").Listing("images", "7", ""),
		"with the parts joined": sealer("ecr").Listing("images7"),
		"cut elsewhere":         sealer("ecr").Listing("image", "s7"),
		"without parts":         sealer("ecr").Listing(),
	} {
		if got, err := l.Open(token); !errors.Is(err, fault.InvalidParameter) || got != "" {
			t.Errorf("a listing %s opens the token: %q, %v; want InvalidParameter", what, got, err)
		}
	}
	// The scope (a, b) with position c must not equal the scope (a) with a position that begins with b.
	one, other := sealer("ecr").Listing("a"), sealer("ecr").Listing("a", "b")
	if got, err := one.Open(other.Seal("c")); err == nil {
		t.Errorf("the listing (a) opens a token of (a, b): %q", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	l := sealer("ecr").Listing("images")
	good := l.Seal("team/app")
	last := good[len(good)-1]
	for _, bad := range []string{
		"", "x", "!!", "AAAA", strings.Repeat("A", 40), good + "A", good + "AA", good + "=", good[1:], good[:len(good)-1],
		"A" + good[1:], good + "\n", good[:8] + "\n" + good[8:], " " + good, good[:len(good)-1] + string(last^1), strings.ToLower(good),
	} {
		if got, err := l.Open(bad); !errors.Is(err, fault.InvalidParameter) || got != "" {
			t.Errorf("Open(%q) = %q, %v; want InvalidParameter", bad, got, err)
		}
	}
}

// Open accepts only the token that Seal made for the same listing.
func FuzzOpen(f *testing.F) {
	made := sealer("ecr").Listing("images", "1")
	const position = `{"digest":"sha256:00"}`
	good := made.Seal(position)
	f.Add("images", "1", good)
	f.Add("images", "2", good)
	f.Add("images1", "", good)
	f.Add("images", "1", good[:len(good)-1])
	f.Add("images", "1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("images", "1", "")
	f.Fuzz(func(t *testing.T, operation, argument, token string) {
		got, err := sealer("ecr").Listing(operation, argument).Open(token)
		switch {
		case err != nil && (!errors.Is(err, fault.InvalidParameter) || got != ""):
			t.Errorf("Open(%q) = %q, %v; want nothing and InvalidParameter", token, got, err)
		case err == nil && (operation != "images" || argument != "1" || token != good || got != position):
			t.Errorf("Listing(%q, %q).Open(%q) = %q, want an error: this token was not made by Seal", operation, argument, token, got)
		}
	})
}
