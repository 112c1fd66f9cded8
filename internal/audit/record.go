// Package audit keeps the trail: one line of JSON for each decision of both doors, in CloudTrail's shape.
//
// Most users need three things. A door fills a Record and gives it to Log.Append. A change that must not be without its
// line puts the line (Record.AppendLines) into the database within its own transaction, from where a Pump moves it to the
// files. A reader calls Pump.Flush and then Log.Search.
package audit

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// Record is one decision. Texts may hold anything: they are escaped, made valid UTF-8, and clipped when the line is made.
// A secret must not stand in any of them.
//
// Source: CloudTrail user guide, record contents.
type Record struct {
	EventID       ID
	SharedEventID ID        // the same in the lines that one event has in several accounts; AppendLines sets it
	Time          time.Time // when the request was completed; lines have whole seconds
	Source        string    // the API: "ecr.amazonaws.com"
	Name          string    // the operation: "PutImage"
	Type          string    // "" stands for TypeAPICall
	Region        string
	Account       string // recipientAccountId: 12 digits, in whose trail the line stands
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

// What eventType can be.
const (
	TypeAPICall      = "AwsApiCall"
	TypeServiceEvent = "AwsServiceEvent"
)

// Resource is what a request was about.
type Resource struct{ Account, ARN, Type string }

// Identity is who asked.
//
// Source: CloudTrail user guide, userIdentity element.
type Identity struct {
	Type             IdentityType
	PrincipalID      string // the unique id; of a session "<role id>:<session name>"
	ARN              string
	Account          string
	AccessKeyID      string
	UserName         string
	Session          *Session // of temporary credentials
	InvokedBy        string   // the service that asked in the caller's name: "ecr.amazonaws.com" for the docker door
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

// Session says where temporary credentials came from.
type Session struct {
	Issuer            Issuer
	CreatedAt         time.Time
	MFA               bool
	FederatedProvider string // of a session made by a web identity
	SourceIdentity    string
}

// Issuer is the role or user that a session was made from.
type Issuer struct {
	Type        string // "Role", "IAMUser" or "Root"
	PrincipalID string
	ARN         string
	Account     string
	UserName    string
}

// ID is the unique id of an event, a random UUID. The zero ID stands for none.
type ID [16]byte

// NewID makes a random id.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: the program ends when the system has no randomness
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String is the id as 36 characters.
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

// sibling is another id, always the same one for the same n from 1 to 255.
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
