package awsmodel

import (
	"fmt"
	"slices"
)

// The errors that any operation may answer besides its own: those of signatures, credentials, limits and forms.
var (
	// Names of the JSON protocol, as clients of real services have seen them.
	jsonErrors = []string{
		"AccessDeniedException", "ExpiredTokenException", "IncompleteSignatureException", "InternalFailure",
		"InvalidSignatureException", "MalformedHttpRequestException", "MissingAuthenticationTokenException",
		"NotAuthorized", "OptInRequired", "RequestAbortedException", "RequestEntityTooLargeException", "RequestTimeoutException",
		"SerializationException", "ServiceUnavailableException", "ThrottlingException", "UnknownOperationException",
		"UnrecognizedClientException", "UnsupportedOperationException", "ValidationException",
	}
	// Codes of the query protocol.
	queryErrors = []string{
		"AccessDenied", "ExpiredToken", "IncompleteSignature", "InternalFailure", "InvalidAction", "InvalidClientTokenId",
		"InvalidParameterCombination", "InvalidParameterValue", "InvalidQueryParameter", "MalformedQueryString",
		"MissingAction", "MissingAuthenticationToken", "MissingParameter", "OptInRequired", "RequestEntityTooLarge",
		"RequestExpired", "RequestTimeout", "ServiceUnavailable", "SignatureDoesNotMatch", "Throttling", "ValidationError",
	}
)

// CheckError tells whether an operation may fail with that name: the exception's name in the JSON protocol, the error
// code in the query protocol. Allowed are the errors that the model declares and the common ones.
//
// Errors: a model or operation that does not exist; a name that is neither.
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
	return fmt.Errorf("%s does not declare %s (it declares %v), and it is no common error", operation, errorName, op.Errors)
}
