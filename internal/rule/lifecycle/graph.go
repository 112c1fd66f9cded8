package lifecycle

import (
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Hold is a reason why an image on which a rule is due is not acted on.
type Hold uint8

const (
	HeldByPin         Hold = iota + 1 // Pinned
	HeldByUse                         // InUse
	HeldByRestoration                 // Restoring
	HeldByPolicy                      // the extension protects a tag of the image
	HeldByIndex                       // an index that is left contains the image: Verdict.Other
	HeldBySubject                     // the subject of the image stays: Verdict.Other
	HeldByProtection                  // Undeletable
	HeldByEntitlement                 // Entitled
)

// FailureCode returns the code of ECR for images that are skipped, or "" if ECR has none.
func (h Hold) FailureCode() string {
	if h == HeldByIndex {
		return "ImageReferencedByManifestList"
	}
	return ""
}

// Verdict is what a policy does with one image.
type Verdict struct {
	Image  *Image
	Action Action
	Rule   *Rule       // acts on the image or its subject; without an action, the first rule that sees the image; nil if none does
	Due    bool        // the conditions of Rule hold for the image itself
	Hold   Hold        // why nothing is done although Due; 0 otherwise
	Other  name.Digest // of HeldByIndex, HeldBySubject; of a referrer that goes with its subject, the subject

	ruling ruling
	e      *evaluation
	number int32
}

// lists has a list of images for each image, in one piece of memory.
type lists struct {
	begin []int32 // one more than there are images
	all   []int32
}

func (l lists) of(i int32) []int32 { return l.all[l.begin[i]:l.begin[i+1]] }

// newLists returns the lists of n images that each makes: it calls its argument for each pair of an image and an element.
// It calls each twice.
func newLists(n int, each func(pair func(from, to int32))) lists {
	l := lists{begin: make([]int32, n+1)}
	each(func(from, _ int32) { l.begin[from+1]++ })
	for i := range n {
		l.begin[i+1] += l.begin[i]
	}
	l.all = make([]int32, l.begin[n])
	next := append([]int32(nil), l.begin...)
	each(func(from, to int32) {
		l.all[next[from]] = to
		next[from]++
	})
	return l
}

// resolution finds out which of the images that are due are acted on. It begins with no action and adds those that nothing
// holds any more, so that images which hold each other stay, and the order of steps does not matter. Deletions do not depend
// on transitions, so all of them are found first.
type resolution struct {
	*evaluation
	children  lists
	referrers lists
	subject   []int32 // or -1
	left      []int32 // number of indexes with the image that are not deleted
	ready     []int32 // number of indexes with the image that are neither deleted nor archived
	action    []Action
	steps     []int32 // images to consider
}

func (e *evaluation) resolve() *resolution {
	n := len(e.images)
	r := &resolution{evaluation: e, subject: make([]int32, n), left: make([]int32, n), ready: make([]int32, n), action: make([]Action, n)}
	r.children = newLists(n, func(pair func(from, to int32)) {
		for i, im := range e.images {
			for _, d := range im.Children {
				if child, ok := e.numbers[d]; ok {
					pair(int32(i), child)
				}
			}
		}
	})
	for i := range int32(n) {
		r.subject[i] = -1
		if d := e.images[i].Subject; d != (name.Digest{}) {
			if s, ok := e.numbers[d]; ok && s != i {
				r.subject[i] = s
			}
		}
		for _, child := range r.children.of(i) {
			r.left[child]++
			if e.images[i].Class == Standard {
				r.ready[child]++
			}
		}
	}
	r.referrers = newLists(n, func(pair func(from, to int32)) {
		for i, s := range r.subject {
			if s >= 0 {
				pair(s, int32(i))
			}
		}
	})
	for _, a := range []Action{Expire, Archive} {
		for i := range int32(n) {
			r.steps = append(r.steps[:0], i)
			for len(r.steps) > 0 {
				last := len(r.steps) - 1
				next := r.steps[last]
				r.steps = r.steps[:last]
				r.consider(next, a)
			}
		}
	}
	return r
}

// held reports whether an image must not be acted on, whatever its rule says.
func (e *evaluation) held(i int32) Hold {
	switch p := e.images[i].Protection; {
	case p&Pinned != 0:
		return HeldByPin
	case p&InUse != 0:
		return HeldByUse
	case p&Restoring != 0:
		return HeldByRestoration
	case p&Undeletable != 0:
		return HeldByProtection
	case p&Entitled != 0:
		return HeldByEntitlement
	case e.protected.has(i):
		return HeldByPolicy
	}
	return 0
}

// own returns the action of the rule of an image, if it is due.
func (r *resolution) own(i int32) Action {
	if v := r.verdicts[i]; v.rule != noRule && v.due {
		return r.rules[v.rule].Action
	}
	return None
}

// wants reports whether an action is that of an image, or of the subject of a referrer. A referrer whose subject is deleted,
// while an index keeps the referrer, has lost its subject.
func (r *resolution) wants(i int32, a Action) bool {
	if s := r.subject[i]; s >= 0 && (a == Expire || r.action[s] != Expire) {
		return r.action[s] == a && (a == Expire || r.images[i].Class == Standard)
	}
	return r.own(i) == a
}

// consider does a with an image if it wants that and nothing holds it.
func (r *resolution) consider(i int32, a Action) {
	switch {
	case r.action[i] != None, !r.wants(i, a), a == Expire && r.left[i] > 0, a == Archive && r.ready[i] > 0, r.held(i) != 0:
		return
	}
	r.action[i] = a
	for _, child := range r.children.of(i) {
		if a == Expire {
			r.left[child]--
		}
		if r.images[i].Class == Standard {
			r.ready[child]--
		}
		r.steps = append(r.steps, child)
	}
	r.steps = append(r.steps, r.referrers.of(i)...)
}

// result returns the verdicts.
func (e *evaluation) result(r *resolution) *Result {
	result := &Result{Verdicts: make([]Verdict, len(e.images)), Rules: e.rules}
	index := r.indexes()
	for i, im := range e.images {
		i := int32(i)
		v := &result.Verdicts[i]
		*v = Verdict{Image: im, Action: r.action[i], ruling: e.verdicts[i], e: e, number: i}
		if v.ruling.rule != noRule {
			v.Rule, v.Due = e.rules[v.ruling.rule], v.ruling.due
		}
		subject := r.subject[i]
		switch v.Action {
		case Expire:
			result.Expire.Images++
			result.Expire.Bytes += im.Bytes
		case Archive:
			result.Archive.Images++
			result.Archive.Bytes += im.Bytes
		}
		switch {
		case r.follows(i):
			v.Other, v.Rule, v.Due = e.images[subject].Digest, e.rules[e.verdicts[r.root(subject)].rule], false
		case v.Action == None && v.Due:
			if v.Hold = r.held(i); v.Hold != 0 {
				break
			}
			if at := index[i]; at >= 0 {
				v.Hold, v.Other = HeldByIndex, e.images[at].Digest
			} else if subject >= 0 {
				v.Hold, v.Other = HeldBySubject, e.images[subject].Digest
			}
		}
	}
	return result
}

// follows reports whether an image is a referrer that is acted on because its subject is.
func (r *resolution) follows(i int32) bool {
	return r.action[i] != None && r.subject[i] >= 0 && r.action[r.subject[i]] == r.action[i]
}

// root returns the image whose rule acts on a referrer that follows.
func (r *resolution) root(i int32) int32 {
	for r.follows(i) {
		i = r.subject[i]
	}
	return i
}

// indexes returns for each image that is due the oldest index that holds it, or -1.
func (r *resolution) indexes() []int32 {
	index := make([]int32, len(r.images))
	for i := range index {
		index[i] = -1
	}
	for i := range int32(len(r.images)) {
		for _, child := range r.children.of(i) {
			holds := r.action[i] != Expire
			if r.own(child) == Archive {
				holds = r.action[i] == None && r.images[i].Class == Standard
			}
			if holds && index[child] < 0 {
				index[child] = i
			}
		}
	}
	return index
}
