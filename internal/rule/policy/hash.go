package policy

import (
	"crypto/sha256"
	"encoding/hex"
)

// Hash returns the hash of the text of a policy, by which a request says which policy it has seen: 64 hexadecimal digits of SHA-256, or
// "none" for "", which stands for no policy.
func Hash(text string) string {
	if text == "" {
		return "none"
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
