package lifecycle_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func daysAgo(n int) time.Time { return now.AddDate(0, 0, -n) }

// digest returns a digest for a text.
func digest(s string) name.Digest {
	sum := sha256.Sum256([]byte(s))
	return name.NewDigest(name.SHA256, sum[:])
}

// image returns an image that was pushed some days ago, with tags separated by commas. Its digest is that of its label.
func image(label string, age int, tags string) lifecycle.Image {
	im := lifecycle.Image{Digest: digest(label), PushedAt: daysAgo(age), Bytes: 1}
	for t := range strings.SplitSeq(tags, ",") {
		if t != "" {
			im.Tags = append(im.Tags, lifecycle.Tag{Name: t})
		}
	}
	return im
}

// images reads images from a text such as "A 10:beta-1,prod-1 B 9:".
func images(text string) (all []lifecycle.Image) {
	fields := strings.Fields(text)
	for i := 0; i < len(fields); i += 2 {
		age, tags, _ := strings.Cut(fields[i+1], ":")
		var days int
		if _, err := fmt.Sscan(age, &days); err != nil {
			panic(err)
		}
		all = append(all, image(fields[i], days, tags))
	}
	return all
}

func evaluate(t fataler, p *lifecycle.Policy, all []lifecycle.Image) *lifecycle.Result {
	t.Helper()
	r, err := lifecycle.Evaluate(context.Background(), p, all, now)
	if err != nil {
		t.Fatalf("Evaluate: %v", err)
	}
	return r
}

// acted returns the labels of the images with an action, in the order of the verdicts: "A" is expired, "a" archived.
func acted(r *lifecycle.Result, labels string) string {
	var out []string
	for _, v := range r.Verdicts {
		for _, l := range strings.Fields(labels) {
			if v.Image.Digest == digest(l) {
				switch v.Action {
				case lifecycle.Expire:
					out = append(out, l)
				case lifecycle.Archive:
					out = append(out, strings.ToLower(l))
				}
			}
		}
	}
	return strings.Join(out, " ")
}

const letters = "A B C D E F G H"

// The examples of the user guide. Source: ECR user guide, examples of lifecycle policies.
func TestExamplesOfTheGuide(t *testing.T) {
	t.Parallel()
	const twoLists = "A 10:beta-1,prod-1 B 9:beta-2,prod-2 C 8:beta-3"
	for _, c := range []struct {
		name, images string
		rules        []string
		want         string
	}{
		{"prod count 1 before beta count 1", twoLists, []string{ecrRule(1, tagged("prod*")+count(1)), ecrRule(2,
			tagged("beta*")+count(1))}, "A"},
		{"beta count 1 before prod count 1", twoLists, []string{ecrRule(1, tagged("beta*")+count(1)), ecrRule(2,
			tagged("prod*")+count(1))}, "A B"},
		{"alpha and beta older than 5 days", "A 12:alpha-1 B 11:beta-1 C 10:alpha-2,beta-2 D 4:alpha-3 E 3:beta-3 F 2:alpha-4,beta-4",
			[]string{ecrRule(1, tagged("alpha*", "beta*")+since("Pushed", 5))}, "C"},
		{"alpha and beta count 1", "A 10:alpha-1,beta-1,gamma-1 B 9:alpha-2,beta-2 C 8:alpha-3,beta-3,gamma-2",
			[]string{ecrRule(1, tagged("alpha*", "beta*")+count(1))}, "A B"},
		{"any count 1", "A 4:alpha-1 B 3:beta-1 C 2: D 1:alpha-2", []string{ecrRule(1, anyTag+count(1))}, "A B C"},
		{"alpha count 1, untagged older than 1 day, any count 1", "A 4:alpha-1,beta-1 B 3: C 2:alpha-2 D 1:0123abc E 1:",
			[]string{ecrRule(1, tagged("alpha*")+count(1)), ecrRule(2, untagged+since("Pushed", 1)), ecrRule(3, anyTag+count(1))}, "A B D"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := images(c.images)
			// The last example needs E to be the newest of two images of the same day.
			if all[len(all)-1].PushedAt.Equal(all[len(all)-2].PushedAt) {
				all[len(all)-2].PushedAt = all[len(all)-2].PushedAt.Add(-time.Hour)
			}
			r := evaluate(t, mustParse(t, ecrPolicy(c.rules...)), all)
			if got := acted(r, letters); got != c.want {
				t.Errorf("%s, %s: got %q, want %q", c.images, c.rules, got, c.want)
			}
		})
	}
}

