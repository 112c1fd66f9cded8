package guard

import (
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Request holds the caller and the origin of a request. The resolvers of targets use it with the input.
type Request struct {
	By     identity.Caller
	Region name.Region
	Host   endpoint.Host // host of the request, for addresses in answers
	From   Origin
	If     Precondition // what the operation replaces; only operations whose row says so have one
}

// Own returns the registry of the caller's account in the region of the request.
func (r Request) Own() name.Registry { return name.Registry{Account: r.By.Account, Region: r.Region} }

// Owner returns the caller's account as the owner of a resource.
func (r Request) Owner() Owner { return OwnedBy(r.By.Account) }

// Target is the resolved target of a request: the value on which the operation acts, and the asks that must be allowed
// before.
type Target[T any] struct {
	Value T
	// Asks are decided in order; all must be allowed. The surface sets the Action of an Ask without one to that of the
	// operation.
	Asks []Ask
	// Absent is the error of a target that does not exist or whose name is invalid; nil otherwise. It is returned only
	// after the request was allowed, so that a caller without the permission does not learn whether the target exists.
	Absent error
}

// On returns the target with the given value and ask.
func On[T any](value T, ask Ask) Target[T] { return Target[T]{Value: value, Asks: []Ask{ask}} }

// Nothing is the value of the target of an operation that needs no value.
type Nothing struct{}

// OnCaller returns the target of an operation without a resource, on the caller itself or its account.
func OnCaller(r Request) Target[Nothing] {
	return On(Nothing{}, Ask{Region: r.Region, Resource: "*", Owner: r.Owner()})
}

// ForDeletion returns one copy of ask a for each tag that is deleted with an image; a itself if there are no tags. One
// ask with all tags as values of one condition key could be allowed by a single tag.
func ForDeletion(a Ask, tags []string) []Ask {
	if len(tags) == 0 {
		return []Ask{a}
	}
	all := make([]Ask, 0, len(tags))
	for _, text := range tags {
		tag, err := name.ParseTag(text)
		if err != nil {
			continue // no image can have an invalid tag
		}
		one := a
		one.Image.Tag = tag
		all = append(all, one)
	}
	return all
}

// ForCreation returns the asks of a request that creates the repository on which it acts: asks, decided as if repository r with the given
// resource tags existed, and one for its creation with these tags.
func ForCreation(asks []Ask, r *meta.Repository, tags []meta.ResourceTag) []Ask {
	creation := Ask{Action: "ecr:CreateRepository", Owner: asks[0].Owner, Region: asks[0].Region, Resource: asks[0].Resource}
	for i := range asks {
		asks[i].Repository, asks[i].Tags = r, tags
	}
	return append(asks, WithRequestTags([]Ask{creation}, newTags(tags))...)
}

// newTags are resource tags that a request sets.
type newTags []meta.ResourceTag

// RequestTags calls each with the tags.
func (tags newTags) RequestTags(each func(key, value string)) {
	for _, t := range tags {
		each(t.Key, t.Value)
	}
}

// WithRequestTags adds the condition keys of the resource tags of a request, aws:RequestTag/KEY and aws:TagKeys, to
// asks. in is the input of any operation. Condition keys are case-insensitive and tag keys are not: if tag keys differ
// only in case, an additional ask requires that each of their values is allowed.
func WithRequestTags(asks []Ask, in any) []Ask {
	keys := requestTags(in)
	if len(keys) == 0 {
		return asks
	}
	duplicates := hidden(keys)
	for i := range asks {
		asks[i].Keys = slices.Concat(asks[i].Keys, keys)
		for _, k := range duplicates {
			more := asks[i]
			more.Keys = slices.Concat(more.Keys, []ConditionKey{k}) // the last key with a name is used
			asks = append(asks, more)
		}
	}
	return asks
}

func requestTags(in any) []ConditionKey {
	var keys []ConditionKey
	var names []string
	if v, ok := in.(interface {
		RequestTags(each func(key, value string))
	}); ok {
		v.RequestTags(func(key, value string) {
			names = append(names, key)
			keys = append(keys, ConditionKey{Name: "aws:RequestTag/" + key, Values: []string{value}})
		})
	}
	if v, ok := in.(interface{ RequestTagKeys() []string }); ok {
		names = append(names, v.RequestTagKeys()...)
	}
	if len(names) > 0 {
		slices.Sort(names)
		keys = append(keys, ConditionKey{Name: "aws:TagKeys", Values: slices.Compact(names), List: true})
	}
	return keys
}

// hidden returns the keys whose names differ only in case from that of a later key, which overrides them.
func hidden(keys []ConditionKey) []ConditionKey {
	var all []ConditionKey
	last := map[string]int{}
	for i, k := range keys {
		if before, ok := last[policy.Fold(k.Name)]; ok {
			all = append(all, keys[before])
		}
		last[policy.Fold(k.Name)] = i
	}
	return all
}
