package lifecycle

import (
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	extensionVersion = "ecrin-lifecycle-1"
	maxFilters       = 20    // in protect, and in exclude of a rule
	maxPatterns      = 50    // in a filter
	maxRegexp        = 500   // of a regular expression, in characters
	maxAllStates     = 5_000 // of all regular expressions of a document together
	maxDescription   = 500   // in characters
)

// ParseExtension reads the lifecycle extension of ecrin, of at most 30,720 characters with at most 50 rules. It is strict:
// unknown and repeated members are errors. docs/design/lifecycle.md has the grammar.
//
// Errors: fault.InvalidParameter, with the place in the text. Its cause is a [*Problem].
func ParseExtension(text string) (*Policy, error) {
	e := &extension{parser: parser{text: text}}
	policy, err := e.policy()
	if err == nil {
		return policy, nil
	}
	if at, ok := errors.AsType[*Problem](err); ok {
		at.AWS = ""
		return nil, fault.InvalidParameter.New("the lifecycle extension cannot be read: %s", at).Because(err)
	}
	return nil, err
}

// extension reads one document of the extension.
type extension struct {
	parser
	states int // of the regular expressions up to here
}

func (e *extension) policy() (*Policy, error) {
	if n := utf8.RuneCountInString(e.text); n > maxLength {
		return nil, e.problem(0, "", "", "the document has at most %d characters, this has %d", maxLength, n)
	}
	root, err := e.tree()
	if err != nil {
		return nil, err
	}
	top, err := e.fields(root, "version", "rules protect")
	if err != nil {
		return nil, err
	}
	if _, err := e.enum(top["version"], extensionVersion); err != nil {
		return nil, err
	}
	if !top.has("rules") && !top.has("protect") {
		return nil, e.fail(root, "", "rules and protect are missing: one of them is required")
	}
	var all []parsedRule
	if list, ok := top["rules"]; ok {
		rules, err := e.list(list, 1, maxRules)
		if err != nil {
			return nil, err
		}
		for _, n := range rules {
			r, err := e.rule(n)
			if err != nil {
				return nil, err
			}
			same := func(other parsedRule) bool { return other.Priority == r.Priority }
			if slices.ContainsFunc(all, same) {
				return nil, e.fail(r.members["priority"], "", "another rule has the priority %d", r.Priority)
			}
			all = append(all, r)
		}
	}
	policy := sorted(all)
	if list, ok := top["protect"]; ok {
		policy.protect, err = e.filters(list)
	}
	return policy, err
}

func (e *extension) rule(n node) (parsedRule, error) {
	r := parsedRule{Rule: &Rule{Document: Extension}, at: n}
	var err error
	if r.members, err = e.fields(n, "priority select action", "description daysSince keep"); err != nil {
		return r, err
	}
	f := r.members
	if r.Priority, err = e.integer(f["priority"], 1); err != nil {
		return r, err
	}
	if d, ok := f["description"]; ok {
		if r.Description, err = e.string(d, 0, maxDescription); err != nil {
			return r, err
		}
	}
	action, err := e.enum(f["action"], "expire", "archive")
	if err != nil {
		return r, err
	}
	r.Action = [...]Action{Expire, Archive}[action]
	if err := e.selection(&r); err != nil {
		return r, err
	}
	if err := e.conditions(&r); err != nil {
		return r, err
	}
	return r, nil
}

// selection reads the member select.
func (e *extension) selection(r *parsedRule) (err error) {
	if r.selection, err = e.fields(r.members["select"], "tagStatus", "tags everyTag exclude storageClass"); err != nil {
		return err
	}
	f := r.selection
	status, err := e.enum(f["tagStatus"], "any", "tagged", "untagged")
	if err != nil {
		return err
	}
	r.Status = TagStatus(status)
	if n, ok := f["storageClass"]; ok {
		class, err := e.enum(n, "standard", "archive")
		if err != nil {
			return err
		}
		r.Class = StorageClass(class)
	}
	if n, ok := f["tags"]; ok {
		if r.Status != Tagged {
			return e.fail(n, "", "must be absent unless tagStatus is tagged")
		}
		if r.Tags, err = e.filter(n); err != nil {
			return err
		}
	}
	if n, ok := f["everyTag"]; ok {
		if err := e.typed(n, "boolean"); err != nil {
			return err
		}
		if r.EveryTag = n.text == "true"; r.EveryTag && r.Tags == nil {
			return e.fail(n, "", "needs the member tags")
		}
	}
	if n, ok := f["exclude"]; ok {
		if r.Status == Untagged {
			return e.fail(n, "", "must be absent if tagStatus is untagged")
		}
		r.Exclude, err = e.filters(n)
	}
	return err
}

