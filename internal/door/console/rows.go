package console

import "slices"

// rows are all requests that are served. What a row may do is decided by its operations.
var rows = slices.Concat(frameRows, signOnRows, placeRows, pageRows, identityRows, deliveryRows, vendorRows, operationRows,
	registrySettingRows)

// linker makes a link of the side: here if the page is of its section.
type linker func(section, text, to string) link

// sides returns the groups of the side, in the order of the work.
func sides(v *view) []side {
	badges, waiting := map[string]string{}, v.x.waiting()
	if n := waiting.OpenAccessRequests; n != nil && *n > 0 {
		badges["requests"] = count(int64(*n)) + " open"
	}
	if n := waiting.FailingIntegrations; n != nil && *n > 0 {
		badges["integrations"] = count(int64(*n)) + " failing"
	}
	at := func(section, text, to string) link {
		return link{Text: text, To: to, Here: v.Section == section, Badge: badges[section]}
	}
	base, iam := v.Base()+"/", v.IAM()+"/"
	groups := []side{
		{"Registry", slices.Concat([]link{at("repositories", "Repositories", base+"repositories")}, registryLinks(at, base))},
		{"Access", slices.Concat([]link{at("denied", "Denied requests", iam+"denied"), at("simulate", "Simulator", iam+"simulate"),
			at("actions", "Actions", Path+"/actions")},
			[]link{at("requests", "Requests for access", base+"access-requests")}, identityLinks(at, iam))},
		{"Delivery", slices.Concat(deliveryLinks(at, base), vendorLinks(at, base))},
		{"Operation", operationLinks(at, base)},
	}
	return slices.DeleteFunc(groups, func(s side) bool { return len(s.Links) == 0 })
}