// In the last example, rule 3 sees five images, may act on one, and acts on it although it is the only one that is left to it.
func TestReasonsOfTheLastExample(t *testing.T) {
	t.Parallel()
	all := images("A 4:alpha-1,beta-1 B 3: C 2:alpha-2 D 1:0123abc E 1:")
	all[3].PushedAt = all[3].PushedAt.Add(-time.Hour)
	p := mustParse(t, ecrPolicy(ecrRule(1, tagged("alpha*")+count(1)), ecrRule(2, untagged+since("Pushed", 1)), ecrRule(3, anyTag+count(1))))
	r := evaluate(t, p, all)
	checkReasons(t, r, []string{
		"rule 1 expires it: it is number 2, last pushed first, and the rule keeps 1",
		"rule 2 expires it: pushed 3 days ago, more than 1 day",
		"kept by rule 1: it is number 1, last pushed first, and the rule keeps 1",
		"rule 3 expires it: it is number 2, last pushed first, and the rule keeps 1",
		"kept by rule 2: pushed 24 hours ago, not more than 1 day",
	})
	if want := (lifecycle.Total{Images: 3, Bytes: 3}); r.Expire != want || r.Archive != (lifecycle.Total{}) {
		t.Errorf("totals: got %+v and %+v, want %+v and none", r.Expire, r.Archive, want)
	}
}

func checkReasons(t *testing.T, r *lifecycle.Result, want []string) {
	t.Helper()
	for i := range r.Verdicts {
		if i >= len(want) {
			t.Fatalf("got %d verdicts, want %d", len(r.Verdicts), len(want))
		}
		if got := r.Verdicts[i].Reason(); got != want[i] {
			t.Errorf("verdict %d: got the reason\n%s\nwant\n%s", i, got, want[i])
		}
	}
}

func TestAgesAreMoreThanDays(t *testing.T) {
	t.Parallel()
	p := mustParse(t, ecrPolicy(ecrRule(1, anyTag+since("Pushed", 5))))
	for _, c := range []struct {
		age  time.Duration
		want string
	}{
		{5 * 24 * time.Hour, ""}, {5*24*time.Hour + time.Microsecond, "A"}, {0, ""}, {-1000 * time.Hour, ""}, {20000 * 24 * time.Hour, "A"},
	} {
		im := image("A", 0, "")
		im.PushedAt = now.Add(-c.age)
		if got := acted(evaluate(t, p, []lifecycle.Image{im}), letters); got != c.want {
			t.Errorf("pushed %v ago, more than 5 days: got %q, want %q", c.age, got, c.want)
		}
	}
	if got := acted(evaluate(t, p, []lifecycle.Image{{Digest: digest("A")}}), letters); got != "" {
		t.Errorf("pushed at an unknown time: got %q, want nothing", got)
	}
	p = mustParse(t, ecrPolicy(ecrRule(1, anyTag+since("Pushed", 2147483647))))
	if got := acted(evaluate(t, p, images("A 100000:")), letters); got != "" {
		t.Errorf("pushed 100000 days ago, more than 2147483647: got %q, want nothing", got)
	}
}

