// Package license has the licence files that vendors give their customers: their two versions, and the signatures in them.
//
// A licence says whose it is, which application and channels it is for, and which values the vendor has set for the customer. Its id is
// also a password for the images of the application.
package license

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Version is the version of the form of a licence.
type Version string

// The versions. V1 is the form that all installers read; V2 has no flag for installations by the admin console of that time, and the id of
// the customer.
const (
	V1 Version = "kots.io/v1beta1"
	V2 Version = "kots.io/v1beta2"
)

// ParseVersion parses the last part of a version, "v1beta1" or "v1beta2", as clients name it in a header.
func ParseVersion(s string) (Version, bool) {
	v := Version("kots.io/" + s)
	return v, v == V1 || v == V2
}

const kind = "License"

// License is a licence without its signature.
type License struct {
	Name          string // of the object, a DNS label made of the name of the customer
	ID            string // never changes; the password of the customer
	Sequence      int64  // grows with each change, from 1
	Type          string // dev, trial, paid, community, single-tenant or test
	AppSlug       string
	Endpoint      string // URL of the server of updates
	ProxyDomain   string // host, without https://
	CustomerID    string // only in V2
	CustomerName  string
	CustomerEmail string
	Channels      []Channel
	Features      Features
	Fields        map[string]Field // values of the vendor by name; FieldExpiry is the end
}

// Channel is a channel that a licence is for.
type Channel struct {
	ID             string `json:"channelID"`
	Name           string `json:"channelName,omitempty"`
	Slug           string `json:"channelSlug,omitempty"`
	Default        bool   `json:"isDefault,omitempty"`
	Endpoint       string `json:"endpoint,omitempty"`
	ProxyDomain    string `json:"replicatedProxyDomain,omitempty"`
	SemverRequired bool   `json:"isSemverRequired,omitempty"`
}

// Features are what a licence permits an installer to do.
type Features struct {
	Airgap           bool `json:"isAirgapSupported,omitempty"`
	GitOps           bool `json:"isGitOpsSupported,omitempty"`
	IdentityService  bool `json:"isIdentityServiceSupported,omitempty"`
	Geoaxis          bool `json:"isGeoaxisSupported,omitempty"`
	Snapshots        bool `json:"isSnapshotSupported,omitempty"`
	DisasterRecovery bool `json:"isDisasterRecoverySupported,omitempty"`
	SupportUpload    bool `json:"isSupportBundleUploadSupported,omitempty"`
	SemverRequired   bool `json:"isSemverRequired,omitempty"`
	KotsInstall      bool `json:"isKotsInstallEnabled,omitempty"` // only in V1
	EmbeddedDownload bool `json:"isEmbeddedClusterDownloadEnabled,omitempty"`
	EmbeddedNodes    bool `json:"isEmbeddedClusterMultiNodeEnabled,omitempty"`
}

// FieldExpiry is the name of the field that has the end of a licence: RFC 3339, or empty for none.
const FieldExpiry = "expires_at"

// Field is a value that the vendor has set for the customer.
type Field struct {
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Value       Value  `json:"value"`
	Type        string `json:"valueType,omitempty"` // String, Integer, Boolean or Text
	Hidden      bool   `json:"isHidden,omitempty"`
}

// Value is the value of a field: a string, an integer or a boolean. The zero Value is the empty string.
type Value struct{ v any }

// Text returns the Value of a string, Number that of an integer, Flag that of a boolean.
func Text(s string) Value  { return Value{s} }
func Number(n int64) Value { return Value{n} }
func Flag(b bool) Value    { return Value{b} }

// String returns the value as text, as it is signed: an integer in decimal digits, a boolean as true or false.
func (v Value) String() string {
	switch v := v.v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// MarshalJSON encodes the value as a JSON string, number or boolean.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.v == nil {
		return []byte(`""`), nil
	}
	return json.Marshal(v.v)
}

// UnmarshalJSON decodes a JSON string, integer or boolean. Errors: anything else.
func (v *Value) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil {
		*v = Text(s)
		return nil
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		*v = Number(n)
		return nil
	}
	switch string(text) {
	case "true", "false":
		*v = Flag(string(text) == "true")
		return nil
	}
	return errors.New("the value of a field is a string, an integer, true or false")
}

