package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxDepth is the maximum nesting of a pattern and of a document that is matched. Events have 4 levels.
const maxDepth = 32

// maxDocument is the maximum length of a document that is matched, in bytes: that of an event.
const maxDocument = 256 << 10

// maxValues is the maximum number of values of a document that is matched, with arrays and objects counted. Events have at
// most 1,300. Patterns have fewer than that by their length.
const maxValues = 4096

// kind is the JSON type of a node.
type kind uint8

const (
	isNull kind = iota
	isBoolean
	isNumber
	isText
	isList
	isObject
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a text", "an array", "an object"}[k]
}

// node is a JSON value.
type node struct {
	kind
	text     string  // of a text: decoded; of a number or boolean: as written
	number   float64 // of a number
	elements []node
	names    []string // of the members of an object
	values   []node   // of the members
	index    map[string]int
}

// member returns the member of an object; nil if there is none, or if n is nil.
func (n *node) member(name string) *node {
	if n == nil {
		return nil
	}
	i, ok := n.index[name]
	if !ok {
		return nil
	}
	return &n.values[i]
}

// source returns a scalar or an empty array or object as it is written in JSON, clipped, for error texts.
func (n *node) source() string {
	switch n.kind {
	case isText:
		return string(appendText(nil, name.Clip(n.text)))
	case isNumber, isBoolean:
		return name.Clip(n.text)
	case isList:
		return "[…]"
	case isObject:
		return "{…}"
	}
	return "null"
}

// Problem is the place and the reason why a text is not a valid event pattern. It is the cause of the error that
// [ParsePattern] returns, for errors.As.
type Problem struct {
	Path   string // of the value, such as detail.image-tag[0].prefix; "" for the pattern as a whole
	Reason string // one sentence without a full stop, which says what to write instead; holds values of the pattern, clipped
}

// Error returns path and reason.
func (p *Problem) Error() string {
	if p.Path == "" {
		return p.Reason
	}
	return p.Path + ": " + p.Reason
}

func problem(path, format string, args ...any) error {
	return &Problem{Path: path, Reason: fmt.Sprintf(format, args...)}
}

// readNode reads a text as one JSON value. Its errors are [Problem]s.
func readNode(s string) (node, error) {
	if !utf8.ValidString(s) {
		return node{}, problem("", "the text has a byte that is not UTF-8")
	}
	// The decoder below reads tokens and does not check the text between them; Unmarshal does.
	var syntax *json.SyntaxError
	if err := json.Unmarshal([]byte(s), new(json.RawMessage)); errors.As(err, &syntax) {
		before := s[:min(max(int(syntax.Offset)-1, 0), len(s))]
		line := before[strings.LastIndexByte(before, '\n')+1:]
		return node{}, problem("", "not JSON: line %d, column %d: %v", strings.Count(before, "\n")+1, utf8.RuneCountInString(line)+1, syntax)
	} else if err != nil {
		return node{}, problem("", "not JSON: %v", err)
	}
	r := nodeReader{decoder: json.NewDecoder(strings.NewReader(s))}
	r.decoder.UseNumber()
	return r.value("", 1)
}

// nodeReader reads a text that is valid JSON.
type nodeReader struct {
	decoder *json.Decoder
	values  int // that were read
}

// value reads the next value, which is at a path and a depth.
func (r *nodeReader) value(path string, depth int) (n node, err error) {
	if r.values++; r.values > maxValues {
		return n, problem("", "more than %d values", maxValues)
	}
	token, err := r.decoder.Token()
	if err != nil {
		return n, problem(path, "%v", err)
	}
	switch token := token.(type) {
	case json.Delim:
		if depth > maxDepth {
			return n, problem("", "nested deeper than %d levels", maxDepth)
		}
		if token == '{' {
			err = r.object(&n, path, depth)
		} else {
			err = r.list(&n, path, depth)
		}
	case string:
		n.kind, n.text = isText, token
	case bool:
		n.kind, n.text = isBoolean, strconv.FormatBool(token)
	case json.Number:
		n.kind, n.text = isNumber, token.String()
		if n.number, err = token.Float64(); err != nil {
			err = problem(path, "the number %s is too large: numbers are as large as 1.7e308", name.Clip(n.text))
		}
	}
	return n, err
}

func (r *nodeReader) object(n *node, path string, depth int) error {
	n.kind, n.index = isObject, map[string]int{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return problem(path, "%v", err)
		}
		key := token.(string)
		at := memberPath(path, key)
		if _, twice := n.index[key]; twice {
			return problem(at, "the member appears twice: write it once, with all values in its array")
		}
		v, err := r.value(at, depth+1)
		if err != nil {
			return err
		}
		n.index[key] = len(n.values)
		n.names, n.values = append(n.names, key), append(n.values, v)
	}
	return r.end(path)
}

func (r *nodeReader) list(n *node, path string, depth int) error {
	n.kind = isList
	for r.decoder.More() {
		v, err := r.value(elementPath(path, len(n.elements)), depth+1)
		if err != nil {
			return err
		}
		n.elements = append(n.elements, v)
	}
	return r.end(path)
}

// end reads the end of an object or array.
func (r *nodeReader) end(path string) error {
	if _, err := r.decoder.Token(); err != nil {
		return problem(path, "%v", err)
	}
	return nil
}

// memberPath appends a key to a path. A key with characters that names do not have is quoted.
func memberPath(path, key string) string {
	if key == "" || strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz0123456789$_-") != "" {
		return path + "[" + strconv.Quote(name.Clip(key)) + "]"
	}
	if path != "" {
		path += "."
	}
	return path + name.Clip(key)
}

func elementPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
