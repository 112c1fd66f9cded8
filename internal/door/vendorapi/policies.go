package vendorapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/vendorpolicy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var policyRows = []row{
	{method: "GET", path: "policies", serve: listPolicies},
	{method: "POST", path: "policy", serve: createPolicy},
	{method: "GET", path: "policy/{policy}", serve: getPolicy},
	{method: "PUT", path: "policy/{policy}", serve: updatePolicy},
	{method: "DELETE", path: "policy/{policy}", serve: deletePolicy},
}

// policyPath is the path of the managed policies that this API has.
const policyPath = "/vendor/"

// The limits of policies.
const (
	maxPolicyName        = 100  // characters
	maxPolicyDescription = 1000 // bytes
	maxPolicyDocument    = 6144 // characters of a document of IAM, which has no white space. Source: IAM user guide, IAM and STS quotas.
)

// policyText is the form of names of managed policies, which are the ids of policies here.
var policyText = lazyregexp.New(`^[\w+=,.@-]{1,128}$`)

// otherText is what names of managed policies do not have.
var otherText = lazyregexp.New(`[^\w+=,.@-]+`)

// teamPolicy is a managed policy in the form of answers.
type teamPolicy struct {
	ID          string    `json:"id"`     // the name of the managed policy
	TeamID      string    `json:"teamId"` // the account
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Definition  string    `json:"definition"` // "" if another tool has made or changed it, or the caller may not see it
	ReadOnly    bool      `json:"readOnly"`   // no definition is known, so that a change would be a guess
	CreatedAt   time.Time `json:"createdAt"`
	ModifiedAt  time.Time `json:"modifiedAt"`
}

// iam does an operation of IAM for the caller of the request.
func iam[Out any](x *request, operation string, in awswire.Input) (*Out, error) {
	return doOf[Out](x.r.Context(), x, "iam", operation, in)
}

func (x *request) policyARN(id string) string {
	return name.ARN{Partition: name.DefaultPartition, Service: "iam", Account: x.req.By.Account, Resource: "policy" + policyPath + id}.String()
}

// shownPolicy returns a managed policy in the form of answers. Its document is read by an operation of its own, which the caller may not be
// allowed.
func (x *request) shownPolicy(p iamtypes.Policy) (teamPolicy, error) {
	out := teamPolicy{ID: p.PolicyName, TeamID: x.req.By.Account.String(), Name: p.PolicyName, ReadOnly: true}
	if p.CreateDate != nil && p.UpdateDate != nil {
		out.CreatedAt, out.ModifiedAt = p.CreateDate.Time, p.UpdateDate.Time
	}
	found, err := iam[iamtypes.GetPolicyVersionResponse](x, "GetPolicyVersion", &iamtypes.GetPolicyVersionRequest{PolicyArn: p.Arn,
		VersionId: p.DefaultVersionId})
	switch {
	case errors.Is(err, fault.AccessDenied):
		return out, nil
	case err != nil:
		return out, err
	}
	document, err := url.QueryUnescape(found.PolicyVersion.Document)
	if err != nil {
		return out, fmt.Errorf("reading the document of %s: %w", p.Arn, err)
	}
	if d, ok := vendorpolicy.DetailsOf(document); ok {
		out.Name, out.Description, out.Definition, out.ReadOnly = d.Name, d.Description, d.Definition, false
	}
	return out, nil
}

// policies returns the managed policies of the path, in the order of their names.
func (x *request) policies() (all []iamtypes.Policy, err error) {
	in := &iamtypes.ListPoliciesRequest{Scope: iamtypes.PolicyScopeTypeLocal, PathPrefix: policyPath, MaxItems: new(int32(1000))}
	for {
		page, err := iam[iamtypes.ListPoliciesResponse](x, "ListPolicies", in)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Policies {
			if p.Path == policyPath {
				all = append(all, p)
			}
		}
		if in.Marker = page.Marker; in.Marker == "" {
			return all, nil
		}
	}
}

