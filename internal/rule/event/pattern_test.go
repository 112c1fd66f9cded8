package event_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func document(t testing.TB, text string) event.Document {
	t.Helper()
	d, err := event.ReadDocument([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", name.Clip(text), err)
	}
	return d
}

func pattern(t testing.TB, text string) *event.Pattern {
	t.Helper()
	p, err := event.ParsePattern(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// TestPatternsOfEvents: patterns that people write, with the shapes that each of them selects.
func TestPatternsOfEvents(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{`{"source": ["aws.ecr"], "detail-type": ["ECR Image Action"], "detail": {"action-type": ["PUSH"], "result": ["SUCCESS"]}}`,
			"push, push without tag"},
		{`{"detail": {"action-type": ["PUSH"], "image-tag": [{"exists": false}]}}`,
			"push without tag, referrer push"},
		{`{"detail": {"image-tag": [{"wildcard": "1.*"}], "action-type": [{"anything-but": "DELETE"}]}}`,
			"pull, push, replication"},
		{`{"detail": {"target-storage-class": [{"exists": true}]}}`,
			"archive, referrer archive, referrer restore, restore"},
		{`{"detail": {"finding-severity-counts": {"CRITICAL": [{"numeric": [">", 0]}]}}}`,
			"scan"},
		{`{"detail-type": ["ECR Image Scan"], "$or": [{"detail": {"scan-status": ["FAILED"]}}, {"detail": {"image-tags": ["latest"]}}]}`,
			"scan, scan failed"},
		{`{"detail": {"repositories": {"repository-name": [{"prefix": "team/"}], "scan-frequency": ["SCAN_ON_PUSH"]}}}`,
			"scan frequency"},
		{`{"detail": {"result": [{"anything-but": ["SUCCESS"]}]}}`,
			"backfill, denied, denied once, replication failed"},
		{`{"source": ["ecrin"], "detail": {"count": [{"numeric": [">=", 5, "<", 10]}]}}`,
			"pulls"},
		{`{"source": ["ecrin"], "detail-type": [{"suffix": "Policy Action"}], "detail": {"policy-type": ["REGISTRY", "LIFECYCLE"]}}`,
			"registry policy"},
		{`{"resources": [{"suffix": ":repository/team/app"}], "source": [{"prefix": "aws."}]}`,
			"cache, cache failed, replication, replication failed, scan, scan failed"},
		{`{"detail": {"sync-status": [{"equals-ignore-case": "failed"}]}}`,
			"cache failed"},
		{`{"detail": {"rule-version": [1]}}`,
			""},
		{`{"detail": {"principal": [{"wildcard": "arn:aws:iam::*:user/alice"}], "action-type": ["RESTORE", "CREATE"]}}`,
			"repository created"},
	} {
		text, want := c[0], c[1]
		p := pattern(t, text)
		got := map[string]bool{}
		for what, s := range shapes() {
			if p.Match(document(t, string(s.event.AppendJSON(nil)))) {
				got[what] = true
			}
		}
		for what := range strings.SplitSeq(want, ", ") {
			if what != "" && !got[what] {
				t.Errorf("%s: does not match %s", text, what)
			}
			delete(got, what)
		}
		if len(got) > 0 {
			t.Errorf("%s: matches also %v", text, got)
		}
	}
}

// TestPatterns: each operator, with values of the member m that it matches and that it does not match. A value of "-" means
// that the member is absent.
func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		leaf    string
		yes, no []string
	}{
		{`["a", 1, true, null, "1"]`, []string{`"a"`, `1`, `1.0`, `10e-1`, `true`, `null`, `"1"`, `["x", "a"]`, `[[["a"]]]`},
			[]string{`"A"`, `"b"`, `2`, `false`, `"true"`, `"null"`, `""`, `[]`, `{"a": "a"}`, `-`}},
		{`[0]`, []string{`0`, `-0`, `0.000`, `0e5`}, []string{`"0"`, `false`, `null`, `1e-300`, `-`}},
		{`[""]`, []string{`""`, `["", 1]`}, []string{`null`, `" "`, `-`, `[]`}},
		{`[{"exists": true}]`, []string{`""`, `null`, `0`, `false`, `[1]`, `[[], 1]`},
			[]string{`-`, `[]`, `[[]]`, `{}`, `{"m": 1}`, `[{"m": 1}]`}},
		{`[{"exists": false}]`, []string{`-`, `[]`, `[[]]`, `{}`, `{"m": 1}`, `[{"m": 1}]`}, []string{`""`, `null`, `0`, `[{"m": 1}, 2]`}},
		{`["a", {"exists": false}]`, []string{`-`, `"a"`}, []string{`"b"`, `null`}},
		{`[{"prefix": "ab"}]`, []string{`"ab"`, `"abc"`, `[1, "abx"]`}, []string{`"a"`, `"Ab"`, `"xab"`, `null`, `-`}},
		{`[{"prefix": ""}]`, []string{`""`, `"a"`}, []string{`1`, `null`, `-`}},
		{`[{"prefix": {"equals-ignore-case": "aÉk"}}]`, []string{`"AéK"`, `"aék"`, `"AÉ\u212Ax"`}, []string{`"aé"`, `"aek"`, `"xaék"`, `1`}},
		{`[{"suffix": "ab"}]`, []string{`"ab"`, `"xab"`}, []string{`"b"`, `"aB"`, `"abx"`, `1`, `-`}},
		{`[{"suffix": {"equals-ignore-case": ".PNG"}}]`, []string{`"x.png"`, `".Png"`}, []string{`"png"`, `"x.pngx"`, `1`}},
		{`[{"equals-ignore-case": "Straße"}]`, []string{`"STRAßE"`, `"straẞe"`}, []string{`"strasse"`, `"Straß"`, `null`, `-`}},
		{`[{"wildcard": "a*c*e"}]`, []string{`"ace"`, `"abcde"`, `"acce"`, `"a\nc\u0000e"`}, []string{`"ae"`, `"aceX"`, `"Xace"`, `"ac"`, `1`}},
		{`[{"wildcard": "*"}]`, []string{`""`, `"x"`}, []string{`1`, `-`}},
		{`[{"wildcard": "ab*ba"}]`, []string{`"abba"`, `"abxba"`}, []string{`"aba"`, `"ab"`}},
		{`[{"wildcard": "a\\*b\\\\*"}]`, []string{`"a*b\\"`, `"a*b\\x"`}, []string{`"axb\\"`, `"a*bx"`}},
		{`[{"wildcard": "plain"}]`, []string{`"plain"`}, []string{`"plainx"`, `"xplain"`}},
		{`[{"wildcard": "*.tar.*z"}]`, []string{`"a.tar.gz"`, `"a.tar.tar.z"`}, []string{`"a.targz"`}},
		{`[{"anything-but": "a"}]`, []string{`"b"`, `""`, `1`, `null`, `true`, `["a", "b"]`}, []string{`"a"`, `["a"]`, `[]`, `-`, `{}`}},
		{`[{"anything-but": ["a", "b"]}]`, []string{`"c"`, `1`}, []string{`"a"`, `"b"`, `["a", "b"]`, `-`}},
		{`[{"anything-but": [1, 2.5]}]`, []string{`3`, `"1"`}, []string{`1`, `1.0`, `25e-1`}},
		{`[{"anything-but": 7}]`, []string{`8`}, []string{`7`, `70e-1`}},
		{`[{"anything-but": {"prefix": "a"}}]`, []string{`"b"`, `""`, `1`, `["a", "b"]`}, []string{`"a"`, `"ab"`, `-`}},
		{`[{"anything-but": {"suffix": ["x", "y"]}}]`, []string{`"xz"`}, []string{`"ax"`, `"ay"`}},
		{`[{"anything-but": {"equals-ignore-case": ["Ab", ""]}}]`, []string{`"b"`}, []string{`"aB"`, `""`}},
		{`[{"anything-but": {"wildcard": "*/lib/*"}}]`, []string{`"/usr/bin/x"`, `1`}, []string{`"/usr/lib/x"`}},
		{`[{"anything-but": {"wildcard": ["a*", "*b"]}}]`, []string{`"c"`}, []string{`"ax"`, `"xb"`}},
		{`[{"anything-but": "a"}, "a"]`, []string{`"a"`, `"b"`}, []string{`-`}},
		{`[{"numeric": ["=", 3.018e2]}]`, []string{`301.8`, `3018e-1`}, []string{`301.9`, `"301.8"`, `null`, `-`}},
		{`[{"numeric": [">", 0, "<=", 5]}]`, []string{`0.1`, `5`, `[9, 3]`}, []string{`0`, `5.1`, `"3"`, `[9, 0]`}},
		{`[{"numeric": [">=", -1, "<", 1e10]}]`, []string{`-1`, `9999999999`}, []string{`-1.5`, `1e10`}},
		{`[{"numeric": ["<", 10]}, {"numeric": [">=", 20]}]`, []string{`-1e99`, `20`}, []string{`10`, `19.9`}},
		{`[{"cidr": "10.1.2.3/8"}]`, []string{`"10.255.0.1"`, `"::ffff:10.0.0.1"`},
			[]string{`"11.0.0.1"`, `"10.0.0"`, `"10.0.0.1/8"`, `"x"`, `10`, `-`}},
		{`[{"cidr": "::ffff:10.0.0.0/104"}]`, []string{`"10.9.9.9"`}, []string{`"11.0.0.0"`}},
		{`[{"cidr": "2001:db8::/32"}]`, []string{`"2001:db8:1::1"`, `"2001:0DB8::"`}, []string{`"2001:db9::"`, `"fe80::1%eth0"`}},
		{`[{"cidr": "fe80::/10"}]`, []string{`"fe80::1"`}, []string{`"fe80::1%eth0"`}},
	} {
		p := pattern(t, `{"detail": {"m": `+c.leaf+`}}`)
		for _, want := range []bool{true, false} {
			for _, value := range map[bool][]string{true: c.yes, false: c.no}[want] {
				text := `{"detail": {"m": ` + value + `, "x": "y"}}`
				if value == "-" {
					text = `{"detail": {"x": "y"}}`
				}
				if got := p.Match(document(t, text)); got != want {
					t.Errorf("%s with %s: got %t, want %t", c.leaf, value, got, want)
				}
			}
		}
	}
}