// filters reads a list of filters.
func (e *extension) filters(n node) (all []*TagFilter, err error) {
	list, err := e.list(n, 1, maxFilters)
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		f, err := e.filter(n)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// filter reads one filter.
func (e *extension) filter(n node) (*TagFilter, error) {
	f, err := e.fields(n, "", "patterns regexp semver preReleases")
	if err != nil {
		return nil, err
	}
	t := &TagFilter{}
	if !f.has("patterns") && !f.has("regexp") && !f.has("semver") {
		return nil, e.fail(n, "", "patterns, regexp and semver are missing: one of them is required")
	}
	if list, ok := f["patterns"]; ok {
		if t.Patterns, err = e.patterns(list); err != nil {
			return nil, err
		}
	}
	if n, ok := f["regexp"]; ok {
		text, err := e.string(n, 1, maxRegexp)
		if err != nil {
			return nil, err
		}
		size, err := t.setRegexp(text)
		if err != nil {
			return nil, e.fail(n, "", "is not a regular expression in the syntax of RE2: %s", err)
		}
		if e.states += size; size > maxStates || e.states > maxAllStates {
			return nil, e.fail(n, "", "is too large: a regular expression has at most %d states, all of a document have %d; "+
				"use smaller repetitions", maxStates, maxAllStates)
		}
	}
	if n, ok := f["semver"]; ok {
		text, err := e.string(n, 1, maxRegexp)
		if err != nil {
			return nil, err
		}
		r, err := semver.ParseRange(text)
		if err != nil {
			return nil, e.fail(n, "", "is not a range of versions: %s", err)
		}
		t.Range = &r
	}
	if n, ok := f["preReleases"]; ok {
		if t.Range == nil {
			return nil, e.fail(n, "", "needs the member semver")
		}
		which, err := e.enum(n, "include", "exclude", "only")
		if err != nil {
			return nil, err
		}
		t.PreReleases = PreReleases(which)
	}
	return t, nil
}

func (e *extension) patterns(n node) (all []Pattern, err error) {
	list, err := e.list(n, 1, maxPatterns)
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		text, err := e.string(n, 1, maxPattern)
		if err != nil {
			return nil, err
		}
		p := wildcard(text)
		if len(p.pieces) > maxStars+1 {
			return nil, e.fail(n, "", "a pattern has at most %d times *", maxStars)
		}
		all = append(all, p)
	}
	return all, nil
}

// conditions reads the members daysSince and keep.
func (e *extension) conditions(r *parsedRule) error {
	days, hasDays := r.members["daysSince"]
	keep, hasKeep := r.members["keep"]
	if !hasDays && !hasKeep {
		return e.fail(r.at, "", "daysSince and keep are missing: one of them is required")
	}
	if hasDays {
		f, err := e.fields(days, "", "pushed pulled tagMoved archived")
		if err != nil {
			return err
		}
		for _, one := range []struct {
			member string
			clock  Clock
		}{{"pushed", Pushed}, {"pulled", Pulled}, {"tagMoved", TagMoved}, {"archived", Archival}} {
			if n, ok := f[one.member]; ok {
				number, err := e.integer(n, 1)
				if err != nil {
					return err
				}
				r.Older = append(r.Older, Age{one.clock, number})
			}
		}
		if len(f) == 0 {
			return e.fail(days, "", "must have one of the members pushed, pulled, tagMoved and archived")
		}
		if n, ok := f["archived"]; ok && r.Class != Archived {
			return e.fail(n, "", "needs the storageClass archive")
		}
	}
	if r.Class == Archived {
		// An image that a rule has archived must not become due, or change the position of others, in the same run.
		switch {
		case hasKeep:
			return e.fail(keep, "", "must be absent with the storageClass archive")
		case !slices.ContainsFunc(r.Older, func(a Age) bool { return a.Clock == Archival }):
			return e.fail(days, "", "must have the member archived with the storageClass archive")
		case r.Action == Archive:
			return e.fail(r.members["action"], "", "must be expire with the storageClass archive")
		}
	}
	if hasKeep {
		return e.keep(r, keep)
	}
	return nil
}

// keep reads the member keep.
func (e *extension) keep(r *parsedRule, n node) error {
	f, err := e.fields(n, "count", "order group")
	if err != nil {
		return err
	}
	k := &Keep{}
	r.Keep = k
	if k.Count, err = e.integer(f["count"], 1); err != nil {
		return err
	}
	if n, ok := f["order"]; ok {
		order, err := e.enum(n, "pushed", "pulled", "tagMoved", "version")
		if err != nil {
			return err
		}
		k.Order = Order(order)
		if k.Order == HighestVersion && (r.Tags == nil || r.Tags.Range == nil) {
			return e.fail(n, "", "version needs the member semver of select.tags; all versions are *")
		}
	}
	if n, ok := f["group"]; ok {
		if k.Name, err = e.string(n, 1, maxPattern); err != nil {
			return err
		}
		if r.Tags == nil || r.Tags.Regexp == nil {
			return e.fail(n, "", "needs the member regexp of select.tags")
		}
		if k.Group = r.Tags.Regexp.SubexpIndex(k.Name); k.Group < 0 {
			number, err := strconv.Atoi(k.Name)
			if err != nil || number < 1 || number > r.Tags.Regexp.NumSubexp() {
				return e.fail(n, "", "must be the name or number of a capture of the regular expression")
			}
			k.Group = number
		}
	}
	return nil
}
