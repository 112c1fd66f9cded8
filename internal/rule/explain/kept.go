package explain

import (
	"encoding/json"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// KeptMember is the name of the member of additionalEventData that has a Kept.
const KeptMember = "decision"

// Kept is what the audit trail keeps of a denial that policies decided: enough to decide the request again.
type Kept struct {
	Action     string             `json:"action"`
	Resource   string             `json:"resource,omitzero"` // only if the line does not name it otherwise: it belongs to no account
	Verdict    ecrintypes.Verdict `json:"verdict"`
	DecidedBy  string             `json:"decidedBy,omitzero"`  // the layer that denied it
	Statements []KeptStatement    `json:"statements,omitzero"` // that denied it; none for an implicit denial
	Secure     bool               `json:"secure,omitzero"`     // the client used TLS
	Context    []KeptKey          `json:"context,omitzero"`    // the condition keys that the policies read, as far as the request had them
	Omitted    bool               `json:"omitted,omitzero"`    // some statements or condition keys were too long to be kept
}

// KeptStatement names a statement.
type KeptStatement struct {
	Layer     string `json:"layer"`
	Policy    string `json:"policy"` // its ARN, or its name
	Statement int32  `json:"statement"`
	Sid       string `json:"sid,omitzero"`
}

// KeptKey is a condition key with its values.
type KeptKey struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	List   bool     `json:"list,omitzero"` // a list, even if it has one value
}

// The limits of a Kept.
const (
	maxKeptStatements = 2
	maxKeptName       = 300 // bytes of the names of a statement
	maxKeptContext    = 600 // bytes of all condition keys in JSON
)

// Keep returns what is kept of a denied request. read are the condition keys that the policies read, in lower case. Secure is not set.
func Keep(r *policy.Request, w policy.Why, read []string) Kept {
	k := Kept{Action: r.Action, Verdict: verdict(w.Verdict)}
	if w.Layer != policy.NoLayer {
		k.DecidedBy = w.Layer.String()
	}
	for i := range w.Findings {
		f := &w.Findings[i]
		if f.Effect != policy.Deny || f.Failed != "" {
			continue
		}
		s := KeptStatement{Layer: f.Layer.String(), Policy: f.ARN, Statement: int32(f.Statement), Sid: f.Sid}
		if s.Policy == "" {
			s.Policy = f.Policy
		}
		if s.Policy == "" {
			s.Policy = f.Kind.String() + " policy"
		}
		if len(k.Statements) == maxKeptStatements || len(s.Policy)+len(s.Sid) > maxKeptName {
			k.Omitted = true
			continue
		}
		k.Statements = append(k.Statements, s)
	}
	left := maxKeptContext
	if r.Context == nil {
		read = nil
	}
	for _, key := range read {
		switch key {
		case "aws:currenttime", "aws:epochtime", "aws:securetransport", "aws:requestedregion": // the line has them
			continue
		}
		values := r.Context.Values(key)
		if len(values) == 0 {
			continue
		}
		one := KeptKey{Key: spell(key), Values: values, List: r.Context.IsList(key)}
		text, err := json.Marshal(one)
		if err != nil || len(text) > left {
			k.Omitted = true
			continue
		}
		left -= len(text) + 1
		k.Context = append(k.Context, one)
	}
	return k
}

// Shorten leaves out the condition keys, and with names also the statements.
func (k *Kept) Shorten(names bool) {
	k.Omitted = k.Omitted || len(k.Context) > 0 || names && len(k.Statements) > 0
	k.Context = nil
	if names {
		k.Statements = nil
	}
}

// Of returns the statements of the layers for which keep is true, and removes the condition keys, which can be of both
// accounts.
func (k *Kept) Of(keep func(layer string) bool) {
	k.Statements = slices.DeleteFunc(k.Statements, func(s KeptStatement) bool { return !keep(s.Layer) })
	k.Context = nil
}