// TestPatternsOfObjects: nesting, arrays of objects, and $or.
func TestPatternsOfObjects(t *testing.T) {
	t.Parallel()
	const people = `{"detail": {"people": [{"first": "Anna", "last": "Smith"}, [{"first": "Peter", "last": "Jones"}]], "n": 5}}`
	for _, c := range []struct {
		pattern, document string
		want              bool
	}{
		{`{"detail": {"people": {"first": ["Anna"]}}}`, people, true},
		{`{"detail": {"people": {"first": ["Peter"], "last": ["Jones"]}}}`, people, true},
		{`{"detail": {"people": {"first": ["Anna"], "last": ["Jones"]}}}`, people, false},
		{`{"detail": {"people": {"first": ["Anna"], "$or": [{"last": ["Jones"]}, {"last": ["Smith"]}]}}}`, people, true},
		{`{"detail": {"people": {"first": ["Peter"], "$or": [{"last": ["Smith"]}, {"age": [{"exists": true}]}]}}}`, people, false},
		{`{"detail": {"people": {"first": ["Anna"], "age": [{"exists": false}]}}}`, people, true},
		{`{"detail": {"people": [{"exists": true}]}}`, people, false},
		{`{"detail": {"n": {"below": [{"exists": false}]}}}`, people, true},
		{`{"detail": {"n": {"below": [{"anything-but": "x"}]}}}`, people, false},
		{`{"detail": {"absent": {"a": {"b": [{"exists": false}]}}}}`, people, true},
		{`{"detail": {"empty": {"a": [{"exists": false}]}}}`, `{"detail": {"empty": []}}`, true},
		{`{"detail": {"a.b": ["x"]}}`, `{"detail": {"a": {"b": "x"}}}`, false},
		{`{"detail": {"a.b": ["x"]}}`, `{"detail": {"a.b": "x"}}`, true},
		{`{"source": ["s"], "$or": [{"detail": {"a": [1]}}, {"detail": {"b": [1]}, "region": ["r"]}]}`,
			`{"source": "s", "detail": {"a": 1}}`, true},
		{`{"source": ["s"], "$or": [{"detail": {"a": [1]}}, {"detail": {"b": [1]}, "region": ["r"]}]}`,
			`{"source": "s", "detail": {"b": 1}}`, false},
		{`{"source": ["s"], "$or": [{"detail": {"a": [1]}}, {"detail": {"b": [1]}, "region": ["r"]}]}`,
			`{"source": "s", "detail": {"b": 1}, "region": "r"}`, true},
		{`{"source": ["s"], "$or": [{"detail": {"a": [1]}}, {"detail": {"b": [1]}}]}`, `{"source": "t", "detail": {"a": 1}}`, false},
		{`{"$or": [{"$or": [{"id": ["1"]}, {"id": ["2"]}]}, {"id": ["3"]}]}`, `{"id": "2"}`, true},
		{`{"$or": [{"$or": [{"id": ["1"]}, {"id": ["2"]}]}, {"id": ["3"]}]}`, `{"id": "4"}`, false},
	} {
		if got := pattern(t, c.pattern).Match(document(t, c.document)); got != c.want {
			t.Errorf("%s with %s: got %t, want %t", c.pattern, c.document, got, c.want)
		}
	}
}

