package console_test

import (
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/door/console"
)

// A size is a number of bytes of at most an exabyte, or an error, whatever was typed.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"", "80 GB", "1.5T", "0", "-1", "NaN", "Inf", "1e400", "1e18", "9223372036854775807", "0x1p60", "1_000",
		"KB", "k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := console.ParseSize(s)
		if err == nil && (n < 0 || n > 1e18) {
			t.Errorf("%q is %d", s, n)
		}
		if err != nil && n != 0 {
			t.Errorf("%q: got %d with %v", s, n, err)
		}
	})
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": 0, "80 GB": 80e9, "80gb": 80e9, "1.5 t": 15e11, "12": 12, "12 B": 12, "1 kB": 1000} {
		if got, err := console.ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"-1", "x", "GB", "1 XB", "NaN", "Inf", "2000 PB", "1e30"} {
		if got, err := console.ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

// A day is the beginning of a day of UTC that is written as it was typed, or an error.
func FuzzParseDay(f *testing.F) {
	for _, s := range []string{"", "2027-01-31", " 2027-01-31 ", "2027-02-30", "0000-00-00", "9999-12-31", "2027-1-1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		day, err := console.ParseDay(s)
		switch text := strings.TrimSpace(s); {
		case err != nil && day != nil, err == nil && day == nil && text != "":
			t.Errorf("%q: got %v, %v", s, day, err)
		case day != nil && (day.UTC().Format(time.DateOnly) != text || day.UTC().Truncate(24*time.Hour) != day.UTC()):
			t.Errorf("%q is %v", s, day)
		}
	})
}

// The end of an axis is not below what it shows.
func FuzzBounds(f *testing.F) {
	for _, n := range []int64{0, 1, 3, 999, 1e12, 6e18, math.MaxInt64} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if bars, egress := console.Bounds(n); bars < n || n <= 1e18 && egress < n {
			t.Errorf("the axes for %d end at %d and %d", n, bars, egress)
		}
	})
}

// A word of a command is one word of a shell, which is what pages show of it.
func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "'", "''", "$(id)", "`id`", "a\nb", "é", "-x", "a\u202eb", `\`, `\'`, "a;b", "!!", "~", "a*"} {
		f.Add(s)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("sh is missing")
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := console.Quoted(s)
		out, err := exec.Command(sh, "-c", "printf %s "+got).Output()
		if err != nil || string(out) != console.Shown(s) {
			t.Errorf("%q is quoted as %s, which a shell takes for %q (%v)", s, got, out, err)
		}
	})
}

// A text keeps its lines, and has no character that hides or turns what stands beside it.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "a\tb\nc", "a\u202eb", "\x00", "\xff", "\r\n", "é語"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := console.Visible(s)
		if strings.Count(got, "\n") != strings.Count(s, "\n") || !utf8.ValidString(got) {
			t.Errorf("%q is shown as %q", s, got)
		}
		for _, c := range got {
			if c != '\t' && c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c)) {
				t.Errorf("%q is shown as %q", s, got)
			}
		}
		if lines, problems := console.Edited(s); len(lines) != strings.Count(s, "\n")+1 || (problems > 0) != (got != s) {
			t.Errorf("%q has %d lines and %d problems in an editor", s, len(lines), problems)
		}
	})
}

// A place in a text of JSON is in the text.
func FuzzPlaceOf(f *testing.F) {
	f.Add(`{"Statement": [{"Action": ["a", "b"]}]}`, "Statement[0].Action[1]")
	f.Add("{\n \"a\": 1}", "a")
	f.Add("[[[", "[0][0][0]")
	f.Add(`{"Statement": {"Action": 1}}`, "Statement[99999999999999999999].Action")
	f.Fuzz(func(t *testing.T, text, path string) {
		line, column := console.PlaceOf(text, path)
		if line == 0 && column == 0 {
			return
		}
		lines := strings.Split(text, "\n")
		if line < 1 || line > len(lines) || column < 1 || column > len([]rune(lines[line-1]))+1 {
			t.Errorf("%q in %q is at %d:%d", path, text, line, column)
		}
	})
}

