package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// errDenied makes Run return exit code 3 without another message: the explanation has been printed.
var errDenied = errors.New("denied")

// explainQuery holds the flags of ecrin explain.
type explainQuery struct {
	as, action, on, registry, resource, sourceIP string
	context                                      []string
}

func (c *commands) explain() *cobra.Command {
	var q explainQuery
	cmd := &cobra.Command{
		Use: "explain [REQUEST-ID]", Args: atMostOne("REQUEST-ID"), Short: "Explain why a request is allowed or denied, and what would allow it",
		Long: `Explain what the policies say about a request: an earlier one, by its id, or one that --as, --action and --on
describe. It is decided as the server decides requests, by the current policies; nothing is changed. For an earlier
request the first line tells what was decided then, and a note whether the current policies decide otherwise.

--as takes the ARN of a user, role, role session, federated user or root user, an account's 12 digits, a service
such as lambda.amazonaws.com, or * for a caller without credentials. --on takes a repository with or without a tag or
digest, also as an image reference: team/app:1.0, localhost:5100/111122223333/eu-west-1/team/app@sha256:….
Without --on and --resource the action has no resource, like ecr:GetAuthorizationToken.

--context gives condition keys of the request, such as aws:SecureTransport=true; a key that is given twice has two
values. Without --source-ip the request has no address.

The exit code is 0 when the request is allowed, 3 when it is denied, and 1 for an error.`,
		Example: "  ecrin explain --as arn:aws:iam::111122223333:role/ci --action ecr:BatchGetImage --on team/app:1.0\n" +
			"  ecrin explain --as arn:aws:iam::111122223333:user/eve --action sts:AssumeRole --resource arn:aws:iam::111122223333:role/ci\n" +
			"  ecrin explain 0c9e5d2a-6f0b-4c1d-9a3e-5f2b7c8d9e01",
	}
	c.dataFlag(cmd)
	cmd.AddCommand(c.explainPull(), c.explainLicense())
	f := cmd.Flags()
	f.StringVar(&q.as, "as", "", "`principal` that makes the request")
	f.StringVar(&q.action, "action", "", "`action`, such as ecr:BatchGetImage")
	f.StringVar(&q.on, "on", "", "`repository[:tag|@digest]` that is the resource")
	f.StringVar(&q.resource, "resource", "", "`ARN` of another resource")
	f.StringVar(&q.sourceIP, "source-ip", "", "`address` of the client")
	f.StringArrayVar(&q.context, "context", nil, "condition key of the request, as `KEY=VALUE`; can be repeated")
	f.StringVar(&q.registry, "registry", "", "the `ACCOUNT/REGION` of the repository (default: the default registry)")
	asJSON := c.jsonFlag(cmd)
	complete := cobra.FixedCompletions(commonActions(), cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("action", complete); err != nil {
		panic("cli: " + err.Error()) // cannot happen: the flag is defined above
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := slices.ContainsFunc([]string{"as", "action", "on", "resource", "source-ip", "context", "registry"}, cmd.Flags().Changed)
		switch {
		case len(args) == 1 && asked:
			return usageError{errors.New("either a REQUEST-ID or flags that describe a request")}
		case len(args) == 0 && (q.as == "" || q.action == ""):
			return usageError{errors.New("--as and --action are needed, or a REQUEST-ID")}
		case len(args) == 0:
			if err := knownAction(q.action); err != nil {
				return err
			}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var e ecrintypes.Explanation
		if len(args) == 1 {
			var out ecrintypes.ExplainRequestResponse
			err = s.Call(cmd.Context(), "ExplainRequest", &ecrintypes.ExplainRequestRequest{RequestId: args[0]}, &out)
			e = out.Explanation
		} else {
			e, err = q.ask(cmd, s)
		}
		if err != nil {
			return err
		}
		if *asJSON {
			err = c.printJSON(e)
		} else {
			err = explain.Write(c.Out, e)
		}
		if err == nil && !e.Allowed {
			err = errDenied
		}
		return err
	}
	return cmd
}

// commonActions returns actions for shell completion, first those that pulls and pushes need.
func commonActions() []string {
	var all []string
	for _, list := range [][]string{policy.PullActions(), policy.PushActions(), policy.Actions(), {
		"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:GetFederationToken", "iam:PassRole",
		"iam:CreateUser", "iam:CreateRole", "iam:CreateAccessKey", "iam:PutUserPolicy", "iam:PutRolePolicy",
		"iam:AttachUserPolicy", "iam:AttachRolePolicy", "ecrin:ExplainAccess", "ecrin:ListTagHistory", "ecrin:RestoreImage",
	}} {
		for _, a := range list {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// knownAction returns an error for an action without a service, and for one that ECR does not have. The actions of the other
// services are not checked.
func knownAction(action string) error {
	service, operation, ok := strings.Cut(action, ":")
	if !ok {
		operation = action
	} else if !strings.EqualFold(service, "ecr") {
		return nil
	}
	similar := ""
	for _, known := range policy.Actions() {
		_, n, _ := strings.Cut(known, ":")
		if ok && strings.EqualFold(n, operation) {
			return nil
		}
		if strings.EqualFold(n[:min(len(n), 8)], operation[:min(len(operation), 8)]) && (similar == "" || strings.EqualFold(n, operation) ||
			abs(len(n)-len(operation)) < abs(len(similar)-len("ecr:")-len(operation))) {
			similar = known
		}
	}
	text := fmt.Sprintf("--action: ECR has no action %s", action)
	if !ok {
		text = fmt.Sprintf("--action: %s needs its service before a colon", action)
	}
	if similar != "" {
		text += ", such as " + similar
		if ok {
			text = fmt.Sprintf("--action: ECR has no action %s: did you mean %s?", action, similar)
		}
	}
	return errors.New(text)
}

func abs(n int) int { return max(n, -n) }

// ask calls the server, in the region of the repository.
func (q *explainQuery) ask(cmd *cobra.Command, s *client.Client) (ecrintypes.Explanation, error) {
	in := &ecrintypes.ExplainAccessRequest{Principal: q.as, Action: q.action, ResourceArn: q.resource, SourceIp: q.sourceIP}
	for _, pair := range q.context {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return ecrintypes.Explanation{}, usageError{fmt.Errorf("--context must be KEY=VALUE, got %q", pair)}
		}
		at := slices.IndexFunc(in.Context, func(e ecrintypes.ContextEntry) bool { return strings.EqualFold(e.Key, key) })
		if at < 0 {
			in.Context = append(in.Context, ecrintypes.ContextEntry{Key: key, Values: []string{value}})
			continue
		}
		in.Context[at].Values = append(in.Context[at].Values, value)
	}
	reg, err := parseRegistry(q.registry)
	if err != nil {
		return ecrintypes.Explanation{}, err
	}
	switch {
	case q.on != "" && q.resource != "":
		return ecrintypes.Explanation{}, usageError{errors.New("either --on or --resource")}
	case q.on != "":
		image, err := parseImage(s, q.on)
		if err != nil {
			return ecrintypes.Explanation{}, fmt.Errorf("--on: %w", err)
		}
		if reg != (name.Registry{}) && image.named && reg != image.registry {
			return ecrintypes.Explanation{}, usageError{fmt.Errorf("%s is in the registry %s, not in %s", q.on, image.registry, reg)}
		}
		if reg == (name.Registry{}) {
			reg = image.registry
		}
		in.RepositoryName, in.ImageTag, in.ImageDigest = image.repo.String(), image.tag.String(), image.digest.String()
	}
	if reg != (name.Registry{}) {
		in.RegistryId, s.Server.Region = reg.Account.String(), reg.Region.String()
	}
	var out ecrintypes.ExplainAccessResponse
	err = s.Call(cmd.Context(), "ExplainAccess", in, &out)
	return out.Explanation, err
}
