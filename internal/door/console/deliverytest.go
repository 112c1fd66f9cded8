package console

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// The calls of a test, as the operation names them.
const (
	callRole     = "AssumeRole"
	callWeb      = "AssumeRoleWithWebIdentity"
	callToken    = "GetAuthorizationToken"
	callRegistry = "GET /v2/"
	callManifest = "GET manifest"
)

// words are what the calls of a test are for.
var callWords = map[string]string{
	"GetCallerIdentity": "Ask who the owner of the credential is", callRole: "Assume the role", callWeb: "Assume the role by a web identity",
	callToken: "Ask for a token", callRegistry: "Log in to the registry", callManifest: "Read the manifest",
}

// sideOf is the other side of a test.
type sideOf struct {
	Host, Account, Region string // of the registry
	Role, ExternalID      string // of the integration
	Repository            string // of the image that is asked for
}

// addition is what the other side needs so that a test passes.
type addition struct {
	Where string // whose policy it is
	Kind  string // of the text
	Text  string // a statement, JSON
	Lines []string
}

// testedOf returns what a test has said, step by step: the texts of the other side as they came, what was not reached, and what to add
// there. later are the calls that follow where all is well.
func testedOf(out *ecrintypes.TestIntegrationResponse, later []string, at sideOf) tested {
	t := tested{Policies: out.Policies, FoundBy: out.PoliciesFoundBy}
	caller := ""
	for n, s := range out.Steps {
		one := step{What: callWords[s.Name], Icon: "ok", Colour: "ok", Say: count(s.Milliseconds) + " ms"}
		if one.What == "" {
			one.What = s.Name
		} else {
			one.More = append(one.More, s.Name)
		}
		if s.Found != "" {
			one.More = append(one.More, s.Found)
		}
		later = slices.DeleteFunc(later, func(call string) bool { return call == s.Name })
		if !s.Passed {
			one.Class, one.Icon, one.Colour, one.Say = "stop", "bad", "bad", s.Code
			if s.HttpStatus != nil {
				one.Say = strings.TrimSpace(one.Say + " " + count(int64(*s.HttpStatus)))
			}
			if s.Message != "" {
				one.More = append(one.More, s.Message)
			}
			if s.Cure != "" {
				one.More = append(one.More, "What to do: "+s.Cure)
			}
			t.Add = additionOf(s, caller, at)
			t.Steps = append(t.Steps, one)
			for _, call := range later {
				t.Steps = append(t.Steps, step{Class: "after", What: callWords[call], Icon: "skip", Colour: "off", Say: "not reached"})
			}
			t.Steps = append(t.Steps, step{Class: "end", What: "Fails at step " + count(int64(n+1)), Icon: "bad", Colour: "bad"})
			return t
		}
		if strings.HasPrefix(s.Found, "arn:") {
			caller = s.Found
		}
		t.Steps = append(t.Steps, one)
	}
	t.Steps = append(t.Steps, step{Class: "end", What: "Works", Icon: "ok", Colour: "ok"})
	return t
}

// statement is a statement of a policy.
type statement struct {
	Effect    string
	Principal map[string]string            `json:",omitempty"`
	Action    any                          // a text or several
	Resource  string                       `json:",omitempty"`
	Condition map[string]map[string]string `json:",omitempty"`
}

// additionOf returns what to add at the other side after a step that failed; nil where no policy helps.
func additionOf(s ecrintypes.IntegrationStep, caller string, at sideOf) *addition {
	denied := strings.HasPrefix(s.Code, "AccessDenied") || s.HttpStatus != nil && *s.HttpStatus == 403
	if !denied {
		return nil
	}
	who := principalOf(caller)
	var a addition
	var one statement
	switch s.Name {
	case callRole:
		a.Where = "To the trust policy of the role " + at.Role + "."
		one = statement{Effect: "Allow", Principal: map[string]string{"AWS": who}, Action: "sts:AssumeRole"}
		if at.ExternalID != "" {
			one.Condition = map[string]map[string]string{"StringEquals": {"sts:ExternalId": at.ExternalID}}
		}
	case callToken:
		a.Where = "To the identity policy of " + who + ". It works on * alone, so it needs a statement of its own."
		one = statement{Effect: "Allow", Action: "ecr:GetAuthorizationToken", Resource: "*"}
	case callManifest:
		a.Where = "To the identity policy of " + who + "; if the repository is of another account, to its policy too."
		one = statement{Effect: "Allow", Action: []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
			Resource: "arn:aws:ecr:" + at.Region + ":" + at.Account + ":repository/" + at.Repository}
	default:
		return nil
	}
	if who == "" {
		return nil
	}
	text, err := json.MarshalIndent(one, "", "  ")
	if err != nil {
		return nil
	}
	a.Kind, a.Text, a.Lines = "statement", string(text), linesOf(string(text))
	return &a
}

// principalOf returns whom policies name for a caller: for a session its role.
func principalOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return ""
	}
	if role, ok := strings.CutPrefix(parts[5], "assumed-role/"); ok {
		role, _, _ = strings.Cut(role, "/")
		return parts[0] + ":" + parts[1] + ":iam::" + parts[4] + ":role/" + role
	}
	return arn
}