// Channel returns the default channel: the first that is marked, else the first. It is zero if the licence has none.
func (l License) Channel() Channel {
	if i := slices.IndexFunc(l.Channels, func(c Channel) bool { return c.Default }); i >= 0 {
		return l.Channels[i]
	}
	if len(l.Channels) > 0 {
		return l.Channels[0]
	}
	return Channel{}
}

// Expiry returns the end of the licence, from which on it is not valid; zero if it has none.
//
// Errors: the field is no RFC 3339 time.
func (l License) Expiry() (time.Time, error) {
	text := l.Fields[FieldExpiry].Value.String()
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("the end of the licence, %q, is no time such as 2027-01-31T00:00:00Z", text)
	}
	return t, nil
}

// document is a licence file. The order of its fields is that of the JSON that is signed.
type document struct {
	APIVersion Version `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec spec `json:"spec"`
}

type spec struct {
	LicenseID     string `json:"licenseID"`
	Sequence      int64  `json:"licenseSequence,omitempty"`
	Type          string `json:"licenseType,omitempty"`
	CustomerID    string `json:"customerID,omitempty"`
	CustomerName  string `json:"customerName,omitempty"`
	CustomerEmail string `json:"customerEmail,omitempty"`
	AppSlug       string `json:"appSlug"`
	ChannelID     string `json:"channelID,omitempty"`
	ChannelName   string `json:"channelName,omitempty"`
	Endpoint      string `json:"endpoint,omitempty"`
	ProxyDomain   string `json:"replicatedProxyDomain,omitempty"`
	Features
	Channels     []Channel           `json:"channels,omitempty"`
	Entitlements map[string]sigfield `json:"entitlements,omitempty"`
	Signature    []byte              `json:"signature,omitempty"`
}

// sigfield is a field with the signature of its value.
type sigfield struct {
	Field
	Signature *fieldSignature `json:"signature,omitempty"`
}

// fieldSignature has a signature under the name of the version.
type fieldSignature struct {
	V1 []byte `json:"v1,omitempty"`
	V2 []byte `json:"v2,omitempty"`
}

// document returns the file of a licence in a version, without signatures.
func (l License) document(v Version) document {
	d := document{APIVersion: v, Kind: kind}
	d.Metadata.Name = l.Name
	c := l.Channel()
	d.Spec = spec{LicenseID: l.ID, Sequence: l.Sequence, Type: l.Type, CustomerID: l.CustomerID, CustomerName: l.CustomerName,
		CustomerEmail: l.CustomerEmail, AppSlug: l.AppSlug, ChannelID: c.ID, ChannelName: c.Name, Endpoint: l.Endpoint,
		ProxyDomain: l.ProxyDomain, Features: l.Features, Channels: l.Channels}
	if v == V1 {
		d.Spec.CustomerID = ""
	} else {
		d.Spec.KotsInstall = false
	}
	if len(l.Fields) > 0 {
		d.Spec.Entitlements = map[string]sigfield{}
		for name, f := range l.Fields {
			d.Spec.Entitlements[name] = sigfield{Field: f}
		}
	}
	return d
}

// license returns the licence in a file.
func (d document) license() License {
	s := d.Spec
	l := License{Name: d.Metadata.Name, ID: s.LicenseID, Sequence: s.Sequence, Type: s.Type, AppSlug: s.AppSlug, Endpoint: s.Endpoint,
		ProxyDomain: s.ProxyDomain, CustomerID: s.CustomerID, CustomerName: s.CustomerName, CustomerEmail: s.CustomerEmail,
		Channels: s.Channels, Features: s.Features}
	if len(l.Channels) == 0 && s.ChannelID != "" {
		l.Channels = []Channel{{ID: s.ChannelID, Name: s.ChannelName, Default: true}}
	}
	if len(s.Entitlements) > 0 {
		l.Fields = map[string]Field{}
		for name, f := range s.Entitlements {
			l.Fields[name] = f.Field
		}
	}
	return l
}
