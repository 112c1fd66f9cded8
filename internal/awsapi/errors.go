package awsapi

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/fault"
)

// jsonErrors is the name of every fault in the JSON protocol. A test walks fault.Codes and fails on a gap.
// Sources: ECR service model; AWS common errors; names seen in answers of JSON 1.1 services.
var jsonErrors = map[fault.Code]string{
	fault.Internal:                    "ServerException",
	fault.Unavailable:                 "ServerException",
	fault.RequestTooLarge:             "RequestEntityTooLargeException",
	fault.RequestTimeout:              "RequestTimeoutException",
	fault.MalformedRequest:            "SerializationException",
	fault.InvalidParameter:            "InvalidParameterException",
	fault.Validation:                  "ValidationException",
	fault.UnknownOperation:            "UnknownOperationException",
	fault.UnsupportedOperation:        "UnsupportedOperationException",
	fault.MethodNotAllowed:            "UnknownOperationException",
	fault.Throttled:                   "ThrottlingException",
	fault.MissingCredentials:          "MissingAuthenticationTokenException",
	fault.IncompleteSignature:         "IncompleteSignatureException",
	fault.SignatureMismatch:           "InvalidSignatureException",
	fault.UnknownAccessKey:            "UnrecognizedClientException",
	fault.ExpiredCredentials:          "ExpiredTokenException",
	fault.TokenInvalid:                "UnrecognizedClientException",
	fault.AccessDenied:                "AccessDeniedException",
	fault.RegistryUnresolved:          "InvalidParameterException",
	fault.NameInvalid:                 "InvalidParameterException",
	fault.TagInvalid:                  "InvalidParameterException",
	fault.DigestInvalid:               "InvalidParameterException",
	fault.SizeInvalid:                 "InvalidParameterException",
	fault.RangeInvalid:                "InvalidLayerPartException",
	fault.RepositoryNotFound:          "RepositoryNotFoundException",
	fault.RepositoryAlreadyExists:     "RepositoryAlreadyExistsException",
	fault.RepositoryNotEmpty:          "RepositoryNotEmptyException",
	fault.RepositoryPolicyNotFound:    "RepositoryPolicyNotFoundException",
	fault.ImageNotFound:               "ImageNotFoundException",
	fault.ImageAlreadyExists:          "ImageAlreadyExistsException",
	fault.ImageTagAlreadyExists:       "ImageTagAlreadyExistsException",
	fault.ImageDigestDoesNotMatch:     "ImageDigestDoesNotMatchException",
	fault.ImageReferenced:             "InvalidParameterException",
	fault.ManifestInvalid:             "InvalidParameterException",
	fault.ManifestUnsupported:         "InvalidParameterException",
	fault.LayersNotFound:              "LayersNotFoundException",
	fault.ReferencedImagesNotFound:    "ReferencedImagesNotFoundException",
	fault.LayerInaccessible:           "LayerInaccessibleException",
	fault.LayerAlreadyExists:          "LayerAlreadyExistsException",
	fault.LayerPartTooSmall:           "LayerPartTooSmallException",
	fault.BlobNotFound:                "LayersNotFoundException",
	fault.EmptyUpload:                 "EmptyUploadException",
	fault.UploadNotFound:              "UploadNotFoundException",
	fault.InvalidLayer:                "InvalidLayerException",
	fault.InvalidLayerPart:            "InvalidLayerPartException",
	fault.UploadConflict:              "InvalidLayerPartException",
	fault.LimitExceeded:               "LimitExceededException",
	fault.TooManyTags:                 "TooManyTagsException",
	fault.InvalidTagParameter:         "InvalidTagParameterException",
	fault.AccountNotFound:             "AccountNotFoundException",
	fault.AccountAlreadyExists:        "AccountAlreadyExistsException",
	fault.AccountNotEmpty:             "AccountNotEmptyException",
	fault.AccessKeyNotFound:           "AccessKeyNotFoundException",
	fault.AccessKeyLimit:              "AccessKeyLimitExceededException",
	fault.TokenNotFound:               "TokenNotFoundException",
	fault.NoSuchEntity:                "NoSuchEntityException",
	fault.EntityAlreadyExists:         "EntityAlreadyExistsException",
	fault.DeleteConflict:              "DeleteConflictException",
	fault.InvalidInput:                "InvalidParameterException",
	fault.MalformedPolicyDocument:     "InvalidParameterException",
	fault.PolicyNotAttachable:         "PolicyNotAttachableException",
	fault.UnmodifiableEntity:          "UnmodifiableEntityException",
	fault.PolicyEvaluation:            "PolicyEvaluationException",
	fault.PackedPolicyTooLarge:        "PackedPolicyTooLargeException",
	fault.ExpiredWebIdentity:          "ExpiredWebIdentityException",
	fault.InvalidIdentityToken:        "InvalidIdentityTokenException",
	fault.IDPCommunication:            "IDPCommunicationException",
	fault.IDPRejectedClaim:            "IDPRejectedClaimException",
	fault.InvalidAuthorizationMessage: "InvalidAuthorizationMessageException",
	fault.RegistryPolicyNotFound:      "RegistryPolicyNotFoundException",
	fault.ControlPolicyNotFound:       "ControlPolicyNotFoundException",
	fault.RequestNotFound:             "RequestNotFoundException",
	fault.TargetChanged:               "ServerException",
}

