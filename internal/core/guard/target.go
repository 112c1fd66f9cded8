package guard

import (
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Request is who asks for an operation, and from where: what the resolvers of targets need beside the input.
type Request struct {
	By     identity.Caller
	Region name.Region   // that the request is for
	Host   endpoint.Host // that was asked, for addresses in answers
	From   Origin
}

// Own is the registry of the caller's account in the request's region.
func (r Request) Own() name.Registry { return name.Registry{Account: r.By.Account, Region: r.Region} }

// Owner is the caller's account as the owner of a resource.
func (r Request) Owner() Owner { return OwnedBy(r.By.Account) }

// Target is what a request is about, resolved once: the value that the operation acts on and all that has to be allowed
// before.
type Target[T any] struct {
	Value T
	// Asks are decided in order, and all have to be allowed. An Ask without an Action gets that of the operation's row.
	Asks []Ask
	// Absent is why an operation that is allowed cannot be done: the resource does not exist, or its name is none. It is
	// answered after the decision, so that a caller without the right does not learn it.
	Absent error
}

// On is the target of one ask.
func On[T any](value T, ask Ask) Target[T] { return Target[T]{Value: value, Asks: []Ask{ask}} }

// Nothing is the value of a target that the operation does not need.
type Nothing struct{}

// OnCaller is the target of an operation without a resource, on the caller itself or on its account.
func OnCaller(r Request) Target[Nothing] {
	return On(Nothing{}, Ask{Region: r.Region, Resource: "*", Owner: r.Owner()})
}

// ForDeletion is an ask for each tag that goes with an image. Together the tags would be one condition key of many values, of
// which one that is allowed could cover another that is not.
func ForDeletion(a Ask, tags []string) []Ask {
	if len(tags) == 0 {
		return []Ask{a}
	}
	all := make([]Ask, 0, len(tags))
	for _, text := range tags {
		tag, err := name.ParseTag(text)
		if err != nil {
			continue // no image has such a tag
		}
		one := a
		one.Image.Tag = tag
		all = append(all, one)
	}
	return all
}

// WithRequestTags adds the condition keys of the resource tags that a request carries: aws:RequestTag/KEY and aws:TagKeys.
// in is any input. Condition keys have no case and tags may have: of tags that differ in case alone each has to be allowed.
func WithRequestTags(asks []Ask, in any) []Ask {
	keys := requestTags(in)
	if len(keys) == 0 {
		return asks
	}
	twins := hidden(keys)
	for i := range asks {
		asks[i].Keys = slices.Concat(asks[i].Keys, keys)
		for _, twin := range twins {
			more := asks[i]
			more.Keys = slices.Concat(more.Keys, []ConditionKey{twin}) // the last one counts
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

// hidden are the keys that a later one of another case would hide.
func hidden(keys []ConditionKey) []ConditionKey {
	var all []ConditionKey
	last := map[string]int{}
	for i, k := range keys {
		if before, ok := last[strings.ToLower(k.Name)]; ok {
			all = append(all, keys[before])
		}
		last[strings.ToLower(k.Name)] = i
	}
	return all
}
