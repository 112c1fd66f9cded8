package policy

import "strings"

// Fold returns s with the letters A to Z in lower case. Condition keys and actions are equal if their folded forms are.
// Other characters have case too, but do not fold: the Kelvin sign (U+212A), for one, would become a k.
// That only the letters of ASCII fold is a decision of ecrin: IAM publishes nothing about others.
func Fold(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, s)
		}
	}
	return s
}

func foldRune(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + ('a' - 'A')
	}
	return r
}

func foldByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// equalFold reports whether a and b are equal but for the case of the letters of ASCII.
func equalFold(a, b string) bool { return len(a) == len(b) && prefixLen(a, b, true) == len(b) }
