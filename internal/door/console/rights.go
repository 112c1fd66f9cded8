package console

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/rule/vendorpolicy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// right is whether the person may do what a button does, with the reason if not.
type right struct {
	OK     bool
	ID     string // of the element with the reason
	Reason string
	Ask    string // the page that says what to ask for; "" for none
}

// may reports for actions on a repository of the page whether the person may do them; "" stands for the registry. They are decided in one
// call. What was decided here only shows buttons: the operation decides again.
func (x *request) may(repository string, actions ...string) (map[string]right, error) {
	allowed, err := x.Rights.May(x.r.Context(), x.req, x.account, repository, actions...)
	if err != nil {
		return nil, err
	}
	return rightsOf(actions, allowed), nil
}

// mayOn reports for actions on a resource of ecrin of the account of the page, such as integration/NAME, whether the person may do them.
func (x *request) mayOn(resource string, actions ...string) (map[string]right, error) {
	arn := name.ARN{Partition: name.DefaultPartition, Service: "ecrin", Account: x.account, Resource: resource}.String()
	allowed, err := x.Rights.MayOn(x.r.Context(), x.req, x.account, arn, actions...)
	if err != nil {
		return nil, err
	}
	return rightsOf(actions, allowed), nil
}

// mayOnChannels reports for actions on an application whether the person may do them on one at least of some channels, named by their ids.
// Policies can allow an action on one channel alone.
func (x *request) mayOnChannels(slug string, channels []string, actions ...string) (map[string]right, error) {
	allowed := make([]bool, len(actions))
	arn := name.ARN{Partition: name.DefaultPartition, Service: "ecrin", Account: x.account, Resource: "application/" + slug}.String()
	for _, id := range channels {
		keys := []guard.ConditionKey{{Name: vendorpolicy.ChannelKey, Values: []string{id}}}
		one, err := x.Rights.MayWith(x.r.Context(), x.req, x.account, arn, keys, actions...)
		if err != nil {
			return nil, err
		}
		for i := range one {
			allowed[i] = allowed[i] || one[i]
		}
	}
	return rightsOf(actions, allowed), nil
}

func rightsOf(actions []string, allowed []bool) map[string]right {
	all := map[string]right{}
	for i, action := range actions {
		id := "why-" + strings.ToLower(strings.ReplaceAll(action, ":", "-"))
		all[action] = right{OK: allowed[i], ID: id, Reason: "You need " + action + ", which no policy allows you here.",
			Ask: actionPath(action)}
	}
	return all
}

// mayARN is mayOn for a resource of another service, by its ARN.
func (x *request) mayARN(arn string, actions ...string) (map[string]right, error) {
	allowed, err := x.Rights.MayOn(x.r.Context(), x.req, x.account, arn, actions...)
	if err != nil {
		return nil, err
	}
	return rightsOf(actions, allowed), nil
}

// mayOne is mayARN for one action.
func (x *request) mayOne(action, arn string) (right, error) {
	all, err := x.mayARN(arn, action)
	return all[action], err
}
