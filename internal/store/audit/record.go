// Package audit writes the audit trail: one line of JSON, in the format of CloudTrail, for each decision about
// a request.
//
// Most users need three things. A handler fills a Record and passes it to Log.Append. A change that must not be
// stored without its line inserts the line (Record.AppendLines) into the database in its own transaction; a
// Pump moves it to the files. A reader calls Pump.Flush and then Log.Search.
package audit

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// Record is one decision. Texts may have any content: they are escaped, made valid UTF-8, and cut to their
// limits when the line is encoded. No text may contain a secret.
//
// Source: CloudTrail user guide, record contents.
type Record struct {
	EventID       ID
	SharedEventID ID        // equal in the lines of one event in several accounts; set by AppendLines
	Time          time.Time // when the request was completed; encoded in whole seconds
	Source        string    // the API: "ecr.amazonaws.com"
	Name          string    // the operation: "PutImage"
	Type          string    // "" means TypeAPICall
	Region        string
	Account       string // recipientAccountId: the account of the line, 12 digits
	Identity      Identity
	SourceIP      string
	UserAgent     string
	RequestID     string
	ErrorCode     string // "" when the request succeeded
	ErrorMessage  string
	Request       Params // requestParameters
	Response      Params // responseElements; empty for reads
	Additional    Params // additionalEventData
	Service       Params // serviceEventDetails, of TypeServiceEvent
	Resources     []Resource
	ReadOnly      bool
}

// The values of eventType.
const (
	TypeAPICall      = "AwsApiCall"
	TypeServiceEvent = "AwsServiceEvent"
)

// Resource is an object that a request concerns.
type Resource struct{ Account, ARN, Type string }

// Identity describes the caller.
//
// Source: CloudTrail user guide, userIdentity element.
type Identity struct {
	Type             IdentityType
	PrincipalID      string // the unique id; for a session "<role id>:<session name>"
	ARN              string
	Account          string
	AccessKeyID      string
	UserName         string
	Session          *Session // set for temporary credentials
	InvokedBy        string   // the service that acted for the caller: "ecr.amazonaws.com" for requests of the OCI API
	IdentityProvider string   // of a WebIdentityUser
}

// IdentityType is the kind of a caller.
type IdentityType string

// The kinds of callers.
const (
	Root            IdentityType = "Root"
	IAMUser         IdentityType = "IAMUser"
	AssumedRole     IdentityType = "AssumedRole"
	FederatedUser   IdentityType = "FederatedUser"
	WebIdentityUser IdentityType = "WebIdentityUser"
	AWSService      IdentityType = "AWSService"
	Customer        IdentityType = "Customer"
	Anonymous       IdentityType = "Anonymous"
	Unknown         IdentityType = "Unknown"
)

// Session describes the origin of temporary credentials.
type Session struct {
	Issuer            Issuer
	CreatedAt         time.Time
	MFA               bool
	FederatedProvider string // set for a session made with a web identity token
	SourceIdentity    string
}

// Issuer is the role or user for which a session was made.
type Issuer struct {
	Type        string // "Role", "IAMUser" or "Root"
	PrincipalID string
	ARN         string
	Account     string
	UserName    string
}

// ID is the unique id of an event, a random UUID. The zero ID means no id.
type ID [16]byte

// NewID returns a random id.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never returns an error
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String returns the id in its text form of 36 characters.
func (id ID) String() string { return string(id.append(nil)) }

func (id ID) append(dst []byte) []byte {
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// sibling returns another id, which depends on id and n only; n is from 1 to 255.
func (id ID) sibling(n byte) ID {
	id[15] ^= n
	return id
}

func parseID(s string) (id ID, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("event id %q is not a UUID", s)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ID{}, fmt.Errorf("event id %q is not a UUID: %w", s, err)
	}
	return id, nil
}
