package pagetoken

import "encoding/base64"

// Length returns the number of characters of the token of a position of n bytes.
func Length(n int) int { return base64.RawURLEncoding.EncodedLen(macBytes + n) }