// Source: ECR user guide, sinceImagePulled and sinceImageTransitioned; a restored image counts as new.
func TestClocks(t *testing.T) {
	t.Parallel()
	pulled := mustParse(t, ecrPolicy(ecrRuleWith(1, anyTag+since("Pulled", 30), archive)))
	pushed := mustParse(t, ecrPolicy(ecrRule(1, anyTag+since("Pushed", 30))))
	transitioned := mustParse(t, ecrPolicy(ecrRule(1, anyTag+archived+since("Transitioned", 90))))
	with := func(change func(im *lifecycle.Image)) lifecycle.Image {
		im := image("A", 200, "")
		change(&im)
		return im
	}
	for _, c := range []struct {
		name   string
		policy *lifecycle.Policy
		image  lifecycle.Image
		want   string
	}{
		{"never pulled", pulled, with(func(*lifecycle.Image) {}), "a"},
		{"never pulled, pushed lately", pulled, image("A", 10, ""), ""},
		{"pulled lately", pulled, with(func(im *lifecycle.Image) { im.PulledAt = daysAgo(29) }), ""},
		{"pulled long ago", pulled, with(func(im *lifecycle.Image) { im.PulledAt = daysAgo(31) }), "a"},
		{"restored lately, pulled before", pulled, with(func(im *lifecycle.Image) {
			im.PulledAt, im.ActivatedAt = daysAgo(100),
				daysAgo(10)
		}), ""},
		{"restored long ago, not pulled since", pulled, with(func(im *lifecycle.Image) {
			im.PulledAt, im.ActivatedAt = daysAgo(100),
				daysAgo(40)
		}), "a"},
		{"restored long ago, pulled since", pulled, with(func(im *lifecycle.Image) {
			im.PulledAt, im.ActivatedAt = daysAgo(5),
				daysAgo(40)
		}), ""},
		{"restored lately", pushed, with(func(im *lifecycle.Image) { im.ActivatedAt = daysAgo(30) }), ""},
		{"restored long ago", pushed, with(func(im *lifecycle.Image) { im.ActivatedAt = daysAgo(31) }), "A"},
		{"archived long ago", transitioned, with(func(im *lifecycle.Image) { im.Class, im.ArchivedAt = lifecycle.Archived, daysAgo(91) }), "A"},
		{"archived lately", transitioned, with(func(im *lifecycle.Image) { im.Class, im.ArchivedAt = lifecycle.Archived, daysAgo(90) }), ""},
		{"archived at an unknown time", transitioned, with(func(im *lifecycle.Image) { im.Class = lifecycle.Archived }), ""},
		{"archived and restored", transitioned, with(func(im *lifecycle.Image) { im.ArchivedAt = daysAgo(100) }), ""},
		{"a rule for standard and an archived image", pushed, with(func(im *lifecycle.Image) { im.Class = lifecycle.Archived }), ""},
	} {
		if got := acted(evaluate(t, c.policy, []lifecycle.Image{c.image}), letters); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A restored image is the newest.
func TestRestoredImageCountsAsNew(t *testing.T) {
	t.Parallel()
	all := images("A 10: B 9:")
	all[0].ActivatedAt = daysAgo(1)
	r := evaluate(t, mustParse(t, ecrPolicy(ecrRule(1, anyTag+count(1)))), all)
	if got := acted(r, letters); got != "B" {
		t.Errorf("got %q, want B", got)
	}
}

// The storage classes have separate rules and separate counts.
func TestStorageClasses(t *testing.T) {
	t.Parallel()
	all := images("A 400: B 300: C 200: D 5:")
	all[0].Class, all[0].ArchivedAt = lifecycle.Archived, daysAgo(100)
	all[1].Class, all[1].ArchivedAt = lifecycle.Archived, daysAgo(10)
	r := evaluate(t, mustParse(t, ecrPolicy(ecrRuleWith(1, anyTag+count(1), archive), ecrRule(2, anyTag+archived+since("Transitioned",
		90)))), all)
	if got := acted(r, letters); got != "A c" {
		t.Errorf("got %q, want A expired and C archived", got)
	}
}

// Images with the same push time are ordered by digest, so that the result does not depend on the order of the input.
func TestTiesByDigest(t *testing.T) {
	t.Parallel()
	all := images("A 9: B 9: C 9: D 9:")
	r := evaluate(t, mustParse(t, ecrPolicy(ecrRule(1, anyTag+count(1)))), all)
	var digests []string
	for i, v := range r.Verdicts {
		digests = append(digests, v.Image.Digest.String())
		if got, want := v.Action == lifecycle.Expire, i < 3; got != want {
			t.Errorf("verdict %d: expired %v, want %v", i, got, want)
		}
	}
	if !slices.IsSorted(digests) {
		t.Errorf("got the order %v, want it sorted", digests)
	}
}

func TestEvaluateErrors(t *testing.T) {
	t.Parallel()
	p := mustParse(t, ecrPolicy(ecrRule(1, tagged("a*")+count(1))))
	if _, err := lifecycle.Evaluate(context.Background(), p, images("A 1: B 1: A 2:"),
		now); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("Evaluate with an image twice: got %v, want an error", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := lifecycle.Evaluate(ended, p, images("A 1:a"), now); !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("Evaluate with an ended context: got %v, %v, want context.Canceled", r, err)
	}
	for _, none := range []*lifecycle.Policy{nil, {}, lifecycle.Join(nil, nil)} {
		r := evaluate(t, none, images("A 1:a"))
		if len(r.Verdicts) != 1 || r.Verdicts[0].Action != lifecycle.None || r.Verdicts[0].Rule != nil {
			t.Errorf("without rules: got %+v, want one verdict without an action", r.Verdicts)
		}
		checkReasons(t, r, []string{"kept: no rule selects it"})
	}
	if r := evaluate(t, p, nil); len(r.Verdicts) != 0 {
		t.Errorf("without images: got %v", r.Verdicts)
	}
}
