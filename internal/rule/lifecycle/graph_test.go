package lifecycle_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// linked returns images with edges: "I>A,B" means that the index I contains A and B, "S@A" that A is the subject of S.
func linked(all []lifecycle.Image, edges string) []lifecycle.Image {
	find := func(label string) *lifecycle.Image {
		for i := range all {
			if all[i].Digest == digest(label) {
				return &all[i]
			}
		}
		panic("no image " + label)
	}
	for e := range strings.FieldsSeq(edges) {
		if from, to, ok := strings.Cut(e, ">"); ok {
			for child := range strings.SplitSeq(to, ",") {
				im := find(from)
				im.Children = append(im.Children, digest(child))
			}
		} else if from, to, ok := strings.Cut(e, "@"); ok {
			find(from).Subject = digest(to)
		}
	}
	return all
}

// Rules select by push time here, so that an image is due if it is older than 30 days.
func TestIndexesAndReferrers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, images, edges, want, reason string }{
		{"child of an index that is left", "A 40: I 10:", "I>A", "",
			"rule 1 would expire it (pushed 40 days ago, more than 30 days), but the index " + digest("I").String() + " contains it"},
		{"child and index are due", "A 40: I 39:", "I>A", "A I", ""},
		{"index is due, child is not", "A 10: I 40:", "I>A", "I", ""},
		{"one of two indexes is left", "A 40: I 40: H 10:", "I>A H>A", "I", ""},
		{"nested indexes, the outer one is left", "A 40: H 40: I 10:", "I>H H>A", "", ""},
		{"nested indexes are due", "A 40: H 40: I 40:", "I>H H>A", "A H I", ""},
		{"the inner index is not due", "A 40: H 10: I 40:", "I>H H>A", "I", ""},
		{"a child twice in an index", "A 40: I 40:", "I>A,A", "A I", ""},
		{"an unknown child", "I 40:", "I>Z", "I", ""},
		{"referrer of a subject that is left", "B 40: A 10:", "B@A", "",
			"rule 1 would expire it (pushed 40 days ago, more than 30 days), but it stays with its subject " + digest("A").String()},
		{"referrer goes with its subject", "A 40: B 10:", "B@A", "A B", ""},
		{"referrer of a referrer", "A 40: B 10: C 9:", "B@A C@B", "A B C", ""},
		{"referrer of an image that is not there", "B 40:", "", "B", ""},
		{"referrer of a child goes when index and child go", "A 40: I 40: B 1:", "I>A B@A", "A I B", ""},
		{"referrer that an index contains", "A 40: B 10: I 10:", "B@A I>B", "A", ""},
		{"referrer in an index that goes", "A 40: B 10: I 40:", "B@A I>B", "A I B", ""},
		{"an index that refers to its child stays", "A 40: I 40:", "I>A I@A", "", ""},
		{"images that refer to each other stay", "A 40: B 40:", "A@B B@A", "", ""},
		{"indexes that contain each other stay", "A 40: B 40:", "A>B B>A", "", ""},
		{"an index that contains itself stays", "A 40:", "A>A", "", ""},
		{"an image that refers to itself goes", "A 40:", "A@A", "A", ""},
	} {
		all := linked(images(c.images), c.edges)
		if c.name == "referrer of an image that is not there" {
			all[0].Subject = digest("Z")
		}
		r := evaluate(t, mustParse(t, ecrPolicy(ecrRule(1, anyTag+since("Pushed", 30)))), all)
		var got []string
		for l := range strings.FieldsSeq(acted(r, letters+" I")) {
			got = append(got, l)
		}
		want := strings.Fields(c.want)
		if !sameSet(got, want) {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
		if c.reason != "" && r.Verdicts[0].Reason() != c.reason {
			t.Errorf("%s: got the reason\n%s\nwant\n%s", c.name, r.Verdicts[0].Reason(), c.reason)
		}
	}
}

func sameSet(a, b []string) bool {
	in := map[string]bool{}
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if !in[s] {
			return false
		}
	}
	return len(a) == len(b)
}

// Images that a rule does not act on count for the positions of others.
func TestProtectedImagesCount(t *testing.T) {
	t.Parallel()
	all := linked(images("A 9: B 8: C 7: D 6: E 5: F 4: G 3:"), "G>C F@G")
	all[0].Protection = lifecycle.Pinned
	all[1].Protection = lifecycle.InUse | lifecycle.Restoring
	all[3].Protection = lifecycle.Restoring
	r := evaluate(t, mustParse(t, ecrPolicy(ecrRule(1, anyTag+count(1)))), all)
	if got := acted(r, letters); got != "E" {
		t.Errorf("got %q, want E", got)
	}
	var why []string
	for i := range r.Verdicts {
		_, but, _ := strings.Cut(r.Verdicts[i].Reason(), "but ")
		why = append(why, but)
	}
	want := []string{"it is pinned", "it is in use", "the index " + digest("G").String() + " contains it",
		"it is being restored from the archive", "",
		"it stays with its subject " + digest("G").String(), ""}
	for i := range want {
		if why[i] != want[i] {
			t.Errorf("verdict %d: got %q, want %q", i, why[i], want[i])
		}
	}
	if got := r.Verdicts[2].Hold.FailureCode(); got != "ImageReferencedByManifestList" {
		t.Errorf("FailureCode: got %q", got)
	}
	if got := r.Verdicts[0].Hold.FailureCode(); got != "" {
		t.Errorf("FailureCode of a pinned image: got %q, want none", got)
	}
}