// TestRefusedPatterns: the error names the place and says what to write.
func TestRefusedPatterns(t *testing.T) {
	t.Parallel()
	or := func(branches int) string {
		return `[` + strings.Repeat(`{"id": ["1"]},`, branches-1) + `{"id": ["1"]}]`
	}
	below := func(levels int) string {
		return `{"detail": ` + strings.Repeat(`{"a": `, levels) + `["x"]` + strings.Repeat(`}`, levels) + `}`
	}
	for _, c := range [][2]string{
		{``,
			`not JSON: line 1, column 1: unexpected end of JSON input`},
		{"{\n \"source\": ['x']}",
			`not JSON: line 2, column 13: invalid character '\'' looking for beginning of value`},
		{`{"source": ["a"]} {}`,
			`not JSON: line 1, column 19: invalid character '{' after top-level value`},
		{"{\"source\": [\"\xff\"]}",
			`the text has a byte that is not UTF-8`},
		{`[]`,
			`it is an array: write an object, such as {"source": ["aws.ecr"]}`},
		{`"x"`,
			`it is a text: write an object, such as {"source": ["aws.ecr"]}`},
		{`{}`,
			`it is empty: name a member, such as {"source": ["aws.ecr"]}`},
		{`{"detail": {}}`,
			`detail: the object is empty: name a member in it, or leave it out`},
		{`{"source": "aws.ecr"}`,
			`source: "aws.ecr" is a text: write it within an array, as ["aws.ecr"]`},
		{`{"detail": {"count": 5}}`,
			`detail.count: 5 is a number: write it within an array, as [5]`},
		{`{"source": []}`,
			`source: the array is empty and matches nothing: write a value, or [{"exists": false}] for an absent member`},
		{`{"source": [["a"]]}`,
			`source[0]: an array in an array: write all values in one array`},
		{`{"source": ["a"], "source": ["b"]}`,
			`source: the member appears twice: write it once, with all values in its array`},
		{`{"account": ["a", 111122223333]}`,
			`account[1]: 111122223333 is a number, and the member is always a text: write "111122223333"`},
		{`{"account": [{"numeric": ["=", 1]}]}`,
			`account[0].numeric: the member is always a text: write texts, or another operator`},
		{`{"source": {"a": ["b"]}}`,
			`source: the member is not an object: write an array of values, as ["text"]`},
		{`{"detail": ["a"]}`,
			`detail: the member is an object: write its members, as {"detail": {"image-tag": ["1.0"]}}`},
		{`{"image-tag": ["1.0"]}`,
			`image-tag: an event has no such member: write one of version, id, detail-type, source, account, time, ` +
				`region, resources, detail; what is in the detail goes below it, as {"detail": {"image-tag": ["1.0"]}}`},
		{`{"detail": {"image-tag": {"prefix": "1."}}}`,
			`detail.image-tag.prefix: prefix is an operator: write it within an array, as [{"prefix": "1."}]`},
		{`{"detail": {"t": [{"contains": "x"}]}}`,
			`detail.t[0].contains: there is no operator "contains": write {"wildcard": "*text*"}`},
		{`{"detail": {"t": [{"near": "x"}]}}`,
			`detail.t[0].near: there is no operator "near": use one of anything-but, cidr, equals-ignore-case, ` +
				`exists, numeric, prefix, suffix, wildcard`},
		{`{"detail": {"t": [{"prefix": "a", "suffix": "b"}]}}`,
			`detail.t[0]: an object in an array has one operator, this one has 2: write ` +
				`[{"prefix": "a"}, {"suffix": "b"}], of which one must match`},
		{`{"detail": {"t": [{}]}}`,
			`detail.t[0]: an object in an array has one operator, this one has 0: write [{"prefix": "a"}, {"suffix": "b"}], of which one must match`},
		{`{"detail": {"t": [{"prefix": ["a", "b"]}]}}`,
			`detail.t[0].prefix: […] is an array: write a text, as "text"; for several of them write several objects`},
		{`{"detail": {"t": [{"prefix": {"wildcard": "a"}}]}}`,
			`detail.t[0].prefix: write a text, or {"equals-ignore-case": "text"}`},
		{`{"detail": {"t": [{"suffix": {"equals-ignore-case": 1}}]}}`,
			`detail.t[0].suffix.equals-ignore-case: 1 is a number: write a text, as "text"; for several of them write several objects`},
		{`{"detail": {"t": [{"exists": "yes"}]}}`,
			`detail.t[0].exists: "yes" is a text: write true or false`},
		{`{"detail": {"t": [{"wildcard": "a**"}]}}`,
			`detail.t[0].wildcard: "a**" has two * in a row: write one`},
		{`{"detail": {"t": [{"wildcard": "a\\d"}]}}`,
			`detail.t[0].wildcard: in "a\\d" a \ is not before * or \: write \\\\ in JSON for the character itself`},
		{`{"detail": {"t": [{"wildcard": "a\\"}]}}`,
			`detail.t[0].wildcard: in "a\\" a \ is not before * or \: write \\\\ in JSON for the character itself`},
		{`{"detail": {"t": [{"anything-but": []}]}}`,
			`detail.t[0].anything-but: the array is empty: write a value, or {"exists": true} for any value`},
		{`{"detail": {"t": [{"anything-but": [1, "a"]}]}}`,
			`detail.t[0].anything-but[1]: "a" is a text, and the first value is a number: write only texts or only numbers`},
		{`{"detail": {"t": [{"anything-but": true}]}}`,
			`detail.t[0].anything-but: a boolean cannot be excluded: write the other one as a value, as [false]`},
		{`{"detail": {"t": [{"anything-but": null}]}}`,
			`detail.t[0].anything-but: null is null: write texts or numbers`},
		{`{"detail": {"t": [{"anything-but": {"prefix": ["a", ""]}}]}}`,
			`detail.t[0].anything-but.prefix[1]: every text has the empty text at its ends: write a longer one`},
		{`{"detail": {"t": [{"anything-but": {"cidr": "10.0.0.0/8"}}]}}`,
			`detail.t[0].anything-but: write values, or an object with one of ` +
				`prefix, suffix, equals-ignore-case, wildcard, as {"prefix": "text"}`},
		{`{"detail": {"n": [{"numeric": 5}]}}`,
			`detail.n[0].numeric: write ["=", 5], [">", 0], ["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": []}]}}`,
			`detail.n[0].numeric: write ["=", 5], [">", 0], ["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": [">"]}]}}`,
			`detail.n[0].numeric: write ["=", 5], [">", 0], ["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": [">", 0, "<"]}]}}`,
			`detail.n[0].numeric: write ["=", 5], [">", 0], ["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": [">", 0, "<", 1, "<", 2]}]}}`,
			`detail.n[0].numeric: write ["=", 5], [">", 0], ["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": ["!=", 5]}]}}`,
			`detail.n[0].numeric[0]: "!=" is not the operator expected here: write ["=", 5], [">", 0], ` +
				`["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": ["<", 5, ">", 0]}]}}`,
			`detail.n[0].numeric[0]: "<" is not the operator expected here: write ["=", 5], [">", 0], ` +
				`["<=", 5] or [">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": [">", "0"]}]}}`,
			`detail.n[0].numeric[1]: "0" is a text: write ["=", 5], [">", 0], ["<=", 5] or ` +
				`[">", 0, "<=", 5], with the operators =, >, >=, < and <=`},
		{`{"detail": {"n": [{"numeric": [">", 5, "<", 5]}]}}`,
			`detail.n[0].numeric: no number is between 5 and 5: write the smaller one first; for one number write ["=", 5]`},
		{`{"detail": {"n": [1e999]}}`,
			`detail.n[0]: the number 1e999 is too large: numbers are as large as 1.7e308`},
		{`{"detail": {"ip": [{"cidr": "10.0.0.1"}]}}`,
			`detail.ip[0].cidr: "10.0.0.1" is one address: write "10.0.0.1/32"`},
		{`{"detail": {"ip": [{"cidr": "10.0/8"}]}}`,
			`detail.ip[0].cidr: "10.0/8" is not a block of addresses: write one such as "10.0.0.0/8" or "2001:db8::/32"`},
		{`{"$or": {"source": ["a"]}}`,
			`$or: write an array of two or more objects, such as [{"source": ["ecrin"]}, {"detail-type": ["ECR Image Action"]}]`},
		{`{"$or": [{"source": ["a"]}]}`,
			`$or: write an array of two or more objects, such as [{"source": ["ecrin"]}, {"detail-type": ["ECR Image Action"]}]`},
		{`{"$or": [{"source": ["a"]}, "b"]}`,
			`$or[1]: "b" is a text: write an object, such as {"source": ["ecrin"]}`},
		{`{"detail": {"$or": [{"a": ["x"]}, {"b": []}]}}`,
			`detail.$or[1].b: the array is empty and matches nothing: write a value, or [{"exists": false}] for an absent member`},
		{`{"detail": {"a b": ["x", []]}}`,
			`detail["a b"][1]: an array in an array: write all values in one array`},
		{below(31),
			`nested deeper than 32 levels`},
		{`{"$or": ` + or(7) + `, "detail": {"$or": ` + or(11) + `, "a": {"$or": ` + or(13) + `}}}`,
			`its $or stand for more than 1000 combinations: write alternatives of one member as values of its array`},
		{`{"source": ["` + strings.Repeat("é", 4083) + `"]}`,
			`it has 4099 characters, at most 4096 are permitted: use wildcard or prefix in place of many values`},
	} {
		text, want := c[0], c[1]
		_, err := event.ParsePattern(text)
		var p *event.Problem
		if !errors.As(err, &p) || !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("%s: got %v, want a problem", name.Clip(text), err)
			continue
		}
		if p.Error() != want || fault.From(err).Public != "the event pattern is not valid: "+want {
			t.Errorf("%s: got\n%s\nwant\n%s", name.Clip(text), p, want)
		}
	}
	for _, text := range []string{
		below(30), `{"$or": ` + or(25) + `, "detail": {"$or": ` + or(40) + `}}`, `{"source": ["` + strings.Repeat("é", 4080) + `"]}`,
	} {
		if got := pattern(t, text).String(); got != text {
			t.Errorf("got %s, want %s", name.Clip(got), name.Clip(text))
		}
	}
}

