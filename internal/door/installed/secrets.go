package installed

import (
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
)

// secrets are values that pages do not show: the id of the licence, which is a password, that of a registry, and values of the customer
// that the application calls passwords.
type secrets []string

// minSecret is the length from which on a value is looked for in texts: a shorter one would be found everywhere.
const minSecret = 6

// hiddenMark is in the place of a secret.
const hiddenMark = "(secret: ecrin files shows it)"

// secretsOf returns the secrets of an installation, with those that the files of versions ask for.
func secretsOf(h *install.History, sequences ...int64) (all secrets) {
	for _, one := range h.Passwords(sequences...) {
		if len(one) >= minSecret {
			all = append(all, one)
		}
	}
	return all
}

// encoded is what may be a value in base64.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{8,}={0,2}`)

// maxNested is how many times a value may be encoded: a signature has a licence in it, and a pull secret a name and a password.
const maxNested = 4

// hide returns a text without the secrets, also where they are in base64, and whether there were any.
func (s secrets) hide(text string) (shown string, hidden bool) {
	if len(s) == 0 {
		return text, false
	}
	for _, one := range s {
		if strings.Contains(text, one) {
			text, hidden = strings.ReplaceAll(text, one, hiddenMark), true
		}
	}
	text = encoded.ReplaceAllStringFunc(text, func(token string) string {
		if s.within(token, maxNested) {
			hidden = true
			return hiddenMark
		}
		return token
	})
	return text, hidden
}

// within reports whether a token is the base64 of something that has a secret.
func (s secrets) within(token string, depth int) bool {
	bare := strings.TrimRight(token, "=")
	text, err := base64.RawStdEncoding.DecodeString(bare)
	if err != nil {
		text, err = base64.RawURLEncoding.DecodeString(bare)
	}
	if err != nil || depth == 0 {
		return false
	}
	for _, one := range s {
		if strings.Contains(string(text), one) {
			return true
		}
	}
	for _, inner := range encoded.FindAllString(string(text), -1) {
		if s.within(inner, depth-1) {
			return true
		}
	}
	return false
}
