package event

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ownAccessAction is the detail type of the events about requests for access.
const ownAccessAction = "Ecrin Access Action"

// AccessAction is what has happened to a request for access.
type AccessAction string

// The actions.
const (
	AccessRequested AccessAction = "ACCESS_REQUESTED"
	AccessGranted   AccessAction = "ACCESS_GRANTED"
	AccessRefused   AccessAction = "ACCESS_REFUSED"
	AccessEnded     AccessAction = "ACCESS_ENDED" // a grant has ended, by its date or because it was revoked
)

// Access is a change of a request for access. Members without a value are absent. It has none of the texts that people write.
type Access struct {
	Action     AccessAction
	Repository name.Repo
	ID         string // of the request
	Requester  string // ARN of the root user, user or role that asked
	Permission string // PULL or PUSH
	Until      time.Time
	Principal  string // ARN of the caller; "" when a grant ends by its date
}

// AccessChanged returns the event of a request for access. It belongs to the registry of the repository.
func AccessChanged(o Origin, a Access) Event {
	detail := object{
		text("result", succeeded),
		text("action-type", string(a.Action)),
		text("repository-name", a.Repository.String()),
		text("access-request-id", a.ID),
		text("requester", a.Requester),
		text("permission", a.Permission),
	}
	if !a.Until.IsZero() {
		detail = append(detail, text("until", a.Until.UTC().Format(time.RFC3339)))
	}
	return o.event(SourceEcrin, ownAccessAction, Image{Repository: a.Repository}, detail.optional("principal", a.Principal),
		o.arn(a.Repository))
}
