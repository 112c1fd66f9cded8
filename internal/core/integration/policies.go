package integration

import (
	"context"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
)

// Policies are which of the managed policies for registries a principal meets.
type Policies struct {
	By       string // one of the constants of upstream.Access
	Policies []Policy
}

// Policy is one managed policy.
type Policy struct {
	Name    string
	Met     bool     // nothing is missing of what was tried
	Missing []string // actions
	Untried []string // actions that no harmless call shows
}

// managed are the managed policies, from the weakest on; each has the actions of those before. Of the last, which allows ecr:*, these are
// samples. Source: AWS managed policy reference.
var managed = []struct {
	name    string
	actions []string
}{
	{"AmazonEC2ContainerRegistryReadOnly", []string{"ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability",
		"ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy", "ecr:DescribeRepositories", "ecr:ListImages", "ecr:DescribeImages",
		"ecr:BatchGetImage", "ecr:GetLifecyclePolicy"}},
	{"AmazonEC2ContainerRegistryPowerUser", []string{"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload",
		"ecr:PutImage"}},
	{"AmazonEC2ContainerRegistryFullAccess", []string{"ecr:CreateRepository", "ecr:DeleteRepository", "ecr:SetRepositoryPolicy"}},
}

// policies asks which managed policies the principal of an integration meets, and whether its token is limited to repositories.
func (s *Service) policies(ctx context.Context, e upstream.Endpoint, account, repo string) (p *Policies, scoped bool) {
	var all []string
	for _, m := range managed {
		all = append(all, m.actions...)
	}
	a, err := s.once.Access(ctx, e, account, repo, all)
	if err != nil {
		return nil, false // the steps of the test show what fails
	}
	p = &Policies{By: a.By}
	var so Policy
	for _, m := range managed {
		for _, action := range m.actions {
			switch {
			case slices.Contains(a.Denied, action):
				so.Missing = append(so.Missing, action)
			case slices.Contains(a.Untried, action):
				so.Untried = append(so.Untried, action)
			}
		}
		p.Policies = append(p.Policies, Policy{Name: m.name, Met: len(so.Missing) == 0, Missing: slices.Clone(so.Missing),
			Untried: slices.Clone(so.Untried)})
	}
	return p, a.Scoped
}

// scopedCure is what to do about a token that is limited to repositories.
const scopedCure = `the policy of the caller limits ecr:GetAuthorizationToken to repositories, where it has no effect: give it a statement of ` +
	`its own, {"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}, beside that on the repositories`

// withPolicies returns which managed policies the principal meets, nil if that is not known, and another cure for the step of the token if
// that is limited to repositories.
func (s *Service) withPolicies(ctx context.Context, e upstream.Endpoint, account, repo string, steps []Step) *Policies {
	if e.Kind != upstream.ECR {
		return nil
	}
	at := slices.IndexFunc(steps, func(one Step) bool { return one.Name == upstream.StepToken })
	if at < 0 || !steps[at].Passed && !strings.HasPrefix(steps[at].Code, "AccessDenied") {
		return nil // who the principal is, or what it may, is not known
	}
	p, scoped := s.policies(ctx, e, account, repo)
	if scoped && !steps[at].Passed {
		steps[at].Cure = scopedCure
	}
	return p
}
