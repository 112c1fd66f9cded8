package fault

// Code names one kind of failure, whatever surface it is shown on. The zero Code is not a failure.
type Code uint16

// The codes. Where a name says all, there is no comment.
const (
	_                    Code = iota
	Internal                  // our own mistake or a broken machine
	Unavailable               // the server cannot do it now (starting, stopping, disk full); repeating later may work
	RequestTooLarge           // a body or a document beyond its limit
	RequestTimeout            // the client did not send its request in time
	MalformedRequest          // the request cannot be read at all
	InvalidParameter          // one value of the request breaks its rule
	Validation                // the request as a whole breaks a rule of the newer operations
	UnknownOperation          // no such operation or route
	UnsupportedOperation      // an operation of the model that this build does not have
	MethodNotAllowed          // the route exists, the method does not
	Throttled                 // too many requests
	MissingCredentials        // no credentials at all
	IncompleteSignature       // credentials that lack a part
	SignatureMismatch         // the signature was not made with that key, or is outside its time
	UnknownAccessKey          // the access key id or session token is not valid here
	ExpiredCredentials        // the session token or docker token is past its end
	TokenInvalid              // a docker password that is not a token of this installation and region
	AccessDenied              // the caller may not do it
	RegistryUnresolved        // the host, path, scope and registryId do not name one registry
	NameInvalid               // a repository name outside the grammar
	TagInvalid                // a tag outside the grammar
	DigestInvalid             // a digest outside the grammar, or content that does not have it
	SizeInvalid               // a body that is not as long as declared
	RangeInvalid              // an upload chunk that does not start where the upload ends
	RepositoryNotFound
	RepositoryAlreadyExists
	RepositoryNotEmpty
	RepositoryPolicyNotFound
	ImageNotFound
	ImageAlreadyExists
	ImageTagAlreadyExists // an immutable tag that names another image
	ImageDigestDoesNotMatch
	ImageReferenced          // an image that an index of the repository names
	ManifestInvalid          // a manifest that cannot be understood, or breaks a rule of its kind
	ManifestUnsupported      // a manifest of a kind that is not stored
	LayersNotFound           // a manifest names layers that the repository does not hold
	ReferencedImagesNotFound // an index names images that the repository does not hold
	LayerInaccessible
	LayerAlreadyExists
	LayerPartTooSmall
	BlobNotFound
	EmptyUpload
	UploadNotFound
	InvalidLayer     // a finished upload that does not have the digest announced
	InvalidLayerPart // a layer part that does not follow the last one
	UploadConflict   // two writers of one upload
	LimitExceeded
	TooManyTags
	InvalidTagParameter
	AccountNotFound
	AccountAlreadyExists
	AccountNotEmpty
	AccessKeyNotFound
	AccessKeyLimit
	TokenNotFound
	NoSuchEntity                // an IAM entity that does not exist
	EntityAlreadyExists         // an IAM entity whose name is taken
	DeleteConflict              // an IAM entity that something still hangs on
	InvalidInput                // a value that an IAM operation does not take
	MalformedPolicyDocument     // a policy that cannot be read, in IAM and STS
	PolicyNotAttachable         // a managed policy that is only for AWS services
	UnmodifiableEntity          // a service-linked role, which its service manages
	PolicyEvaluation            // a simulation that cannot be done
	PackedPolicyTooLarge        // session policies and tags beyond what a session holds
	ExpiredWebIdentity          // a web identity token past its end
	InvalidIdentityToken        // a web identity token that is not valid here
	IDPCommunication            // the identity provider cannot be asked
	IDPRejectedClaim            // the identity provider, or its configuration, refuses a claim
	InvalidAuthorizationMessage // an encoded denial that this installation did not make
	RegistryPolicyNotFound      // a registry without a policy
	ControlPolicyNotFound       // a control policy that does not exist
	RequestNotFound             // no audit line has the request id
	TargetChanged               // what was decided about is not what is there any more; the request starts again
	end
)

