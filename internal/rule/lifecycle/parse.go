package lifecycle

import (
	"errors"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	minLength   = 100    // of a policy, in characters
	maxLength   = 30_720 // of a policy, in characters
	maxRules    = 50
	maxStars    = 4   // in a pattern
	maxPattern  = 128 // of a pattern or prefix, in characters: a tag has at most 128
	minArchived = 90  // days in the archive class before a policy of ECR can expire an image
)

// noAlternative is the sentence of ECR for a combination of members that it does not have.
const noAlternative = "instance failed to match exactly one schema (matched 0 out of 2)"

// Parse reads a lifecycle policy of ECR, of 100 to 30,720 characters with at most 50 rules. It is strict: unknown and repeated
// members are errors.
//
// Errors: fault.InvalidParameter. The public text begins with ECR's own; place and reason follow in brackets. If the text is
// too short or too long, it is the text for the constraint of the service model. Otherwise the cause is a [*Problem].
// Sources: ECR service model, shape LifecyclePolicyText; ECR user guide, lifecycle policy parameters; answers of ECR.
func Parse(text string) (*Policy, error) {
	if why := (&awswire.StringRule{Min: minLength, Max: maxLength}).Broken(text); why != "" {
		return nil, fault.InvalidParameter.New("Invalid parameter at 'lifecyclePolicyText' failed to satisfy constraint: '%s'", why)
	}
	p := &parser{text: text}
	policy, err := p.policy()
	if err == nil {
		return policy, nil
	}
	if at, ok := errors.AsType[*Problem](err); ok {
		return nil, fault.InvalidParameter.New("Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: "+
			"'Lifecycle policy validation failure: %s' (%s)", at.AWS, at).Because(err)
	}
	return nil, err
}

