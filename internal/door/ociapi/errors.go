package ociapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// wire is the wire form of a failure.
type wire struct {
	status int
	code   string
}

// wireClasses holds the wire forms of the classes.
//
// Sources: OCI distribution specification, error codes; for the texts and statuses of ECR, the observations listed in
// docs/ecr-divergences.md.
var wireClasses = map[fault.Class]wire{
	fault.ClassInternal:        {http.StatusInternalServerError, "UNKNOWN"},
	fault.ClassUnavailable:     {http.StatusServiceUnavailable, "UNAVAILABLE"},
	fault.ClassThrottled:       {http.StatusTooManyRequests, "TOOMANYREQUESTS"},
	fault.ClassTooLarge:        {http.StatusRequestEntityTooLarge, "SIZE_INVALID"},
	fault.ClassTimeout:         {http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID"},
	fault.ClassUnauthenticated: {http.StatusForbidden, "DENIED"},
	fault.ClassDenied:          {http.StatusForbidden, "DENIED"},
	fault.ClassUnsupported:     {http.StatusMethodNotAllowed, "UNSUPPORTED"},
	fault.ClassNotFound:        {http.StatusNotFound, "UNSUPPORTED"},
	fault.ClassConflict:        {http.StatusConflict, "DENIED"},
	fault.ClassQuota:           {http.StatusBadRequest, "DENIED"},
	fault.ClassInvalid:         {http.StatusBadRequest, "DENIED"},
}

// wireErrors holds the wire forms of the codes that differ from their class. Sources: those of wireClasses.
var wireErrors = map[fault.Code]wire{
	fault.UnknownOperation:         {http.StatusNotFound, "UNSUPPORTED"},
	fault.MissingCredentials:       {http.StatusUnauthorized, "UNAUTHORIZED"},
	fault.IncompleteSignature:      {http.StatusUnauthorized, "UNAUTHORIZED"},
	fault.LicenseInvalid:           {http.StatusUnauthorized, "UNAUTHORIZED"},
	fault.TokenInvalid:             {http.StatusBadRequest, "UNAUTHORIZED"},
	fault.MalformedRequest:         {http.StatusBadRequest, "UNSUPPORTED"},
	fault.InvalidParameter:         {http.StatusBadRequest, "UNSUPPORTED"},
	fault.Validation:               {http.StatusBadRequest, "UNSUPPORTED"},
	fault.UnmodifiableEntity:       {http.StatusBadRequest, "DENIED"},
	fault.RepositoryNotFound:       {http.StatusNotFound, "NAME_UNKNOWN"},
	fault.AccountNotFound:          {http.StatusNotFound, "NAME_UNKNOWN"},
	fault.RegistryUnresolved:       {http.StatusForbidden, "DENIED"},
	fault.AccessKeyNotFound:        {http.StatusForbidden, "DENIED"},
	fault.TokenNotFound:            {http.StatusForbidden, "DENIED"},
	fault.NoSuchEntity:             {http.StatusNotFound, "DENIED"},
	fault.NameInvalid:              {http.StatusBadRequest, "NAME_INVALID"},
	fault.TagInvalid:               {http.StatusBadRequest, "TAG_INVALID"},
	fault.ImageAlreadyExists:       {http.StatusBadRequest, "TAG_INVALID"},
	fault.ImageTagAlreadyExists:    {http.StatusBadRequest, "TAG_INVALID"},
	fault.DigestInvalid:            {http.StatusBadRequest, "DIGEST_INVALID"},
	fault.ImageDigestDoesNotMatch:  {http.StatusBadRequest, "DIGEST_INVALID"},
	fault.SizeInvalid:              {http.StatusBadRequest, "SIZE_INVALID"},
	fault.ManifestInvalid:          {http.StatusBadRequest, "MANIFEST_INVALID"},
	fault.ManifestUnsupported:      {http.StatusBadRequest, "MANIFEST_INVALID"},
	fault.ImageNotFound:            {http.StatusNotFound, "MANIFEST_UNKNOWN"},
	fault.ImageEntitled:            {http.StatusForbidden, "DENIED"},
	fault.ImageReferenced:          {http.StatusMethodNotAllowed, "UNSUPPORTED"},
	fault.RepositoryProtected:      {http.StatusForbidden, "DENIED"},
	fault.LayersNotFound:           {http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
	fault.ReferencedImagesNotFound: {http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
	fault.LayerInaccessible:        {http.StatusNotFound, "BLOB_UNKNOWN"},
	fault.BlobNotFound:             {http.StatusNotFound, "BLOB_UNKNOWN"},
	fault.UploadNotFound:           {http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
	fault.StorageQuotaExceeded:     {http.StatusForbidden, "DENIED"}, // clients do not repeat a push that is denied
	fault.QuotaExceeded:            {http.StatusTooManyRequests, "TOOMANYREQUESTS"},
	fault.RangeInvalid:             {http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID"},
	fault.InvalidLayerPart:         {http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID"},
	fault.UploadConflict:           {http.StatusConflict, "BLOB_UPLOAD_INVALID"},
	fault.InvalidLayer:             {http.StatusBadRequest, "BLOB_UPLOAD_INVALID"},
	fault.EmptyUpload:              {http.StatusBadRequest, "BLOB_UPLOAD_INVALID"},
	fault.LayerAlreadyExists:       {http.StatusBadRequest, "BLOB_UPLOAD_INVALID"},
	fault.UnableToGetUpstreamImage: {http.StatusBadGateway, "UNKNOWN"},
	fault.UnableToGetUpstreamLayer: {http.StatusBadGateway, "UNKNOWN"},

	fault.UnableToListUpstreamImageReferrers: {http.StatusBadGateway, "UNKNOWN"},

	fault.LayerPartTooSmall: {http.StatusBadRequest, "BLOB_UPLOAD_INVALID"},
}

// wireForm returns the wire form of a code.
func wireForm(c fault.Code) wire {
	if form, ok := wireErrors[c]; ok {
		return form
	}
	return wireClasses[c.Class()]
}

// unsupported405 holds the codes that ECR answers with 405 UNSUPPORTED; see registry.Quirks.Status405.
var unsupported405 = map[fault.Code]bool{
	fault.ManifestInvalid: true, fault.ManifestUnsupported: true, fault.InvalidParameter: true,
}

// formOf returns the wire form of a code in the answer to a request with a method.
func (a *API) formOf(method string, c fault.Code) wire {
	form := wireForm(c)
	if c == fault.RangeInvalid && (method == http.MethodGet || method == http.MethodHead) {
		form.code = "SIZE_INVALID" // the request reads a range of a blob; it is not an upload
	}
	if a.quirks.Status405 && unsupported405[c] {
		form = wire{405, "UNSUPPORTED"}
	}
	return form
}

// fail writes an error answer. HEAD answers have no body.
func (a *API) fail(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	form := a.formOf(r.Method, e.Code)
	if e.Code == fault.MissingCredentials || e.Code == fault.IncompleteSignature {
		challenge(w, r, basicChallenge(r))
		return
	}
	if e.Code == fault.LicenseInvalid { // the text says more than the challenge alone
		w.Header().Set("WWW-Authenticate", basicChallenge(r))
	}
	if form.status == http.StatusServiceUnavailable || form.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", retryAfter(e.Code))
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
	_, _ = w.Write(body) // fails only if the client has disconnected
}

// retryAfter returns the seconds after which a client may try again.
func retryAfter(c fault.Code) string {
	if c == fault.QuotaExceeded {
		return "60" // there is room when uploads are completed, cancelled or expire
	}
	return "1"
}

// notAuthorized is the body of the challenge.
const notAuthorized = "Not Authorized"

// basicChallenge returns the challenge of ECR. Its realm contains the host.
//
// Source: observed answers of ECR.
func basicChallenge(r *http.Request) string {
	return `Basic realm="https://` + plainHost(r.Host) + `/",service="ecr.amazonaws.com"`
}

// challenge answers a request without usable credentials as ECR does: the body is text, not JSON.
//
// Source: observed answers of ECR.
func challenge(w http.ResponseWriter, r *http.Request, text string) {
	h := w.Header()
	h.Set("Www-Authenticate", text)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(notAuthorized + "\n"))
	}
}

// plainHost removes the characters of a host that a quoted string cannot contain.
func plainHost(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return -1
		}
		return c
	}, s)
}
