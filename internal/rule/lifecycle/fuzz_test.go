package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// checkRefused checks that an error has a place in the text.
func checkRefused(t *testing.T, text string, err error) {
	t.Helper()
	var p *lifecycle.Problem
	if !errors.Is(err, fault.InvalidParameter) || !errors.As(err, &p) {
		t.Fatalf("%q: got %v, want fault.InvalidParameter because of a Problem", text, err)
	}
	lines := strings.Split(text, "\n")
	if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 || p.Reason == "" {
		t.Fatalf("%q: the problem %q is not in the text", text, p)
	}
	if got := public(err); !utf8.ValidString(got) || len(got) > 4000 {
		t.Fatalf("%q: the text %q is not UTF-8, or has %d bytes", text, got, len(got))
	}
}

// checkAccepted checks that a policy can be evaluated, equals the reference, and comes to its end.
func checkAccepted(t *testing.T, p *lifecycle.Policy) {
	t.Helper()
	all := linked(images("A 9:a-1,b-1 B 8:1.0.0,v2.0.0-rc.1 C 7: D 200:a-2 E 6:main F 5: G 4:0123abc H 3:b-2"), "C>F D@E H@A")
	all[6].Class, all[6].ArchivedAt = lifecycle.Archived, daysAgo(200)
	r, err := lifecycle.Evaluate(context.Background(), p, all, now)
	if err != nil {
		t.Fatalf("Evaluate: %v", err)
	}
	want := (&reference{p, all, now}).evaluate()
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if got := want[v.Image.Digest].Action; v.Action != got {
			t.Errorf("image %v: got %s, want the action %v", v.Image, v.Reason(), got)
		}
	}
	if again := evaluate(t, p, execute(r)); again.Expire.Images+again.Archive.Images != 0 {
		t.Errorf("got %d and %d images in the second run, want none", again.Expire.Images, again.Archive.Images)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ecrPolicy(ecrRule(1, tagged("a*", "*-1")+count(1)), ecrRule(2, untagged+since("Pushed", 1)), ecrRule(3, anyTag+count(1))))
	f.Add(ecrPolicy(ecrRuleWith(1, anyTag+since("Pulled", 5), archive), ecrRule(7, anyTag+archived+since("Transitioned", 90))))
	f.Add(ecrPolicy(`{"rulePriority":3,"description":"é\ud83d\ude00","selection":{"tagStatus":"tagged","tagPrefixList":["a","1."],"storageClass":"standard"` +
		count(2) + `},"action":{"type":"expire"}}`))
	f.Add(long("{\n \"rules\":[{}],\"rules\":[]}"))
	f.Add(long(strings.Repeat("[", 60)))
	f.Fuzz(func(t *testing.T, text string) {
		if n := utf8.RuneCountInString(text); n < 100 || n > 30720 {
			if _, err := lifecycle.Parse(text); !errors.Is(err, fault.InvalidParameter) {
				t.Fatalf("Parse of %d characters: got %v, want fault.InvalidParameter", n, err)
			}
			return
		}
		p, err := lifecycle.Parse(text)
		if err != nil {
			checkRefused(t, text, err)
			return
		}
		checkAccepted(t, p)
	})
}

func FuzzParseExtension(f *testing.F) {
	for _, filter := range filterPool {
		f.Add(extended(extRule(`"tagStatus":"tagged","everyTag":true,"tags":`+filter+`,"exclude":[`+filter+`]`,
			`"daysSince":{"pulled":1,"tagMoved":2}`)))
	}
	f.Add(extended(extRule(`"tagStatus":"tagged","tags":{"regexp":"(a)-(.)"}`, `"keep":{"count":1,"group":"2","order":"tagMoved"}`)))
	f.Add(extended(extRule(`"tagStatus":"tagged","tags":{"semver":"^1.0"}`, `"keep":{"count":1,"order":"version"}`)))
	f.Add(`{"version":"ecrin-lifecycle-1","protect":[{"regexp":"(?i)A{3}[^b]*?(\\pL|$)\\b(?P<x>y)?"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := lifecycle.ParseExtension(text)
		if err != nil {
			checkRefused(t, text, err)
			return
		}
		checkAccepted(t, p)
	})
}
