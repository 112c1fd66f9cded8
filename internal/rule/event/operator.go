package event

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// operatorNames are the operators. Source: EventBridge user guide, comparison operators.
var operatorNames = []string{"anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"}

// instead says what to write for operators that other languages have.
var instead = map[string]string{
	"contains":     `write {"wildcard": "*text*"}`,
	"regex":        `write {"wildcard": "*"}, in which * stands for any characters`,
	"equals":       `write the value itself, as ["text"]`,
	"exactly":      `write the value itself, as ["text"]`,
	"in":           `write the values themselves, as ["a", "b"]`,
	"not":          `write {"anything-but": ["text"]}`,
	"not-equals":   `write {"anything-but": ["text"]}`,
	"starts-with":  `write {"prefix": "text"}`,
	"ends-with":    `write {"suffix": "text"}`,
	"greater-than": `write {"numeric": [">", 5]}`,
	"less-than":    `write {"numeric": ["<", 5]}`,
}

// readOperator reads an object in the array of the values of a member. t is nil for {"exists": false}, and absent true.
// onlyTexts is true for members that always have texts.
func readOperator(n *node, path string, onlyTexts bool) (t test, absent bool, err error) {
	if len(n.values) != 1 {
		return nil, false, problem(path, `an object in an array has one operator, this one has %d: write [{"prefix": "a"}, {"suffix": "b"}], `+
			`of which one must match`, len(n.values))
	}
	operator, v := n.names[0], &n.values[0]
	at := memberPath(path, operator)
	switch operator {
	case "exists":
		if v.kind != isBoolean {
			return nil, false, problem(at, `%s is %s: write true or false`, v.source(), v.kind)
		}
		if v.text == "false" {
			return nil, true, nil
		}
		return func(*node) bool { return true }, false, nil
	case "anything-but":
		t, err = readAnythingBut(v, at)
	case "numeric":
		if onlyTexts {
			return nil, false, problem(at, `the member is always a text: write texts, or another operator`)
		}
		t, err = readNumeric(v, at)
	case "prefix", "suffix":
		if v.kind == isObject {
			if len(v.values) != 1 || v.names[0] != "equals-ignore-case" {
				return nil, false, problem(at, `write a text, or {"equals-ignore-case": "text"}`)
			}
			t, err = readText(&v.values[0], memberPath(at, "equals-ignore-case"), operator+"-ignore-case")
			break
		}
		t, err = readText(v, at, operator)
	case "cidr", "equals-ignore-case", "wildcard":
		t, err = readText(v, at, operator)
	default:
		hint, ok := instead[operator]
		if !ok {
			hint = "use one of " + strings.Join(operatorNames, ", ")
		}
		err = problem(at, "there is no operator %q: %s", name.Clip(operator), hint)
	}
	return t, false, err
}

// readText reads an operator that has a text.
func readText(n *node, path, operator string) (test, error) {
	if n.kind != isText {
		return nil, problem(path, `%s is %s: write a text, as "text"; for several of them write several objects`, n.source(), n.kind)
	}
	want := n.text
	switch operator {
	case "prefix":
		return onText(func(s string) bool { return strings.HasPrefix(s, want) }), nil
	case "suffix":
		return onText(func(s string) bool { return strings.HasSuffix(s, want) }), nil
	case "prefix-ignore-case":
		return onText(func(s string) bool { return hasPrefixFold(s, want) }), nil
	case "suffix-ignore-case":
		return onText(func(s string) bool { return hasSuffixFold(s, want) }), nil
	case "equals-ignore-case":
		return onText(func(s string) bool { return strings.EqualFold(s, want) }), nil
	case "cidr":
		return readCIDR(want, path)
	}
	w, err := readWildcard(want, path)
	return onText(w.match), err
}

func onText(matches func(s string) bool) test {
	return func(n *node) bool { return n.kind == isText && matches(n.text) }
}

// equals returns the test for a number, a boolean or null. Numbers are equal if their values are: 1, 1.0 and 1e0.
func equals(want *node) test {
	if want.kind == isNumber {
		return func(n *node) bool { return n.kind == isNumber && n.number == want.number }
	}
	return func(n *node) bool { return n.kind == want.kind && n.text == want.text }
}

// readAnythingBut reads the values that a member must not have. The test matches a value of any type that none of them
// matches.
func readAnythingBut(n *node, path string) (test, error) {
	operator := ""
	if n.kind == isObject {
		nested := []string{"prefix", "suffix", "equals-ignore-case", "wildcard"}
		if len(n.values) != 1 || !slices.Contains(nested, n.names[0]) {
			return nil, problem(path, `write values, or an object with one of %s, as {"prefix": "text"}`, strings.Join(nested, ", "))
		}
		operator, path, n = n.names[0], memberPath(path, n.names[0]), &n.values[0]
	}
	values, single := n.elements, false
	if n.kind != isList {
		values, single = []node{*n}, true
	}
	if len(values) == 0 {
		return nil, problem(path, `the array is empty: write a value, or {"exists": true} for any value`)
	}
	var excluded leaf
	for i := range values {
		v, at := &values[i], path
		if !single {
			at = elementPath(path, i)
		}
		switch {
		case operator != "":
			if v.kind == isText && v.text == "" && operator != "equals-ignore-case" && operator != "wildcard" {
				return nil, problem(at, `every text has the empty text at its ends: write a longer one`)
			}
			t, err := readText(v, at, operator)
			if err != nil {
				return nil, err
			}
			excluded.tests = append(excluded.tests, t)
		case v.kind != values[0].kind:
			return nil, problem(at, `%s is %s, and the first value is %s: write only texts or only numbers`, v.source(), v.kind, values[0].kind)
		case v.kind == isText:
			if excluded.texts == nil {
				excluded.texts = map[string]bool{}
			}
			excluded.texts[v.text] = true
		case v.kind == isNumber:
			excluded.tests = append(excluded.tests, equals(v))
		case v.kind == isBoolean:
			return nil, problem(at, `a boolean cannot be excluded: write the other one as a value, as [%t]`, v.text == "false")
		default:
			return nil, problem(at, `%s is %s: write texts or numbers`, v.source(), v.kind)
		}
	}
	return func(n *node) bool { return !excluded.test(n) }, nil
}

