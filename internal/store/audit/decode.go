package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Parse reads one line of the trail, with or without its newline.
func Parse(line []byte) (Record, error) {
	var w wireRecord
	if err := json.Unmarshal(line, &w); err != nil {
		return Record{}, fmt.Errorf("reading a line of the audit trail: %w", err)
	}
	r := Record{
		Time: w.EventTime.UTC(), Source: w.EventSource, Name: w.EventName, Type: w.EventType, Region: w.AWSRegion,
		Account: w.RecipientAccountID, SourceIP: w.SourceIPAddress, UserAgent: w.UserAgent, RequestID: w.RequestID,
		ErrorCode: w.ErrorCode, ErrorMessage: w.ErrorMessage, ReadOnly: w.ReadOnly,
		Identity: Identity{
			Type: w.UserIdentity.Type, PrincipalID: w.UserIdentity.PrincipalID, ARN: w.UserIdentity.ARN,
			Account: w.UserIdentity.AccountID, AccessKeyID: w.UserIdentity.AccessKeyID, UserName: w.UserIdentity.UserName,
			InvokedBy: w.UserIdentity.InvokedBy, IdentityProvider: w.UserIdentity.IdentityProvider,
		},
	}
	for _, one := range w.Resources {
		r.Resources = append(r.Resources, Resource{Account: one.AccountID, ARN: one.ARN, Type: one.Type})
	}
	if s := w.UserIdentity.SessionContext; s != nil {
		r.Identity.Session = &Session{
			Issuer: Issuer{
				Type: s.SessionIssuer.Type, PrincipalID: s.SessionIssuer.PrincipalID, ARN: s.SessionIssuer.ARN,
				Account: s.SessionIssuer.AccountID, UserName: s.SessionIssuer.UserName,
			},
			CreatedAt: s.Attributes.CreationDate.UTC(), MFA: s.Attributes.MFAAuthenticated == "true",
			FederatedProvider: s.WebIDFederationData.FederatedProvider, SourceIdentity: s.SourceIdentity,
		}
	}
	var errs []error
	for _, p := range []struct {
		to   *Params
		from json.RawMessage
	}{{&r.Request, w.RequestParameters}, {&r.Response, w.ResponseElements}, {&r.Additional,
		w.AdditionalEventData}, {&r.Service, w.ServiceEventDetails}} {
		errs = append(errs, p.to.parse(p.from))
	}
	var err error
	r.EventID, err = parseID(w.EventID)
	errs = append(errs, err)
	if w.SharedEventID != "" {
		r.SharedEventID, err = parseID(w.SharedEventID)
		errs = append(errs, err)
	}
	return r, errors.Join(errs...)
}

// wireRecord is a line of the trail in the form of its JSON members.
type wireRecord struct {
	UserIdentity        wireIdentity    `json:"userIdentity"`
	EventTime           time.Time       `json:"eventTime"`
	EventSource         string          `json:"eventSource"`
	EventName           string          `json:"eventName"`
	AWSRegion           string          `json:"awsRegion"`
	SourceIPAddress     string          `json:"sourceIPAddress"`
	UserAgent           string          `json:"userAgent"`
	ErrorCode           string          `json:"errorCode"`
	ErrorMessage        string          `json:"errorMessage"`
	RequestParameters   json.RawMessage `json:"requestParameters"`
	ResponseElements    json.RawMessage `json:"responseElements"`
	AdditionalEventData json.RawMessage `json:"additionalEventData"`
	RequestID           string          `json:"requestID"`
	EventID             string          `json:"eventID"`
	ReadOnly            bool            `json:"readOnly"`
	Resources           []struct {
		AccountID string `json:"accountId"`
		ARN       string `json:"ARN"`
		Type      string `json:"type"`
	} `json:"resources"`
	EventType           string          `json:"eventType"`
	ServiceEventDetails json.RawMessage `json:"serviceEventDetails"`
	RecipientAccountID  string          `json:"recipientAccountId"`
	SharedEventID       string          `json:"sharedEventID"`
}

