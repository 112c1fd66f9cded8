package policy

// Kind is what a policy belongs to. Its zero value is no kind.
type Kind uint8

const (
	Repository      Kind = iota + 1 // of one repository; Resource may be absent and then means that repository
	Registry                        // of a whole registry
	Identity                        // of a user, group or role; also a managed policy, whatever it is attached to later
	Trust                           // who may assume a role
	Session                         // passed when a session is made
	Boundary                        // a permissions boundary
	ServiceControl                  // what an organization lets its principals do
	ResourceControl                 // what an organization lets be done to its resources
)

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return "no"
	}
	return kinds[k].name
}

// need tells whether statements of a kind have an element. Its zero value forbids it.
type need uint8

const (
	forbidden need = iota
	optional
	required
)

// rules are what the grammars of the kinds differ in. Sources: IAM user guide, grammar of the JSON policy language and
// IDs of statements; Organizations user guide, syntax of service and resource control policies.
type rules struct {
	name      string
	principal need
	resource  need
	service   string // the only service whose actions and resources can stand there; "" for all
	plainSid  bool   // a Sid is of letters and digits, and unique
	onlyAll   bool   // the only principal is "*"
}

var kinds = [...]rules{
	Repository:      {name: "repository", principal: required, resource: optional, service: "ecr"},
	Registry:        {name: "registry", principal: required, resource: required, service: "ecr"},
	Identity:        {name: "identity-based", resource: required, plainSid: true},
	Trust:           {name: "trust", principal: required, service: "sts", plainSid: true},
	Session:         {name: "session", resource: required, plainSid: true},
	Boundary:        {name: "boundary", resource: required, plainSid: true},
	ServiceControl:  {name: "service control", resource: required, plainSid: true},
	ResourceControl: {name: "resource control", principal: required, resource: required, plainSid: true, onlyAll: true},
}