// A comparison of two texts has the lines of both: without what is new the one before, without what goes the other.
func FuzzDiff(f *testing.F) {
	f.Add("a\nb\nc", "a\nc\nd")
	f.Add("", "a")
	f.Add("a\n", "")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Count(before, "\n") > 200 || strings.Count(after, "\n") > 200 {
			return
		}
		added, cut := 0, 0
		for _, l := range console.DiffOf(before, after) {
			switch l[0] {
			case '+':
				added++
			case '-':
				cut++
			}
		}
		count := func(text string) int {
			if text == "" {
				return 0
			}
			return strings.Count(text, "\n") + 1
		}
		if count(before)-cut != count(after)-added || before == after && added+cut > 0 {
			t.Errorf("%q and %q: %d new, %d gone", before, after, added, cut)
		}
	})
}

// Layers of two images are aligned: each layer of both is there once.
func FuzzAlign(f *testing.F) {
	f.Add("abc", "abd")
	f.Add("", "x")
	f.Add("aaaa", "aa")
	f.Fuzz(func(t *testing.T, before, after string) {
		a, b := strings.Split(before, ""), strings.Split(after, "")
		if len(a) > 600 || len(b) > 600 {
			return
		}
		rows, same := console.Aligned(a, b)
		var old, now []string
		for _, r := range rows {
			digest := strings.TrimPrefix(strings.TrimPrefix(r, "add"), "cut")
			if !strings.HasPrefix(r, "add") {
				old = append(old, digest)
			}
			if !strings.HasPrefix(r, "cut") {
				now = append(now, digest)
			}
		}
		if strings.Join(old, "") != before || strings.Join(now, "") != after || same != slices.Equal(a, b) {
			t.Errorf("%q and %q: got %q, same %v", before, after, rows, same)
		}
	})
}

// What a page shows of an image is bounded, whatever its manifest and its config are.
func FuzzImageFile(f *testing.F) {
	f.Add(`{"layers":[{"digest":"sha256:00","size":1}],"annotations":{"a":"b"}}`, `{"history":[{"created_by":"RUN x"},{"empty_layer":true}]}`)
	f.Add(`{"layers":[{"size":-5},{"size":9223372036854775807}]}`, `{"config":{"Env":["a"],"Labels":{"a":"b"},"ExposedPorts":{"80":{}}}}`)
	f.Fuzz(func(t *testing.T, manifest, config string) {
		if layers, bar, pairs := console.ReadImageFile(manifest, config); layers > 500 || bar > 200 || pairs > 600 {
			t.Errorf("%d layers, %d in the picture, %d pairs", layers, bar, pairs)
		}
	})
}

// Words of forms have no blanks, and a path that is made of a name leads to this name alone.
func FuzzForms(f *testing.F) {
	for _, s := range []string{"a b,c", "team/app", "../x", "a\r\nb", "%2F", "-", "a/-/b", "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, w := range console.WordsOf(s) {
			if w == "" || strings.ContainsAny(w, " ,\r\n\t") {
				t.Errorf("%q has the word %q", s, w)
			}
		}
		if path := console.CleanPath(s); strings.ContainsAny(path, "?#\"<>\\ \r\n") || console.OwnPath("/console/"+path) != "/console/"+path &&
			!strings.Contains(path, "//") && !strings.HasPrefix(path, "/") {
			t.Errorf("%q is the path %q", s, path)
		}
		if got := console.ClipTo(s, 10); utf8.RuneCountInString(got) > 10 {
			t.Errorf("%q is clipped to %q", s, got)
		}
		_ = console.WhoTrusts(console.PlainPolicy(s)) // any document of IAM is shown, or is none
	})
}

// A path has at most one row, whose parts are parts of it.
func FuzzFind(f *testing.F) {
	for _, s := range []string{"", "000000000000/us-east-1/repositories/team/app/-/tags/1.0", "denied/x",
		"000000000000/us-east-1/repositories/-",
		"000000000000/us-east-1/repositories//", "customer/versions/stable/1", "////", "000000000000/access/users/a/policies/b"} {
		f.Add("GET", s)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		row, at := console.Found(method, path)
		for name, value := range at {
			if !strings.Contains(path, value) || value == "" || !strings.Contains(row, "{"+name+"}") {
				t.Errorf("%s %q is of %q with %s = %q", method, path, row, name, value)
			}
		}
	})
}
