package vendor

import (
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// The version that a customer has pulled is the newest whose images were pulled last; an image that is the same in
// several versions, and one that was not pulled, decide nothing.
func TestPulledVersion(t *testing.T) {
	t.Parallel()
	image := func(repository, tag, digest string) meta.ReleaseImage {
		return meta.ReleaseImage{Repository: repository, Tag: tag, Digest: digest}
	}
	versions := []offered{
		{meta.Promotion{Sequence: 3, Label: "3"}, []meta.ReleaseImage{image("shop/api", "2", ""), image("redis", "7", ""),
			image("db", "", "sha256:b")}},
		{meta.Promotion{Sequence: 2, Label: "2"}, []meta.ReleaseImage{image("shop/api", "1", ""), image("redis", "7", ""),
			image("db", "", "sha256:a")}},
		{meta.Promotion{Sequence: 1, Label: "1"}, []meta.ReleaseImage{image("shop/api", "", ""), image("redis", "6", "")}},
	}
	start := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	for what, tt := range map[string]struct {
		pulled [][2]string // the later ones were pulled later
		want   string
	}{
		"nothing":                          {nil, ""},
		"another image":                    {[][2]string{{"other", "1"}}, ""},
		"another tag":                      {[][2]string{{"shop/api", "9"}}, ""},
		"the newest":                       {[][2]string{{"shop/api", "2"}, {"redis", "7"}}, "3"},
		"one before, with the same redis":  {[][2]string{{"redis", "7"}, {"shop/api", "1"}}, "2"},
		"back again":                       {[][2]string{{"shop/api", "2"}, {"shop/api", "1"}}, "2"},
		"by digest, then its platform":     {[][2]string{{"db", "sha256:a"}, {"db", "sha256:platform"}}, "2"},
		"without a tag":                    {[][2]string{{"shop/api", "latest"}}, "1"},
		"half of an update":                {[][2]string{{"shop/api", "1"}, {"db", "sha256:b"}}, ""},
		"an older one with what is shared": {[][2]string{{"redis", "7"}}, "3"},
	} {
		var pulled []meta.PulledImage
		for i, p := range tt.pulled {
			pulled = append(pulled, meta.PulledImage{Image: p[0], Reference: p[1], At: start.Add(time.Duration(i) * time.Minute)})
		}
		if got := pulledVersion(versions, pulled).Label; got != tt.want {
			t.Errorf("%s: got the version %q, want %q", what, got, tt.want)
		}
	}
}
