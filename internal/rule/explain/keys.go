package explain

import (
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// knownKeys are the condition keys in the spelling of AWS. Source: IAM user guide, global condition context keys;
// service authorization references of ECR and STS.
var knownKeys = strings.Fields(`
	aws:CurrentTime aws:EpochTime aws:MultiFactorAuthAge aws:MultiFactorAuthPresent aws:PrincipalAccount aws:PrincipalArn
	aws:PrincipalIsAWSService aws:PrincipalOrgID aws:PrincipalOrgPaths aws:PrincipalServiceName aws:PrincipalType
	aws:Referer aws:RequestedRegion aws:ResourceAccount aws:ResourceOrgID aws:SecureTransport aws:SourceAccount
	aws:SourceArn aws:SourceIdentity aws:SourceIp aws:TagKeys aws:TokenIssueTime aws:UserAgent aws:ViaAWSService
	aws:userid aws:username ecr:AccountSetting ecrin:ChannelId ecrin:ImageDigest ecrin:ImageTag sts:ExternalId sts:RoleSessionName
	sts:SourceIdentity sts:TransitiveTagKeys
`)

// tagKeyPrefixes are the condition keys that end with the name of a tag, without that name.
var tagKeyPrefixes = []string{"aws:PrincipalTag/", "aws:RequestTag/", "aws:ResourceTag/", "ecr:ResourceTag/"}

// spell returns a key in the spelling of AWS, or unchanged if it is not known.
func spell(key string) string {
	if i := slices.IndexFunc(knownKeys, func(s string) bool { return strings.EqualFold(s, key) }); i >= 0 {
		return knownKeys[i]
	}
	for _, f := range tagKeyPrefixes {
		if len(key) > len(f) && strings.EqualFold(f, key[:len(f)]) {
			return f + key[len(f):]
		}
	}
	return key
}

func contextOf(c *policy.Context) []ecrintypes.ContextEntry {
	all := []ecrintypes.ContextEntry{}
	for key, values := range c.All() {
		all = append(all, ecrintypes.ContextEntry{Key: spell(key), Values: values})
	}
	slices.SortFunc(all, func(a, b ecrintypes.ContextEntry) int { return strings.Compare(a.Key, b.Key) })
	return all
}
