package awsmodel

import (
	"fmt"
	"slices"
)

// The errors that every operation may return besides its declared errors: errors of signatures, credentials, limits and
// forms.
var (
	// Names of the JSON protocol, as observed in answers of AWS services.
	jsonErrors = []string{
		"AccessDeniedException", "ExpiredTokenException", "IncompleteSignatureException", "InternalFailure",
		"InvalidSignatureException", "MalformedHttpRequestException", "MissingAuthenticationTokenException",
		"NotAuthorized", "OptInRequired", "RequestAbortedException", "RequestEntityTooLargeException", "RequestTimeoutException",
		"SerializationException", "ServiceUnavailableException", "ThrottlingException", "UnknownOperationException",
		"UnrecognizedClientException", "UnsupportedOperationException", "ValidationException",
		"PreconditionFailedException", // of a request with If-Match, which no service of AWS takes here
	}
	// Codes of the query protocol.
	queryErrors = []string{
		"AccessDenied", "ExpiredToken", "IncompleteSignature", "InternalFailure", "InvalidAction", "InvalidClientTokenId",
		"InvalidParameterCombination", "InvalidParameterValue", "InvalidQueryParameter", "MalformedQueryString",
		"MissingAction", "MissingAuthenticationToken", "MissingParameter", "OptInRequired", "RequestEntityTooLarge",
		"RequestExpired", "RequestTimeout", "ServiceUnavailable", "SignatureDoesNotMatch", "Throttling", "ValidationError",
	}
)

// CheckError checks that an operation may return the error errorName: the name of the exception in the JSON protocol,
// the error code in the query protocol. Allowed are the errors that the model declares for the operation, and the
// common errors.
//
// Errors: an unknown model or operation; a name that is not allowed.
func CheckError(model, operation, errorName string) error {
	m, op, err := find(model, operation)
	if err != nil {
		return err
	}
	for _, n := range op.Errors {
		if m.Shapes[n].ErrorCode == errorName {
			return nil
		}
	}
	common := jsonErrors
	if m.Metadata.Protocol == "query" {
		common = queryErrors
	}
	if slices.Contains(common, errorName) {
		return nil
	}
	return fmt.Errorf("%s does not declare %s (it declares %v), and it is not a common error", operation, errorName, op.Errors)
}
