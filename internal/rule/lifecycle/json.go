package lifecycle

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxDepth is the maximum nesting of a document: document, rules, rule, selection, exclude, filter, patterns.
const maxDepth = 7

// notAPolicy is the sentence of ECR for a text that is not JSON of the form of a policy.
const notAPolicy = "Could not map policyString into LifecyclePolicy."

// node is a JSON value with its place in the text.
type node struct {
	kind     string // "null", "object", "array", "string", "integer", "number" or "boolean", the types of JSON schemas
	at       int    // offset of its first byte
	path     string
	text     string // of a string: decoded; of a number or boolean: as written
	members  []member
	elements []node
}

type member struct {
	key   string
	value node
}

// parser reads one document.
type parser struct {
	text    string
	decoder *json.Decoder
}

// tree reads the text as one JSON value. It refuses what JSON readers read differently: repeated members, bytes that are not
// UTF-8, and escapes that are not characters.
func (p *parser) tree() (node, error) {
	if !utf8.ValidString(p.text) {
		return node{}, p.problem(len(p.text)-len(p.text[validPrefix(p.text):]), "", notAPolicy, "a byte that is not UTF-8")
	}
	// The decoder below reads tokens and does not check the text between them; Unmarshal does.
	if err := json.Unmarshal([]byte(p.text), new(json.RawMessage)); err != nil {
		at := 0
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			if at = min(max(int(syntax.Offset)-1, 0), len(p.text)); strings.HasPrefix(err.Error(), "unexpected end") {
				at = len(p.text)
			}
		}
		return node{}, p.problem(at, "", notAPolicy, "%s", err)
	}
	p.decoder = json.NewDecoder(strings.NewReader(p.text))
	p.decoder.UseNumber()
	return p.value("", 1)
}

// validPrefix returns the length of the longest prefix that is valid UTF-8.
func validPrefix(s string) int {
	for i, c := range s {
		if c == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return i
			}
		}
	}
	return len(s)
}

// token returns the next token and its offset.
func (p *parser) token() (json.Token, int, error) {
	at := int(p.decoder.InputOffset())
	for at < len(p.text) && strings.IndexByte(" \t\r\n,:", p.text[at]) >= 0 {
		at++
	}
	t, err := p.decoder.Token()
	if err != nil {
		return nil, at, p.problem(at, "", notAPolicy, "%s", err)
	}
	// The decoder replaces an escaped half of a surrogate pair by U+FFFD, so that different texts would become equal.
	raw := p.text[at:p.decoder.InputOffset()]
	if s, ok := t.(string); ok && strings.Count(s, "\uFFFD") != strings.Count(raw, "\uFFFD") {
		return nil, at, p.problem(at, "", notAPolicy, `the string %q has an escape \u that is not a character`, name.Clip(raw))
	}
	return t, at, nil
}

func (p *parser) value(path string, depth int) (node, error) {
	t, at, err := p.token()
	n := node{at: at, path: path, kind: "null"}
	if err != nil {
		return n, err
	}
	switch t := t.(type) {
	case json.Delim:
		if depth > maxDepth {
			return n, p.problem(at, path, notAPolicy, "nested deeper than %d levels", maxDepth)
		}
		if t == '{' {
			n.kind, err = "object", p.object(&n, depth)
		} else {
			n.kind, err = "array", p.array(&n, depth)
		}
	case string:
		n.kind, n.text = "string", t
	case json.Number:
		n.kind, n.text = "integer", t.String()
		if strings.ContainsAny(n.text, ".eE") {
			n.kind = "number"
		}
	case bool:
		n.kind, n.text = "boolean", strconv.FormatBool(t)
	}
	return n, err
}

func (p *parser) object(n *node, depth int) error {
	seen := map[string]bool{}
	for p.decoder.More() {
		t, at, err := p.token()
		if err != nil {
			return err
		}
		key := t.(string)
		if seen[key] {
			return p.problem(at, n.path, notAPolicy, "the member %q appears twice", name.Clip(key))
		}
		seen[key] = true
		v, err := p.value(memberPath(n.path, key), depth+1)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{key, v})
	}
	_, _, err := p.token()
	return err
}

// memberPath appends a key to a path. A key with characters that names do not have is quoted.
func memberPath(path, key string) string {
	if strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz") != "" {
		return path + "[" + strconv.Quote(name.Clip(key)) + "]"
	}
	if path != "" {
		path += "."
	}
	return path + name.Clip(key)
}

func (p *parser) array(n *node, depth int) error {
	for p.decoder.More() {
		v, err := p.value(n.path+"["+strconv.Itoa(len(n.elements))+"]", depth+1)
		if err != nil {
			return err
		}
		n.elements = append(n.elements, v)
	}
	_, _, err := p.token()
	return err
}
