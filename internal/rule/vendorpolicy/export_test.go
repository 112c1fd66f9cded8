package vendorpolicy

// Grant is an action on the resources of a permission.
type Grant struct {
	Permission, Action, Resource string
	Channel                      bool
}

// Grants returns what the permissions are in IAM.
func Grants() (all []Grant) {
	for _, p := range permissions {
		for _, g := range p.grants {
			all = append(all, Grant{p.name, "ecrin:" + g.action, g.resource, g.channel})
		}
	}
	return all
}
