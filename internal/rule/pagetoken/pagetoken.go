// Package pagetoken makes and reads the page tokens of listings. A token contains the position at which the next page
// begins, so that the server keeps no state between two pages. A token is valid only for the listing that it was made
// for.
//
// A token consists of the characters A-Z a-z 0-9 - and _. It is authenticated and not encrypted: a position must not
// contain a secret.
package pagetoken

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// macBytes is the length of the MAC in a token; the rest of the MAC is cut off.
const macBytes = 16

// Sealer makes and reads the tokens of one API. The zero Sealer is not usable. A Sealer is safe for concurrent use if
// its MAC function is.
type Sealer struct{ mac func(data []byte) []byte }

// New returns a Sealer. mac returns a message authentication code of data with 16 bytes or more; its key must be used
// for the tokens of this API only.
func New(mac func(data []byte) []byte) Sealer { return Sealer{mac} }

// Listing makes and reads the tokens of one listing of an API.
type Listing struct {
	mac   func(data []byte) []byte
	scope []byte
}

// Listing returns the listing that parts identify: everything that its entries and their order depend on, such as the
// operation, the account and the arguments that select entries. The size of a page must not be a part. A token of a
// listing is not valid for a listing with different parts.
func (s Sealer) Listing(parts ...string) Listing {
	scope := binary.AppendUvarint(nil, uint64(len(parts)))
	for _, p := range parts {
		scope = binary.AppendUvarint(scope, uint64(len(p)))
		scope = append(scope, p...)
	}
	return Listing{s.mac, scope}
}

// Seal returns the token of a position, which may be any bytes. The token has [Length] characters.
func (l Listing) Seal(position string) string {
	return base64.RawURLEncoding.EncodeToString(append(l.sum(position), position...))
}

// Open returns the position of a token. It accepts only the tokens that Seal returns for the same listing.
//
// Errors: fault.InvalidParameter.
func (l Listing) Open(token string) (position string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < macBytes || base64.RawURLEncoding.EncodeToString(b) != token {
		return "", invalidToken().Because(err)
	}
	position = string(b[macBytes:])
	if !hmac.Equal(b[:macBytes], l.sum(position)) {
		return "", invalidToken()
	}
	return position, nil
}

// SealJSON returns the token of a position that is a struct, string or number, encoded as JSON. It panics if JSON
// cannot encode the type.
func (l Listing) SealJSON(position any) string {
	text, err := json.Marshal(position)
	if err != nil {
		panic("pagetoken: a position cannot be encoded: " + err.Error()) // the types of positions are fixed in the program
	}
	return l.Seal(string(text))
}

// OpenJSON decodes a token of SealJSON into position, a pointer. If token is "", which means the first page, OpenJSON
// does not modify position.
//
// Errors: fault.InvalidParameter.
func (l Listing) OpenJSON(token string, position any) error {
	if token == "" {
		return nil
	}
	text, err := l.Open(token)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), position); err != nil {
		return invalidToken().Because(err)
	}
	return nil
}

// invalidToken returns the error of a token that was not made for the listing.
func invalidToken() *fault.Error {
	return fault.InvalidParameter.New("the page token is not one of an earlier page of this listing")
}

// sum returns the MAC of a position of the listing. The scope contains the length of each part, so that the scope and
// position of one listing never equal those of another.
func (l Listing) sum(position string) []byte {
	data := make([]byte, 0, len(l.scope)+len(position))
	data = append(append(data, l.scope...), position...)
	return l.mac(data)[:macBytes:macBytes]
}
