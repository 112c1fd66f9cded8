package explain

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// step is one change: what to do in words, and the commands and policies below it.
type step struct {
	what  string
	shown []string
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
		return step{"let the role " + role + " trust the caller. The command replaces the whole trust policy: keep the statements that it has.", []string{
			"aws iam update-assume-role-policy --role-name " + word(role) + " --policy-document " + word(pretty(c.Add)),
		}}
	case policy.LayerBoundary.String():
		arn := "BOUNDARY-ARN"
		for _, f := range e.Findings {
			if f.Layer == c.Layer && f.PolicyArn != "" {
				arn = f.PolicyArn
			}
		}
		return step{"add the statement to the caller's permissions boundary, and set the whole as its default version:", []string{
			pretty(c.Add), newVersion(arn),
		}}
	case policy.LayerSession.String():
		return step{"make the session anew, with a session policy that has this statement:", []string{pretty(c.Add)}}
	}
	return step{"add the statement to the " + c.Layer + " policies, at each level (all accounts, or with --account one) that does not allow it:", []string{
		"echo " + word(pretty(c.Add)) + " |\n  ecrin control-policy put " + policyName(e) + " --kind " + kindOf(c.Layer) + " --file -",
	}}
}

// kindOf is what the command line calls the control policies of a layer.
func kindOf(layer string) string {
	if layer == policy.LayerRCP.String() {
		return "rcp"
	}
	return "scp"
}

// newVersion changes a managed policy.
func newVersion(arn string) string {
	return "aws iam create-policy-version --policy-arn " + word(arn) + " --set-as-default --policy-document file://policy.json"
}

// principal is who a principal's ARN names, as IAM's commands do: kind is user, role or "".
func principal(arn string) (kind, called, account string) {
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
	kind, called, account := principal(e.PrincipalArn)
	if kind == "" {
		return step{"let an identity policy of the user who made the session, and a session policy, allow it:", []string{pretty(add)}}
	}
	return step{"let the " + kind + " do it by an identity policy, with credentials of account " + account + ":", []string{
		"aws iam put-" + kind + "-policy --" + kind + "-name " + word(called) + " --policy-name " + policyName(e) + " --policy-document " + word(pretty(add)),
	}}
}

// policyName is a name for a new policy, the same for the same change, and another for one on another resource, so that no
// command replaces the policy of another.
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

// onResource adds to the policy of a repository or, for the actions that only that of a registry can allow, to the registry's.
func onResource(e ecrintypes.Explanation, add string) step {
	reg, repository := repositoryOf(e.Resource)
	d, err := policy.Parse(add, policy.Repository)
	if err != nil || len(d.Statements[0].Resource.Of) > 0 {
		return step{"let the policy of the registry allow it. The command replaces the whole policy: keep the statements that it has.", []string{
			"aws ecr put-registry-policy" + regionFlag(reg) + " --policy-text " + word(pretty(add)),
		}}
	}
	s := step{"let the policy of the repository allow it. The command replaces the whole policy: keep the statements that it has.", []string{
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
			s.what = "let the policy of the repository allow it. The first command replaces the whole policy; the second adds to it all that a " + p.verb + " needs."
			s.shown = append(s.shown, "ecrin policy grant "+p.verb+" "+word(repository)+" --registry "+word(reg.String())+" --to "+word(to)+" --apply")
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

// lastPart is what stands behind repository/ in an ARN that names no single repository.
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

// removal is about a statement that denies.
func removal(e ecrintypes.Explanation, f ecrintypes.Finding) step {
	s := step{what: "change or remove the Deny in the " + noun(f.Layer) + " " + called(f) + ", and set the policy anew"}
	kind, called, _ := principal(e.PrincipalArn)
	reg, repository := repositoryOf(e.Resource)
	show := func(commands ...string) step {
		s.shown = commands
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
		s.what = "make the session anew, with other session policies: the one (" + f.Policy + ") denies it"
		return s
	}
	owner, _ := name.ParseARN(f.PolicyArn) // the zero ARN for an inline policy, which has none
	switch {
	case owner.AWS:
		s.what = "detach the policy of AWS that denies it: " + f.PolicyArn
	case f.PolicyArn != "":
		return show(newVersion(f.PolicyArn))
	case kind == "user":
		s.what += " (that of a group of the user by put-group-policy)"
		fallthrough
	case kind == "role":
		return show("aws iam put-" + kind + "-policy --" + kind + "-name " + word(called) + " --policy-name " + word(f.Policy) + " --policy-document file://policy.json")
	}
	return s
}
