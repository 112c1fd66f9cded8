// Package awswire reads requests and writes answers of AWS-shaped APIs, for types generated from a service model.
//
// Two protocols are known: JSON 1.1 ([DecodeJSON], [EncodeJSON]), which ECR speaks, and the query protocol
// ([DecodeQuery], [EncodeQueryXML]), which STS and IAM speak. The types carry json tags; in both protocols a tag gives
// the exact name of a member, and a member without omitzero is required.
package awswire

// Service is what a protocol needs to know of one API.
type Service struct {
	Name         string // of the model, such as ecr
	ID           string // such as ECR
	Protocol     string // json or query
	APIVersion   string // a date
	SigningName  string // the service in a SigV4 credential scope
	TargetPrefix string // json: X-Amz-Target is this, a dot and the operation
	Namespace    string // query: of the answers
}

// Operation is one row of a generated table.
type Operation struct {
	Name     string
	Errors   []string     // the shapes of declared errors, keys of the package's Errors
	Input    func() Input // a new zero request
	Output   func() any   // a new zero answer, a pointer
	Page     *Page        // nil when the answer does not come in pages
	Unsigned bool         // the caller proves itself by what is in the request
}

// Input is a request that has been decoded. Validate checks its constraints; it returns a [*Violation] or nil.
type Input interface{ Validate() error }

// Page names the members by which an operation answers in pages.
type Page struct {
	InputToken, OutputToken, LimitKey string
	ResultKeys                        []string
	MoreResults                       string // the member that says whether there is more; often empty
}

// Error is a modelled error.
type Error struct {
	Code    string   // the name on the wire
	Status  int      // of the HTTP answer
	Sender  bool     // the client's fault, not the server's
	Members []string // besides the message
}

// Empty stands where an operation has no input or no output.
type Empty struct{}

// Validate accepts.
func (*Empty) Validate() error { return nil }
