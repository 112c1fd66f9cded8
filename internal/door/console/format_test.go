package console_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/door/console"
)

// Texts of others are shown without characters that hide, turn or break what stands beside them.
func FuzzShown(f *testing.F) {
	for _, s := range []string{"team/app", "a\u202eb", "x\x00y\n", "\u200b\u2066é語", strings.Repeat("語", 300), "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := console.Shown(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 257*8 {
			t.Errorf("%q is shown as %q", s, got)
		}
		for _, c := range got {
			if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
				t.Errorf("%q is shown as %q", s, got)
			}
		}
	})
}

func TestShown(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a\u202eb": "aU+202Eb", "é 語": "é 語", "a\tb": "aU+0009b", strings.Repeat("x",
		257): strings.Repeat("x", 256) + "…"} {
		if got := console.Shown(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 9_994: "9.99 kB", 9_996: "10.0 kB", 186_400_000: "186 MB",
		999_600_000: "1.00 GB", 2_940_000_000: "2.94 GB"} {
		if got := console.Size(in); got != want {
			t.Errorf("%d bytes are %q, want %q", in, got, want)
		}
	}
}

// Versions come newest first, pre-releases below their release, tags that move above the version that they point to, others by name after
// all.
func TestTagsByVersion(t *testing.T) {
	t.Parallel()
	got := console.Sorted("main=z", "1.4.0=b", "latest=c", "1.4.0-rc.1=a", "v1.4.2=c", "1.4=c", "1.10.0=d", "feature-x=y", "1.4.0-rc.10=e")
	want := []string{"1.10.0", "1.4~", "latest~", "v1.4.2", "1.4.0", "1.4.0-rc.10", "1.4.0-rc.1", "feature-x", "main"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A page goes on after its last tag although that has been deleted meanwhile.
func TestPageAfterADeletedTag(t *testing.T) {
	t.Parallel()
	tags := []string{"1.10.0=d", "1.4=c", "latest=c", "v1.4.2=c", "1.4.0=b", "feature-x=y", "main=z"}
	for i, text := range tags {
		tag, _, _ := strings.Cut(text, "=")
		want := ""
		if i+1 < len(tags) {
			want, _, _ = strings.Cut(tags[i+1], "=")
		}
		if got := console.After(tag, tags...); got != want {
			t.Errorf("after %s: got %q, want %q", tag, got, want)
		}
	}
}

func TestInstruction(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"/bin/sh -c #(nop)  CMD [\"sh\"]":   {"CMD", `["sh"]`},
		"/bin/sh -c apt-get update":         {"RUN", "apt-get update"},
		"COPY a b # buildkit":               {"COPY", "a b"},
		"bazel build ...":                   {"", "bazel build ..."},
		"RUN /bin/sh -c make # buildkit":    {"RUN", "/bin/sh -c make"},
		"":                                  {"", ""},
		"/bin/sh -c #(nop) ADD file:1 in /": {"ADD", "file:1 in /"},
	} {
		if word, rest := console.Instruction(in); word != want[0] || rest != want[1] {
			t.Errorf("%q: got %q %q, want %q", in, word, rest, want)
		}
	}
}
