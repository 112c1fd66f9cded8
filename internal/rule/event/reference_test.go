package event_test

import (
	"encoding/json"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
)

// refMatch says slowly and plainly whether a pattern matches an object: every member of the pattern must match.
func refMatch(pattern, object map[string]any) bool {
	for key, p := range pattern {
		alternatives, isOr := p.([]any)
		below, isBelow := p.(map[string]any)
		value, ok := object[key]
		matches := false
		switch {
		case key == "$or":
			for _, a := range alternatives {
				matches = matches || refMatch(a.(map[string]any), object)
			}
		case isBelow:
			for _, o := range refObjects(value) {
				matches = matches || refMatch(below, o)
			}
		case isOr:
			var values []any
			if ok {
				values = refValues(value)
			}
			for _, a := range alternatives {
				if o, ok := a.(map[string]any); ok && o["exists"] == false {
					matches = matches || len(values) == 0
					continue
				}
				for _, v := range values {
					matches = matches || refTest(a, v)
				}
			}
		}
		if !matches {
			return false
		}
	}
	return true
}

// refObjects returns the objects that a value stands for: itself, or those of its elements; an empty one for other values.
func refObjects(value any) (all []map[string]any) {
	switch v := value.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []any:
		for _, e := range v {
			all = append(all, refObjects(e)...)
		}
		if len(all) > 0 {
			return all
		}
	}
	return []map[string]any{{}}
}

// refValues returns the values that are neither arrays nor objects in a value or its elements.
func refValues(value any) (all []any) {
	switch v := value.(type) {
	case map[string]any:
		return nil
	case []any:
		for _, e := range v {
			all = append(all, refValues(e)...)
		}
		return all
	}
	return []any{value}
}

// refTest says whether an element of an array of a pattern matches a value.
func refTest(p, value any) bool {
	operators, ok := p.(map[string]any)
	if !ok {
		return refEqual(p, value)
	}
	text, isText := value.(string)
	find := func(expression string) bool { return isText && regexp.MustCompile(expression).MatchString(text) }
	for operator, want := range operators {
		word, _ := want.(string)
		if o, ok := want.(map[string]any); ok && operator != "anything-but" {
			word = "(?i)" + regexp.QuoteMeta(o["equals-ignore-case"].(string))
		} else {
			word = regexp.QuoteMeta(word)
		}
		switch operator {
		case "exists":
			return true
		case "prefix":
			return find(`\A` + word)
		case "suffix":
			return find(word + `\z`)
		case "equals-ignore-case":
			return find(`\A(?i)` + word + `\z`)
		case "wildcard":
			expression, escaped := `\A(?s)`, false
			for _, c := range want.(string) {
				switch {
				case !escaped && c == '\\':
					escaped = true
					continue
				case !escaped && c == '*':
					expression += ".*"
				default:
					expression += regexp.QuoteMeta(string(c))
				}
				escaped = false
			}
			return find(expression + `\z`)
		case "cidr":
			_, block, _ := net.ParseCIDR(want.(string))
			ip := net.ParseIP(text)
			return isText && ip != nil && block.Contains(ip)
		case "numeric":
			return refNumeric(want.([]any), value)
		case "anything-but":
			return !refExcluded(want, value)
		}
	}
	panic("an operator that the reference does not have")
}

func refExcluded(want, value any) bool {
	if all, ok := want.([]any); ok {
		return slices.ContainsFunc(all, func(one any) bool { return refExcluded(one, value) })
	}
	if operators, ok := want.(map[string]any); ok {
		for operator, words := range operators {
			if all, ok := words.([]any); ok {
				return slices.ContainsFunc(all, func(one any) bool { return refTest(map[string]any{operator: one}, value) })
			}
		}
	}
	return refTest(want, value)
}

func refEqual(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, isToo := b.(json.Number)
	if isNumber && isToo {
		return refRat(x).Cmp(refRat(y)) == 0
	}
	return isNumber == isToo && a == b
}

func refRat(n json.Number) *big.Rat {
	r, _ := new(big.Rat).SetString(string(n))
	return r
}

func refNumeric(bounds []any, value any) bool {
	n, ok := value.(json.Number)
	for i := 0; ok && i < len(bounds); i += 2 {
		c := refRat(n).Cmp(refRat(bounds[i+1].(json.Number)))
		switch bounds[i].(string) {
		case "=":
			ok = c == 0
		case ">":
			ok = c > 0
		case ">=":
			ok = c >= 0
		case "<":
			ok = c < 0
		case "<=":
			ok = c <= 0
		}
	}
	return ok
}

