package event

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The detail types of the events that ECR does not have.
const (
	ownImageAction      = "Ecrin Image Action"
	ownRepositoryAction = "Ecrin Repository Action"
	ownPolicyAction     = "Ecrin Policy Action"
	ownRequestDenied    = "Ecrin Request Denied"
	ownWebhookTest      = "Ecrin Webhook Test"
)

// Pull is one pull of an image, or the pulls that were counted in a window of time.
type Pull struct {
	Image     Image
	Tag       name.Tag  // zero for pulls by digest
	Principal string    // ARN; "" for callers without credentials, and for pulls of several principals
	Count     int64     // 1 for a single pull
	OneIn     int64     // more than 1 if only one pull of so many has an event
	From, To  time.Time // the window; zero for a single pull
}

// ImagePulled returns the event of one or several pulls.
func ImagePulled(o Origin, p Pull) Event {
	detail := object{
		text("result", succeeded),
		text("repository-name", p.Image.Repository.String()),
		text("image-digest", p.Image.Digest.String()),
		text("action-type", "PULL"),
	}.optional("image-tag", p.Tag.String()).optional("principal", p.Principal)
	detail = append(detail, count("count", p.Count))
	if p.OneIn > 1 {
		detail = append(detail, count("sampled-one-in", p.OneIn))
	}
	return o.event(SourceEcrin, ownImageAction, p.Image, detail.window(p.From, p.To), o.arn(p.Image.Repository))
}

// RepositoryCreated returns the event of a new repository. principal is the ARN of the caller, "" if a job created it.
func RepositoryCreated(o Origin, repo name.Repo, principal string) Event {
	return o.repository("CREATE", repo, principal)
}

// RepositoryDeleted returns the event of the deletion of a repository. principal is the ARN of the caller.
func RepositoryDeleted(o Origin, repo name.Repo, principal string) Event {
	return o.repository("DELETE", repo, principal)
}

// RepositoryRestored returns the event of a deleted repository that was restored. principal is the ARN of the caller.
func RepositoryRestored(o Origin, repo name.Repo, principal string) Event {
	return o.repository("RESTORE", repo, principal)
}

func (o Origin) repository(action string, repo name.Repo, principal string) Event {
	return o.event(SourceEcrin, ownRepositoryAction, Image{Repository: repo}, object{
		text("result", succeeded),
		text("repository-name", repo.String()),
		text("action-type", action),
	}.optional("principal", principal), o.arn(repo))
}

// PolicyType is the kind of a policy or of another setting that decides what happens to images.
type PolicyType string

// The policy types.
const (
	PolicyRepository       PolicyType = "REPOSITORY"
	PolicyRegistry         PolicyType = "REGISTRY"
	PolicyLifecycle        PolicyType = "LIFECYCLE"
	PolicyReplication      PolicyType = "REPLICATION"
	PolicyCreationTemplate PolicyType = "CREATION_TEMPLATE"
	PolicyPullThroughCache PolicyType = "PULL_THROUGH_CACHE"
	PolicyScanning         PolicyType = "SCANNING"
	PolicyTagMutability    PolicyType = "TAG_MUTABILITY"
	PolicyProtection       PolicyType = "DELETION_PROTECTION"
	PolicyControl          PolicyType = "CONTROL"  // a service or resource control policy
	PolicyIdentity         PolicyType = "IDENTITY" // of a user, group or role, or a managed policy
)

// PolicyChange is the change of one policy. It has names only: the text of a policy is not in events.
type PolicyChange struct {
	Type       PolicyType
	Name       string    // of a policy that has one: a prefix, the name or ARN of an IAM policy; "" otherwise
	Repository name.Repo // zero for a policy that is not of one repository
	Deleted    bool      // false for a policy that was set
	Principal  string    // ARN of the caller
}

// PolicyChanged returns the event of a policy that was set or deleted.
func PolicyChanged(o Origin, c PolicyChange) Event {
	action := "SET"
	if c.Deleted {
		action = "DELETE"
	}
	return o.event(SourceEcrin, ownPolicyAction, Image{Repository: c.Repository}, object{
		text("result", succeeded),
		text("action-type", action),
		text("policy-type", string(c.Type)),
	}.optional("policy-name", c.Name).optional("repository-name", c.Repository.String()).optional("principal", c.Principal),
		o.arns(c.Repository)...)
}

// Denial is a number of equal requests that were denied in a window of time.
type Denial struct {
	Action     string    // such as ecr:BatchGetImage
	Principal  string    // ARN; "" for callers without credentials
	Repository name.Repo // zero for a request that is not about a repository
	RequestID  string    // of the first request, for ecrin explain
	Count      int64
	From, To   time.Time // the window; zero for a single request
}

// RequestDenied returns the event of one or several requests that were denied.
func RequestDenied(o Origin, d Denial) Event {
	detail := object{
		text("result", "DENIED"),
		text("action", d.Action),
	}.optional("principal", d.Principal).optional("repository-name", d.Repository.String()).optional("request-id", d.RequestID)
	detail = append(detail, count("count", d.Count)).window(d.From, d.To)
	return o.event(SourceEcrin, ownRequestDenied, Image{Repository: d.Repository}, detail, o.arns(d.Repository)...)
}

// WebhookTested returns the event that a test of a webhook delivers.
func WebhookTested(o Origin, webhook, principal string) Event {
	return o.event(SourceEcrin, ownWebhookTest, Image{}, object{
		text("result", succeeded),
		text("action-type", "TEST"),
		text("webhook-name", webhook),
	}.optional("principal", principal))
}
