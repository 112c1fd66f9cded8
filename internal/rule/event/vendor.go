package event

import "time"

// ownVendorAction is the detail type of the events about what vendors ship.
const ownVendorAction = "Ecrin Vendor Action"

// VendorAction is what has happened to a customer or to a release.
type VendorAction string

// The actions.
const (
	CustomerCreated  VendorAction = "CUSTOMER_CREATED"
	CustomerUpdated  VendorAction = "CUSTOMER_UPDATED"
	CustomerArchived VendorAction = "CUSTOMER_ARCHIVED"
	ReleasePromoted  VendorAction = "RELEASE_PROMOTED"
	ReleaseDemoted   VendorAction = "RELEASE_DEMOTED"
	ReleaseRestored  VendorAction = "RELEASE_RESTORED" // a demoted version is offered again
	LicenseExpiring  VendorAction = "LICENSE_EXPIRING" // it ends soon
	LicenseExpired   VendorAction = "LICENSE_EXPIRED"
	InstanceCreated  VendorAction = "INSTANCE_CREATED"  // an installation was seen for the first time
	InstanceReady    VendorAction = "INSTANCE_READY"    // it says so, and did not before
	InstanceBehind   VendorAction = "INSTANCE_BEHIND"   // it does not run the newest version that it is offered
	InstanceInactive VendorAction = "INSTANCE_INACTIVE" // it was not seen for long
)

// Vendor is a change of a customer, or of the offer of a channel. Members without a value are absent. It has no licence.
type Vendor struct {
	Action       VendorAction
	Application  string // slug
	CustomerID   string
	CustomerName string
	Channel      string // slug
	Sequence     int64  // of the channel
	InstanceID   string
	ExpiresAt    time.Time // of a licence
	Behind       int       // versions that are offered after the one that runs
	Newest       string    // label of the newest of them
	Version      string    // label
	Principal    string    // ARN of the caller
}

// VendorChanged returns the event of a change of a customer, or of the offer of a channel.
func VendorChanged(o Origin, v Vendor) Event {
	detail := object{
		text("result", succeeded),
		text("action-type", string(v.Action)),
		text("application", v.Application),
	}.optional("customer-id", v.CustomerID).optional("customer-name", v.CustomerName).optional("channel", v.Channel).
		optional("version", v.Version).optional("principal", v.Principal)
	if v.Sequence > 0 {
		detail = append(detail, count("channel-sequence", v.Sequence))
	}
	detail = detail.optional("instance-id", v.InstanceID)
	if !v.ExpiresAt.IsZero() {
		detail = append(detail, text("expires-at", v.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	if v.Behind > 0 {
		detail = append(detail, count("versions-behind", int64(v.Behind)))
	}
	detail = detail.optional("newest-version", v.Newest)
	return o.event(SourceEcrin, ownVendorAction, Image{}, detail)
}
