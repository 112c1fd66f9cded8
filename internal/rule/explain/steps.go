package explain

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// step is a change in words, with the commands and policies that make it.
type step struct {
	what  string
	lines []string // commands and policies; each may have several lines
}

func stepOf(e ecrintypes.Explanation, c ecrintypes.PolicyChange) step {
	if c.Remove != nil {
		return removal(e, *c.Remove)
	}
	switch c.Layer {
	case policy.LayerIdentity.String():
		return onIdentity(e, c.Add)
	case policy.LayerResource.String():
		return onResource(e, c.Add)
	case policy.LayerTrust.String():
		role := lastSegment(e.Resource)
		return step{"allow the caller in the trust policy of the role " + role +
			". The command replaces the whole trust policy: keep the statements that it has.", []string{
			"aws iam update-assume-role-policy --role-name " + word(role) + " --policy-document " + word(pretty(c.Add)),
		}}
	case policy.LayerBoundary.String():
		arn := "BOUNDARY-ARN"
		for _, f := range e.Findings {
			if f.Layer == c.Layer && f.PolicyArn != "" {
				arn = f.PolicyArn
			}
		}
		return step{"add the statement to the caller's permissions boundary, and set the result as its default version:", []string{
			pretty(c.Add), newVersion(arn),
		}}
	case policy.LayerSession.String():
		return step{"create the session again, with a session policy that has this statement:", []string{pretty(c.Add)}}
	}
	return step{"add the statement to the " + c.Layer +
		" policies, at each level (all accounts, or with --account one) that does not allow it:", []string{
		"echo " + word(pretty(c.Add)) + " |\n  ecrin control-policy put " + policyName(e) + " --kind " + kindOf(c.Layer) + " --file -",
	}}
}

// kindOf returns the --kind by which the command line names the control policies of a layer.
func kindOf(layer string) string {
	if layer == policy.LayerRCP.String() {
		return "rcp"
	}
	return "scp"
}

// newVersion returns the command that sets a new default version of a managed policy.
func newVersion(arn string) string {
	return "aws iam create-policy-version --policy-arn " + word(arn) + " --set-as-default --policy-document file://policy.json"
}

// principal returns what the commands of IAM need to name a principal: its kind, which is user, role or "", its name
// and its account.
func principal(arn string) (kind, entityName, account string) {
	a, err := name.ParseARN(arn)
	if err != nil {
		return "", "", ""
	}
	switch e, _ := a.Entity(); e.Kind {
	case name.IAMUser, name.IAMRole:
		return string(e.Kind), e.Name, a.Owner()
	case name.AssumedRole:
		return string(name.IAMRole), e.Name, a.Owner()
	}
	return "", "", a.Owner()
}

func lastSegment(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

func onIdentity(e ecrintypes.Explanation, add string) step {
	if slug, id, ok := customer(e.PrincipalArn); ok {
		return step{"let the customer pull it, with credentials of the vendor:", []string{Entitle(slug, id, e)}}
	}
	kind, entityName, account := principal(e.PrincipalArn)
	if kind == "" {
		return step{"allow it in an identity policy of the user who created the session, and in a session policy:", []string{pretty(add)}}
	}
	return step{"allow it in an identity policy of the " + kind + ", with credentials of account " + account + ":", []string{
		"aws iam put-" + kind + "-policy --" + kind + "-name " + word(entityName) + " --policy-name " + policyName(e) +
			" --policy-document " + word(pretty(add)),
	}}
}

// policyName returns the name of a new policy. It is the same for the same request, and differs between actions,
// resources and principals, so that a command does not replace a policy of another change.
func policyName(e ecrintypes.Explanation) string {
	_, operation, _ := strings.Cut(e.Action, ":")
	sum := sha256.Sum256([]byte(e.Action + " " + e.Resource + " " + e.PrincipalArn))
	letters := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c
		}
		return -1
	}, operation)
	return "Allow" + letters + "-" + hex.EncodeToString(sum[:4])
}

// onResource returns the step that adds a statement to the repository policy, or to the registry policy for actions
// that only a registry policy can allow.
func onResource(e ecrintypes.Explanation, add string) step {
	reg, repository := repositoryOf(e.Resource)
	d, err := policy.Parse(add, policy.Repository)
	if err != nil || len(d.Statements[0].Resource.Of) > 0 {
		return step{"allow it in the registry policy. The command replaces the whole policy: keep the statements that it has.", []string{
			"aws ecr put-registry-policy" + regionFlag(reg) + " --policy-text " + word(pretty(add)),
		}}
	}
	s := step{"allow it in the repository policy. The command replaces the whole policy: keep the statements that it has.", []string{
		"aws ecr set-repository-policy" + repositoryFlags(reg, repository) + " --policy-text " + word(pretty(add)),
	}}
	to := "*"
	for p := range d.Statements[0].Principal.All() {
		to = p.Text
	}
	for _, p := range []struct {
		verb    string
		actions []string
	}{{"pull", policy.PullActions()}, {"push", policy.PushActions()}} {
		if slices.ContainsFunc(p.actions, func(a string) bool { return strings.EqualFold(a, e.Action) }) && to != "*" {
			s.what = "allow it in the repository policy. The first command replaces the whole policy; the second adds all actions that a " + p.verb + " needs to it."
			s.lines = append(s.lines, "ecrin policy grant "+p.verb+" "+word(repository)+" --registry "+word(reg.String())+" --to "+
				word(to)+" --apply")
			break
		}
	}
	return s
}

