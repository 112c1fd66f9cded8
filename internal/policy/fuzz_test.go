package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// FuzzParse holds for any text: either the document survives String and Parse, or the error has a place in the text.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), false)
		f.Add(string(text), true)
	}
	f.Add(statement(`"Resource":"arn:aws:ecr:*:*:repository/${aws:x, 'y'}${*}"`), true)
	f.Add(statement(`"Condition":{"ForAnyValue:StringLikeIfExists":{"aws:x":["a*",1,true]},"Null":{}}`), false)
	f.Add(statement(`"Condition":{"DateLessThan":{"aws:x":1e3},"IpAddress":{"aws:y":"::ffff:1.2.3.4/97"},"BinaryEquals":{"aws:z":"AA=="}}`), false)
	f.Add(statement(`"Sid":"\ud83d\ude00\u0000\ufffd"`), false)
	f.Fuzz(func(t *testing.T, text string, registry bool) {
		kind := policy.Repository
		if registry {
			kind = policy.Registry
		}
		d, err := policy.Parse(text, kind)
		if err == nil {
			roundTrip(t, d)
			return
		}
		var p *policy.Problem
		if !errors.Is(err, fault.InvalidParameter) || !errors.As(err, &p) {
			t.Fatalf("Parse(%q): %v, want fault.InvalidParameter because of a Problem", text, err)
		}
		lines := strings.Split(text, "\n")
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 || p.Reason == "" {
			t.Fatalf("Parse(%q): the problem %q is not in the text", text, p)
		}
		if !utf8.ValidString(p.Error()) {
			t.Fatalf("Parse(%q): the problem %q is not UTF-8", text, p)
		}
	})
}
