package fault

// Code is one kind of failure, independent of the surface that reports it. The zero Code is not a failure.
type Code uint16

// The codes. A code whose name is sufficient has no comment.
const (
	_                    Code = iota
	Internal                  // a bug of this program, or a failure of the machine
	Unavailable               // the server cannot do it now (starting, stopping, disk full); a later attempt may succeed
	RequestTooLarge           // a body or a document exceeds its size limit
	RequestTimeout            // the client did not send its request in time
	MalformedRequest          // the request cannot be parsed
	InvalidParameter          // one value of the request breaks its rule
	Validation                // the request as a whole breaks a rule of the newer operations
	UnknownOperation          // the operation or route does not exist
	UnsupportedOperation      // the model has the operation, this build does not implement it
	MethodNotAllowed          // the route exists but does not have the method
	Throttled                 // the caller sends too many requests
	MissingCredentials        // the request has no credentials
	IncompleteSignature       // the credentials lack a part
	SignatureMismatch         // the signature was not made with the key, or its time is out of range
	UnknownAccessKey          // the access key id or session token is not valid here
	ExpiredCredentials        // the session token or docker token has expired
	LicenseInvalid            // a licence, or a token of a customer, is unknown, archived or expired
	TokenInvalid              // the docker password is not a token of this installation and region
	AccessDenied              // the caller lacks the permission
	RegistryUnresolved        // the host, path, scope and registryId do not name one registry
	NameInvalid               // a repository name does not match the grammar
	TagInvalid                // a tag does not match the grammar
	DigestInvalid             // a digest does not match the grammar, or content has another digest
	SizeInvalid               // a body does not have the declared length
	RangeInvalid              // an upload chunk does not start where the upload ends
	RepositoryNotFound
	RepositoryAlreadyExists
	RepositoryNotEmpty
	RepositoryPolicyNotFound
	PolicyChanged      // a policy is another one than the request has seen
	PreconditionFailed // what a request replaces is another one than it has seen
	ImageNotFound
	ImageAlreadyExists
	ImageTagAlreadyExists // an immutable tag refers to another image
	ImageDigestDoesNotMatch
	ImageEntitled            // a customer may pull the image, which is not deleted therefore
	ImageReferenced          // an index of the repository refers to the image
	ManifestInvalid          // a manifest cannot be parsed, or breaks a rule of its media type
	ManifestUnsupported      // a manifest has a media type that is not stored
	LayersNotFound           // a manifest names layers that the repository does not hold
	ReferencedImagesNotFound // an index names images that the repository does not hold
	LayerInaccessible
	LayerAlreadyExists
	LayerPartTooSmall
	BlobNotFound
	EmptyUpload
	UploadNotFound
	InvalidLayer     // a completed upload does not have the declared digest
	InvalidLayerPart // a layer part does not start after the last byte received
	UploadConflict   // another request writes to the upload, or has written to it
	LimitExceeded
	QuotaExceeded // a principal or repository has too many open uploads, tokens or sessions
	TooManyTags
	InvalidTagParameter
	AccountNotFound
	AccountAlreadyExists
	AccountNotEmpty
	AccessKeyNotFound
	AccessKeyLimit
	TokenNotFound
	NoSuchEntity                // an IAM entity does not exist
	EntityAlreadyExists         // the name of an IAM entity is in use
	DeleteConflict              // an IAM entity still has attached or contained entities
	InvalidInput                // an IAM operation does not accept a value
	MalformedPolicyDocument     // a policy cannot be parsed, in IAM and STS
	PolicyNotAttachable         // a managed policy is only for AWS services
	UnmodifiableEntity          // a service-linked role can be changed only by its service
	PasswordPolicyViolation     // a new password is too weak
	InvalidUserType             // the caller is not of the kind that the operation is for
	PolicyEvaluation            // a policy simulation cannot be done
	PackedPolicyTooLarge        // session policies and tags exceed the size that a session may have
	ExpiredWebIdentity          // a web identity token has expired
	InvalidIdentityToken        // a web identity token is not valid here
	IDPCommunication            // the identity provider cannot be reached
	IDPRejectedClaim            // the identity provider, or its configuration, refuses a claim
	InvalidAuthorizationMessage // an encoded authorization message was not made by this installation
	RegistryPolicyNotFound      // the registry has no policy
	ControlPolicyNotFound       // a control policy does not exist
	RequestNotFound             // no line of the audit trail has the request id
	TemplateNotFound            // a repository creation template does not exist
	TemplateAlreadyExists       // a repository creation template with the prefix exists
	ExclusionNotFound           // a pull time update exclusion does not exist
	ExclusionAlreadyExists      // a pull time update exclusion of the principal exists
	RepositoryProtected         // a repository, or its images, must not be deleted
	JobNotFound                 // a job of the background work does not exist
	JobEnded                    // nothing is left to do of a job
	JobRunning                  // a job runs now, or a later one does the same
	JobLeaseLost                // another process works on a job
	BackfillNotFound            // a replication backfill does not exist
	BackfillInProgress          // another replication backfill to the region has not ended
	BackfillEnded               // a replication backfill is stopping or has ended
	WebhookNotFound             // a receiver of events does not exist
	WebhookAlreadyExists        // the name of a receiver of events is in use
	IntegrationNotFound         // an integration does not exist
	IntegrationAlreadyExists    // the name of an integration, or its destination of replications, is in use
	IntegrationInUse            // replication rules name what an integration stands for
	IntegrationFailed           // a service outside of the installation cannot be used by its integration
	ObjectNotFound              // a cloud integration, a runtime or a cluster does not exist
	ObjectAlreadyExists         // the name of a cloud integration, a runtime or a cluster is in use
	ObjectInUse                 // others name a cloud integration, a runtime or a cluster
	DeliveryNotFound            // an event is not among those that a receiver has not got
	LifecyclePolicyNotFound     // the repository has no lifecycle policy
	LifecyclePreviewNotFound    // the repository has no preview of a lifecycle policy
	LifecyclePreviewInProgress  // a preview of a lifecycle policy is being made
	ImageNotPinned
	StorageQuotaExceeded // an account, or the repositories of a prefix, would have more than their quota
	StorageQuotaNotFound
	PullThroughCacheRuleNotFound
	PullThroughCacheRuleAlreadyExists
	UnsupportedUpstreamRegistry        // the URL of a rule names no registry that rules may name
	SecretNotFound                     // a secret of a rule does not exist
	UnableToAccessSecret               // a secret is not one that rules of the registry may use
	UnableToDecryptSecretValue         // a secret cannot be unsealed, or does not contain credentials
	UnableToGetUpstreamImage           // another registry did not give an image
	UnableToGetUpstreamLayer           // another registry did not give a layer
	UnableToListUpstreamImageReferrers // another registry did not list referrers
	TargetChanged                      // the target has changed since the decision; the request starts again
	end
)