// codes has the name and the class of every code.
var codes = [...]struct {
	name  string
	class Class
}{
	Internal:                    {"Internal", ClassInternal},
	Unavailable:                 {"Unavailable", ClassUnavailable},
	RequestTooLarge:             {"RequestTooLarge", ClassTooLarge},
	RequestTimeout:              {"RequestTimeout", ClassTimeout},
	MalformedRequest:            {"MalformedRequest", ClassInvalid},
	InvalidParameter:            {"InvalidParameter", ClassInvalid},
	Validation:                  {"Validation", ClassInvalid},
	UnknownOperation:            {"UnknownOperation", ClassUnsupported},
	UnsupportedOperation:        {"UnsupportedOperation", ClassUnsupported},
	MethodNotAllowed:            {"MethodNotAllowed", ClassUnsupported},
	Throttled:                   {"Throttled", ClassThrottled},
	MissingCredentials:          {"MissingCredentials", ClassUnauthenticated},
	IncompleteSignature:         {"IncompleteSignature", ClassUnauthenticated},
	SignatureMismatch:           {"SignatureMismatch", ClassUnauthenticated},
	UnknownAccessKey:            {"UnknownAccessKey", ClassUnauthenticated},
	ExpiredCredentials:          {"ExpiredCredentials", ClassUnauthenticated},
	TokenInvalid:                {"TokenInvalid", ClassUnauthenticated},
	AccessDenied:                {"AccessDenied", ClassDenied},
	RegistryUnresolved:          {"RegistryUnresolved", ClassInvalid},
	NameInvalid:                 {"NameInvalid", ClassInvalid},
	TagInvalid:                  {"TagInvalid", ClassInvalid},
	DigestInvalid:               {"DigestInvalid", ClassInvalid},
	SizeInvalid:                 {"SizeInvalid", ClassInvalid},
	RangeInvalid:                {"RangeInvalid", ClassInvalid},
	RepositoryNotFound:          {"RepositoryNotFound", ClassNotFound},
	RepositoryAlreadyExists:     {"RepositoryAlreadyExists", ClassConflict},
	RepositoryNotEmpty:          {"RepositoryNotEmpty", ClassConflict},
	RepositoryPolicyNotFound:    {"RepositoryPolicyNotFound", ClassNotFound},
	ImageNotFound:               {"ImageNotFound", ClassNotFound},
	ImageAlreadyExists:          {"ImageAlreadyExists", ClassConflict},
	ImageTagAlreadyExists:       {"ImageTagAlreadyExists", ClassConflict},
	ImageDigestDoesNotMatch:     {"ImageDigestDoesNotMatch", ClassInvalid},
	ImageReferenced:             {"ImageReferenced", ClassConflict},
	ManifestInvalid:             {"ManifestInvalid", ClassInvalid},
	ManifestUnsupported:         {"ManifestUnsupported", ClassInvalid},
	LayersNotFound:              {"LayersNotFound", ClassNotFound},
	ReferencedImagesNotFound:    {"ReferencedImagesNotFound", ClassNotFound},
	LayerInaccessible:           {"LayerInaccessible", ClassNotFound},
	LayerAlreadyExists:          {"LayerAlreadyExists", ClassConflict},
	LayerPartTooSmall:           {"LayerPartTooSmall", ClassInvalid},
	BlobNotFound:                {"BlobNotFound", ClassNotFound},
	EmptyUpload:                 {"EmptyUpload", ClassInvalid},
	UploadNotFound:              {"UploadNotFound", ClassNotFound},
	InvalidLayer:                {"InvalidLayer", ClassInvalid},
	InvalidLayerPart:            {"InvalidLayerPart", ClassInvalid},
	UploadConflict:              {"UploadConflict", ClassConflict},
	LimitExceeded:               {"LimitExceeded", ClassQuota},
	TooManyTags:                 {"TooManyTags", ClassQuota},
	InvalidTagParameter:         {"InvalidTagParameter", ClassInvalid},
	AccountNotFound:             {"AccountNotFound", ClassNotFound},
	AccountAlreadyExists:        {"AccountAlreadyExists", ClassConflict},
	AccountNotEmpty:             {"AccountNotEmpty", ClassConflict},
	AccessKeyNotFound:           {"AccessKeyNotFound", ClassNotFound},
	AccessKeyLimit:              {"AccessKeyLimit", ClassQuota},
	TokenNotFound:               {"TokenNotFound", ClassNotFound},
	NoSuchEntity:                {"NoSuchEntity", ClassNotFound},
	EntityAlreadyExists:         {"EntityAlreadyExists", ClassConflict},
	DeleteConflict:              {"DeleteConflict", ClassConflict},
	InvalidInput:                {"InvalidInput", ClassInvalid},
	MalformedPolicyDocument:     {"MalformedPolicyDocument", ClassInvalid},
	PolicyNotAttachable:         {"PolicyNotAttachable", ClassInvalid},
	UnmodifiableEntity:          {"UnmodifiableEntity", ClassDenied},
	PolicyEvaluation:            {"PolicyEvaluation", ClassInvalid},
	PackedPolicyTooLarge:        {"PackedPolicyTooLarge", ClassQuota},
	ExpiredWebIdentity:          {"ExpiredWebIdentity", ClassInvalid},
	InvalidIdentityToken:        {"InvalidIdentityToken", ClassInvalid},
	IDPCommunication:            {"IDPCommunication", ClassUnavailable},
	IDPRejectedClaim:            {"IDPRejectedClaim", ClassInvalid},
	InvalidAuthorizationMessage: {"InvalidAuthorizationMessage", ClassInvalid},
	RegistryPolicyNotFound:      {"RegistryPolicyNotFound", ClassNotFound},
	ControlPolicyNotFound:       {"ControlPolicyNotFound", ClassNotFound},
	RequestNotFound:             {"RequestNotFound", ClassNotFound},
	TargetChanged:               {"TargetChanged", ClassUnavailable},
}

// String gives the code's name, for logs and metrics.
func (c Code) String() string {
	if int(c) < len(codes) && codes[c].name != "" {
		return codes[c].name
	}
	return "Code(0)"
}

// Class is the class of the code; ClassInternal for a Code that is none of the constants.
func (c Code) Class() Class {
	if int(c) < len(codes) && codes[c].class != 0 {
		return codes[c].class
	}
	return ClassInternal
}

// Codes lists every code, so that a surface can prove its table complete.
func Codes() []Code {
	all := make([]Code, 0, end-1)
	for c := Internal; c < end; c++ {
		all = append(all, c)
	}
	return all
}
