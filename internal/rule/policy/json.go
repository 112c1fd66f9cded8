package policy

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxDepth is the maximum nesting of a policy: document, statements, statement, condition, operator, values.
const maxDepth = 6

// maxSpace is the maximum number of bytes for each character of the limit. It bounds the work on a text that is mostly
// white space; rendered policies are far below it.
const maxSpace = 64

// shape is the JSON type of a node.
type shape uint8

const (
	null shape = iota
	object
	array
	text
	number
	boolean
)

func (s shape) String() string {
	return [...]string{"null", "an object", "an array", "a string", "a number", "a boolean"}[s]
}

// node is a JSON value with its place in the text.
type node struct {
	shape
	at       int    // offset of its first byte
	path     string // names of the elements from the root to the value
	text     string // of a string: decoded; of a number or boolean: as written
	members  []member
	elements []node
}

type member struct {
	at    int // offset of the key
	key   string
	value node
}

// tree reads the text as one JSON value.
func (p *parser) tree() (node, error) {
	if maxBytes := maxSpace * p.limit; len(p.text) > maxBytes {
		return node{}, p.problem(0, "", "the policy has more than %d bytes", maxBytes)
	}
	if at := invalidUTF8(p.text); at >= 0 {
		return node{}, p.problem(at, "", "a byte that is not UTF-8")
	}
	// The decoder below reads tokens and does not check the text between them; Unmarshal does.
	var syntax *json.SyntaxError
	if err := json.Unmarshal([]byte(p.text), new(json.RawMessage)); errors.As(err, &syntax) {
		return node{}, inWords(p.problem(syntaxOffset(p.text, syntax), "", "%s%s", syntax.Error(), hint(syntax)), "%s", p.rules.noJSON)
	} else if err != nil {
		return node{}, p.problem(0, "", "%s", err.Error())
	}
	r := treeReader{parser: p, decoder: json.NewDecoder(strings.NewReader(p.text))}
	r.decoder.UseNumber()
	return r.value("", 1)
}

// hint returns what to do about syntax errors of texts that were copied from a guide; "" for others.
func hint(e *json.SyntaxError) string {
	switch text := e.Error(); {
	case strings.HasPrefix(text, "invalid character '{' after top-level value"):
		return " (a second document begins here: a policy is one document)"
	case strings.HasPrefix(text, "invalid character '/'"), strings.HasPrefix(text, "invalid character '#'"):
		return " (JSON has no comments: remove it)"
	}
	return ""
}

// syntaxOffset returns the offset of a syntax error: of the last byte that was read, or of the end when the text is
// incomplete.
func syntaxOffset(text string, e *json.SyntaxError) int {
	if strings.HasPrefix(e.Error(), "unexpected end") {
		return len(text)
	}
	return min(max(int(e.Offset)-1, 0), len(text))
}

// treeReader reads a text that is valid JSON.
type treeReader struct {
	*parser
	decoder *json.Decoder
	length  int // characters read, white space between tokens not counted
}

// token returns the next token and its offset.
func (r *treeReader) token() (json.Token, int, error) {
	at := int(r.decoder.InputOffset())
	for ; at < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[at]) >= 0; at++ {
		if r.text[at] == ',' || r.text[at] == ':' {
			r.length++
		}
	}
	t, err := r.decoder.Token()
	if err != nil {
		return nil, at, r.problem(at, "", "%s", err.Error())
	}
	raw := r.text[at:r.decoder.InputOffset()]
	r.length += utf8.RuneCountInString(raw)
	if r.length > r.limit { // checked before the rest is read, because a tree takes more memory than its text
		return nil, at, r.problem(at, "", "the policy has more than %d characters, white space not counted", r.limit)
	}
	// The decoder replaces an escaped half of a surrogate pair by U+FFFD, so that different texts would become equal.
	if s, ok := t.(string); ok && strings.Count(s, "\uFFFD") != strings.Count(raw, "\uFFFD") {
		return nil, at, r.problem(at, "", `the string %q has an escape \u that is not a character`, name.Clip(raw))
	}
	return t, at, nil
}

// value reads a value at the given depth.
func (r *treeReader) value(path string, depth int) (node, error) {
	t, at, err := r.token()
	n := node{at: at, path: path}
	if err != nil {
		return n, err
	}
	switch t := t.(type) {
	case json.Delim:
		if depth > maxDepth {
			return n, r.problem(at, path, "nested deeper than %d levels", maxDepth)
		}
		if t == '{' {
			n.shape = object
			err = r.object(&n, depth)
		} else {
			n.shape = array
			err = r.array(&n, depth)
		}
	case string:
		n.shape, n.text = text, t
	case json.Number:
		n.shape, n.text = number, t.String()
	case bool:
		n.shape, n.text = boolean, strconv.FormatBool(t)
	}
	return n, err
}

func (r *treeReader) object(n *node, depth int) error {
	seen := map[string]bool{}
	for r.decoder.More() {
		t, at, err := r.token()
		if err != nil {
			return err
		}
		key := t.(string)
		if seen[key] {
			return r.problem(at, n.path, "the element %q appears twice", name.Clip(key))
		}
		seen[key] = true
		v, err := r.value(memberPath(n.path, key), depth+1)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{at: at, key: key, value: v})
	}
	_, _, err := r.token()
	return err
}

// memberPath appends a key to a path. A key with characters that names do not have is quoted.
func memberPath(path, key string) string {
	if strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz0123456789:/._-") != "" {
		return path + "[" + strconv.Quote(name.Clip(key)) + "]"
	}
	if path != "" {
		path += "."
	}
	return path + name.Clip(key)
}

func (r *treeReader) array(n *node, depth int) error {
	for r.decoder.More() {
		v, err := r.value(n.path+"["+strconv.Itoa(len(n.elements))+"]", depth+1)
		if err != nil {
			return err
		}
		n.elements = append(n.elements, v)
	}
	_, _, err := r.token()
	return err
}

// invalidUTF8 returns the offset of the first byte that is not valid UTF-8, or -1.
func invalidUTF8(s string) int {
	for i, c := range s {
		if c == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return i
			}
		}
	}
	return -1
}
