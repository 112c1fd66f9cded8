package safeyaml_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range safeyaml.MaxKeys + 1 {
		fmt.Fprintf(&many, "k%d: 1\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"equal keys": {"a: 1\nb:\n  c: 1\n  c: 2\n", "already defined at line 3"},
		"many equal": {"b: 1\n" + strings.Repeat("a: 1\n", safeyaml.MaxEqual+2),
			"line 103: a mapping has more than 100 keys that stand there before"},
		"many keys": {many.String(), "line 1: a mapping has more than 10000 keys"},
		"no YAML":   {"a: [", "did not find"},
		"empty":     {"", ""},
		"merged":    {"x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n", ""},
		"two types": {"1: a\n\"1\": b\n", "already defined at line 1"},
		"usual":     {"a: {b: [1, two, 3.5]}\n", ""},
	} {
		var got, want any
		err := safeyaml.Unmarshal([]byte(c.text), &got)
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, %v, want %q", name, got, err, c.want)
		case c.want == "":
			if other := yaml.Unmarshal([]byte(c.text), &want); err != nil || other != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, %v, want %v, %v", name, got, err, want, other)
			}
		}
	}
}

// A text of equal keys takes memory in proportion to its size: a hundred times as much at most.
func TestEqualKeysTakeLittleMemory(t *testing.T) {
	text := []byte(strings.Repeat("a: 1\n", 20_000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var m map[string]any
	if err := safeyaml.Unmarshal(text, &m); err == nil {
		t.Error("equal keys were accepted")
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(text))*200 {
		t.Errorf("%d bytes took %d", len(text), took)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{"", "a: 1\n", "a: {b: 1, b: 2}\n", "x: &x {a: 1}\ny: {<<: *x}\n", "? [a]\n: 1\n", "- 1\n- {}\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got, want any
		if safeyaml.Unmarshal([]byte(text), &got) != nil {
			return
		}
		if err := yaml.Unmarshal([]byte(text), &want); err != nil {
			t.Errorf("%q: accepted, and the library says %v", text, err)
		}
	})
}
