package sts

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// items is the form of a list in a decoded message.
type items[T any] struct {
	Items []T `json:"items"`
}

func itemsOf[T any](all []T) items[T] {
	if all == nil {
		all = []T{}
	}
	return items[T]{all}
}

type value struct {
	Value string `json:"value"`
}

func values(all []string) items[value] {
	var out []value
	for _, v := range all {
		out = append(out, value{v})
	}
	return itemsOf(out)
}

// message is a decoded message. Members from layer on, those of a statement from policy on, and those that begin with not
// are ecrin's own.
// Source: STS API reference, DecodeAuthorizationMessage.
type message struct {
	Allowed           bool             `json:"allowed"`
	ExplicitDeny      bool             `json:"explicitDeny"`
	MatchedStatements items[statement] `json:"matchedStatements"`
	Failures          items[failure]   `json:"failures"`
	Context           about            `json:"context"`
	Layer             string           `json:"layer"` // of policies, that decided
	Changes           []change         `json:"changes,omitempty"`
	Shortened         bool             `json:"shortened,omitempty"` // parts were omitted because of the maximum length
}

type statement struct {
	StatementID     string           `json:"statementId"`
	Effect          string           `json:"effect"`
	Principals      items[value]     `json:"principals"`
	PrincipalGroups items[value]     `json:"principalGroups"`
	Actions         items[value]     `json:"actions"`
	Resources       items[value]     `json:"resources"`
	Conditions      items[condition] `json:"conditions"`
	NotPrincipals   *items[value]    `json:"notPrincipals,omitempty"`
	NotActions      *items[value]    `json:"notActions,omitempty"`
	NotResources    *items[value]    `json:"notResources,omitempty"`
	place
}

// place is the position of a statement.
type place struct {
	Policy    string `json:"policy,omitempty"` // its ARN or name
	Layer     string `json:"layer"`
	Statement int    `json:"statement"` // its index, from 0
}

type condition struct {
	Operator string       `json:"operator,omitempty"`
	Key      string       `json:"key"`
	Values   items[value] `json:"values"`
}

// failure is a statement that does not match because of one element only.
type failure struct {
	StatementID string `json:"statementId"`
	Effect      string `json:"effect"`
	Element     string `json:"element"`
	Detail      string `json:"detail,omitempty"`
	place
}

type about struct {
	Principal  principal        `json:"principal"`
	Action     string           `json:"action"`
	Resource   string           `json:"resource"`
	Conditions items[condition] `json:"conditions"`
}

type principal struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	ARN  string `json:"arn"`
}

// change is a step that would allow the request.
type change struct {
	Layer       string          `json:"layer"`
	Alternative bool            `json:"alternative,omitempty"` // one of two ways
	Add         json.RawMessage `json:"add,omitempty"`         // a policy
	Remove      *place          `json:"remove,omitempty"`      // a statement
}

// sealed is the content of an encoded message.
type sealed struct {
	Reader  string          `json:"r"` // the account that may decode it
	Message json.RawMessage `json:"m"`
}

const (
	purpose = "authorization message"
	// maxMessage is the maximum length of an encoded message in characters. The message is sent in a header, and
	// proxies limit the total size of headers.
	maxMessage = 3000
	// maxText is the maximum size of a message before compression. The model has no maximum for responses.
	maxText = 64 << 10
)

// Encode returns the encoded message of a decision, for DecodeAuthorizationMessage. The caller's account can decode it,
// or the account of the resource if the caller has no account. If the resource belongs to another account than the
// caller, the message does not contain statements of the owner's policies and tags of its resources. It has at most
// 3,000 characters of A-Z a-z 0-9 _ -; parts of a longer message are omitted.
func (s *Service) Encode(request policy.Request, why policy.Why) string {
	reader := request.Caller.Account
	if reader == (name.Account{}) {
		reader = request.ResourceAccount
	}
	m := messageOf(&request, &why, reader == request.ResourceAccount)
	for _, shorten := range []func(){
		func() { m.Shortened, m.Failures = true, itemsOf[failure](nil) },
		func() { m.Changes = nil },
		func() { m.Context.Conditions = itemsOf[condition](nil) },
		func() { m.MatchedStatements = itemsOf[statement](nil) },
		func() {
			c := &m.Context
			for _, text := range []*string{&c.Resource, &c.Action, &c.Principal.ID, &c.Principal.Name, &c.Principal.ARN} {
				*text = name.Clip(*text)
			}
		},
	} {
		if text := s.seal(reader, m); text != "" && len(text) <= maxMessage {
			return text
		}
		shorten()
	}
	return s.seal(reader, m)
}

// seal returns the encoded text of a message, or "" if the message is larger than maxText.
func (s *Service) seal(reader name.Account, m *message) string {
	text, err := json.Marshal(m)
	if err == nil {
		text, err = json.Marshal(sealed{reader.String(), text})
	}
	if err != nil {
		panic("sts: encoding a message: " + err.Error()) // its types can all be encoded
	}
	if len(text) > maxText {
		return ""
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("sts: packing a message: " + err.Error()) // a buffer takes everything
	}
	return s.id.Seal(purpose, packed.Bytes())
}

