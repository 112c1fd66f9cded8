package pages_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/pages"
)

type position struct {
	PushedAt    int64
	Digest, Tag string
}

// A page token is read only as it was made, for the listing that it was made for.
func FuzzPageToken(f *testing.F) {
	s := pages.Sealer(func(b []byte) []byte {
		h := hmac.New(sha256.New, []byte("key"))
		h.Write(b)
		return h.Sum(nil)
	})
	at := position{PushedAt: 1_700_000_000_000_000, Digest: "sha256:ab", Tag: "latest"}
	good := s.Token("images 1 ", at)
	var back position
	if err := s.Resume("images 1 ", good, &back); err != nil || back != at {
		f.Fatalf("Resume of a token: got %+v, %v, want %+v", back, err, at)
	}
	f.Add("images 1 ", good)
	f.Add("images 2 ", good)
	f.Add("images 1 ", good[:len(good)-1])
	f.Add("images 1 ", "AAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, scope, token string) {
		var got position
		err := s.Resume(scope, token, &got)
		switch {
		case token == "" && (err != nil || got != position{}):
			t.Errorf("Resume of no token: got %+v, %v", got, err)
		case token != "" && err == nil && (scope != "images 1 " || got != at):
			t.Errorf("Resume(%q, %q) gives %+v, which was never sealed", scope, token, got)
		case err != nil && got != position{}:
			t.Errorf("Resume(%q, %q) fails and gives %+v", scope, token, got)
		}
	})
}