func listPolicies(x *request) (answer, error) {
	all, err := x.policies()
	if err != nil {
		return answer{}, err
	}
	out := []teamPolicy{}
	for _, p := range all {
		one, err := x.shownPolicy(p)
		if errors.Is(err, fault.NoSuchEntity) { // it was deleted now
			continue
		}
		if err != nil {
			return answer{}, err
		}
		out = append(out, one)
	}
	return ok(map[string]any{"policies": out})
}

// policyInput is the body of a request that makes or changes a policy. Members that are absent say nothing.
type policyInput struct {
	Name        *string `json:"name"`
	Description *string `json:"description"`
	Definition  *string `json:"definition"`
}

// check refuses texts that are too long, and a name without any.
//
// Errors: fault.InvalidParameter.
func (in *policyInput) check() error {
	switch {
	case in.Name != nil && (strings.TrimSpace(*in.Name) == "" || len([]rune(*in.Name)) > maxPolicyName):
		return fault.InvalidParameter.New("name must have 1 to %d characters", maxPolicyName)
	case in.Description != nil && len(*in.Description) > maxPolicyDescription:
		return fault.InvalidParameter.New("description must have at most %d bytes", maxPolicyDescription)
	}
	return nil
}

// document returns the document of IAM with the details of a policy.
//
// Errors: fault.InvalidParameter (too long), and those of vendorpolicy.Statements.
func (x *request) document(d vendorpolicy.Details) (string, error) {
	all, err := vendorpolicy.Statements(d.Definition, x.req.By.Account, func(app string) (string, error) {
		return x.names.SlugOf(x.r.Context(), x.req.By.Account, app)
	})
	if err != nil {
		return "", err
	}
	text, err := vendorpolicy.Document(all, d)
	if err == nil && len(text) > maxPolicyDocument {
		err = fault.InvalidParameter.New("definition is too long: with its rules and texts it is a document of %d characters, and IAM has at most %d",
			len(text), maxPolicyDocument)
	}
	return text, err
}

// createPolicy makes a managed policy, whose name follows from that of the request, so that a second request with the same name is refused.
func createPolicy(x *request) (answer, error) {
	var in policyInput
	if err := x.decodeForm(&in); err != nil {
		return answer{}, err
	}
	if in.Name == nil || in.Definition == nil {
		return answer{}, missing("name", "definition")
	}
	d := vendorpolicy.Details{Name: *in.Name, Description: valueOf(in.Description), Definition: *in.Definition}
	id := strings.Trim(otherText.ReplaceAllString(d.Name, "-"), "-")
	if !policyText.MatchString(id) {
		return answer{}, fault.InvalidParameter.New("name must have a letter or a digit from A to Z and 0 to 9")
	}
	text, err := x.document(d)
	if err != nil {
		return answer{}, err
	}
	made, err := iam[iamtypes.CreatePolicyResponse](x, "CreatePolicy", &iamtypes.CreatePolicyRequest{PolicyName: id, Path: policyPath,
		PolicyDocument: text})
	if err != nil {
		return answer{}, err
	}
	return x.answerPolicy(*made.Policy, d)
}

// answerPolicy answers with a policy whose details have just been stored.
func (x *request) answerPolicy(p iamtypes.Policy, d vendorpolicy.Details) (answer, error) {
	return ok(map[string]any{"policy": teamPolicy{ID: p.PolicyName, TeamID: x.req.By.Account.String(), Name: d.Name,
		Description: d.Description, Definition: d.Definition, CreatedAt: p.CreateDate.Time, ModifiedAt: p.UpdateDate.Time}})
}

// policy returns the managed policy of the path.
//
// Errors: fault.NoSuchEntity, fault.ObjectNotFound.
func (x *request) policy() (iamtypes.Policy, error) {
	if !policyText.MatchString(x.at["policy"]) {
		return iamtypes.Policy{}, fault.ObjectNotFound.New("the team has no policy %s", name.Clip(x.at["policy"]))
	}
	found, err := iam[iamtypes.GetPolicyResponse](x, "GetPolicy", &iamtypes.GetPolicyRequest{PolicyArn: x.policyARN(x.at["policy"])})
	if err != nil {
		return iamtypes.Policy{}, err
	}
	return *found.Policy, nil
}