// The texts and numbers that patterns and documents are made of: few, so that they match often.
var (
	refTexts = rapid.SampledFrom([]string{
		"a", "A", "ab", "aB", "ba", "abab", "a*b", `a\b`, "k", "\u212a", "é", "É", "", "1", "10.0.0.1", "::1", "true",
	})
	refNumbers = rapid.SampledFrom([]string{"0", "1", "1.0", "2", "2.5", "25e-1", "-1", "1e3", "1000"})
	refNames   = rapid.SampledFrom([]string{"x", "y", "z"})
)

func drawScalar(t *rapid.T) any {
	return rapid.OneOf(
		rapid.Map(refTexts, func(s string) any { return s }),
		rapid.Map(refNumbers, func(s string) any { return json.Number(s) }),
		rapid.SampledFrom([]any{true, false, nil}),
	).Draw(t, "scalar")
}

func drawDocument(t *rapid.T, depth int) any {
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
	case kind < 4 || depth == 0:
		return drawScalar(t)
	case kind < 7:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			list = append(list, drawDocument(t, depth-1))
		}
		return list
	}
	return drawMembers(t, depth-1)
}

func drawMembers(t *rapid.T, depth int) map[string]any {
	object := map[string]any{}
	for _, key := range rapid.SliceOfNDistinct(refNames, 0, 3, rapid.ID).Draw(t, "members") {
		object[key] = drawDocument(t, depth)
	}
	return object
}

func drawWildcard(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", `\*`, `\\`, "é", "B"}), 1, 4).Draw(t, "pieces")
	s := strings.Join(pieces, rapid.SampledFrom([]string{"", "*"}).Draw(t, "between"))
	return rapid.SampledFrom([]string{"", "*"}).Draw(t, "before") + s + rapid.SampledFrom([]string{"", "*"}).Draw(t, "after")
}

// oneOrList draws a value, or an array of some.
func oneOrList(t *rapid.T, draw func() any) any {
	if rapid.Bool().Draw(t, "single") {
		return draw()
	}
	list := []any{draw()}
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		list = append(list, draw())
	}
	return list
}

func drawTest(t *rapid.T) any {
	word := func() any { return refTexts.Draw(t, "text") }
	long := func() any { return refTexts.Filter(func(s string) bool { return s != "" }).Draw(t, "text") }
	of := func(operator string, v any) any { return map[string]any{operator: v} }
	num := func() any { return json.Number(refNumbers.Draw(t, "number")) }
	switch rapid.IntRange(0, 15).Draw(t, "test") {
	case 0, 1, 2, 3:
		return drawScalar(t)
	case 4:
		return of("exists", rapid.Bool().Draw(t, "exists"))
	case 5:
		return of(rapid.SampledFrom([]string{"prefix", "suffix"}).Draw(t, "side"), word())
	case 6:
		return of(rapid.SampledFrom([]string{"prefix", "suffix"}).Draw(t, "side"), of("equals-ignore-case", word()))
	case 7:
		return of("equals-ignore-case", word())
	case 8:
		return of("wildcard", drawWildcard(t))
	case 9:
		return of("anything-but", oneOrList(t, word))
	case 10:
		return of("anything-but", oneOrList(t, num))
	case 11:
		return of("anything-but", of(rapid.SampledFrom([]string{"prefix", "suffix"}).Draw(t, "side"), oneOrList(t, long)))
	case 12:
		return of("anything-but", of("equals-ignore-case", oneOrList(t, word)))
	case 13:
		return of("anything-but", of("wildcard", oneOrList(t, func() any { return drawWildcard(t) })))
	case 14:
		return of("cidr", rapid.SampledFrom([]string{"10.0.0.0/8", "10.0.0.9/8", "0.0.0.0/0", "::/0", "::1/128", "11.0.0.0/8"}).Draw(t, "block"))
	}
	if rapid.Bool().Draw(t, "range") {
		low := rapid.IntRange(-1, 2).Draw(t, "low")
		high := json.Number(strconv.Itoa(low + rapid.IntRange(1, 3).Draw(t, "width")))
		return of("numeric", []any{
			rapid.SampledFrom([]string{">", ">="}).Draw(t, "lower"), json.Number(strconv.Itoa(low)),
			rapid.SampledFrom([]string{"<", "<="}).Draw(t, "upper"), high,
		})
	}
	return of("numeric", []any{rapid.SampledFrom([]string{"=", ">", ">=", "<", "<="}).Draw(t, "operator"), num()})
}

