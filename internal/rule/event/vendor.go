package event

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
)

// Vendor is a change of a customer, or of the offer of a channel. Members without a value are absent. It has no licence.
type Vendor struct {
	Action       VendorAction
	Application  string // slug
	CustomerID   string
	CustomerName string
	Channel      string // slug
	Sequence     int64  // of the channel
	Version      string // label
	Principal    string // ARN of the caller
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
	return o.event(SourceEcrin, ownVendorAction, Image{}, detail)
}
