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
	ControlPolicyNotFound       // a guard rail that does not exist
	RequestNotFound             // no audit line has the request id
	TargetChanged               // what was decided about is not what is there any more; the request starts again
	end
)

var codeNames = [...]string{
	Internal:                    "Internal",
	Unavailable:                 "Unavailable",
	RequestTooLarge:             "RequestTooLarge",
	RequestTimeout:              "RequestTimeout",
	MalformedRequest:            "MalformedRequest",
	InvalidParameter:            "InvalidParameter",
	Validation:                  "Validation",
	UnknownOperation:            "UnknownOperation",
	UnsupportedOperation:        "UnsupportedOperation",
	MethodNotAllowed:            "MethodNotAllowed",
	Throttled:                   "Throttled",
	MissingCredentials:          "MissingCredentials",
	IncompleteSignature:         "IncompleteSignature",
	SignatureMismatch:           "SignatureMismatch",
	UnknownAccessKey:            "UnknownAccessKey",
	ExpiredCredentials:          "ExpiredCredentials",
	TokenInvalid:                "TokenInvalid",
	AccessDenied:                "AccessDenied",
	RegistryUnresolved:          "RegistryUnresolved",
	NameInvalid:                 "NameInvalid",
	TagInvalid:                  "TagInvalid",
	DigestInvalid:               "DigestInvalid",
	SizeInvalid:                 "SizeInvalid",
	RangeInvalid:                "RangeInvalid",
	RepositoryNotFound:          "RepositoryNotFound",
	RepositoryAlreadyExists:     "RepositoryAlreadyExists",
	RepositoryNotEmpty:          "RepositoryNotEmpty",
	RepositoryPolicyNotFound:    "RepositoryPolicyNotFound",
	ImageNotFound:               "ImageNotFound",
	ImageAlreadyExists:          "ImageAlreadyExists",
	ImageTagAlreadyExists:       "ImageTagAlreadyExists",
	ImageDigestDoesNotMatch:     "ImageDigestDoesNotMatch",
	ImageReferenced:             "ImageReferenced",
	ManifestInvalid:             "ManifestInvalid",
	ManifestUnsupported:         "ManifestUnsupported",
	LayersNotFound:              "LayersNotFound",
	ReferencedImagesNotFound:    "ReferencedImagesNotFound",
	LayerInaccessible:           "LayerInaccessible",
	LayerAlreadyExists:          "LayerAlreadyExists",
	LayerPartTooSmall:           "LayerPartTooSmall",
	BlobNotFound:                "BlobNotFound",
	EmptyUpload:                 "EmptyUpload",
	UploadNotFound:              "UploadNotFound",
	InvalidLayer:                "InvalidLayer",
	InvalidLayerPart:            "InvalidLayerPart",
	UploadConflict:              "UploadConflict",
	LimitExceeded:               "LimitExceeded",
	TooManyTags:                 "TooManyTags",
	InvalidTagParameter:         "InvalidTagParameter",
	AccountNotFound:             "AccountNotFound",
	AccountAlreadyExists:        "AccountAlreadyExists",
	AccountNotEmpty:             "AccountNotEmpty",
	AccessKeyNotFound:           "AccessKeyNotFound",
	AccessKeyLimit:              "AccessKeyLimit",
	TokenNotFound:               "TokenNotFound",
	NoSuchEntity:                "NoSuchEntity",
	EntityAlreadyExists:         "EntityAlreadyExists",
	DeleteConflict:              "DeleteConflict",
	InvalidInput:                "InvalidInput",
	MalformedPolicyDocument:     "MalformedPolicyDocument",
	PolicyNotAttachable:         "PolicyNotAttachable",
	UnmodifiableEntity:          "UnmodifiableEntity",
	PolicyEvaluation:            "PolicyEvaluation",
	PackedPolicyTooLarge:        "PackedPolicyTooLarge",
	ExpiredWebIdentity:          "ExpiredWebIdentity",
	InvalidIdentityToken:        "InvalidIdentityToken",
	IDPCommunication:            "IDPCommunication",
	IDPRejectedClaim:            "IDPRejectedClaim",
	InvalidAuthorizationMessage: "InvalidAuthorizationMessage",
	RegistryPolicyNotFound:      "RegistryPolicyNotFound",
	ControlPolicyNotFound:       "ControlPolicyNotFound",
	RequestNotFound:             "RequestNotFound",
	TargetChanged:               "TargetChanged",
}

// String gives the code's name, for logs and metrics.
func (c Code) String() string {
	if int(c) < len(codeNames) && codeNames[c] != "" {
		return codeNames[c]
	}
	return "Code(0)"
}

// Codes lists every code, so that a surface can prove its table complete.
func Codes() []Code {
	all := make([]Code, 0, end-1)
	for c := Internal; c < end; c++ {
		all = append(all, c)
	}
	return all
}
