package manifest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
)

func TestLabels(t *testing.T) {
	many, wide := map[string]string{}, map[string]string{}
	for i := range 200 {
		many[fmt.Sprintf("k%03d", i)] = "v"
		wide[fmt.Sprintf("k%03d", i)] = strings.Repeat("v", 1000)
	}
	config := func(labels any) string {
		text, err := json.Marshal(map[string]any{"config": map[string]any{"Labels": labels}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, c := range []struct {
		what, config string
		annotations  map[string]string
		want         map[string]string
		number       int // if want is nil
	}{
		{what: "nothing", want: map[string]string{}},
		{what: "no JSON", config: "PK\x00", annotations: map[string]string{"a": "1"}, want: map[string]string{"a": "1"}},
		{what: "labels of another type", config: config([]string{"a"}), want: map[string]string{}},
		{what: "a label that is no text", config: config(map[string]any{"a": 1}), want: map[string]string{}},
		{what: "null", config: config(nil), want: map[string]string{}},
		{what: "both", config: config(map[string]string{"a": "1", "b": "2\x00"}), annotations: map[string]string{"b": "3", "c": "4"},
			want: map[string]string{"a": "1", "b": "3", "c": "4"}},
		{what: "too long", config: config(map[string]string{"": "x", "a": strings.Repeat("v", 1025), strings.Repeat("k", 257): "", "b": ""}),
			want: map[string]string{"b": ""}},
		{what: "too many", config: config(many), number: 100},
		{what: "too wide", config: config(wide), number: 16},
	} {
		var got map[string]string
		text := (&manifest.Manifest{Annotations: c.annotations}).Labels([]byte(c.config))
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if c.want == nil && len(got) == c.number {
			continue
		}
		if c.want == nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %d labels, %.300s, want %v or %d", c.what, len(got), text, c.want, c.number)
		}
	}
	for _, c := range []struct {
		config *manifest.Descriptor
		want   bool
	}{
		{nil, false},
		{&manifest.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Size: manifest.MaxConfig}, true},
		{&manifest.Descriptor{MediaType: "application/vnd.docker.container.image.v1+json", Size: 10}, true},
		{&manifest.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Size: manifest.MaxConfig + 1}, false},
		{&manifest.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Size: 2}, false},
	} {
		if _, got := (&manifest.Manifest{Config: c.config}).Labelled(); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.config, got, c.want)
		}
	}
}