type wireIdentity struct {
	Type           IdentityType `json:"type"`
	PrincipalID    string       `json:"principalId"`
	ARN            string       `json:"arn"`
	AccountID      string       `json:"accountId"`
	AccessKeyID    string       `json:"accessKeyId"`
	UserName       string       `json:"userName"`
	SessionContext *struct {
		SessionIssuer struct {
			Type        string `json:"type"`
			PrincipalID string `json:"principalId"`
			ARN         string `json:"arn"`
			AccountID   string `json:"accountId"`
			UserName    string `json:"userName"`
		} `json:"sessionIssuer"`
		WebIDFederationData struct {
			FederatedProvider string `json:"federatedProvider"`
		} `json:"webIdFederationData"`
		Attributes struct {
			CreationDate     time.Time `json:"creationDate"`
			MFAAuthenticated string    `json:"mfaAuthenticated"`
		} `json:"attributes"`
		SourceIdentity string `json:"sourceIdentity"`
	} `json:"sessionContext"`
	InvokedBy        string `json:"invokedBy"`
	IdentityProvider string `json:"identityProvider"`
}

// parse reads the form that appendJSON writes.
func (p *Params) parse(text json.RawMessage) error {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	if text[0] != '{' || text[len(text)-1] != '}' {
		return errors.New("parameters are no JSON object")
	}
	members := text[1 : len(text)-1]
	const mark = `"omitted":true`
	if rest, cut := bytes.CutSuffix(members, []byte(mark)); cut {
		members, p.omitted = bytes.TrimSuffix(rest, []byte(",")), true
	}
	if len(members) > 0 {
		p.b = bytes.Clone(members)
	}
	return nil
}

// denials are the error codes of requests that were refused because rights or valid credentials were missing.
var denials = map[string]bool{
	"AccessDenied": true, "AccessDeniedException": true, "UnauthorizedOperation": true, "UnauthorizedAccess": true,
	"MissingAuthenticationToken": true, "MissingAuthenticationTokenException": true,
	"IncompleteSignature": true, "IncompleteSignatureException": true,
	"InvalidSignatureException": true, "SignatureDoesNotMatch": true,
	"InvalidClientTokenId": true, "UnrecognizedClientException": true, "InvalidAccessKeyId": true,
	"ExpiredToken": true, "ExpiredTokenException": true, "InvalidIdentityToken": true, "RequestExpired": true,
	"SignatureMismatchException": true, "UnknownAccessKeyException": true, "TokenInvalidException": true,
}

// denied reports whether the request was refused because rights or valid credentials were missing. For a line that stands for requests
// with different errors it is true, since some of them may be.
func (r *Record) denied() bool {
	return r.Name == CountedTogether || denials[strings.TrimPrefix(r.ErrorCode, "Client.")]
}

// member returns the value of a top-level member of a line, as it is written there. It stops at the first
// match, and skips texts and nested objects, so that nothing inside them is taken for the member. ok is false
// if the line has no such member or is torn before it.
func member(line []byte, name string) (value []byte, ok bool) {
	if len(line) == 0 || line[0] != '{' {
		return nil, false
	}
	for i := 1; i < len(line); {
		end := skipText(line, i)
		if end < 0 || end >= len(line) || line[end] != ':' {
			return nil, false
		}
		key := line[i:end]
		value := end + 1
		if i = skipValue(line, value); i < 0 || i >= len(line) {
			return nil, false
		}
		if len(key) == len(name)+2 && string(key[1:len(key)-1]) == name {
			return line[value:i], true
		}
		if line[i] != ',' {
			return nil, false
		}
		i++
	}
	return nil, false
}

// skipText returns the end of the text that begins at i, or -1 if no text begins there or the text does not
// end.
func skipText(line []byte, i int) int {
	if i >= len(line) || line[i] != '"' {
		return -1
	}
	for i++; i < len(line); i++ {
		q := bytes.IndexByte(line[i:], '"')
		if q < 0 {
			return -1
		}
		back := 0
		for back < q && line[i+q-1-back] == '\\' {
			back++
		}
		if i += q; back%2 == 0 {
			return i + 1
		}
	}
	return -1
}

// skipValue returns the end of the value that begins at i, or -1 if the value does not end.
func skipValue(line []byte, i int) int {
	depth := 0
	for i < len(line) {
		switch line[i] {
		case '"':
			if i = skipText(line, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // after a number or a word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return -1
}

// lineID returns the event id of a line, or the zero ID if the line has none.
func lineID(line []byte) (id ID) {
	if v, ok := member(line, "eventID"); ok && len(v) == 38 {
		id, _ = parseID(string(v[1:37]))
	}
	return id
}

// lineTime returns the time of a line, in seconds since 1970. ok is false if the line has none.
func lineTime(line []byte) (seconds int64, ok bool) {
	v, ok := member(line, "eventTime")
	if !ok || len(v) != len(timeForm)+2 {
		return 0, false
	}
	t, err := time.Parse(timeForm, string(v[1:len(v)-1]))
	return t.Unix(), err == nil
}
