package lifecycle_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
)

func timelineOf(t *testing.T, policy string, all []lifecycle.Image) []lifecycle.Lane {
	t.Helper()
	p, err := lifecycle.Parse(policy)
	if err != nil {
		t.Fatal(err)
	}
	return evaluate(t, p, all).Timeline(now)
}

// A timeline has a lane for each rule and one for the images that no rule sees, with the fate of each image and the cut of the rule.
func TestTimeline(t *testing.T) {
	t.Parallel()
	const policy = `{"rules":[
		{"rulePriority":1,"description":"rc","selection":{"tagStatus":"tagged","tagPatternList":["*-rc*"],"countType":"imageCountMoreThan",
			"countNumber":1},"action":{"type":"expire"}},
		{"rulePriority":2,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":10},
			"action":{"type":"expire"}},
		{"rulePriority":3,"selection":{"tagStatus":"tagged","tagPrefixList":["none"],"countType":"sinceImagePushed","countUnit":"days",
			"countNumber":1},"action":{"type":"expire"}}]}`
	pinned := image("a", 40, "1-rc1")
	pinned.Protection = lifecycle.Pinned
	lanes := timelineOf(t, policy, []lifecycle.Image{pinned, image("b", 30, "1-rc2"), image("c", 5, "1-rc3"), image("d", 11, ""),
		image("e", 9, ""), image("f", 300, "prod")})
	if len(lanes) != 4 {
		t.Fatalf("got %d lanes, want one for each rule and one for the rest", len(lanes))
	}
	for i, want := range []struct {
		images, going, held int
		cut                 time.Time
		fates, words        string
	}{
		{3, 1, 1, daysAgo(5), "[2 1 0]", "tags *-rc*: 1 newest stay"},
		{2, 1, 0, daysAgo(10), "[1 0]", "untagged: 10 days"},
		{0, 0, 0, daysAgo(1), "[]", "tags none*: 1 day"},
		{1, 0, 0, time.Time{}, "[0]", ""},
	} {
		l, words := lanes[i], ""
		if l.Rule != nil {
			words = l.Rule.Selects() + ": " + l.Rule.Keeps()
		}
		var fates []lifecycle.Fate
		for _, m := range l.Marks {
			fates = append(fates, m.Fate)
		}
		if l.Images != want.images || l.Going != want.going || l.Held != want.held || !l.Cut.Equal(want.cut) || fmt.Sprint(fates) != want.fates ||
			words != want.words || len(l.Bins) != 0 {
			t.Errorf("lane %d: got %d images, %d go, %d are held, cut at %s, %v, %q; want %+v", i, l.Images, l.Going, l.Held, l.Cut, fates, words,
				want)
		}
	}
}

// A lane with many images has counts, which add up and are in their times.
func TestTimelineOfManyImages(t *testing.T) {
	t.Parallel()
	const policy = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days",
		"countNumber":100},"action":{"type":"expire"}}]}`
	for _, n := range []int{lifecycle.MaxMarks, lifecycle.MaxMarks + 1, 2000} {
		var all []lifecycle.Image
		for i := range n {
			all = append(all, image(fmt.Sprint("i", i), i%400, ""))
		}
		l := timelineOf(t, policy, all)[0]
		if (len(l.Marks) == n) != (n == lifecycle.MaxMarks) || (len(l.Bins) > 0) == (n == lifecycle.MaxMarks) || len(l.Bins) > 40 {
			t.Fatalf("%d images: got %d marks and %d bins", n, len(l.Marks), len(l.Bins))
		}
		going, staying := 0, 0
		for i, b := range l.Bins {
			going, staying = going+b.Going, staying+b.Staying
			if !b.From.Before(b.Until) || i > 0 && b.From.Before(l.Bins[i-1].Until.Add(-time.Second)) {
				t.Errorf("bin %d is from %s until %s", i, b.From, b.Until)
			}
		}
		if len(l.Bins) > 0 && (going != l.Going || staying != l.Images-l.Going) {
			t.Errorf("%d images: the bins have %d that go and %d that stay, the lane %d and %d", n, going, staying, l.Going, l.Images-l.Going)
		}
	}
}

// A position is 0 now, 1 for the oldest age, and grows with the age.
func TestTimelinePosition(t *testing.T) {
	t.Parallel()
	for _, oldest := range []time.Duration{2 * time.Hour, 6 * 24 * time.Hour, 400 * 24 * time.Hour} {
		last := -1.0
		for i := range 11 {
			p := lifecycle.Position(oldest*time.Duration(i)/10, oldest)
			if p <= last || p < 0 || p > 1 || i == 0 && p != 0 || i == 10 && p < 0.999 {
				t.Errorf("%s of %s: got %v after %v", oldest*time.Duration(i)/10, oldest, p, last)
			}
			last = p
		}
	}
	if lifecycle.Position(-time.Hour, time.Hour) != 0 || lifecycle.Position(3*time.Hour, time.Hour) != 1 {
		t.Error("ages outside of the timeline are not at its ends")
	}
}
