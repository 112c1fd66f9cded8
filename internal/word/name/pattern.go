package name

import "strings"

// Matches reports whether pattern matches the whole of s; "*" matches any characters, also none. It takes at
// most len(pattern) × len(s) steps: after a mismatch only the last star is tried again.
func Matches(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