// messageOf returns the message of a decision. own says that the resource belongs to the account that reads the
// message.
func messageOf(r *policy.Request, why *policy.Why, own bool) *message {
	m := &message{
		Allowed: why.Allowed(), ExplicitDeny: why.Verdict == policy.ExplicitlyDenied, Layer: why.Layer.String(),
		Context: about{Principal: principalOf(r), Action: r.Action, Resource: r.Resource},
	}
	hidden := func(l policy.Layer) bool {
		return !own && (l == policy.LayerRCP || l == policy.LayerResource || l == policy.LayerTrust)
	}
	var matched []statement
	var failures []failure
	for i := range why.Findings {
		f := &why.Findings[i]
		switch {
		case hidden(f.Layer):
		case f.Failed == "":
			matched = append(matched, statementOf(f))
		default:
			one := failure{StatementID: f.Sid, Effect: effect(f.Effect), Element: string(f.Failed), Detail: f.Detail, place: placeOf(f)}
			if _, rest, ok := strings.Cut(f.Detail, " "); ok && !own && ofResource(rest) {
				one.Detail = ""
			}
			failures = append(failures, one)
		}
	}
	var keys []condition
	for k, v := range r.Context.All() {
		if own || !ofResource(k) {
			keys = append(keys, condition{Key: k, Values: values(v)})
		}
	}
	slices.SortFunc(keys, func(a, b condition) int { return strings.Compare(a.Key, b.Key) })
	for _, c := range why.Changes {
		if hidden(c.Layer) {
			continue
		}
		one := change{Layer: c.Layer.String(), Alternative: c.Alternative, Add: json.RawMessage(c.Add)}
		if c.Remove != nil {
			one.Remove = new(placeOf(c.Remove))
		}
		m.Changes = append(m.Changes, one)
	}
	m.MatchedStatements, m.Failures, m.Context.Conditions = itemsOf(matched), itemsOf(failures), itemsOf(keys)
	return m
}

// ofResource reports whether a condition key describes the resource rather than the request.
func ofResource(key string) bool {
	key = strings.ToLower(key)
	for _, prefix := range []string{"aws:resourcetag/", "ecr:resourcetag/", "ecrin:image", "iam:resourcetag/"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

func principalOf(r *policy.Request) principal {
	p := principal{ID: r.Caller.UniqueID, ARN: r.Caller.ARN, Name: r.Caller.ARN[strings.LastIndexAny(r.Caller.ARN, "/:")+1:]}
	if id := r.Context.Values("aws:userid"); len(id) == 1 {
		p.ID = id[0]
	}
	return p
}

func effect(e policy.Effect) string { return strings.ToUpper(string(e)) }

func placeOf(f *policy.Finding) place {
	p := place{Policy: f.ARN, Layer: f.Layer.String(), Statement: f.Statement}
	if p.Policy == "" {
		p.Policy = f.Policy
	}
	return p
}

func statementOf(f *policy.Finding) statement {
	s := statement{
		StatementID: f.Sid, Effect: effect(f.Effect), PrincipalGroups: values(nil), place: placeOf(f),
	}
	var names []string
	for p := range f.Source.Principal.All() {
		names = append(names, p.Text)
	}
	s.Principals, s.NotPrincipals = either(f.Source.Principal.Not, names)
	s.Actions, s.NotActions = either(f.Source.Action.Not, texts(f.Source.Action))
	s.Resources, s.NotResources = either(f.Source.Resource.Not, texts(f.Source.Resource))
	var conditions []condition
	for _, c := range f.Source.Conditions {
		for _, k := range c.Keys {
			var all []string
			for _, v := range k.Values {
				all = append(all, v.Text)
			}
			conditions = append(conditions, condition{c.Operator.Text, k.Key, values(all)})
		}
	}
	s.Conditions = itemsOf(conditions)
	return s
}

func texts(p policy.Patterns) []string {
	var all []string
	for _, one := range p.Of {
		all = append(all, one.Text)
	}
	return all
}

// either returns the values of an element, such as Action, or with not, those of its opposite, such as NotAction.
func either(not bool, all []string) (items[value], *items[value]) {
	if not {
		return values(nil), new(values(all))
	}
	return values(all), nil
}

// DecodeAuthorizationMessage returns the decoded form of a message that Encode made.
//
// Errors: fault.InvalidAuthorizationMessage (the message was not made by this installation, was changed, or is for
// another account). Source: STS API reference, DecodeAuthorizationMessage.
func (s *Service) DecodeAuthorizationMessage(_ context.Context, c identity.Caller,
	in *ststypes.DecodeAuthorizationMessageRequest) (*ststypes.DecodeAuthorizationMessageResponse, error) {
	invalid := fault.InvalidAuthorizationMessage.New("Message is not valid")
	packed, err := s.id.Open(purpose, in.EncodedMessage)
	if err != nil {
		return nil, invalid.Because(err)
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxText+1))
	if err != nil {
		return nil, invalid.Because(err)
	}
	var m sealed
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, invalid.Because(err)
	}
	if c.Account == (name.Account{}) || m.Reader != c.Account.String() {
		return nil, invalid.Because(fmt.Errorf("it is for account %q", m.Reader))
	}
	return &ststypes.DecodeAuthorizationMessageResponse{DecodedMessage: string(m.Message)}, nil
}
