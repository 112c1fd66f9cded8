package awsapi

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// form is what a protocol answers to a failure.
type form struct {
	status int
	name   string // of the exception or error; "" in jsonClasses for the name of the code followed by Exception
}

// jsonClasses are the forms of the JSON protocol. All that is the caller's doing has the status 400, authentication too: the
// SDKs decide by the name, and 400 is what ECR was seen to answer.
// Sources: ECR service model; AWS common errors; names seen in answers of JSON 1.1 services.
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

// jsonErrors are the forms of the JSON protocol that are not those of the code's class. Sources: as of jsonClasses.
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
	fault.ImageReferenced:         {http.StatusBadRequest, "InvalidParameterException"},
	fault.InvalidInput:            {http.StatusBadRequest, "InvalidParameterException"},
	fault.MalformedPolicyDocument: {http.StatusBadRequest, "InvalidParameterException"},
	fault.RangeInvalid:            {http.StatusBadRequest, "InvalidLayerPartException"},
	fault.UploadConflict:          {http.StatusBadRequest, "InvalidLayerPartException"},
	fault.BlobNotFound:            {http.StatusBadRequest, "LayersNotFoundException"},
	fault.AccessKeyLimit:          {http.StatusBadRequest, "AccessKeyLimitExceededException"},
	fault.IDPCommunication:        {http.StatusBadRequest, "IDPCommunicationException"},
	fault.TargetChanged:           {http.StatusBadRequest, "ServerException"},
}

// jsonForm is the form of a code in the JSON protocol, whatever the operation.
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

// common reports whether an operation may answer the code without declaring it. Source: ECR API reference, common errors.
func common(c fault.Code) bool {
	switch c {
	case fault.MalformedRequest:
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

// jsonName is the exception for a fault of an operation. A name that the operation does not declare becomes the general
// one that it does.
func (x *exchange) jsonName(c fault.Code) string {
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

// queryClasses are the forms of the query protocol. Source: IAM and STS API references, common errors.
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

// queryErrors are the forms of the query protocol that are not those of the code's class. IAM and STS have names of their own
// for what does not exist and what is in conflict; the other codes of these classes are of ECR.
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
	fault.TooManyTags:                 {http.StatusBadRequest, "ValidationError"},
	fault.InvalidInput:                {http.StatusBadRequest, "InvalidInput"},
	fault.MalformedPolicyDocument:     {http.StatusBadRequest, "MalformedPolicyDocument"},
	fault.PolicyNotAttachable:         {http.StatusBadRequest, "PolicyNotAttachable"},
	fault.UnmodifiableEntity:          {http.StatusBadRequest, "UnmodifiableEntity"},
	fault.PolicyEvaluation:            {http.StatusInternalServerError, "PolicyEvaluation"},
	fault.PackedPolicyTooLarge:        {http.StatusBadRequest, "PackedPolicyTooLarge"},
	fault.ExpiredWebIdentity:          {http.StatusBadRequest, "ExpiredTokenException"},
	fault.InvalidIdentityToken:        {http.StatusBadRequest, "InvalidIdentityToken"},
	fault.IDPCommunication:            {http.StatusBadRequest, "IDPCommunicationError"},
	fault.IDPRejectedClaim:            {http.StatusForbidden, "IDPRejectedClaim"},
	fault.InvalidAuthorizationMessage: {http.StatusBadRequest, "InvalidAuthorizationMessageException"},
}

// queryForm is the form of a code in the query protocol.
func queryForm(c fault.Code) form {
	if f, ok := queryErrors[c]; ok {
		return f
	}
	return queryClasses[c.Class()]
}

func (s *service) fail(x *exchange, e *fault.Error) {
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
	if err != nil { // fields are texts and numbers
		x.ev.Err = err
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(b.Bytes()) // a client that has gone cannot be told
}

// members keeps those fields of a fault that the exception has in the model.
func (s *service) members(exception string, fields map[string]any) map[string]any {
	kept := map[string]any{}
	for _, m := range s.errors[exception].Members {
		if v, ok := fields[m]; ok {
			kept[m] = v
		}
	}
	return kept
}