func drawPattern(t *rapid.T, depth int) map[string]any {
	pattern := map[string]any{}
	for _, key := range rapid.SliceOfNDistinct(refNames, 0, 2, rapid.ID).Draw(t, "fields") {
		if depth > 0 && rapid.IntRange(0, 3).Draw(t, "below") == 0 {
			pattern[key] = drawPattern(t, depth-1)
			continue
		}
		list := []any{}
		for range rapid.IntRange(1, 3).Draw(t, "tests") {
			list = append(list, drawTest(t))
		}
		pattern[key] = list
	}
	if len(pattern) == 0 || depth > 0 && rapid.IntRange(0, 3).Draw(t, "or") == 0 {
		if depth == 0 {
			return map[string]any{"x": []any{drawTest(t)}}
		}
		pattern["$or"] = []any{drawPattern(t, depth-1), drawPattern(t, depth-1)}
	}
	return pattern
}

// TestMatchIsAsTheReference: patterns of every operator and shape match what the reference matches.
func TestMatchIsAsTheReference(t *testing.T) {
	t.Parallel()
	var matched, all int
	rapid.Check(t, func(t *rapid.T) {
		encoded := func(v any) string {
			text, err := json.Marshal(map[string]any{"detail": v})
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		p, d := encoded(drawPattern(t, 2)), encoded(drawMembers(t, 3))
		parsed, err := event.ParsePattern(p)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		read, err := event.ReadDocument([]byte(d))
		if err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		want := refMatch(refDecoded(p), refDecoded(d))
		if got := parsed.Match(read); got != want {
			t.Fatalf("pattern %s, document %s: got %t, want %t", p, d, got, want)
		}
		if all++; want {
			matched++
		}
	})
	if matched < all/20 || matched > all-all/20 {
		t.Errorf("%d of %d drawn patterns matched: want neither few nor nearly all", matched, all)
	}
}

func refDecoded(text string) map[string]any {
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return v
}

// FuzzPattern: any pattern and any document are read or refused without a panic; the decision is that of the reference.
func FuzzPattern(f *testing.F) {
	push := string(event.ImagePushed(origin, app, tags("1.0"))[0].AppendJSON(nil))
	f.Add(`{"source": ["aws.ecr"], "detail": {"image-tag": [{"wildcard": "1.*"}]}}`, push)
	f.Add(`{"detail": {"$or": [{"a": [{"numeric": [">", 0, "<=", 5]}]}, {"b": [{"anything-but": {"prefix": ["x"]}}]}]}}`, `{"detail": {"a": [1, 2.5]}}`)
	f.Add(`{"detail": {"a": {"b": [{"exists": false}, null, {"cidr": "10.0.0.0/8"}]}}}`, `{"detail": {"a": [{"b": "::ffff:10.0.0.1"}, 1]}}`)
	f.Add(`{"detail": {"a": [{"suffix": {"equals-ignore-case": "\u212a"}}, {"equals-ignore-case": "K"}]}}`, `{"detail": {"a": "k\u0000"}}`)
	f.Fuzz(func(t *testing.T, text, doc string) {
		d, err := event.ReadDocument([]byte(doc))
		if err != nil {
			return
		}
		p, err := event.ParsePattern(text)
		if err != nil {
			if strings.Contains(err.Error(), "%!") || len(err.Error()) > 2000 {
				t.Errorf("%s: got the error %v", text, err)
			}
			return
		}
		// The reference differs where numbers need more than a float64, and net.ParseCIDR where blocks are IPv4 within IPv6.
		for _, s := range []string{"cidr", "1", "2", "3", "4", "5", "6", "7", "8", "9"} {
			if strings.Contains(text, s) {
				p.Match(d)
				return
			}
		}
		if got, want := p.Match(d), refMatch(refDecoded(text), refDecoded(doc)); got != want {
			t.Errorf("pattern %s, document %s: got %t, want %t", text, doc, got, want)
		}
	})
}
