package semver_test

import (
	"cmp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
)

// Source: the examples of semver.org and its suggested regular expression.
func TestParse(t *testing.T) {
	t.Parallel()
	valid := []string{
		"0.0.4", "1.2.3", "v1.2.3", "10.20.30", "1.1.2-prerelease+meta", "1.1.2+meta-valid", "1.0.0-alpha", "1.0.0-alpha.beta.1",
		"1.0.0-alpha0.valid", "1.0.0-0A.is.legal", "1.0.0-rc.1+build.1",
		"1.2.3----RC-SNAPSHOT.12.9.1--.12+788",
		"1.0.0+0.build.1-rc.10000aaa-kk-0.1",
		"99999999999999999999999.999999999999999999.99999999999999999", "1.0.0-0", "1.0.0--", "1.0.0+001",
	}
	for _, s := range valid {
		v, ok := semver.Parse(s)
		if !ok {
			t.Errorf("Parse(%q): got false, want a version", s)
			continue
		}
		if got, want := v.String(), strings.TrimPrefix(s, "v"); got != want {
			t.Errorf("Parse(%q).String(): got %q, want %q", s, got, want)
		}
	}
	invalid := []string{
		"", "1", "1.2", "1.2.3-0123", "1.2.3-0123.0123", "1.1.2+.123",
		"+invalid", "-invalid", "alpha", "1.0.0-alpha_beta", "1.0.0-alpha..",
		"1.0.0-alpha..1", "01.1.1", "1.01.1", "1.1.01", "1.2.3.DEV", "1.2-SNAPSHOT", "1.2.3.4",
		"1.0.0+", "1.0.0-", "1.0.0-é", "vv1.0.0", "V1.0.0",
		" 1.0.0", "1.0.0 ", "1.0.0+a+b", "9.8.7-whatever+meta+meta", "-1.0.0", "1.0.0-" + strings.Repeat("a", 250),
	}
	for _, s := range invalid {
		if v, ok := semver.Parse(s); ok {
			t.Errorf("Parse(%q): got %v, want false", s, v)
		}
		if key := semver.Key(s); key != "" {
			t.Errorf("Key(%q): got %q, want none", s, key)
		}
	}
}

// Source: semver.org, items 10 and 11 and their examples.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	ascending := []string{
		"0.0.0-0", "0.0.0", "0.9.10", "0.10.0", "1.0.0-0", "1.0.0-2", "1.0.0-10", "1.0.0--", "1.0.0-1a",
		"1.0.0-A", "1.0.0-alpha", "1.0.0-alpha.1",
		"1.0.0-alpha.beta", "1.0.0-alpha-", "1.0.0-alpha0", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
		"1.0.0", "1.0.1-a", "2.0.0", "2.1.0", "2.1.1",
		"10.0.0", "99999999999999999999.0.0",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			checkOrder(t, a, b, cmp.Compare(i, j))
		}
	}
	for _, equal := range [][2]string{{"1.0.0", "v1.0.0"}, {"1.0.0+a", "1.0.0+b"}, {"1.0.0-rc.1+a", "1.0.0-rc.1"}} {
		checkOrder(t, equal[0], equal[1], 0)
	}
}

type fataler interface {
	Helper()
	Errorf(format string, args ...any)
}

func checkOrder(t fataler, a, b string, want int) {
	t.Helper()
	va, ok := semver.Parse(a)
	vb, also := semver.Parse(b)
	if !ok || !also {
		t.Errorf("Parse(%q), Parse(%q): got %v, %v, want versions", a, b, ok, also)
	}
	if got := semver.Compare(va, vb); got != want {
		t.Errorf("Compare(%q, %q): got %d, want %d", a, b, got, want)
	}
	if got := strings.Compare(va.Key(), vb.Key()); got != want {
		t.Errorf("keys of %q and %q, %q and %q: got the order %d, want %d", a, b, va.Key(), vb.Key(), got, want)
	}
	if got, want := semver.IsPreRelease(semver.Key(a)), va.Pre != nil; got != want {
		t.Errorf("IsPreRelease(Key(%q)): got %v, want %v", a, got, want)
	}
}

// versions are texts of versions that are often near each other.
func versions() *rapid.Generator[string] {
	const numbers = `v?(0|[1-9][0-9]?)\.(0|1|9|10|99)\.(0|1|[1-9][0-9]{0,20})`
	return rapid.StringMatching(numbers + `(-(0|1|9|10|a|ab|a-|-|[A-Za-z-][0-9A-Za-z-]{0,4})(\.(0|2|10|a|b|-))?(\.(0|1|a))?)?(\+[a-z0-9.]{0,3}[a-z0-9])?`).
		Filter(func(s string) bool { _, ok := semver.Parse(s); return ok })
}

const keyCharacters = "!-~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func TestKeysSortByPrecedence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := versions().Draw(t, "a"), versions().Draw(t, "b")
		va, _ := semver.Parse(a)
		vb, _ := semver.Parse(b)
		checkOrder(t, a, b, semver.Compare(va, vb))
		if key := va.Key(); len(key) > 3*len(a)+9 || strings.Trim(key, keyCharacters) != "" {
			t.Errorf("Key(%q): got %q, which is too long or has other characters", a, key)
		}
	})
}

func TestRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, in, out string }{
		{"1.2.3", "1.2.3 v1.2.3 1.2.3+x", "1.2.4 1.2.2 1.2.3-a 1.2.3-0"},
		{"=1.2.3-rc", "1.2.3-rc", "1.2.3-rc.0 1.2.3-r 1.2.3"},
		{"<2.0.0", "1.9.9 2.0.0-rc.1 2.0.0-0", "2.0.0 2.0.0+a"},
		{"<2", "1.9.9", "2.0.0-0 2.0.0"},
		{"<=2.0.0", "2.0.0", "2.0.1-0 2.0.1"},
		{"<=2.0", "2.0.0-0 2.0.99", "2.1.0-0"},
		{">1.2.3-rc", "1.2.3-rc.0 1.2.3 2.0.0-0", "1.2.3-rc 1.2.3-a"},
		{">1.2", "1.3.0-0 1.3.0", "1.2.99 1.2.0"},
		{">=1.2", "1.2.0-0 2.0.0", "1.1.9"},
		{">=1.0.0 <2.0.0-0", "1.0.0 1.9.0-x", "2.0.0-0 1.0.0-rc 2.0.0"},
		{"1.2.x", "1.2.0-0 1.2.0 1.2.99", "1.3.0-0 1.1.99"},
		{"1.x.x", "1.0.0-0 1.99.0", "2.0.0-0 0.9.0"},
		{"v1", "1.0.0 1.99.0", "2.0.0 0.9.0"},
		{"*", "0.0.0-0 999999999999999999999.0.0", "latest 1.0"},
		{"~1.2.3", "1.2.3 1.2.9", "1.2.3-a 1.3.0-0"},
		{"~1.2", "1.2.0 1.2.9", "1.3.0"},
		{"~1", "1.0.0 1.9.0", "2.0.0"},
		{"^1.2.3", "1.2.3 1.99.0", "1.2.2 2.0.0-0"},
		{"^1.2.3-rc", "1.2.3-rc 1.2.3 1.99.0", "1.2.3-a 2.0.0-0"},
		{"^0.2.3", "0.2.3 0.2.99", "0.3.0-0 0.2.2"},
		{"^0.0.3", "0.0.3", "0.0.4-0 0.0.2"},
		{"^0.0", "0.0.3", "0.1.0-0"},
		{"^0", "0.0.3 0.99.0", "1.0.0-0"},
		{"^1", "1.99.0", "2.0.0-0"},
		{"^9", "9.0.0", "10.0.0-0"},
		{"^" + strings.Repeat("9", 251), strings.Repeat("9", 251) + ".0.0", "9.0.0"},
		{"1.0.0 || >=3 <4", "1.0.0 3.5.0", "2.0.0 4.0.0"},
	} {
		r, err := semver.ParseRange(c.text)
		if err != nil {
			t.Errorf("ParseRange(%q): %v", c.text, err)
			continue
		}
		for _, v := range strings.Fields(c.in) {
			if !r.Contains(semver.Key(v)) {
				t.Errorf("%q contains %q: got false, want true", c.text, v)
			}
		}
		for _, v := range strings.Fields(c.out) {
			if r.Contains(semver.Key(v)) {
				t.Errorf("%q contains %q: got true, want false", c.text, v)
			}
		}
	}
	for _, text := range []string{"", " ", "1.0.0 ||", "|| 1", "a", "1.2.3.4", "1.x.3", "==1", "=>1", "<>1", "1.0.0-",
		"> 1", "01.0.0", "1..2", ">",
		strings.Repeat("1 ", 101), "1.2.3 - 2.0.0", strings.Repeat("1", 300), strings.Repeat("9", 255)} {
		if _, err := semver.ParseRange(text); err == nil {
			t.Errorf("ParseRange(%q): got no error, want one", text)
		}
	}
}

// A comparator contains what the comparison of precedences says.
func TestRangeIsByPrecedence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := versions().Draw(t, "a"), versions().Draw(t, "b")
		va, _ := semver.Parse(a)
		vb, _ := semver.Parse(b)
		c := semver.Compare(va, vb)
		for op, want := range map[string]bool{"": c == 0, "=": c == 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0} {
			r, err := semver.ParseRange(op + b)
			if err != nil {
				t.Fatalf("ParseRange(%q): %v", op+b, err)
			}
			if got := r.Contains(va.Key()); got != want {
				t.Errorf("%s%s contains %s: got %v, want %v", op, b, a, got, want)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add(">=1.0.0 <2 || ^0.0.3-rc.1 ~1.x", "v1.2.3-rc.1+b")
	f.Add("*", "1")
	f.Fuzz(func(t *testing.T, text, tag string) {
		r, err := semver.ParseRange(text)
		if err != nil {
			return
		}
		key := semver.Key(tag)
		if r.Contains(key) && key == "" {
			t.Errorf("%q contains %q, which is no version", text, tag)
		}
		every, _ := semver.ParseRange("*")
		if key != "" && !every.Contains(key) {
			t.Errorf("* does not contain %q", tag)
		}
	})
}
