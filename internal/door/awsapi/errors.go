package awsapi

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// form is the wire form of a failure in a protocol.
type form struct {
	status int
	name   string // name of the exception or error; "" in jsonClasses: the name of the code followed by Exception
}

// jsonClasses holds the wire forms of the classes in the JSON protocol. All failures that the caller causes have status
// 400, including those of authentication: SDKs use the name, and ECR was observed to answer 400. Sources: ECR service
// model; AWS common errors; names observed in answers of JSON 1.1 services.
var jsonClasses = map[fault.Class]form{
	fault.ClassInternal:        {http.StatusInternalServerError, "ServerException"},
	fault.ClassUnavailable:     {http.StatusServiceUnavailable, "ServerException"},
	fault.ClassThrottled:       {http.StatusBadRequest, "ThrottlingException"},
	fault.ClassTooLarge:        {http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
	fault.ClassTimeout:         {status: http.StatusBadRequest},
	fault.ClassUnauthenticated: {http.StatusBadRequest, "UnrecognizedClientException"},
	fault.ClassDenied:          {status: http.StatusBadRequest},
	fault.ClassUnsupported:     {status: http.StatusBadRequest},
	fault.ClassNotFound:        {status: http.StatusBadRequest},
	fault.ClassConflict:        {status: http.StatusBadRequest},
	fault.ClassQuota:           {status: http.StatusBadRequest},
	fault.ClassInvalid:         {status: http.StatusBadRequest},
}

// jsonErrors holds the wire forms of the codes that differ from their class in the JSON protocol. Sources: those of
// jsonClasses.
var jsonErrors = map[fault.Code]form{
	fault.MalformedRequest:        {http.StatusBadRequest, "SerializationException"},
	fault.MethodNotAllowed:        {http.StatusBadRequest, "UnknownOperationException"},
	fault.MissingCredentials:      {http.StatusBadRequest, "MissingAuthenticationTokenException"},
	fault.IncompleteSignature:     {http.StatusBadRequest, "IncompleteSignatureException"},
	fault.SignatureMismatch:       {http.StatusBadRequest, "InvalidSignatureException"},
	fault.ExpiredCredentials:      {http.StatusBadRequest, "ExpiredTokenException"},
	fault.RegistryUnresolved:      {http.StatusBadRequest, "InvalidParameterException"},
	fault.NameInvalid:             {http.StatusBadRequest, "InvalidParameterException"},
	fault.TagInvalid:              {http.StatusBadRequest, "InvalidParameterException"},
	fault.DigestInvalid:           {http.StatusBadRequest, "InvalidParameterException"},
	fault.SizeInvalid:             {http.StatusBadRequest, "InvalidParameterException"},
	fault.ManifestInvalid:         {http.StatusBadRequest, "InvalidParameterException"},
	fault.ManifestUnsupported:     {http.StatusBadRequest, "InvalidParameterException"},
	fault.ImageEntitled:           {http.StatusBadRequest, "InvalidParameterException"},
	fault.ImageReferenced:         {http.StatusBadRequest, "InvalidParameterException"},
	fault.InvalidInput:            {http.StatusBadRequest, "InvalidParameterException"},
	fault.MalformedPolicyDocument: {http.StatusBadRequest, "InvalidParameterException"},
	fault.RangeInvalid:            {http.StatusBadRequest, "InvalidLayerPartException"},
	fault.UploadConflict:          {http.StatusBadRequest, "InvalidLayerPartException"},
	fault.BlobNotFound:            {http.StatusBadRequest, "LayersNotFoundException"},
	fault.AccessKeyLimit:          {http.StatusBadRequest, "AccessKeyLimitExceededException"},
	fault.QuotaExceeded:           {http.StatusBadRequest, "LimitExceededException"},
	fault.StorageQuotaExceeded:    {http.StatusBadRequest, "LimitExceededException"},
	fault.StorageQuotaNotFound:    {http.StatusBadRequest, "QuotaNotFoundException"},
	fault.IDPCommunication:        {http.StatusBadRequest, "IDPCommunicationException"},
	fault.RepositoryProtected:     {http.StatusBadRequest, "InvalidParameterException"},
	fault.JobEnded:                {http.StatusBadRequest, "InvalidJobStateException"},
	fault.JobRunning:              {http.StatusBadRequest, "InvalidJobStateException"},
	fault.BackfillNotFound:        {http.StatusBadRequest, "ReplicationBackfillNotFoundException"},
	fault.BackfillInProgress:      {http.StatusBadRequest, "ReplicationBackfillInProgressException"},
	fault.BackfillEnded:           {http.StatusBadRequest, "ReplicationBackfillInvalidStatusException"},
	fault.TargetChanged:           {http.StatusBadRequest, "ServerException"},
	fault.PreconditionFailed:      {http.StatusPreconditionFailed, "PreconditionFailedException"}, // RFC 9110
}

// jsonForm returns the wire form of a code in the JSON protocol, regardless of the operation.
func jsonForm(c fault.Code) form {
	if f, ok := jsonErrors[c]; ok {
		return f
	}
	return jsonClassForm(c)
}

func jsonClassForm(c fault.Code) form {
	f := jsonClasses[c.Class()]
	if f.name == "" {
		f.name = c.String() + "Exception"
	}
	return f
}

// common reports whether an operation may return the code without declaring it. Source: ECR API reference, common
// errors.
func common(c fault.Code) bool {
	switch c {
	case fault.MalformedRequest, fault.QuotaExceeded, fault.StorageQuotaExceeded: // ecrin's own quotas, of operations that have none in AWS
		return true
	case fault.PreconditionFailed: // of a request with If-Match, which is ecrin's own
		return true
	case fault.IDPCommunication, fault.UnmodifiableEntity: // the operations of STS and IAM declare them
		return false
	}
	switch c.Class() {
	case fault.ClassNotFound, fault.ClassConflict, fault.ClassQuota, fault.ClassInvalid:
		return false
	}
	return true
}

// jsonName returns the name of the exception for a code. If the operation does not declare it, jsonName returns a
// general exception that the operation declares.
func (x *request) jsonName(c fault.Code) string {
	exception := jsonForm(c).name
	if x.op == nil || common(c) || slices.Contains(x.op.wire.Errors, exception) {
		return exception
	}
	for _, general := range []string{"InvalidParameterException", "ValidationException"} {
		if slices.Contains(x.op.wire.Errors, general) {
			return general
		}
	}
	return "ServerException"
}

// queryClasses holds the wire forms of the classes in the query protocol. Source: IAM and STS API references, common
// errors.
var queryClasses = map[fault.Class]form{
	fault.ClassInternal:        {http.StatusInternalServerError, "InternalFailure"},
	fault.ClassUnavailable:     {http.StatusServiceUnavailable, "ServiceUnavailable"},
	fault.ClassThrottled:       {http.StatusBadRequest, "Throttling"},
	fault.ClassTooLarge:        {http.StatusRequestEntityTooLarge, "RequestEntityTooLarge"},
	fault.ClassTimeout:         {http.StatusRequestTimeout, "RequestTimeout"},
	fault.ClassUnauthenticated: {http.StatusForbidden, "InvalidClientTokenId"},
	fault.ClassDenied:          {http.StatusForbidden, "AccessDenied"},
	fault.ClassUnsupported:     {http.StatusBadRequest, "InvalidAction"},
	fault.ClassNotFound:        {http.StatusBadRequest, "ValidationError"},
	fault.ClassConflict:        {http.StatusBadRequest, "ValidationError"},
	fault.ClassQuota:           {http.StatusConflict, "LimitExceeded"},
	fault.ClassInvalid:         {http.StatusBadRequest, "ValidationError"},
}

// queryErrors holds the wire forms of the codes that differ from their class in the query protocol. IAM and STS have
// specific names for codes of the classes not found and conflict; the other codes of these classes occur only in ECR.
//
// Sources: IAM and STS service models, the errors of the operations.
var queryErrors = map[fault.Code]form{
	fault.MalformedRequest:            {http.StatusBadRequest, "MalformedQueryString"},
	fault.UnsupportedOperation:        {http.StatusBadRequest, "UnsupportedOperation"},
	fault.MethodNotAllowed:            {http.StatusMethodNotAllowed, "InvalidAction"},
	fault.MissingCredentials:          {http.StatusForbidden, "MissingAuthenticationToken"},
	fault.IncompleteSignature:         {http.StatusBadRequest, "IncompleteSignature"},
	fault.SignatureMismatch:           {http.StatusForbidden, "SignatureDoesNotMatch"},
	fault.ExpiredCredentials:          {http.StatusForbidden, "ExpiredToken"},
	fault.AccountNotFound:             {http.StatusNotFound, "NoSuchEntity"},
	fault.AccessKeyNotFound:           {http.StatusNotFound, "NoSuchEntity"},
	fault.NoSuchEntity:                {http.StatusNotFound, "NoSuchEntity"},
	fault.EntityAlreadyExists:         {http.StatusConflict, "EntityAlreadyExists"},
	fault.DeleteConflict:              {http.StatusConflict, "DeleteConflict"},
	fault.InvalidParameter:            {http.StatusBadRequest, "InvalidParameterValue"}, // session tags
	fault.TooManyTags:                 {http.StatusBadRequest, "ValidationError"},
	fault.InvalidInput:                {http.StatusBadRequest, "InvalidInput"},
	fault.MalformedPolicyDocument:     {http.StatusBadRequest, "MalformedPolicyDocument"},
	fault.PolicyNotAttachable:         {http.StatusBadRequest, "PolicyNotAttachable"},
	fault.UnmodifiableEntity:          {http.StatusBadRequest, "UnmodifiableEntity"},
	fault.PasswordPolicyViolation:     {http.StatusBadRequest, "PasswordPolicyViolation"},
	fault.InvalidUserType:             {http.StatusBadRequest, "InvalidUserType"},
	fault.PolicyEvaluation:            {http.StatusInternalServerError, "PolicyEvaluation"},
	fault.PackedPolicyTooLarge:        {http.StatusBadRequest, "PackedPolicyTooLarge"},
	fault.ExpiredWebIdentity:          {http.StatusBadRequest, "ExpiredTokenException"},
	fault.InvalidIdentityToken:        {http.StatusBadRequest, "InvalidIdentityToken"},
	fault.IDPCommunication:            {http.StatusBadRequest, "IDPCommunicationError"},
	fault.IDPRejectedClaim:            {http.StatusForbidden, "IDPRejectedClaim"},
	fault.InvalidAuthorizationMessage: {http.StatusBadRequest, "InvalidAuthorizationMessageException"},
	fault.PreconditionFailed:          {http.StatusPreconditionFailed, "PreconditionFailed"}, // RFC 9110
}

// queryForm returns the wire form of a code in the query protocol.
func queryForm(c fault.Code) form {
	if f, ok := queryErrors[c]; ok {
		return f
	}
	return queryClasses[c.Class()]
}

// fail writes the answer to a failed request.
func (s *service) fail(x *request, e *fault.Error) {
	message := e.Public
	if e.Code == fault.Internal {
		message = "internal error, request " + x.ev.RequestID
	}
	var b bytes.Buffer
	var err error
	var status int
	if s.wire.Protocol == "json" {
		status = jsonForm(e.Code).status
		exception := x.jsonName(e.Code)
		x.w.Header()["Content-Type"] = []string{"application/x-amz-json-1.1"}
		x.w.Header()["X-Amzn-Errortype"] = []string{exception}
		err = awswire.EncodeJSONError(&b, exception, message, s.members(exception, e.Fields))
	} else {
		f := queryForm(e.Code)
		status = f.status
		x.w.Header()["Content-Type"] = []string{"text/xml"}
		err = awswire.EncodeQueryError(&b, s.wire.Namespace, status < 500, f.name, message, x.ev.RequestID)
	}
	if err != nil { // cannot happen: fields are strings and numbers
		x.ev.Err = err
	}
	if c := e.Code.Class(); c == fault.ClassUnavailable || c == fault.ClassThrottled {
		x.w.Header()["Retry-After"] = []string{"1"}
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(b.Bytes()) // fails only if the client has disconnected
}

// members returns the fields of an error that the exception has in the model.
func (s *service) members(exception string, fields map[string]any) map[string]any {
	kept := map[string]any{}
	for _, m := range s.errors[exception].Members {
		if v, ok := fields[m]; ok {
			kept[m] = v
		}
	}
	return kept
}