// readNumeric reads the bounds of a number: ["=", n], or a lower or an upper bound, or a lower and an upper one.
func readNumeric(n *node, path string) (test, error) {
	const forms = `write ["=", 5], [">", 0], ["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`
	if n.kind != isList || len(n.elements) != 2 && len(n.elements) != 4 {
		return nil, problem(path, "%s", forms)
	}
	for i := range n.elements {
		if want := [...]kind{isText, isNumber}[i%2]; n.elements[i].kind != want {
			return nil, problem(elementPath(path, i), "%s is %s: %s", n.elements[i].source(), n.elements[i].kind, forms)
		}
	}
	bounds := make([]func(f float64) bool, 0, 2)
	for i := 0; i < len(n.elements); i += 2 {
		operator, bound := n.elements[i].text, n.elements[i+1].number
		lower := operator == ">" || operator == ">="
		if !slices.Contains([]string{"=", ">", ">=", "<", "<="}, operator) || len(n.elements) == 4 && (lower != (i == 0) || operator == "=") {
			return nil, problem(elementPath(path, i), "%s is not the operator expected here: %s", n.elements[i].source(), forms)
		}
		bounds = append(bounds, compare(operator, bound))
	}
	if len(n.elements) == 4 && n.elements[1].number >= n.elements[3].number {
		return nil, problem(path, `no number is between %s and %s: write the smaller one first; for one number write ["=", 5]`,
			n.elements[1].source(), n.elements[3].source())
	}
	return func(n *node) bool {
		return n.kind == isNumber && !slices.ContainsFunc(bounds, func(within func(float64) bool) bool { return !within(n.number) })
	}, nil
}

func compare(operator string, bound float64) func(f float64) bool {
	switch operator {
	case ">":
		return func(f float64) bool { return f > bound }
	case ">=":
		return func(f float64) bool { return f >= bound }
	case "<":
		return func(f float64) bool { return f < bound }
	case "<=":
		return func(f float64) bool { return f <= bound }
	}
	return func(f float64) bool { return f == bound }
}

// readCIDR reads a block of IP addresses. An IPv4 address in the form of IPv6 (::ffff:10.0.0.1) is the IPv4 address.
func readCIDR(s, path string) (test, error) {
	block, err := netip.ParsePrefix(s)
	if err != nil {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return nil, problem(path, `%q is one address: write "%s/%d"`, name.Clip(s), a, a.BitLen())
		}
		return nil, problem(path, `%q is not a block of addresses: write one such as "10.0.0.0/8" or "2001:db8::/32"`, name.Clip(s))
	}
	if block.Addr().Is4In6() && block.Bits() >= 96 {
		block = netip.PrefixFrom(block.Addr().Unmap(), block.Bits()-96)
	}
	return onText(func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && block.Contains(a.Unmap())
	}), nil
}

// wildcard is a text in which * stands for any characters, also none: the pieces between the *.
type wildcard []string

func readWildcard(s, path string) (w wildcard, err error) {
	var piece []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			if i++; i == len(s) || s[i] != '*' && s[i] != '\\' {
				return nil, problem(path, `in %q a \ is not before * or \: write \\\\ in JSON for the character itself`, name.Clip(s))
			}
			piece = append(piece, s[i])
		case s[i] != '*':
			piece = append(piece, s[i])
		case len(piece) == 0 && len(w) > 0:
			return nil, problem(path, `%q has two * in a row: write one`, name.Clip(s))
		default:
			w, piece = append(w, string(piece)), nil
		}
	}
	return append(w, string(piece)), nil
}

// match reports whether the wildcard matches the whole of s. Its time is linear in the length of s, because the first place
// where a piece occurs is always a right one.
func (w wildcard) match(s string) bool {
	first, last := w[0], w[len(w)-1]
	if len(w) == 1 {
		return s == first
	}
	if !strings.HasPrefix(s, first) || !strings.HasSuffix(s[len(first):], last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, piece := range w[1 : len(w)-1] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return true
}

// hasPrefixFold reports whether s begins with prefix, regardless of case.
func hasPrefixFold(s, prefix string) bool {
	for _, want := range prefix {
		r, size := utf8.DecodeRuneInString(s)
		if size == 0 || !sameLetter(r, want) {
			return false
		}
		s = s[size:]
	}
	return true
}

// hasSuffixFold reports whether s ends with suffix, regardless of case.
func hasSuffixFold(s, suffix string) bool {
	for suffix != "" {
		want, n := utf8.DecodeLastRuneInString(suffix)
		r, size := utf8.DecodeLastRuneInString(s)
		if size == 0 || !sameLetter(r, want) {
			return false
		}
		s, suffix = s[:len(s)-size], suffix[:len(suffix)-n]
	}
	return true
}

// sameLetter reports whether two characters differ at most in case, as strings.EqualFold does.
func sameLetter(a, b rune) bool {
	for c := unicode.SimpleFold(a); c != a; c = unicode.SimpleFold(c) {
		if c == b {
			return true
		}
	}
	return a == b
}
