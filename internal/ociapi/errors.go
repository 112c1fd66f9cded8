package ociapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/fault"
)

type wire struct {
	status int
	code   string
}

// wireErrors is the OCI form of every fault. A test walks fault.Codes and fails on a gap.
// Sources: OCI distribution specification, error codes; for the texts and statuses of ECR, the observations listed in
// docs/ecr-divergences.md.
var wireErrors = map[fault.Code]wire{
	fault.Internal:                    {500, "UNKNOWN"},
	fault.Unavailable:                 {503, "UNAVAILABLE"},
	fault.RequestTooLarge:             {413, "SIZE_INVALID"},
	fault.RequestTimeout:              {408, "BLOB_UPLOAD_INVALID"},
	fault.MalformedRequest:            {400, "UNSUPPORTED"},
	fault.InvalidParameter:            {400, "UNSUPPORTED"},
	fault.Validation:                  {400, "UNSUPPORTED"},
	fault.UnknownOperation:            {404, "UNSUPPORTED"},
	fault.UnsupportedOperation:        {405, "UNSUPPORTED"},
	fault.MethodNotAllowed:            {405, "UNSUPPORTED"},
	fault.Throttled:                   {429, "TOOMANYREQUESTS"},
	fault.MissingCredentials:          {401, "UNAUTHORIZED"},
	fault.IncompleteSignature:         {401, "UNAUTHORIZED"},
	fault.SignatureMismatch:           {403, "DENIED"},
	fault.UnknownAccessKey:            {403, "DENIED"},
	fault.ExpiredCredentials:          {403, "DENIED"},
	fault.TokenInvalid:                {400, "UNAUTHORIZED"},
	fault.AccessDenied:                {403, "DENIED"},
	fault.RegistryUnresolved:          {403, "DENIED"},
	fault.NameInvalid:                 {400, "NAME_INVALID"},
	fault.TagInvalid:                  {400, "TAG_INVALID"},
	fault.DigestInvalid:               {400, "DIGEST_INVALID"},
	fault.SizeInvalid:                 {400, "SIZE_INVALID"},
	fault.RangeInvalid:                {416, "BLOB_UPLOAD_INVALID"},
	fault.RepositoryNotFound:          {404, "NAME_UNKNOWN"},
	fault.RepositoryAlreadyExists:     {409, "DENIED"},
	fault.RepositoryNotEmpty:          {409, "DENIED"},
	fault.RepositoryPolicyNotFound:    {404, "UNSUPPORTED"},
	fault.ImageNotFound:               {404, "MANIFEST_UNKNOWN"},
	fault.ImageAlreadyExists:          {400, "TAG_INVALID"},
	fault.ImageTagAlreadyExists:       {400, "TAG_INVALID"},
	fault.ImageDigestDoesNotMatch:     {400, "DIGEST_INVALID"},
	fault.ImageReferenced:             {405, "UNSUPPORTED"},
	fault.ManifestInvalid:             {400, "MANIFEST_INVALID"},
	fault.ManifestUnsupported:         {400, "MANIFEST_INVALID"},
	fault.LayersNotFound:              {404, "MANIFEST_BLOB_UNKNOWN"},
	fault.ReferencedImagesNotFound:    {404, "MANIFEST_BLOB_UNKNOWN"},
	fault.LayerInaccessible:           {404, "BLOB_UNKNOWN"},
	fault.LayerAlreadyExists:          {400, "BLOB_UPLOAD_INVALID"},
	fault.LayerPartTooSmall:           {400, "BLOB_UPLOAD_INVALID"},
	fault.BlobNotFound:                {404, "BLOB_UNKNOWN"},
	fault.EmptyUpload:                 {400, "BLOB_UPLOAD_INVALID"},
	fault.UploadNotFound:              {404, "BLOB_UPLOAD_UNKNOWN"},
	fault.InvalidLayer:                {400, "BLOB_UPLOAD_INVALID"},
	fault.InvalidLayerPart:            {416, "BLOB_UPLOAD_INVALID"},
	fault.UploadConflict:              {409, "BLOB_UPLOAD_INVALID"},
	fault.LimitExceeded:               {400, "DENIED"},
	fault.TooManyTags:                 {400, "DENIED"},
	fault.InvalidTagParameter:         {400, "DENIED"},
	fault.AccountNotFound:             {404, "NAME_UNKNOWN"},
	fault.AccountAlreadyExists:        {409, "DENIED"},
	fault.AccountNotEmpty:             {409, "DENIED"},
	fault.AccessKeyNotFound:           {403, "DENIED"},
	fault.AccessKeyLimit:              {400, "DENIED"},
	fault.TokenNotFound:               {403, "DENIED"},
	fault.NoSuchEntity:                {404, "DENIED"},
	fault.EntityAlreadyExists:         {409, "DENIED"},
	fault.DeleteConflict:              {409, "DENIED"},
	fault.InvalidInput:                {400, "DENIED"},
	fault.MalformedPolicyDocument:     {400, "DENIED"},
	fault.PolicyNotAttachable:         {400, "DENIED"},
	fault.UnmodifiableEntity:          {400, "DENIED"},
	fault.PolicyEvaluation:            {400, "DENIED"},
	fault.PackedPolicyTooLarge:        {400, "DENIED"},
	fault.ExpiredWebIdentity:          {400, "DENIED"},
	fault.InvalidIdentityToken:        {400, "DENIED"},
	fault.IDPCommunication:            {503, "UNAVAILABLE"},
	fault.IDPRejectedClaim:            {400, "DENIED"},
	fault.InvalidAuthorizationMessage: {400, "DENIED"},
	fault.RegistryPolicyNotFound:      {404, "UNSUPPORTED"},
	fault.ControlPolicyNotFound:       {404, "UNSUPPORTED"},
	fault.RequestNotFound:             {404, "UNSUPPORTED"},
	fault.TargetChanged:               {503, "UNAVAILABLE"},
}