// codes holds the name and the class of every code.
var codes = [...]struct {
	name  string
	class Class
}{
	Internal:                           {"Internal", ClassInternal},
	Unavailable:                        {"Unavailable", ClassUnavailable},
	RequestTooLarge:                    {"RequestTooLarge", ClassTooLarge},
	RequestTimeout:                     {"RequestTimeout", ClassTimeout},
	MalformedRequest:                   {"MalformedRequest", ClassInvalid},
	InvalidParameter:                   {"InvalidParameter", ClassInvalid},
	Validation:                         {"Validation", ClassInvalid},
	UnknownOperation:                   {"UnknownOperation", ClassUnsupported},
	UnsupportedOperation:               {"UnsupportedOperation", ClassUnsupported},
	MethodNotAllowed:                   {"MethodNotAllowed", ClassUnsupported},
	Throttled:                          {"Throttled", ClassThrottled},
	MissingCredentials:                 {"MissingCredentials", ClassUnauthenticated},
	IncompleteSignature:                {"IncompleteSignature", ClassUnauthenticated},
	SignatureMismatch:                  {"SignatureMismatch", ClassUnauthenticated},
	UnknownAccessKey:                   {"UnknownAccessKey", ClassUnauthenticated},
	ExpiredCredentials:                 {"ExpiredCredentials", ClassUnauthenticated},
	LicenseInvalid:                     {"LicenseInvalid", ClassUnauthenticated},
	TokenInvalid:                       {"TokenInvalid", ClassUnauthenticated},
	AccessDenied:                       {"AccessDenied", ClassDenied},
	RegistryUnresolved:                 {"RegistryUnresolved", ClassInvalid},
	NameInvalid:                        {"NameInvalid", ClassInvalid},
	TagInvalid:                         {"TagInvalid", ClassInvalid},
	DigestInvalid:                      {"DigestInvalid", ClassInvalid},
	SizeInvalid:                        {"SizeInvalid", ClassInvalid},
	RangeInvalid:                       {"RangeInvalid", ClassInvalid},
	RepositoryNotFound:                 {"RepositoryNotFound", ClassNotFound},
	RepositoryAlreadyExists:            {"RepositoryAlreadyExists", ClassConflict},
	RepositoryNotEmpty:                 {"RepositoryNotEmpty", ClassConflict},
	RepositoryPolicyNotFound:           {"RepositoryPolicyNotFound", ClassNotFound},
	PolicyChanged:                      {"PolicyChanged", ClassConflict},
	PreconditionFailed:                 {"PreconditionFailed", ClassConflict},
	ImageNotFound:                      {"ImageNotFound", ClassNotFound},
	ImageAlreadyExists:                 {"ImageAlreadyExists", ClassConflict},
	ImageTagAlreadyExists:              {"ImageTagAlreadyExists", ClassConflict},
	ImageDigestDoesNotMatch:            {"ImageDigestDoesNotMatch", ClassInvalid},
	ImageEntitled:                      {"ImageEntitled", ClassConflict},
	ImageReferenced:                    {"ImageReferenced", ClassConflict},
	ManifestInvalid:                    {"ManifestInvalid", ClassInvalid},
	ManifestUnsupported:                {"ManifestUnsupported", ClassInvalid},
	LayersNotFound:                     {"LayersNotFound", ClassNotFound},
	ReferencedImagesNotFound:           {"ReferencedImagesNotFound", ClassNotFound},
	LayerInaccessible:                  {"LayerInaccessible", ClassNotFound},
	LayerAlreadyExists:                 {"LayerAlreadyExists", ClassConflict},
	LayerPartTooSmall:                  {"LayerPartTooSmall", ClassInvalid},
	BlobNotFound:                       {"BlobNotFound", ClassNotFound},
	EmptyUpload:                        {"EmptyUpload", ClassInvalid},
	UploadNotFound:                     {"UploadNotFound", ClassNotFound},
	InvalidLayer:                       {"InvalidLayer", ClassInvalid},
	InvalidLayerPart:                   {"InvalidLayerPart", ClassInvalid},
	UploadConflict:                     {"UploadConflict", ClassConflict},
	LimitExceeded:                      {"LimitExceeded", ClassQuota},
	QuotaExceeded:                      {"QuotaExceeded", ClassQuota},
	TooManyTags:                        {"TooManyTags", ClassQuota},
	InvalidTagParameter:                {"InvalidTagParameter", ClassInvalid},
	AccountNotFound:                    {"AccountNotFound", ClassNotFound},
	AccountAlreadyExists:               {"AccountAlreadyExists", ClassConflict},
	AccountNotEmpty:                    {"AccountNotEmpty", ClassConflict},
	AccessKeyNotFound:                  {"AccessKeyNotFound", ClassNotFound},
	AccessKeyLimit:                     {"AccessKeyLimit", ClassQuota},
	TokenNotFound:                      {"TokenNotFound", ClassNotFound},
	NoSuchEntity:                       {"NoSuchEntity", ClassNotFound},
	EntityAlreadyExists:                {"EntityAlreadyExists", ClassConflict},
	DeleteConflict:                     {"DeleteConflict", ClassConflict},
	InvalidInput:                       {"InvalidInput", ClassInvalid},
	MalformedPolicyDocument:            {"MalformedPolicyDocument", ClassInvalid},
	PolicyNotAttachable:                {"PolicyNotAttachable", ClassInvalid},
	UnmodifiableEntity:                 {"UnmodifiableEntity", ClassDenied},
	PasswordPolicyViolation:            {"PasswordPolicyViolation", ClassInvalid},
	InvalidUserType:                    {"InvalidUserType", ClassInvalid},
	PolicyEvaluation:                   {"PolicyEvaluation", ClassInvalid},
	PackedPolicyTooLarge:               {"PackedPolicyTooLarge", ClassQuota},
	ExpiredWebIdentity:                 {"ExpiredWebIdentity", ClassInvalid},
	InvalidIdentityToken:               {"InvalidIdentityToken", ClassInvalid},
	IDPCommunication:                   {"IDPCommunication", ClassUnavailable},
	IDPRejectedClaim:                   {"IDPRejectedClaim", ClassInvalid},
	InvalidAuthorizationMessage:        {"InvalidAuthorizationMessage", ClassInvalid},
	RegistryPolicyNotFound:             {"RegistryPolicyNotFound", ClassNotFound},
	ControlPolicyNotFound:              {"ControlPolicyNotFound", ClassNotFound},
	RequestNotFound:                    {"RequestNotFound", ClassNotFound},
	TemplateNotFound:                   {"TemplateNotFound", ClassNotFound},
	TemplateAlreadyExists:              {"TemplateAlreadyExists", ClassConflict},
	ExclusionNotFound:                  {"ExclusionNotFound", ClassNotFound},
	ExclusionAlreadyExists:             {"ExclusionAlreadyExists", ClassConflict},
	RepositoryProtected:                {"RepositoryProtected", ClassConflict},
	JobNotFound:                        {"JobNotFound", ClassNotFound},
	JobEnded:                           {"JobEnded", ClassConflict},
	JobRunning:                         {"JobRunning", ClassConflict},
	JobLeaseLost:                       {"JobLeaseLost", ClassConflict},
	BackfillNotFound:                   {"BackfillNotFound", ClassNotFound},
	BackfillInProgress:                 {"BackfillInProgress", ClassConflict},
	BackfillEnded:                      {"BackfillEnded", ClassConflict},
	WebhookNotFound:                    {"WebhookNotFound", ClassNotFound},
	WebhookAlreadyExists:               {"WebhookAlreadyExists", ClassConflict},
	IntegrationNotFound:                {"IntegrationNotFound", ClassNotFound},
	IntegrationAlreadyExists:           {"IntegrationAlreadyExists", ClassConflict},
	IntegrationInUse:                   {"IntegrationInUse", ClassConflict},
	IntegrationFailed:                  {"IntegrationFailed", ClassInvalid},
	ObjectNotFound:                     {"ResourceNotFound", ClassNotFound},
	ObjectAlreadyExists:                {"ResourceAlreadyExists", ClassConflict},
	ObjectInUse:                        {"ResourceInUse", ClassConflict},
	DeliveryNotFound:                   {"DeliveryNotFound", ClassNotFound},
	LifecyclePolicyNotFound:            {"LifecyclePolicyNotFound", ClassNotFound},
	LifecyclePreviewNotFound:           {"LifecyclePolicyPreviewNotFound", ClassNotFound},
	LifecyclePreviewInProgress:         {"LifecyclePolicyPreviewInProgress", ClassConflict},
	ImageNotPinned:                     {"ImageNotPinned", ClassNotFound},
	StorageQuotaExceeded:               {"StorageQuotaExceeded", ClassQuota},
	StorageQuotaNotFound:               {"StorageQuotaNotFound", ClassNotFound},
	PullThroughCacheRuleNotFound:       {"PullThroughCacheRuleNotFound", ClassNotFound},
	PullThroughCacheRuleAlreadyExists:  {"PullThroughCacheRuleAlreadyExists", ClassConflict},
	UnsupportedUpstreamRegistry:        {"UnsupportedUpstreamRegistry", ClassInvalid},
	SecretNotFound:                     {"SecretNotFound", ClassNotFound},
	UnableToAccessSecret:               {"UnableToAccessSecret", ClassInvalid},
	UnableToDecryptSecretValue:         {"UnableToDecryptSecretValue", ClassInvalid},
	UnableToGetUpstreamImage:           {"UnableToGetUpstreamImage", ClassInvalid},
	UnableToGetUpstreamLayer:           {"UnableToGetUpstreamLayer", ClassInvalid},
	UnableToListUpstreamImageReferrers: {"UnableToListUpstreamImageReferrers", ClassInvalid},
	TargetChanged:                      {"TargetChanged", ClassUnavailable},
}

// String returns the name of the code, for logs and metrics; "Code(0)" if c is not one of the constants.
func (c Code) String() string {
	if int(c) < len(codes) && codes[c].name != "" {
		return codes[c].name
	}
	return "Code(0)"
}

// Class returns the class of the code; ClassInternal if c is not one of the constants.
func (c Code) Class() Class {
	if int(c) < len(codes) && codes[c].class != 0 {
		return codes[c].class
	}
	return ClassInternal
}

// Codes returns every code, in the order of the constants. Tests use it to check that the table of a surface is
// complete.
func Codes() []Code {
	all := make([]Code, 0, end-1)
	for c := Internal; c < end; c++ {
		all = append(all, c)
	}
	return all
}
