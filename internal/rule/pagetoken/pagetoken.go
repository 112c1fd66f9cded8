// Package pagetoken makes the tokens by which the pages of a listing continue. A token carries the position at which the next
// page begins, so that the server keeps nothing between two pages, and is bound to the listing that it was made for.
//
// A token is text of the characters A-Z a-z 0-9 - and _. It is authenticated and not encrypted: a position must not be a secret.
package pagetoken

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// macBytes is how much of a MAC stands in a token.
const macBytes = 16

// Sealer makes and reads the tokens of one API. The zero Sealer is not usable. Safe for concurrent use if its MAC is.
type Sealer struct{ mac func(data []byte) []byte }

// New makes a Sealer. mac authenticates data, by 16 bytes or more, with a key that is for the tokens of this API alone.
func New(mac func(data []byte) []byte) Sealer { return Sealer{mac} }

// Listing is one listing of an API.
type Listing struct {
	mac   func(data []byte) []byte
	scope []byte
}

// Listing names a listing by all that its entries and their order depend on: the operation, the account, the arguments that
// choose entries. Listings with other parts have other tokens; the size of a page is no part.
func (s Sealer) Listing(parts ...string) Listing {
	scope := binary.AppendUvarint(nil, uint64(len(parts)))
	for _, p := range parts {
		scope = binary.AppendUvarint(scope, uint64(len(p)))
		scope = append(scope, p...)
	}
	return Listing{s.mac, scope}
}

// Seal makes the token of a position, which may be any bytes. The token has [Length] characters.
func (l Listing) Seal(position string) string {
	return base64.RawURLEncoding.EncodeToString(append(l.sum(position), position...))
}

// Open gives the position of a token. It accepts exactly what Seal returns for the same listing.
// Errors: fault.InvalidParameter.
func (l Listing) Open(token string) (position string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < macBytes || base64.RawURLEncoding.EncodeToString(b) != token {
		return "", notMade().Because(err)
	}
	position = string(b[macBytes:])
	if !hmac.Equal(b[:macBytes], l.sum(position)) {
		return "", notMade()
	}
	return position, nil
}

// SealJSON makes the token of a position that is a struct, text or number: of its form in JSON. Another type panics.
func (l Listing) SealJSON(position any) string {
	text, err := json.Marshal(position)
	if err != nil {
		panic("pagetoken: a position cannot be encoded: " + err.Error()) // the types of positions are fixed in the program
	}
	return l.Seal(string(text))
}

// OpenJSON reads a token of SealJSON into position, a pointer. It leaves position alone if the token is "", which stands for
// the first page. Errors: fault.InvalidParameter.
func (l Listing) OpenJSON(token string, position any) error {
	if token == "" {
		return nil
	}
	text, err := l.Open(token)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), position); err != nil {
		return notMade().Because(err)
	}
	return nil
}

func notMade() *fault.Error {
	return fault.InvalidParameter.New("the page token is not one of an earlier page of this listing")
}

// sum is the MAC of a position of the listing. The parts of the scope have their lengths before them, so that no scope and
// position are those of another listing.
func (l Listing) sum(position string) []byte {
	data := make([]byte, 0, len(l.scope)+len(position))
	data = append(append(data, l.scope...), position...)
	return l.mac(data)[:macBytes:macBytes]
}

// Length is how many characters the token of a position of n bytes has.
func Length(n int) int { return base64.RawURLEncoding.EncodedLen(macBytes + n) }
