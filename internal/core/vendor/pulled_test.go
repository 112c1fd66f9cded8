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

// A version that was promoted after a pull was not pulled, also when it names the same image.
func TestPulledVersionIsNoLaterOne(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	api, redis := meta.ReleaseImage{Repository: "shop/api", Tag: "1"}, meta.ReleaseImage{Repository: "redis", Tag: "7"}
	version := func(sequence int64, minute int) offered {
		return offered{meta.Promotion{Sequence: sequence, PromotedAt: at(minute)}, []meta.ReleaseImage{api, redis}}
	}
	versions := []offered{version(3, 7), version(2, 5), version(1, 0)}
	for _, tt := range []struct {
		api, redis int // minutes of the pulls
		want       int64
	}{{1, 1, 1}, {5, 1, 2}, {1, 6, 2}, {9, 9, 3}, {-1, -1, 0}} {
		pulled := []meta.PulledImage{{Image: "shop/api", Reference: "1", At: at(tt.api)}, {Image: "redis", Reference: "7", At: at(tt.redis)}}
		if got := pulledVersion(versions, pulled).Sequence; got != tt.want {
			t.Errorf("pulled in the minutes %d and %d: got the version %d, want %d", tt.api, tt.redis, got, tt.want)
		}
	}
}
