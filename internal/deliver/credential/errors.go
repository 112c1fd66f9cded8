package credential

import (
	"errors"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ErrRefused says that a registry does not accept a credential.
var ErrRefused = errors.New("the registry does not accept it")

// ErrNone says that a source has no credentials for a host, so that another source or an anonymous request may be tried.
var ErrNone = errors.New("no credentials for this host: it is neither one of ECR, nor under the endpoint of the environment " +
	"(AWS_ENDPOINT_URL); name it in ~/.config/ecrin/credentials.yaml")

// CallError is a call of an API of AWS that failed.
type CallError struct {
	Operation string // such as GetAuthorizationToken
	Host      string // of the registry that credentials are wanted for
	Code      string // of the answer; "" if there was none
	Message   string // of the answer, one line of printable ASCII
	Err       error
}

// Error returns what was called for which host, and the code and the message of the answer.
func (e *CallError) Error() string {
	text := e.Operation + " for " + e.Host + ": "
	if e.Code != "" {
		return text + e.Code + ": " + e.Message
	}
	return text + e.Message
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// Refused reports whether the other side has refused the credentials or the permission. A further attempt with the same credentials
// fails alike. Throttling and failures of the network or of the server are none.
func Refused(err error) bool {
	e, ok := errors.AsType[*CallError](err)
	if !ok || e.Code == "" {
		return false
	}
	for _, passing := range []string{"Throttl", "RequestLimitExceeded", "TooManyRequests", "ServerException", "ServiceUnavailable", "Internal",
		"SlowDown", "RequestTimeout", "IDPCommunicationError"} {
		if strings.HasPrefix(e.Code, passing) {
			return false
		}
	}
	api, ok := errors.AsType[smithy.APIError](e.Err)
	return !ok || api.ErrorFault() != smithy.FaultServer
}

const (
	instanceMetadata = "ec2imds"
	noCredentials    = "there are no credentials of AWS: set AWS_PROFILE or the variables of a key, or name a profile or a role for the host " +
		"in the configuration"
)

const maxMessage = 400 // bytes of CallError.Message

// failed returns the error of a call of the SDK. The SDK calls STS while it signs a call of ECR, so that the innermost operation counts.
func failed(operation, host string, err error) error {
	e := &CallError{Operation: operation, Host: host, Message: oneLine(err.Error()), Err: err}
	for inner := err; ; {
		o, ok := errors.AsType[*smithy.OperationError](inner)
		if !ok {
			break
		}
		e.Operation, e.Message = o.Operation(), oneLine(o.Err.Error())
		if o.Service() == instanceMetadata { // the last place where the SDK looks for credentials
			e.Operation, e.Message = operation, noCredentials
		}
		inner = o.Err
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() != "" {
		e.Code, e.Message = oneLine(api.ErrorCode()), oneLine(api.ErrorMessage())
	}
	return e
}

// oneLine returns the printable ASCII of a text, in one line, shortened.
func oneLine(text string) string {
	text = name.Printable(text)
	return text[:min(len(text), maxMessage)]
}