// commonErrors need not be declared by an operation. Source: ECR API reference, common errors.
var commonErrors = map[fault.Code]bool{
	fault.RequestTooLarge: true, fault.RequestTimeout: true, fault.MalformedRequest: true, fault.UnknownOperation: true,
	fault.UnsupportedOperation: true, fault.MethodNotAllowed: true, fault.Throttled: true, fault.MissingCredentials: true,
	fault.IncompleteSignature: true, fault.SignatureMismatch: true, fault.UnknownAccessKey: true, fault.ExpiredCredentials: true,
	fault.TokenInvalid: true, fault.AccessDenied: true, fault.Internal: true, fault.Unavailable: true,
}

// jsonName is the exception for a fault of an operation. A name that the operation does not declare becomes the general
// one that it does.
func (x *exchange) jsonName(c fault.Code) string {
	exception := jsonErrors[c]
	if exception == "" {
		return "ServerException"
	}
	if x.op == nil || commonErrors[c] || slices.Contains(x.op.wire.Errors, exception) {
		return exception
	}
	for _, general := range []string{"InvalidParameterException", "ValidationException"} {
		if slices.Contains(x.op.wire.Errors, general) {
			return general
		}
	}
	return "ServerException"
}

// jsonStatus gives 400 to all that is the client's doing, authentication too: the SDKs decide by name, and 400 is what
// ECR was seen to answer.
func jsonStatus(c fault.Code) int {
	switch c {
	case fault.Internal:
		return http.StatusInternalServerError
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.RequestTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// queryErrors are names and statuses of the query protocol, where they are not InvalidParameterValue with 400.
// Source: IAM and STS API references, common errors.
var queryErrors = map[fault.Code]struct {
	status int
	code   string
}{
	fault.Internal:                    {500, "InternalFailure"},
	fault.Unavailable:                 {503, "ServiceUnavailable"},
	fault.RequestTooLarge:             {413, "RequestEntityTooLarge"},
	fault.RequestTimeout:              {408, "RequestTimeout"},
	fault.MalformedRequest:            {400, "MalformedQueryString"},
	fault.InvalidParameter:            {400, "ValidationError"},
	fault.Validation:                  {400, "ValidationError"},
	fault.UnknownOperation:            {400, "InvalidAction"},
	fault.UnsupportedOperation:        {400, "UnsupportedOperation"},
	fault.MethodNotAllowed:            {405, "InvalidAction"},
	fault.Throttled:                   {400, "Throttling"},
	fault.MissingCredentials:          {403, "MissingAuthenticationToken"},
	fault.IncompleteSignature:         {400, "IncompleteSignature"},
	fault.SignatureMismatch:           {403, "SignatureDoesNotMatch"},
	fault.UnknownAccessKey:            {403, "InvalidClientTokenId"},
	fault.ExpiredCredentials:          {403, "ExpiredToken"},
	fault.TokenInvalid:                {403, "InvalidClientTokenId"},
	fault.AccessDenied:                {403, "AccessDenied"},
	fault.NoSuchEntity:                {404, "NoSuchEntity"},
	fault.EntityAlreadyExists:         {409, "EntityAlreadyExists"},
	fault.DeleteConflict:              {409, "DeleteConflict"},
	fault.InvalidInput:                {400, "InvalidInput"},
	fault.MalformedPolicyDocument:     {400, "MalformedPolicyDocument"},
	fault.PolicyNotAttachable:         {400, "PolicyNotAttachable"},
	fault.UnmodifiableEntity:          {400, "UnmodifiableEntity"},
	fault.PolicyEvaluation:            {500, "PolicyEvaluation"},
	fault.PackedPolicyTooLarge:        {400, "PackedPolicyTooLarge"},
	fault.ExpiredWebIdentity:          {400, "ExpiredTokenException"},
	fault.InvalidIdentityToken:        {400, "InvalidIdentityToken"},
	fault.IDPCommunication:            {400, "IDPCommunicationError"},
	fault.IDPRejectedClaim:            {403, "IDPRejectedClaim"},
	fault.InvalidAuthorizationMessage: {400, "InvalidAuthorizationMessageException"},
	fault.LimitExceeded:               {409, "LimitExceeded"},
	fault.AccessKeyLimit:              {409, "LimitExceeded"},
	fault.AccessKeyNotFound:           {404, "NoSuchEntity"},
	fault.AccountNotFound:             {404, "NoSuchEntity"},
	fault.TargetChanged:               {503, "ServiceUnavailable"},
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
		status = jsonStatus(e.Code)
		exception := x.jsonName(e.Code)
		x.w.Header()["Content-Type"] = []string{"application/x-amz-json-1.1"}
		x.w.Header()["X-Amzn-Errortype"] = []string{exception}
		err = awswire.EncodeJSONError(&b, exception, message, s.members(exception, e.Fields))
	} else {
		form, ok := queryErrors[e.Code]
		if !ok {
			form.status, form.code = 400, "ValidationError"
		}
		status = form.status
		x.w.Header()["Content-Type"] = []string{"text/xml"}
		err = awswire.EncodeQueryError(&b, s.wire.Namespace, status < 500, form.code, message, x.ev.RequestID)
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
