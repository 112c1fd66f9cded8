package guard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestPrecondition(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0a", 32)
	for text, now := range map[string]string{hash: hash, `"` + hash + `"`: hash, "none": guard.NoneSeen, `"none"`: guard.NoneSeen,
		"12": "12"} {
		p, err := guard.ParsePrecondition(text)
		if err != nil || !p.Given() || p.Check(now) != nil {
			t.Errorf("%s: got %v %v", text, p, err)
		}
		if err := p.Check(now + "0"); !errors.Is(err, fault.PreconditionFailed) {
			t.Errorf("%s for another one: got %v", text, err)
		}
	}
	for _, text := range []string{`"`, `""`, `"none`, `none"`, "*", `W/"12"`, "12, 13", strings.Repeat("A", 64), "x", hash + hash} {
		if p, err := guard.ParsePrecondition(text); !errors.Is(err, fault.InvalidParameter) || p.Given() {
			t.Errorf("%s: got %v %v", text, p, err)
		}
	}
	if p, err := guard.ParsePrecondition(""); err != nil || p.Given() || p.Check(hash) != nil || p.Check(guard.NoneSeen) != nil {
		t.Errorf("no precondition: got %v %v", p, err)
	}
}

func FuzzParsePrecondition(f *testing.F) {
	for _, text := range []string{"", "none", `"12"`, strings.Repeat("0a", 32), `"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := guard.ParsePrecondition(text)
		if err != nil && p.Given() || err == nil && p.Given() != (text != "") {
			t.Errorf("%q: got %v %v", text, p, err)
		}
		if tag := strings.Trim(text, `"`); err == nil && text != "" && p.Check(tag) != nil {
			t.Errorf("%q does not match %q", text, tag)
		}
	})
}
