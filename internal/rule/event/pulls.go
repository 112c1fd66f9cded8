package event

// The actions of events about pulls of customers. They have the detail type of the other events about what vendors ship.
const (
	DeniedPullAction VendorAction = "PULL_DENIED"
	EgressAction     VendorAction = "EGRESS_THRESHOLD"
)

// DeniedPull is the first denial of a customer's pulls of an image in an hour. Members without a value are absent. It has no licence.
type DeniedPull struct {
	Application  string // slug
	CustomerID   string // "" for a licence that does not exist
	CustomerName string
	Image        string
	Code         string // of the answer
	RequestID    string
}

// PullDenied returns the event of a pull of a customer that was denied.
func PullDenied(o Origin, d DeniedPull) Event {
	detail := object{
		text("result", "DENIED"),
		text("action-type", string(DeniedPullAction)),
		text("application", d.Application),
	}.optional("customer-id", d.CustomerID).optional("customer-name", d.CustomerName).optional("image", d.Image).
		optional("error-code", d.Code).optional("request-id", d.RequestID)
	return o.event(SourceEcrin, ownVendorAction, Image{}, detail)
}

// Egress is what was sent to customers in a month, when it has reached a threshold.
type Egress struct {
	Application  string // slug
	CustomerID   string // "" for the sum of all customers
	CustomerName string
	Month        string // 2026-11
	Threshold    int64  // bytes
	Sent         int64  // bytes
}

// EgressReached returns the event of a threshold that was reached.
func EgressReached(o Origin, e Egress) Event {
	detail := object{
		text("result", succeeded),
		text("action-type", string(EgressAction)),
		text("application", e.Application),
	}.optional("customer-id", e.CustomerID).optional("customer-name", e.CustomerName)
	detail = append(detail, text("month", e.Month), count("threshold-bytes", e.Threshold), count("sent-bytes", e.Sent))
	return o.event(SourceEcrin, ownVendorAction, Image{}, detail)
}
