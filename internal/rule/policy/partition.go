package policy

import (
	"iter"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// In AWS an account belongs to one partition. An account of an installation is the same account in all of them, and so are its
// users, roles and managed policies: each of them has an ARN in every partition (see [name.InPartition]). The region of a request
// decides by which of these ARNs the request names them. Patterns and principals therefore match such a thing by any of its
// ARNs. Otherwise a caller could choose a region in which a statement that denies does not name it.

// partitions are those that the ARN of an entity must have for a pattern to match it. A pattern that matches no ARN of an
// entity, whatever the partition, has none.
type partitions []string

// partitionsOf returns the partitions of a pattern. It looks only at the literal text that the pattern begins with, so that a
// pattern may have partitions although it matches no ARN.
func partitionsOf(parts []Part, fold bool) partitions {
	var head strings.Builder
	open := false // a wildcard or a variable follows the head
	for _, p := range parts {
		if p.Kind != Literal {
			open = true
			break
		}
		head.WriteString(p.Text)
	}
	begins := head.String()
	if fold {
		begins = Fold(begins)
	}
	var all partitions
	for _, partition := range name.Partitions() {
		for _, service := range []string{"iam", "sts", "ecrin"} {
			front := "arn:" + partition + ":" + service + ":"
			if strings.HasPrefix(begins, front) || open && strings.HasPrefix(front, begins) {
				all = append(all, partition)
				break
			}
		}
	}
	return all
}

// others yields the other ARNs of the thing that s is an ARN of, in the partitions of the pattern.
func (p partitions) others(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(p) == 0 {
			return
		}
		own, rest, ok := name.CutPartition(s)
		if !ok {
			return
		}
		for _, partition := range p {
			if partition != own && !yield("arn:"+partition+rest) {
				return
			}
		}
	}
}

// textGlob matches a text that may be the ARN of an entity, such as the value of aws:PrincipalArn.
type textGlob struct {
	glob
	partitions partitions
}

// match returns whether the pattern matches s, or one of the other ARNs of the thing that s is an ARN of.
func (g *textGlob) match(s string, m *meter) outcome {
	o := g.glob.match(s, m)
	if o == differs {
		for other := range g.partitions.others(s) {
			if o = g.glob.match(other, m); o != differs {
				return o
			}
		}
	}
	return o
}
