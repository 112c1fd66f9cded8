package main

import "slices"

// namingMembers are the string members that name the target of a request. Each request with such a member gets an
// accessor for it, so that one resolver serves all operations that have the member.
var namingMembers = []string{
	"registryId", "webhookName", "integrationName", "cloudName", "runtimeName", "clusterName", "environmentName", "issuer", "imageName",
	"repositoryName", "resourceArn", "imageTag", "imageDigest", "accountId", "accessKeyId", "accessRequestId", "applicationSlug", "customerId",
	"channelId", "userName", "roleName",
	"UserName", "NewUserName", "GroupName", "NewGroupName", "NewPath", "Path", "RoleName", "InstanceProfileName",
	"PolicyArn", "PolicyName", "PermissionsBoundary", "OpenIDConnectProviderArn", "Url", "AWSServiceName", "AccessKeyId", "PolicySourceArn",
}

// accessors writes a method for each naming member of each request, and the methods that read resource tags:
// RequestTags for a member Tags of keys and values, RequestTagKeys for a member TagKeys.
func (g *generator) accessors() {
	g.file()
	inputs := map[string]bool{}
	for _, op := range g.Operations {
		inputs[op.Input] = true
	}
	for _, s := range g.types {
		if !inputs[s.Name] {
			continue
		}
		for _, m := range s.Members {
			field, pointer := goName(m.Name), g.pointer(m)
			switch {
			case slices.Contains(namingMembers, m.Name) && g.Shapes[m.Shape].Type == "string" && g.Shapes[m.Shape].Enum == nil && !pointer:
				g.p("// Get%s returns the member %s, or \"\" if it is absent.", field, m.Name)
				g.p("func (v *%s) Get%s() string { return v.%s }\n", goName(s.Name), field, field)
			case field == "Tags" && g.Shapes[m.Shape].Type == "list" && g.pairs(g.Shapes[m.Shape].Member.Shape):
				g.p("// RequestTags calls each for every tag of the request, in the order of the request.")
				g.p("func (v *%s) RequestTags(each func(key, value string)) {", goName(s.Name))
				g.p("for i := range v.Tags {\neach(v.Tags[i].Key, v.Tags[i].Value)\n}\n}\n")
			case field == "TagKeys" && g.Shapes[m.Shape].Type == "list":
				g.p("// RequestTagKeys returns the member %s.", m.Name)
				g.p("func (v *%s) RequestTagKeys() []string { return v.TagKeys }\n", goName(s.Name))
			}
		}
	}
}

// pairs reports whether a structure has the string members key and value.
func (g *generator) pairs(shape string) bool {
	found := 0
	for _, m := range g.Shapes[shape].Members {
		if (goName(m.Name) == "Key" || goName(m.Name) == "Value") && g.Shapes[m.Shape].Type == "string" && !g.pointer(m) {
			found++
		}
	}
	return found == 2
}
