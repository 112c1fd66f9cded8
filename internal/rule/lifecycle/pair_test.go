package lifecycle_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Patterns *x*y* and the order of patterns are found as if each were matched with each tag.
func TestPairsMatchAsPatterns(t *testing.T) {
	t.Parallel()
	const letters = "abAB01._-"
	random := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
	for round := range 300 {
		images := manyImages(130)
		for i := range images {
			images[i].Children, images[i].Subject, images[i].Tags = nil, name.Digest{}, nil
			for range random.IntN(4) {
				images[i].Tags = append(images[i].Tags, lifecycle.Tag{Name: "t" + text(random.IntN(6))})
			}
		}
		var patterns []string
		for range 1 + random.IntN(3) {
			switch random.IntN(4) {
			case 0:
				patterns = append(patterns, "*"+text(2)+"*")
			case 1:
				patterns = append(patterns, "t"+text(1)+"*")
			default:
				patterns = append(patterns, fmt.Sprintf("*%s*%s*", text(1), text(1)))
			}
		}
		patterns = slices.Compact(slices.Sorted(slices.Values(patterns)))
		p := mustParse(t, ecrPolicy(ecrRule(1, tagged(patterns...)+since("Pushed", 1))))
		got, err := lifecycle.Evaluate(t.Context(), p, images, now.AddDate(1, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		for i := range got.Verdicts {
			v := &got.Verdicts[i]
			want := true
			for _, pattern := range p.Rules()[0].Patterns {
				want = want && slices.ContainsFunc(v.Image.Tags, func(tag lifecycle.Tag) bool { return pattern.Match(tag.Name) })
			}
			if v.Due != want {
				t.Fatalf("round %d: the patterns %q and the tags %v: got %t, want %t", round, patterns, v.Image.Tags, v.Due, want)
			}
		}
	}
}