// policy reads the document.
func (p *parser) policy() (*Policy, error) {
	root, err := p.tree()
	if err != nil {
		return nil, err
	}
	if root.kind != "object" {
		return nil, p.fail(root, notAPolicy, "must be an object with the member rules")
	}
	top, err := p.fields(root, "rules", "")
	if err != nil {
		return nil, err
	}
	list, err := p.list(top["rules"], 1, maxRules)
	if err != nil {
		return nil, err
	}
	var all []parsedRule
	for _, n := range list {
		r, err := p.rule(n)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if err := p.together(all); err != nil {
		return nil, err
	}
	return sorted(all), nil
}

// parsedRule is a rule with the places of its members.
type parsedRule struct {
	*Rule
	at        node
	members   fields // of the rule
	selection fields
}

// sorted returns the policy of the rules, which have different priorities.
func sorted(all []parsedRule) *Policy {
	policy := &Policy{}
	for _, r := range all {
		policy.rules = append(policy.rules, r.Rule)
	}
	slices.SortFunc(policy.rules, func(a, b *Rule) int { return a.Priority - b.Priority })
	return policy
}

// rule reads one rule by its schema.
func (p *parser) rule(n node) (parsedRule, error) {
	r := parsedRule{Rule: &Rule{Document: ECR}, at: n}
	var err error
	if r.members, err = p.fields(n, "rulePriority selection action", "description"); err != nil {
		return r, err
	}
	if r.Priority, err = p.integer(r.members["rulePriority"], 1); err != nil {
		return r, err
	}
	if d, ok := r.members["description"]; ok {
		if r.Description, err = p.string(d, 0, maxLength); err != nil {
			return r, err
		}
	}
	if err = p.selection(&r); err != nil {
		return r, err
	}
	return r, p.action(&r)
}

// selection reads the member selection.
func (p *parser) selection(r *parsedRule) (err error) {
	n := r.members["selection"]
	if r.selection, err = p.fields(n, "tagStatus countType countNumber",
		"tagPatternList tagPrefixList storageClass countUnit"); err != nil {
		return err
	}
	f := r.selection
	status, err := p.enum(f["tagStatus"], "any", "tagged", "untagged")
	if err != nil {
		return err
	}
	r.Status = TagStatus(status)
	if c, ok := f["storageClass"]; ok {
		class, err := p.enum(c, "standard", "archive")
		if err != nil {
			return err
		}
		r.Class = StorageClass(class)
	}
	for _, list := range []string{"tagPatternList", "tagPrefixList"} {
		if n, ok := f[list]; ok {
			elements, err := p.list(n, 1, maxLength)
			if err != nil {
				return err
			}
			for _, e := range elements {
				s, err := p.string(e, 1, maxPattern)
				if err != nil {
					return err
				}
				if list == "tagPrefixList" {
					r.Patterns = append(r.Patterns, prefixPattern(s))
				} else {
					r.Patterns = append(r.Patterns, wildcard(s))
				}
			}
		}
	}
	return p.count(r)
}

// count reads countType, countUnit and countNumber.
func (p *parser) count(r *parsedRule) error {
	f := r.selection
	kind := f["countType"]
	if err := p.typed(kind, "string"); err != nil {
		return err
	}
	clocks := map[string]Clock{"sinceImagePushed": Pushed, "sinceImagePulled": Pulled, "sinceImageTransitioned": Archival}
	clock, since := clocks[kind.text]
	if !since && kind.text != "imageCountMoreThan" {
		return p.fail(kind, noAlternative, "must be one of imageCountMoreThan, sinceImagePushed, sinceImagePulled, sinceImageTransitioned")
	}
	if unit, ok := f["countUnit"]; ok {
		if _, err := p.enum(unit, "days"); err != nil {
			return err
		}
		if !since {
			return p.fail(unit, noAlternative, "must be absent with countType imageCountMoreThan")
		}
	} else if since {
		return p.fail(r.members["selection"], noAlternative, "countUnit is missing: it must be days with countType %s", kind.text)
	}
	least := 1
	if clock == Archival {
		least = minArchived
	}
	number, err := p.integer(f["countNumber"], least)
	if err != nil {
		return err
	}
	if since {
		r.Older = []Age{{clock, number}}
	} else {
		r.Keep = &Keep{Count: number}
	}
	if archived := r.Class == Archived; archived && clock != Archival {
		return p.fail(f["storageClass"], noAlternative, "must be standard with countType %s", kind.text)
	} else if !archived && clock == Archival {
		return p.fail(kind, noAlternative, "storageClass must be archive with countType sinceImageTransitioned")
	}
	return nil
}

// action reads the member action. Its schema has two alternatives, so that ECR has one sentence for all errors in it.
func (p *parser) action(r *parsedRule) error {
	f, err := p.fields(r.members["action"], "type", "targetStorageClass")
	kind := 0
	if err == nil {
		kind, err = p.enum(f["type"], "expire", "transition")
	}
	target, has := f["targetStorageClass"]
	switch {
	case err != nil:
	case kind == 0 && has:
		err = p.fail(target, "", "must be absent with the type expire, also as null")
	case kind == 1 && !has:
		err = p.fail(r.members["action"], "", "targetStorageClass is missing: it must be archive with the type transition")
	case kind == 1:
		_, err = p.enum(target, "archive")
	}
	if at, ok := errors.AsType[*Problem](err); ok {
		at.AWS = noAlternative
	}
	if err != nil {
		return err
	}
	r.Action = [...]Action{Expire, Archive}[kind]
	if r.Older != nil {
		switch clock := r.Older[0].Clock; {
		case clock == Pulled && r.Action == Expire:
			return p.fail(f["type"], "countType=SINCE_IMAGE_PULLED can only be used with the transition action.",
				"must be transition with countType sinceImagePulled")
		case clock == Archival && r.Action == Archive:
			return p.fail(f["type"], "countType=SINCE_IMAGE_TRANSITIONED can only be used with the expire action.",
				"must be expire with countType sinceImageTransitioned")
		}
	}
	return nil
}

// together checks what the schema does not say: the tag conditions, and the rules as a whole.
func (p *parser) together(all []parsedRule) error {
	byPriority := map[int]parsedRule{}
	untagged := map[StorageClass]parsedRule{}
	last := map[StorageClass]int{} // highest priority number of each class
	type selector struct {
		class StorageClass
		list  string
		text  string
	}
	selectors := map[selector]int{} // the priority of the rule
	for _, r := range all {
		if err := p.tagLists(r); err != nil {
			return err
		}
		if _, ok := byPriority[r.Priority]; ok {
			return p.fail(r.members["rulePriority"], "Rule priorities must be unique.", "another rule has the priority %d", r.Priority)
		}
		byPriority[r.Priority] = r
		last[r.Class] = max(last[r.Class], r.Priority)
		if r.Status == Untagged {
			if other, ok := untagged[r.Class]; ok {
				return p.fail(r.selection["tagStatus"], "Only one rule can select Untagged images per storage class.",
					"rule %d selects untagged images too", other.Priority)
			}
			untagged[r.Class] = r
		}
		for _, list := range []string{"tagPatternList", "tagPrefixList"} {
			for _, e := range r.selection[list].elements {
				s := selector{r.Class, list, e.text}
				if other, ok := selectors[s]; ok && other != r.Priority {
					return p.fail(e, "Tag prefixes and patterns must be unique across rules per storage class.",
						"rule %d has %q too", other, name.Clip(e.text))
				}
				selectors[s] = r.Priority
			}
		}
	}
	for _, r := range all {
		if r.Status == AnyStatus && r.Priority < last[r.Class] {
			return p.fail(r.members["rulePriority"], "Rule for tagStatus=ANY must have the lowest priority per storage class",
				"a rule with tagStatus any must have the highest number of its storage class; rule %d has a higher one", last[r.Class])
		}
	}
	return nil
}

// tagLists checks the lists of patterns and prefixes of one rule.
func (p *parser) tagLists(r parsedRule) error {
	patterns, hasPatterns := r.selection["tagPatternList"]
	prefixes, hasPrefixes := r.selection["tagPrefixList"]
	switch {
	case r.Status == Tagged && !hasPatterns && !hasPrefixes:
		return p.fail(r.members["selection"], "Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.",
			"tagPatternList or tagPrefixList is missing: one of them is required with tagStatus tagged")
	case r.Status == Tagged && hasPatterns && hasPrefixes:
		return p.fail(prefixes, "Only one of tagPrefixList and tagPatternList can be specified.", "must be absent beside tagPatternList")
	case r.Status != Tagged && (hasPatterns || hasPrefixes):
		if !hasPatterns {
			patterns = prefixes
		}
		return p.fail(patterns, "tagPrefixList and tagPatternList can only be specified when tagStatus=TAGGED.",
			"must be absent unless tagStatus is tagged")
	}
	for _, e := range patterns.elements {
		if strings.Count(e.text, "*") > maxStars {
			return p.fail(e, "Tag patterns can have at most 4 wildcards.", "a pattern has at most %d times *", maxStars)
		}
	}
	return nil
}