// A pinned subject keeps its referrers, and a pinned index keeps its children.
func TestProtectedImagesProtect(t *testing.T) {
	t.Parallel()
	all := linked(images("A 40: B 40: C 40: D 10: E 40: F 40:"), "A>B C@B D@E")
	all[0].Protection = lifecycle.Pinned
	all[5].Protection = lifecycle.InUse
	r := evaluate(t, mustParse(t, ecrPolicy(ecrRule(1, anyTag+since("Pushed", 30)))), all)
	if got := acted(r, letters); got != "E D" {
		t.Errorf("got %q, want E D", got)
	}
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Image.Digest == digest("D") {
			if got, want := v.Reason(), "goes with its subject "+digest("E").String()+", which rule 1 expires"; got != want {
				t.Errorf("got the reason %q, want %q", got, want)
			}
			if v.Rule == nil || v.Rule.Priority != 1 || v.Other != digest("E") || v.Due {
				t.Errorf("got the verdict %+v, want that of its subject", v)
			}
		}
	}
}

// Children move to the archive only with all of their indexes, and referrers with their subjects.
func TestTransitions(t *testing.T) {
	t.Parallel()
	rule := mustParse(t, ecrPolicy(ecrRuleWith(1, anyTag+since("Pushed", 30), archive)))
	for _, c := range []struct{ name, images, edges, archived, want string }{
		{"index stays", "A 40: I 10:", "I>A", "", ""},
		{"index moves", "A 40: I 40:", "I>A", "", "a i"},
		{"index has moved", "A 40: I 10:", "I>A", "I", "a"},
		{"referrer moves", "A 40: B 1:", "B@A", "", "a b"},
		{"referrer has moved", "A 40: B 1:", "B@A", "B", "a"},
		{"referrer of an archived subject", "A 40: B 40:", "B@A", "A", ""},
		{"referrer in an index", "A 40: B 1: I 1:", "B@A I>B", "", "a"},
	} {
		all := linked(images(c.images), c.edges)
		for i := range all {
			if all[i].Digest == digest(c.archived) {
				all[i].Class, all[i].ArchivedAt = lifecycle.Archived, daysAgo(5)
			}
		}
		r := evaluate(t, rule, all)
		if got := strings.Fields(acted(r, letters+" I")); !sameSet(got, strings.Fields(c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, got, c.want)
		}
	}
	r := evaluate(t, rule, linked(images("A 40: B 1: I 1:"), "B@A I>A"))
	checkReasons(t, r, []string{
		"rule 1 would archive it (pushed 40 days ago, more than 30 days), but the index " + digest("I").String() + " contains it",
		"kept by rule 1: pushed 24 hours ago, not more than 30 days",
		"kept by rule 1: pushed 24 hours ago, not more than 30 days",
	}[:len(r.Verdicts)])
}

// A referrer that an index keeps when its subject is deleted is like other images in the same run, because it is in the next one.
func TestReferrerWithoutItsSubject(t *testing.T) {
	t.Parallel()
	all := linked(images("A 400: B 40: I 41: C 1:"), "B@A I>B C@B")
	all[0].Class, all[0].ArchivedAt = lifecycle.Archived, daysAgo(100)
	p := mustParse(t, ecrPolicy(ecrRuleWith(1, anyTag+since("Pushed", 30), archive), ecrRule(2, anyTag+archived+since("Transitioned", 90))))
	r := evaluate(t, p, all)
	if got := acted(r, "A B C I"); got != "A i b c" {
		t.Errorf("got %q, want A expired, and I, B and C archived", got)
	}
	checkReasons(t, r, []string{
		"rule 2 expires it: archived 100 days ago, more than 90 days",
		"rule 1 archives it: pushed 41 days ago, more than 30 days",
		"rule 1 archives it: pushed 40 days ago, more than 30 days",
		"goes with its subject " + digest("B").String() + ", which rule 1 archives",
	})
}

// A long chain of indexes needs no deep recursion and no repeated work.
func TestNestedIndexes(t *testing.T) {
	t.Parallel()
	const n = 20_000
	all := make([]lifecycle.Image, n)
	for i := range all {
		all[i] = lifecycle.Image{Digest: digest(string(rune(i)) + "chain"), PushedAt: daysAgo(40)}
		if i > 0 {
			all[i].Children = []name.Digest{all[i-1].Digest}
			if i > 1 {
				all[i].Children = append(all[i].Children, all[i-2].Digest) // as many paths as Fibonacci numbers
			}
		}
	}
	p := mustParse(t, ecrPolicy(ecrRule(1, anyTag+since("Pushed", 30))))
	if got := evaluate(t, p, all).Expire.Images; got != n {
		t.Errorf("got %d expired images, want %d", got, n)
	}
	all[n-1].Protection = lifecycle.Pinned
	if got := evaluate(t, p, all).Expire.Images; got != 0 {
		t.Errorf("with a pinned outer index: got %d expired images, want 0", got)
	}
}
