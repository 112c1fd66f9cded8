// Package awswire decodes requests and encodes answers of AWS-shaped APIs, for types generated from a service model.
//
// It supports two protocols: JSON 1.1 ([DecodeJSON], [EncodeJSON]), which ECR uses, and the query protocol
// ([DecodeQuery], [EncodeQueryXML]), which STS and IAM use. The types have json tags: in both protocols a tag is the
// exact name of a member, and a member without omitzero is required.
package awswire

// Service holds the properties of one API that the protocols need.
type Service struct {
	Name         string // of the model, such as ecr
	ID           string // such as ECR
	Protocol     string // json or query
	APIVersion   string // a date
	SigningName  string // the service in a SigV4 credential scope
	TargetPrefix string // json: X-Amz-Target is this, a dot and the operation
	Namespace    string // query: the XML namespace of answers
}

// Operation is one row of a generated table.
type Operation struct {
	Name     string
	Errors   []string     // the shapes of the declared errors: keys of the generated Errors
	Input    func() Input // returns a new zero request
	Output   func() any   // returns a pointer to a new zero answer
	Page     *Page        // nil when the answer is not paginated
	Unsigned bool         // the request has no signature; a member of it proves the identity of the caller
}

// Input is a decoded request. Validate checks the constraints of the model and returns a [*Violation] or nil.
type Input interface{ Validate() error }

// Page names the members that paginate an operation.
type Page struct {
	InputToken, OutputToken, LimitKey string
	ResultKeys                        []string
	MoreResults                       string // the member that is true when there are more results; "" if there is none
}

// Error is an error that a model declares.
type Error struct {
	Code    string   // the name on the wire
	Status  int      // of the HTTP answer
	Sender  bool     // the error is the client's, not the server's
	Members []string // besides the message
}

// Empty is the input or output of an operation that has none.
type Empty struct{}

// Validate returns nil.
func (*Empty) Validate() error { return nil }
