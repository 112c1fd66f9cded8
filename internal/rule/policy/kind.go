package policy

// Kind is what a policy is attached to. The zero value is no kind.
type Kind uint8

const (
	Repository      Kind = iota + 1 // of one repository; a statement without Resource applies to that repository
	Registry                        // of a whole registry
	Identity                        // of a user, group or role; also a managed policy, whatever it is attached to
	Trust                           // of a role: the principals that may assume it
	Session                         // passed when a session is created
	Boundary                        // a permissions boundary
	ServiceControl                  // limits the principals of an organization
	ResourceControl                 // limits access to the resources of an organization
	Entitlement                     // of a customer of an application; made from entitlements, never written by users
)

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return "no"
	}
	return kinds[k].name
}

// need is whether a kind of policy has an element. The zero value forbids the element.
type need uint8

const (
	forbidden need = iota
	optional
	required
)

// rules are the differences between the grammars of the kinds. Sources: IAM user guide, grammar of the JSON policy
// language and IDs of statements; Organizations user guide, syntax of service and resource control policies.
type rules struct {
	name      string
	principal need
	resource  need
	service   string // the only service whose actions and resources are allowed; "" for all
	plainSid  bool   // a Sid consists of letters and digits, and is unique
	onlyAll   bool   // the only principal is "*"
	noJSON    string // the sentence of IAM and STS for a text that is no JSON; "" for their general one
	loose     bool   // IAM accepts what no request can match: odd actions, keys and ARNs, and empty condition blocks
	versions  bool   // conditions may have tests that IAM does not have: those of the family version
}

var kinds = [...]rules{
	Repository: {name: "repository", principal: required, resource: optional, service: "ecr"},
	Registry:   {name: "registry", principal: required, resource: required, service: "ecr"},
	Identity:   {name: "identity-based", resource: required, plainSid: true, loose: true},
	Trust: {name: "trust", principal: required, service: "sts", plainSid: true, loose: true,
		noJSON: "This policy contains invalid Json"},
	Session:         {name: "session", resource: required, plainSid: true, loose: true, noJSON: "The policy is not in the valid JSON format."},
	Boundary:        {name: "boundary", resource: required, plainSid: true, loose: true},
	ServiceControl:  {name: "service control", resource: required, plainSid: true},
	ResourceControl: {name: "resource control", principal: required, resource: required, plainSid: true, onlyAll: true},
	Entitlement:     {name: "entitlement", resource: required, service: "ecr", versions: true},
}
