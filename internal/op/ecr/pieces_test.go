package ecr

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// An answer has the manifests that fit, in the order of the request, up to its last byte. Failures take no room.
func TestWhichImagesFitIntoAnAnswer(t *testing.T) {
	t.Parallel()
	const missing = -1
	for _, c := range []struct {
		sizes []int64
		bytes int64
		want  []bool
	}{
		{nil, 0, []bool{}}, {[]int64{maxAnswer}, maxAnswer, []bool{true}}, {[]int64{maxAnswer + 1}, 0, []bool{false}},
		{[]int64{maxAnswer - 1, 1}, maxAnswer, []bool{true, true}}, {[]int64{maxAnswer, 1}, maxAnswer, []bool{true, false}},
		{[]int64{maxAnswer, missing, 1}, maxAnswer, []bool{true, false, false}},
		{[]int64{maxAnswer - 1, 2, 1}, maxAnswer, []bool{true, false, true}}, {[]int64{missing, 5}, 5, []bool{false, true}},
	} {
		var r Images
		for _, n := range c.sizes {
			one := NamedImage{Head: registry.ManifestHead{Size: n}}
			if n == missing {
				one = NamedImage{Failure: &ecrtypes.ImageFailure{}}
			}
			r.Named = append(r.Named, one)
		}
		if n, in := r.fitting(); n != c.bytes || !slices.Equal(in, c.want) {
			t.Errorf("%v: got %d bytes of %v, want %d of %v", c.sizes, n, in, c.bytes, c.want)
		}
		if n := r.AnswerBytes(); n != c.bytes {
			t.Errorf("%v: got %d bytes in memory, want %d", c.sizes, n, c.bytes)
		}
	}
}

// stored returns the mode that is stored for one in a request.
func stored(mode string) string {
	if mode == "" {
		return meta.Mutable
	}
	return mode
}

// Filters belong to the modes with exclusions, and to these alone.
func TestFiltersOfMutability(t *testing.T) {
	t.Parallel()
	filters := []ecrtypes.ImageTagMutabilityExclusionFilter{{Filter: "a*"}, {Filter: "b*"}}
	for mode, exclusion := range map[string]bool{"": false, "MUTABLE": false, "IMMUTABLE": false, "MUTABLE_WITH_EXCLUSION": true,
		"IMMUTABLE_WITH_EXCLUSION": true} {
		for _, given := range [][]ecrtypes.ImageTagMutabilityExclusionFilter{nil, filters} {
			m, err := mutability(ecrtypes.ImageTagMutability(mode), given)
			if good := exclusion == (given != nil); good != (err == nil) || err != nil && !errors.Is(err, fault.InvalidParameter) {
				t.Errorf("%q with %d filters: got %v, want it good %t", mode, len(given), err, good)
			}
			if want := stored(mode); m.Mode != want {
				t.Errorf("%q: got the mode %q, want %q", mode, m.Mode, want)
			}
			if err == nil && given != nil && !slices.Equal(m.Filters, []string{"a*", "b*"}) {
				t.Errorf("%q: got the filters %q", mode, m.Filters)
			}
		}
	}
}

// An id that names no image has the failure of ECR for its form, before the store is asked.
func TestFailuresOfImageIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		digest, tag string
		want        ecrtypes.ImageFailureCode
	}{
		{"", "", ecrtypes.ImageFailureCodeMissingDigestAndTag}, {"x", "", ecrtypes.ImageFailureCodeInvalidImageDigest},
		{"sha256:", "", ecrtypes.ImageFailureCodeInvalidImageDigest}, {"sha256:xyz", "", ecrtypes.ImageFailureCodeInvalidImageDigest},
		{"sha256:ab", "", ecrtypes.ImageFailureCodeImageNotFound}, {"", "!", ecrtypes.ImageFailureCodeInvalidImageTag},
		{"x", "v1", ecrtypes.ImageFailureCodeInvalidImageDigest},
	} {
		id := ecrtypes.ImageIdentifier{ImageDigest: c.digest, ImageTag: c.tag}
		one, err := (&Service{}).image(t.Context(), meta.Repository{}, id)
		if err != nil || one.Failure == nil || one.Failure.FailureCode != c.want || *one.Failure.ImageId != id || one.ID != id {
			t.Errorf("%+v: got %+v, %v, want %s", id, one.Failure, err, c.want)
		}
	}
	ids := []ecrtypes.ImageIdentifier{{ImageTag: "a"}, {ImageTag: "b"}, {ImageTag: "a"}, {ImageTag: "a", ImageDigest: "x"}, {ImageTag: "b"}}
	if diff := cmp.Diff([]ecrtypes.ImageIdentifier{ids[0], ids[1], ids[3]}, unique(ids)); diff != "" {
		t.Errorf("ids without repetitions (-want +got):\n%s", diff)
	}
}

// A request names repositories or asks for a page, not both; the token of a page alone is such a request too.
func TestNamedRepositoriesHaveNoPage(t *testing.T) {
	t.Parallel()
	named := Repositories{Named: []Repository{{}}}
	for what, in := range map[string]ecrtypes.DescribeRepositoriesRequest{"a size": {MaxResults: new(int32(1))}, "a token": {NextToken: "x"},
		"both": {MaxResults: new(int32(1)), NextToken: "x"}} {
		if out, err := (&Service{}).DescribeRepositories(t.Context(), identity.Caller{}, named, &in); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("names with %s: got %+v, %v, want InvalidParameter", what, out, err)
		}
	}
}

// The reason of another registry is the failure code of the image; an error of this one is that of the whole request.
func TestFailuresOfAnotherRegistry(t *testing.T) {
	t.Parallel()
	for reason, want := range map[upstream.Reason]ecrtypes.ImageFailureCode{
		upstream.RateLimited: ecrtypes.ImageFailureCodeUpstreamTooManyRequests, upstream.Denied: ecrtypes.ImageFailureCodeUpstreamAccessDenied,
		upstream.Unauthorized: ecrtypes.ImageFailureCodeUpstreamAccessDenied, upstream.Unavailable: ecrtypes.ImageFailureCodeUpstreamUnavailable,
		upstream.NotFound: "",
	} {
		if got := failureCode(fmt.Errorf("fetching: %w", &upstream.Error{Reason: reason})); got != want {
			t.Errorf("reason %v: got %q, want %q", reason, got, want)
		}
	}
	if got := failureCode(fault.AccessDenied.New("the caller may not fetch images")); got != "" {
		t.Errorf("an error of this registry: got %q, want none", got)
	}
}
