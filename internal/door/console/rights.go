package console

import "strings"

// right is whether the person may do what a button does, with the reason if not.
type right struct {
	OK     bool
	ID     string // of the element with the reason
	Reason string
}

// may reports for actions on a repository of the page whether the person may do them; "" stands for the registry. They are decided in one
// call. What was decided here only shows buttons: the operation decides again.
func (x *request) may(repository string, actions ...string) (map[string]right, error) {
	allowed, err := x.Rights.May(x.r.Context(), x.req, x.account, repository, actions...)
	if err != nil {
		return nil, err
	}
	all := map[string]right{}
	for i, action := range actions {
		id := "why-" + strings.ToLower(strings.ReplaceAll(action, ":", "-"))
		all[action] = right{OK: allowed[i], ID: id, Reason: "You need " + action + ", which no policy allows you here."}
	}
	return all, nil
}
