package policy

import "math"

// The limits of matching. Without them a policy of 100 KB and a value of 20 KB, which is what a client may send in one
// header, would take ten seconds.
const (
	// maxWork is the maximum work of one decision, in steps. A step compares a part of a pattern at one place of a text,
	// or 16 bytes; all of them take about 10 ms. A hundred policies of the maximum length need a twentieth of it for a
	// request that is not made for the purpose.
	maxWork = 1 << 20
	// maxDocumentWork is the maximum work that the patterns of one document can cause, whatever the request.
	maxDocumentWork = maxWork / 2
	// maxPattern is the maximum length of a pattern with wildcards, in bytes, and maxValue of a text that is matched with
	// such a pattern. Source: IAM service model, arnType and ResourceNameType, 2,048 characters.
	maxPattern, maxValue = 2048, 2048
)

// meter counts down the work of a decision. Once it is used up, no pattern matches, and the results of matching have no
// meaning: the request is denied.
type meter struct {
	keys *Context
	left int // negative when the work is used up
}

// unmetered is for matching that is bounded otherwise: of actions of ECR, and of the texts of two policies.
func unmetered() *meter { return &meter{left: math.MaxInt} }

func (m *meter) exceeded() bool { return m.left < 0 }

// exceed uses all work up.
func (m *meter) exceed() { m.left = min(m.left, -1) }

// take takes n steps, and reports whether there was that much work left.
func (m *meter) take(n int) bool {
	m.left -= n
	return m.left >= 0
}

// compare takes the steps of comparing n bytes.
func (m *meter) compare(n int) bool { return m.take(1 + n>>4) }

// used returns the work that was done, of at most limit.
func (m *meter) used(limit int) int { return min(limit-m.left, limit) }

// worst returns the maximum work of matching a text of maxValue bytes with the pattern, up to a small factor for the
// values of its variables. Only a chunk between two runs of * can be tried at every place of the text, and a place that
// was passed is not tried again for a later chunk: the most expensive chunk decides.
func (g *glob) worst() int {
	most, all := 0, 0
	for i, chunk := range g.chunks {
		once, text := 0, false
		for _, p := range chunk {
			once += 1 + len(p.Text)>>4
			text = text || p.Kind != AnyOne
		}
		all += once
		// A chunk of ? alone matches at the first place; a chunk that is a single literal is searched for in one pass.
		if i > 0 && i < len(g.chunks)-1 && text && len(chunk) > 1 {
			most = max(most, once)
		}
	}
	return all + maxValue>>4 + most*maxValue
}
