package upstream

import (
	"net/http"
	"strings"
)

// challenge is one challenge of WWW-Authenticate.
type challenge struct {
	scheme string
	params map[string]string // by name in lower case; nil if there are none
}

const (
	maxChallenges = 8  // read of a response
	maxParams     = 16 // read of a challenge
)

// parseChallenges reads the values of WWW-Authenticate, each of which may have several challenges. What is not of the
// form ends the reading of its value. Source: RFC 9110, 11.6.1.
func parseChallenges(values []string) []challenge {
	var all []challenge
	for _, rest := range values {
		for len(all) < maxChallenges {
			rest = strings.TrimLeft(rest, " \t,")
			var scheme string
			if scheme, rest = cutWord(rest); scheme == "" {
				break
			}
			c := challenge{scheme: scheme}
			rest = c.read(rest)
			all = append(all, c)
		}
	}
	return all
}

// Bearer returns the parameters of the first Bearer challenge of an answer, by their names in lower case; nil for none.
func Bearer(h http.Header) map[string]string {
	for _, c := range parseChallenges(h.Values("WWW-Authenticate")) {
		if !strings.EqualFold(c.scheme, "Bearer") {
			continue
		}
		if c.params == nil {
			return map[string]string{}
		}
		return c.params
	}
	return nil
}

// read adds the parameters at the beginning of text and returns the rest, which begins with the next challenge.
func (c *challenge) read(text string) (rest string) {
	for range maxParams {
		text = strings.TrimLeft(text, " \t,")
		name, after := cutWord(text)
		after = strings.TrimLeft(after, " \t")
		if name == "" || !strings.HasPrefix(after, "=") { // the scheme of the next challenge
			return text
		}
		value, after, ok := cutValue(strings.TrimLeft(after[1:], " \t"))
		if !ok {
			return ""
		}
		if c.params == nil {
			c.params = map[string]string{}
		}
		if name = strings.ToLower(name); c.params[name] == "" {
			c.params[name] = value
		}
		text = after
	}
	return ""
}

// cutWord cuts a token of RFC 9110, 5.6.2.
func cutWord(text string) (word, rest string) {
	for i := range len(text) {
		c := text[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// cutValue cuts a token or a quoted string.
func cutValue(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		value, rest = cutWord(text)
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return "", "", false
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", false
}