func getPolicy(x *request) (answer, error) {
	p, err := x.policy()
	if err != nil {
		return answer{}, err
	}
	one, err := x.shownPolicy(p)
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"policy": one})
}

// updatePolicy adds a version to the managed policy, which has all at once and is in force with the next request. IAM keeps five versions:
// when there is no room, the oldest one goes.
func updatePolicy(x *request) (answer, error) {
	var in policyInput
	if err := x.decodeForm(&in); err != nil {
		return answer{}, err
	}
	p, err := x.policy()
	if err != nil {
		return answer{}, err
	}
	before, err := x.shownPolicy(p)
	if err != nil {
		return answer{}, err
	}
	if before.ReadOnly && in.Definition == nil {
		return answer{}, fault.InvalidParameter.New("definition must be specified: the present one is not known, because another tool has " +
			"made or changed the policy, or because you may not see it")
	}
	d := vendorpolicy.Details{Name: before.Name, Description: before.Description, Definition: before.Definition}
	for _, one := range []struct{ to, from *string }{{&d.Name, in.Name}, {&d.Description, in.Description}, {&d.Definition, in.Definition}} {
		if one.from != nil {
			*one.to = *one.from
		}
	}
	text, err := x.document(d)
	if err != nil {
		return answer{}, err
	}
	yes := true
	version := &iamtypes.CreatePolicyVersionRequest{PolicyArn: p.Arn, PolicyDocument: text, SetAsDefault: &yes}
	made, err := iam[iamtypes.CreatePolicyVersionResponse](x, "CreatePolicyVersion", version)
	if errors.Is(err, fault.LimitExceeded) {
		if err := x.deleteVersions(p, 1); err != nil {
			return answer{}, err
		}
		made, err = iam[iamtypes.CreatePolicyVersionResponse](x, "CreatePolicyVersion", version)
	}
	if err != nil {
		return answer{}, err
	}
	p.UpdateDate = made.PolicyVersion.CreateDate
	return x.answerPolicy(p, d)
}

// deleteVersions deletes at most so many versions of a managed policy that are not in force, the oldest first.
func (x *request) deleteVersions(p iamtypes.Policy, most int) error {
	all, err := iam[iamtypes.ListPolicyVersionsResponse](x, "ListPolicyVersions", &iamtypes.ListPolicyVersionsRequest{PolicyArn: p.Arn})
	if err != nil {
		return err
	}
	for i := len(all.Versions) - 1; i >= 0 && most > 0; i-- {
		if valueOf(all.Versions[i].IsDefaultVersion) {
			continue
		}
		if _, err := iam[awswire.Empty](x, "DeletePolicyVersion", &iamtypes.DeletePolicyVersionRequest{PolicyArn: p.Arn,
			VersionId: all.Versions[i].VersionId}); err != nil {
			return err
		}
		most--
	}
	return nil
}

// deletePolicy deletes the managed policy, unless somebody has it.
func deletePolicy(x *request) (answer, error) {
	p, err := x.policy()
	if err != nil {
		return answer{}, err
	}
	if n := valueOf(p.AttachmentCount) + valueOf(p.PermissionsBoundaryUsageCount); n > 0 {
		return answer{}, fault.DeleteConflict.New("the policy %s is attached to %d users, groups or roles: detach it before", p.PolicyName, n)
	}
	if err := x.deleteVersions(p, 1000); err != nil {
		return answer{}, err
	}
	_, err = iam[awswire.Empty](x, "DeletePolicy", &iamtypes.DeletePolicyRequest{PolicyArn: p.Arn})
	return answer{status: http.StatusOK}, err
}