func TestRefusedDocuments(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{
		"empty": ``, "array": `[]`, "syntax": `{"a":}`, "member twice": `{"a": 1, "a": 2}`, "bytes": "{\"a\": \"\xff\"}",
		"depth": strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), "number": `{"a": -1e999}`,
		"kind of text": `"a"`, "kind of number": `1`,
		"values": `{"a": [` + strings.Repeat("1,", 4094) + `1]}`,
		"length": `{"a": "` + strings.Repeat("x", maxBytes-len(`{"a": ""}`)+1) + `"}`,
	} {
		if _, err := event.ReadDocument([]byte(text)); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("%s: got %v, want %v", what, err, fault.InvalidParameter)
		}
	}
	document(t, `{"a": "`+strings.Repeat("x", maxBytes-len(`{"a": ""}`))+`"}`)
	document(t, `{"a": [`+strings.Repeat("1,", 4093)+`1]}`)
	document(t, strings.Repeat(`{"a":`, 32)+"1"+strings.Repeat("}", 32))
}

// hard returns patterns of the maximum length, each with a document of the maximum length for which it needs much work.
func hard() map[string][2]string {
	values := func(one string) string {
		return `{"a": [` + strings.Repeat(one+",", 4092) + one + `]}` // with three values around it the maximum
	}
	long := func(s string) string { return `{"a": "` + strings.Repeat(s, (maxBytes-100)/len(s)) + `"}` }
	many := func(one string) string {
		return `{"detail": {"a": [` + strings.Repeat(one+",", (4096-40)/(len(one)+1)) + one + `]}}`
	}
	return map[string][2]string{
		"many prefixes, many values": {many(`{"prefix":"x"}`), values(`"a"`)},
		"many suffixes, long text":   {many(`{"suffix":"x"}`), long("a")},
		"many wildcards, long text":  {many(`{"wildcard":"*a*b*"}`), long("a")},
		"one wildcard with many *":   {`{"detail": {"a": [{"wildcard": "` + strings.Repeat("a*", 2000) + `b"}]}}`, long("a")},
		"one wildcard with long pieces": {
			`{"detail": {"a": [{"wildcard": "*` + strings.Repeat("a", 2000) + "b*" + strings.Repeat("a", 2000) + `"}]}}`, long("a"),
		},
		"wildcards, many values": {many(`{"wildcard":"*a*b*"}`), values(`"` + strings.Repeat("a", 60) + `"`)},
		"ignoring case":          {many(`{"equals-ignore-case":"É"}`), values(`"é é"`)},
		"addresses, long text":   {many(`{"cidr":"::/1"}`), long("a")},
		"addresses":              {many(`{"cidr":"::/1"}`), values(`"8000::1"`)},
		"many numbers":           {many(`{"numeric":["=",1]}`), values("2")},
		"anything-but":           {many(`{"anything-but":{"prefix":"a"}}`), values(`"a"`)},
		"$or over an array of objects": {
			`{"detail": {"a": {"$or": [` + strings.Repeat(`{"b": [1]},`, 360) + `{"b": [1]}]}}}`,
			`{"a": [` + strings.Repeat(`{"b":2},`, 2045) + `{"b":2}]}`,
		},
	}
}

// TestHardPatterns: no pattern takes long for any event.
func TestHardPatterns(t *testing.T) {
	for what, c := range hard() {
		p, d := pattern(t, c[0]), document(t, `{"detail": `+c[1]+`}`)
		began := time.Now()
		got := p.Match(d)
		took := time.Since(began)
		t.Logf("%s: %s", what, took)
		if got || took > 5*time.Second {
			t.Errorf("%s: got %t after %s, want false within 5s", what, got, took)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	p := pattern(b, `{"source": ["aws.ecr"], "detail-type": ["ECR Image Action"], "detail": {"action-type": ["PUSH"], "image-tag": [{"wildcard": "v*"}]}}`)
	text := event.ImagePushed(origin, app, tags("v1"))[0].AppendJSON(nil)
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := event.ReadDocument(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("match", func(b *testing.B) {
		b.ReportAllocs()
		for d := document(b, string(text)); b.Loop(); {
			if !p.Match(d) {
				b.Fatal("got no match")
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			event.ImagePushed(origin, app, tags("v1"))[0].AppendJSON(nil)
		}
	})
}
