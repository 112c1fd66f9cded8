package dockerfile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/dockerfile"
)

func TestBases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"FROM alpine", "alpine:1"},
		{"# syntax=docker/dockerfile:1\n# comment\nfrom r.example.com/base:1 as Build\nFROM build\nFROM scratch",
			"docker/dockerfile:1:1 r.example.com/base:1:3"},
		{"ARG REG=r.example.com TAG\nFROM $REG/a:${TAG:-2}\nFROM --platform=$BUILDPLATFORM \"${REG}/b\" AS b\nCOPY --from=b / /\nCOPY --from=0 / /\n" +
			"COPY --chown=1:1 --from=other.example.com/c:1 / /\nRUN --mount=type=bind,from=other.example.com/d,target=/d ls",
			"r.example.com/a:2:2 r.example.com/b:3 other.example.com/c:1:6 other.example.com/d:7"},
		{"FROM a\nARG B=c\nFROM a\nRUN <<EOF\nFROM no\nEOF\nRUN echo \\\n# comment\n\n  FROM no\nFROM b", "a:1 b:11"},
		{"# escape=`\nFROM `\n  a", "a:2"},
		{"FROM a\n# syntax=late/one", "a:1"},
		{"ARG A=x\nFROM ${A:+y}", "y:2"},
		{"RUN x", "error: the Dockerfile has no FROM"}, {"", "error: the Dockerfile has no FROM"},
		{"ARG A\nFROM ${A}", "error: line 2: FROM ${A} has no value"}, {"FROM --platform=x", "error: line 1: FROM names no image"},
	} {
		all, err := dockerfile.Bases([]byte(c.text), nil)
		var got []string
		for _, b := range all {
			got = append(got, fmt.Sprintf("%s:%d", b.Image, b.Line))
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = "error: " + err.Error()
		}
		if text != c.want && (err == nil || !strings.HasPrefix(text, c.want)) {
			t.Errorf("%s\ngot  %s\nwant %s", c.text, text, c.want)
		}
	}
	all, err := dockerfile.Bases([]byte("ARG BASE=a\nFROM $BASE"), map[string]string{"BASE": "b"})
	if err != nil || len(all) != 1 || all[0].Image != "b" {
		t.Errorf("an argument of the build: got %v, %v, want b", all, err)
	}
}

func FuzzBases(f *testing.F) {
	f.Add([]byte("# syntax=a\nARG A=b\nFROM ${A:-c} AS d\nCOPY --from=d <<X\nX\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := dockerfile.Bases(text, nil)
		for _, b := range all {
			if err != nil || b.Image == "" || b.Line < 1 || b.Line > 1+strings.Count(string(text), "\n") {
				t.Errorf("got %+v, %v", b, err)
			}
		}
	})
}