// unsupported405 are the faults that ECR answers with 405 UNSUPPORTED (quirk status-405).
var unsupported405 = map[fault.Code]bool{
	fault.ManifestInvalid: true, fault.ManifestUnsupported: true, fault.InvalidParameter: true,
}

// fail writes an error answer. HEAD answers have no body.
func (a *API) fail(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	form, ok := wireErrors[e.Code]
	if !ok {
		form = wire{500, "UNKNOWN"}
	}
	if e.Code == fault.RangeInvalid && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		form.code = "SIZE_INVALID" // a part of a blob that is not there; nothing is uploaded
	}
	if a.quirks.Status405 && unsupported405[e.Code] {
		form = wire{405, "UNSUPPORTED"}
	}
	if e.Code == fault.MissingCredentials || e.Code == fault.IncompleteSignature {
		challenge(w, r)
		return
	}
	if form.status == http.StatusServiceUnavailable || form.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if r.Method == http.MethodHead {
		w.WriteHeader(form.status)
		return
	}
	type one struct {
		Code    string         `json:"code"`
		Message string         `json:"message"`
		Detail  map[string]any `json:"detail,omitempty"`
	}
	body, err := json.Marshal(map[string][]one{"errors": {{form.code, e.Public, e.Fields}}})
	if err != nil { // fields are strings and numbers
		body = []byte(`{"errors":[{"code":"UNKNOWN","message":"internal error"}]}`)
	}
	w.WriteHeader(form.status)
	_, _ = w.Write(body) // a client that has gone cannot be told
}

// challenge answers a request without usable credentials, to the letter as ECR does.
// Source: observed answers of ECR: text body, not JSON; the realm names the host.
func challenge(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Www-Authenticate", `Basic realm="https://`+plainHost(r.Host)+`/",service="ecr.amazonaws.com"`)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte("Not Authorized\n"))
	}
}

// plainHost keeps what a quoted string may hold.
func plainHost(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return -1
		}
		return c
	}, s)
}
