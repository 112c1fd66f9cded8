// Package pages seals the positions of listings into page tokens.
package pages

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

const macBytes = 12

// Sealer makes and reads page tokens with a MAC that only this installation can compute, of at least 12 bytes.
type Sealer func(data []byte) []byte

// Token makes a token: the position, bound by the MAC to the listing (scope) that it belongs to.
func (s Sealer) Token(scope string, position any) string {
	text, err := json.Marshal(position)
	if err != nil {
		panic("pages: a position cannot be encoded: " + err.Error()) // positions are structs of texts and numbers
	}
	mac := s(append([]byte(scope+"\n"), text...))[:macBytes]
	return base64.RawURLEncoding.EncodeToString(append(mac, text...))
}

var errToken = errors.New("not a token of an earlier page of this listing")

// Resume reads a token of the same listing into position; "" leaves it alone.
func (s Sealer) Resume(scope, token string, position any) error {
	if token == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < macBytes {
		return errToken
	}
	mac, text := b[:macBytes], b[macBytes:]
	if !hmac.Equal(mac, s(append([]byte(scope+"\n"), text...))[:macBytes]) {
		return errToken
	}
	if err := json.Unmarshal(text, position); err != nil {
		return fmt.Errorf("%w: %w", errToken, err)
	}
	return nil
}