func repositoryOf(arn string) (name.Registry, string) {
	reg, repo, err := name.ParseRepositoryARN(arn)
	if err == nil {
		return reg, repo.String()
	}
	return name.Registry{}, lastPart(arn)
}

// lastPart returns the text after repository/ in an ARN that does not name a single repository.
func lastPart(arn string) string {
	_, after, _ := strings.Cut(arn, ":repository/")
	return after
}

func regionFlag(reg name.Registry) string {
	if reg == (name.Registry{}) {
		return ""
	}
	return " --region " + reg.Region.String()
}

func repositoryFlags(reg name.Registry, repository string) string {
	flags := regionFlag(reg)
	if flags != "" {
		flags += " --registry-id " + reg.Account.String()
	}
	return flags + " --repository-name " + word(repository)
}

// removal returns the step that removes a statement that denies the request.
func removal(e ecrintypes.Explanation, f ecrintypes.Finding) step {
	s := step{what: "change or remove the Deny in the " + noun(f.Layer) + " " + statementName(f) + ", and set the policy again"}
	kind, entityName, _ := principal(e.PrincipalArn)
	reg, repository := repositoryOf(e.Resource)
	show := func(commands ...string) step {
		s.lines = commands
		return s
	}
	switch f.Layer {
	case policy.LayerResource.String():
		if f.Policy == policy.Registry.String()+" policy" {
			return show("aws ecr put-registry-policy" + regionFlag(reg) + " --policy-text file://policy.json")
		}
		return show("aws ecr set-repository-policy" + repositoryFlags(reg, repository) + " --policy-text file://policy.json")
	case policy.LayerTrust.String():
		return show("aws iam update-assume-role-policy --role-name " + word(lastSegment(e.Resource)) + " --policy-document file://policy.json")
	case policy.LayerRCP.String(), policy.LayerSCP.String():
		command := "ecrin control-policy put " + word(f.Policy) + " --kind " + kindOf(f.Layer)
		if a, err := name.ParseARN(f.PolicyArn); err == nil && a.Account != (name.Account{}) {
			command += " --account " + a.Account.String()
		}
		return show(command + " --file policy.json")
	case policy.LayerSession.String():
		s.what = "create the session again, with other session policies: the session policy " + f.Policy + " denies it"
		return s
	}
	owner, _ := name.ParseARN(f.PolicyArn) // the zero ARN for an inline policy, which has no ARN
	switch {
	case owner.AWS:
		s.what = "detach the AWS managed policy that denies it: " + f.PolicyArn
	case f.PolicyArn != "":
		return show(newVersion(f.PolicyArn))
	case kind == "user":
		s.what += " (a policy of a group of the user: with put-group-policy)"
		fallthrough
	case kind == "role":
		return show("aws iam put-" + kind + "-policy --" + kind + "-name " + word(entityName) + " --policy-name " +
			word(f.Policy) + " --policy-document file://policy.json")
	}
	return s
}

// customer returns the slug of the application and the id of a customer with the given ARN; ok is false for another principal.
func customer(arn string) (slug, id string, ok bool) {
	a, err := name.ParseARN(arn)
	if err != nil {
		return "", "", false
	}
	e, _ := a.Entity()
	if e.Kind != name.Customer {
		return "", "", false
	}
	return strings.Cut(e.Name, "/")
}

// Entitle returns the command that lets a customer pull the image of an explained request, and nothing else: by the tag of the request, or
// else by its digest.
func Entitle(slug, customer string, e ecrintypes.Explanation) string {
	_, repository := repositoryOf(e.Resource)
	command := "ecrin entitlement add " + word(slug) + " --customer " + word(customer) + " --repository " + word(repository)
	for _, of := range []struct{ key, flag string }{{"ecrin:imagetag", "--tag"}, {"ecrin:imagedigest", "--digest"}} {
		for _, k := range e.Context {
			if strings.EqualFold(k.Key, of.key) && len(k.Values) > 0 {
				return command + " " + of.flag + " " + word(k.Values[0])
			}
		}
	}
	return command
}
