package iam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// SimulateCustomPolicy simulates decisions with the policies of the request only. Without CallerArn, the caller is an
// unspecified user of the account that owns the resource.
//
// Errors: fault.InvalidInput (a policy, with the place; an action, resource, owner, caller or context entry; a resource policy
// without CallerArn), fault.Validation (the marker). Source: IAM API reference, SimulateCustomPolicy.
func (s *Service) SimulateCustomPolicy(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.SimulateCustomPolicyRequest) (*iamtypes.SimulatePolicyResponse, error) {
	sim := simulation{caller: policy.Caller{Kind: policy.User, Account: c.Account}, anyone: in.CallerArn == ""}
	for i, level := range in.OrderedOrganizationPolicyInputList {
		if len(level.ServiceControlPolicyInputList) == 0 {
			return nil, fault.InvalidInput.New("OrderedOrganizationPolicyInputList.member.%d has no policies.", i+1)
		}
		var set []policy.Named
		for k, text := range level.ServiceControlPolicyInputList {
			d, err := input("OrderedOrganizationPolicyInputList.member."+strconv.Itoa(i+1)+".ServiceControlPolicyInputList", k,
				text, policy.ServiceControl)
			if err != nil {
				return nil, err
			}
			sim.keys.add(d)
			set = append(set, policy.Named{Policy: policy.Compile(d, nil)})
		}
		sim.policies.SCP = append(sim.policies.SCP, set)
	}
	stripped := *in
	stripped.Marker, stripped.MaxItems = "", nil
	return s.simulate(ctx, c, &sim, asked{
		operation: "SimulateCustomPolicy", whole: stripped, identity: in.PolicyInputList, boundary: in.PermissionsBoundaryPolicyInputList,
		actions: in.ActionNames, resources: in.ResourceArns, resourcePolicy: in.ResourcePolicy, resourceOwner: in.ResourceOwner,
		caller: in.CallerArn, entries: in.ContextEntries, marker: in.Marker, maxItems: in.MaxItems,
	})
}

// SimulatePrincipalPolicy simulates decisions with the policies of a user and its groups, of a group or of a role, and
// with the policies of the request. Policies in PolicyExclusionList are not evaluated.
//
// Errors: those of SimulateCustomPolicy; fault.NoSuchEntity (the user, group or role).
// Source: IAM API reference, SimulatePrincipalPolicy.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.SimulatePrincipalPolicyRequest) (*iamtypes.SimulatePolicyResponse, error) {
	sim, err := s.principal(ctx, e)
	if err != nil {
		return nil, err
	}
	if in.ResourcePolicy != "" && in.CallerArn == "" && e.Kind != meta.User {
		return nil, needsCaller()
	}
	if err := sim.exclude(in.PolicyExclusionList); err != nil {
		return nil, err
	}
	stripped := *in
	stripped.Marker, stripped.MaxItems = "", nil
	return s.simulate(ctx, c, sim, asked{
		operation: "SimulatePrincipalPolicy", whole: stripped, identity: in.PolicyInputList, boundary: in.PermissionsBoundaryPolicyInputList,
		actions: in.ActionNames, resources: in.ResourceArns, resourcePolicy: in.ResourcePolicy, resourceOwner: in.ResourceOwner,
		caller: in.CallerArn, entries: in.ContextEntries, marker: in.Marker, maxItems: in.MaxItems,
	})
}

func needsCaller() error {
	return fault.InvalidInput.New("CallerArn is required with a ResourcePolicy: its principals need a user to be compared with.")
}

// asked is the common members of the requests of both operations.
type asked struct {
	operation                             string
	whole                                 any // the request without marker and page size
	identity, boundary                    []string
	actions, resources                    []string
	resourcePolicy, resourceOwner, caller string
	entries                               []iamtypes.ContextEntry
	marker                                string
	maxItems                              *int32
}

// simulation is the caller, policies and condition keys of the simulated decisions.
type simulation struct {
	caller   policy.Caller
	anyone   bool // the caller is an unspecified user of the account that owns the resource
	policies policy.Policies
	context  policy.Context
	sources  []held // of the policies whose Named.Name is their index here
	resource string // the text of the resource policy
	owner    name.Account
	keys     keySet // the condition keys that the policies read, without those of control policies
	spans    map[string][]policy.Span
	work     int // comparisons of the decisions of the page
}

// principal returns the simulation of a user, group or role with its current policies.
func (s *Service) principal(ctx context.Context, e meta.Entity) (*simulation, error) {
	all, err := s.heldBy(ctx, e)
	if err != nil {
		return nil, err
	}
	sim := &simulation{caller: policy.Caller{Kind: policy.User, Account: e.Account}}
	if e.Kind == meta.Group {
		// A group cannot make requests: the caller is an unspecified user in the group.
		sim.context.Set("aws:PrincipalAccount", e.Account.String())
		for _, h := range all {
			d, err := policy.ParseStored(h.text, policy.Identity)
			if err != nil {
				return nil, err
			}
			sim.policies.Identity = append(sim.policies.Identity, sim.named(h, d, policy.Compile(d, nil)))
		}
		return sim, nil
	}
	g, err := s.id.OfEntity(ctx, e, "")
	if err != nil {
		return nil, err
	}
	sim.caller, sim.context = g.Policy, g.Keys.Clone()
	sim.policies.SCP = g.ControlPolicies
	for _, n := range g.Identity {
		at := slices.IndexFunc(all, func(h held) bool { return h.name == n.Name && h.arn == n.ARN })
		h := held{id: n.Name, name: n.Name, arn: n.ARN}
		if at >= 0 {
			h = all[at]
			all = slices.Delete(all, at, at+1) // a group may have a policy of the same name
		}
		sim.policies.Identity = append(sim.policies.Identity, sim.named(h, n.Policy.Document, n.Policy))
	}
	for _, n := range g.Boundary {
		found, err := s.heldManaged(ctx, nil, e, n.ARN)
		if err != nil {
			return nil, err
		}
		h := held{id: n.Name, name: n.Name, arn: n.ARN}
		if len(found) > 0 {
			h = found[0]
		}
		sim.policies.Boundary = append(sim.policies.Boundary, sim.named(h, n.Policy.Document, n.Policy))
	}
	return sim, nil
}

// named adds a policy to the sources and keys of the simulation, and returns it with its index as its name.
func (sim *simulation) named(h held, d *policy.Document, p *policy.Compiled) policy.Named {
	sim.sources = append(sim.sources, h)
	sim.keys.add(d)
	return policy.Named{Name: strconv.Itoa(len(sim.sources) - 1), ARN: h.arn, Policy: p}
}

// source returns the source of a policy with a name that the method named has set.
func (sim *simulation) source(named string) held {
	i, err := strconv.Atoi(named)
	if err != nil || i < 0 || i >= len(sim.sources) {
		return held{}
	}
	return sim.sources[i]
}

// exclude removes policies. It is no error if a policy is not part of the simulation. Errors: fault.InvalidInput.
// Source: IAM API reference, PolicyIdentifier.
func (sim *simulation) exclude(list []iamtypes.PolicyIdentifier) error {
	for i, x := range list {
		inline := x.PolicyType == iamtypes.PolicyIdentifierPolicyTypeInline
		if x.PolicyType == "" || inline != (x.InlinePolicyIdentifier != nil) || inline == (x.PolicyArn != "") {
			return fault.InvalidInput.New("PolicyExclusionList.member.%d needs a PolicyType, and an InlinePolicyIdentifier for an inline policy or else a PolicyArn.", i+1)
		}
		if inline {
			p := x.InlinePolicyIdentifier
			sim.policies.Identity = slices.DeleteFunc(sim.policies.Identity, func(n policy.Named) bool {
				h := sim.source(n.Name)
				return n.ARN == "" && h.name == p.PolicyName && h.owner.Name == p.AttachmentName && words[h.owner.Kind] == string(p.AttachmentType)
			})
			continue
		}
		is := func(n policy.Named) bool { return n.ARN == x.PolicyArn }
		switch x.PolicyType {
		case iamtypes.PolicyIdentifierPolicyTypePermissionBoundary:
			sim.policies.Boundary = slices.DeleteFunc(sim.policies.Boundary, is)
		case iamtypes.PolicyIdentifierPolicyTypeScp:
			var left [][]policy.Named
			for _, level := range sim.policies.SCP {
				// A level whose policies are all excluded is not evaluated.
				if level = slices.DeleteFunc(slices.Clone(level), is); len(level) > 0 {
					left = append(left, level)
				}
			}
			sim.policies.SCP = left
		case iamtypes.PolicyIdentifierPolicyTypeRcp: // belongs to the account of the resource, and is not simulated
		default:
			sim.policies.Identity = slices.DeleteFunc(sim.policies.Identity, is)
		}
	}
	return nil
}

// maxPageWork is the number of comparisons after which a page of results ends, about a tenth of a second. A page has at
// least one result.
const maxPageWork = 8 << 20

// simulate returns one page of results: for each action on each resource.
func (s *Service) simulate(ctx context.Context, c identity.Caller, sim *simulation, in asked) (*iamtypes.SimulatePolicyResponse, error) {
	whole, err := json.Marshal(in.whole)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(whole)
	p, err := s.paging(c, in.operation, in.marker, in.maxItems, hex.EncodeToString(sum[:]))
	if err != nil {
		return nil, err
	}
	if err := s.complete(ctx, c, sim, in); err != nil {
		return nil, err
	}
	resources := in.resources
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	from, _ := strconv.Atoi(p.after) // "" begins at 0
	total := len(in.actions) * len(resources)
	out := &iamtypes.SimulatePolicyResponse{EvaluationResults: []iamtypes.EvaluationResult{}, IsTruncated: new(false)}
	for i := from; i < total; i++ {
		if i-from == p.size || sim.work > maxPageWork {
			out.IsTruncated, out.Marker = new(true), p.listing.Seal(strconv.Itoa(i))
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		result, err := sim.decide(in.actions[i/len(resources)], resources[i%len(resources)])
		if err != nil {
			return nil, err
		}
		out.EvaluationResults = append(out.EvaluationResults, result)
	}
	return out, nil
}

// actionPattern matches actions. It has no wildcards: each request simulates named actions.
var actionPattern = lazyregexp.New(`^[A-Za-z0-9-]+:[A-Za-z0-9]+$`)

// complete adds the policies, caller, owner and condition keys of the request to the simulation. Errors:
// fault.InvalidInput.
func (s *Service) complete(ctx context.Context, c identity.Caller, sim *simulation, in asked) error {
	for _, a := range in.actions {
		if !actionPattern.MatchString(a) {
			return fault.InvalidInput.New("Invalid action name %q: an action is a service and a name such as ecr:PutImage, without wildcards.", name.Clip(a))
		}
	}
	for _, r := range in.resources {
		if r != "*" && (!strings.HasPrefix(r, "arn:") || strings.Count(r, ":") < 5) {
			return fault.InvalidInput.New("Invalid resource %q: a resource is an ARN or *.", name.Clip(r))
		}
	}
	for i, text := range in.identity {
		d, err := input("PolicyInputList", i, text, policy.Identity)
		if err != nil {
			return err
		}
		h := held{id: "PolicyInputList." + strconv.Itoa(i+1), text: text}
		sim.policies.Identity = append(sim.policies.Identity, sim.named(h, d, policy.Compile(d, nil)))
	}
	if len(in.boundary) > 1 {
		return fault.InvalidInput.New(
			"PermissionsBoundaryPolicyInputList has %d policies: a user or role has one permissions boundary.", len(in.boundary))
	}
	for i, text := range in.boundary {
		d, err := input("PermissionsBoundaryPolicyInputList", i, text, policy.Boundary)
		if err != nil {
			return err
		}
		sim.policies.Boundary = []policy.Named{sim.named(held{id: "PermissionsBoundaryPolicyInputList.1", text: text}, d, policy.Compile(d, nil))}
	}
	if in.caller != "" {
		if err := s.callAs(ctx, c, sim, in.caller); err != nil {
			return err
		}
	}
	sim.owner = sim.caller.Account
	if in.resourceOwner != "" {
		p, err := policy.ParsePrincipal(in.resourceOwner)
		if err != nil || p.Kind != policy.Account {
			return fault.InvalidInput.New(
				"Invalid ResourceOwner %q: it is the ARN of an account, such as arn:aws:iam::111122223333:root.", name.Clip(in.resourceOwner))
		}
		sim.owner = p.Account
	}
	if in.resourcePolicy != "" {
		if sim.anyone {
			return needsCaller()
		}
		d, err := policy.ParseResource(in.resourcePolicy, maxDocument)
		var p *policy.Problem
		if errors.As(err, &p) {
			return fault.InvalidInput.New("ResourcePolicy: syntax error in policy at %s.", p).Because(err)
		}
		if err != nil {
			return err
		}
		sim.keys.add(d)
		sim.policies.Repository, sim.resource = policy.Compile(d, nil), in.resourcePolicy
	}
	sim.context.Time = s.now()
	return contextEntries(&sim.context, in.entries)
}

// callAs sets the caller of the simulation to a user, and does not change the policies. The user need not exist. The
// result does not depend on whether a user of another account exists. Errors: fault.InvalidInput.
func (s *Service) callAs(ctx context.Context, c identity.Caller, sim *simulation, arn string) error {
	p, err := policy.ParsePrincipal(arn)
	if err != nil || p.Kind != policy.User {
		return fault.InvalidInput.New("Invalid CallerArn %q: it is the ARN of an IAM user.", name.Clip(arn))
	}
	if p.Account == c.Account {
		g, err := s.id.Named(ctx, arn)
		if err == nil {
			sim.caller, sim.context = g.Policy, g.Keys.Clone()
		}
		if !errors.Is(err, fault.NoSuchEntity) {
			return err
		}
	}
	sim.caller, sim.context = policy.Caller{Kind: policy.User, Account: p.Account, ARN: p.Text}, policy.Context{}
	sim.context.Set("aws:PrincipalArn", p.Text)
	sim.context.Set("aws:PrincipalAccount", p.Account.String())
	sim.context.Set("aws:PrincipalType", "User")
	sim.context.Set("aws:username", p.Name)
	return nil
}

// contextTests are the condition tests that check the values of each type of context key. A list type has the test of
// its single type.
var contextTests = map[iamtypes.ContextKeyTypeEnum]policy.Test{
	iamtypes.ContextKeyTypeEnumString:  policy.StringEquals,
	iamtypes.ContextKeyTypeEnumNumeric: policy.NumericEquals,
	iamtypes.ContextKeyTypeEnumBoolean: policy.Bool,
	iamtypes.ContextKeyTypeEnumIp:      policy.IPAddress,
	iamtypes.ContextKeyTypeEnumBinary:  policy.BinaryEquals,
	iamtypes.ContextKeyTypeEnumDate:    policy.DateEquals,
}

// contextEntries sets the condition keys of a request, which replace those of the caller. Errors: fault.InvalidInput.
// Source: IAM API reference, ContextEntry.
func contextEntries(keys *policy.Context, entries []iamtypes.ContextEntry) error {
	seen := map[string]bool{}
	for i, e := range entries {
		single, list := strings.CutSuffix(string(e.ContextKeyType), "List")
		test, known := contextTests[iamtypes.ContextKeyTypeEnum(single)]
		folded := policy.Fold(e.ContextKeyName)
		switch {
		case e.ContextKeyName == "" || !strings.Contains(e.ContextKeyName, ":"):
			return fault.InvalidInput.New("ContextEntries.member.%d: %q is no condition key.", i+1, name.Clip(e.ContextKeyName))
		case !known:
			return fault.InvalidInput.New("ContextEntries.member.%d: the key %s needs a ContextKeyType.", i+1, name.Clip(e.ContextKeyName))
		case seen[folded]:
			return fault.InvalidInput.New("ContextEntries.member.%d: the key %s stands there twice.", i+1, name.Clip(e.ContextKeyName))
		case !list && len(e.ContextKeyValues) != 1:
			return fault.InvalidInput.New("ContextEntries.member.%d: the key %s of type %s needs one value, got %d.", i+1,
				name.Clip(e.ContextKeyName), e.ContextKeyType, len(e.ContextKeyValues))
		}
		seen[folded] = true
		for _, v := range e.ContextKeyValues {
			if !test.Reads(v) || test == policy.IPAddress && strings.Contains(v, "/") {
				return fault.InvalidInput.New("ContextEntries.member.%d: the key %s cannot have the value %q of type %s.", i+1,
					name.Clip(e.ContextKeyName), name.Clip(v), e.ContextKeyType)
			}
		}
		if list {
			keys.SetList(e.ContextKeyName, e.ContextKeyValues...)
		} else {
			keys.Set(e.ContextKeyName, e.ContextKeyValues[0])
		}
	}
	return nil
}

// decide returns the result for one action on one resource. Errors: fault.InvalidInput (matching needs too much work).
func (sim *simulation) decide(action, resource string) (iamtypes.EvaluationResult, error) {
	owner := sim.owner
	if parts := strings.SplitN(resource, ":", 6); len(parts) == 6 {
		if a, err := name.ParseAccount(parts[4]); err == nil {
			owner = a
		}
	}
	r := policy.Request{Caller: sim.caller, Action: action, Resource: resource, ResourceAccount: owner}
	if sim.anyone {
		r.Caller.Account = owner
	}
	keys := sim.context
	if keys.Values("aws:ResourceAccount") == nil {
		keys.Set("aws:ResourceAccount", owner.String())
	}
	r.Context = &keys
	why := policy.Explain(&sim.policies, &r)
	sim.work += why.Work
	if why.Excess {
		return iamtypes.EvaluationResult{}, fault.InvalidInput.New(
			"The action %s on %s takes too much work to match with the wildcards of the policies.", action, name.Clip(resource))
	}
	out := iamtypes.EvaluationResult{
		EvalActionName: action, EvalResourceName: resource, EvalDecision: iamtypes.PolicyEvaluationDecisionType(why.Verdict.String()),
		MatchedStatements: sim.matched(&why), MissingContextValues: []string{},
	}
	for _, key := range sim.keys.all {
		if keys.Values(key) == nil {
			out.MissingContextValues = append(out.MissingContextValues, key)
		}
	}
	sides := map[policy.Layer]iamtypes.PolicyEvaluationDecisionType{}
	for _, l := range why.Layers {
		sides[l.Layer] = iamtypes.PolicyEvaluationDecisionType(l.Verdict.String())
	}
	if v, asked := sides[policy.LayerSCP]; asked {
		out.OrganizationsDecisionDetail = &iamtypes.OrganizationsDecisionDetail{
			AllowedByOrganizations: new(v == iamtypes.PolicyEvaluationDecisionTypeAllowed)}
	}
	if v, asked := sides[policy.LayerBoundary]; asked {
		out.PermissionsBoundaryDecisionDetail = &iamtypes.PermissionsBoundaryDecisionDetail{
			AllowedByPermissionsBoundary: new(v == iamtypes.PolicyEvaluationDecisionTypeAllowed)}
	}
	// The decisions of the two accounts are returned only if the accounts differ. Otherwise the map is empty, or absent
	// for an action without a resource.
	// Source: IAM API reference, EvaluationResult.
	byGuard := why.Layer == policy.LayerSCP && !why.Allowed()
	switch {
	case byGuard:
	case r.Caller.Account != owner:
		out.EvalDecisionDetails = map[string]iamtypes.PolicyEvaluationDecisionType{"IAM Policy": sides[policy.LayerIdentity],
			"Resource Policy": sides[policy.LayerResource]}
	case resource != "*":
		out.EvalDecisionDetails = map[string]iamtypes.PolicyEvaluationDecisionType{}
	}
	if resource != "*" {
		out.ResourceSpecificResults = []iamtypes.ResourceSpecificResult{{
			EvalResourceName: resource, EvalResourceDecision: out.EvalDecision, MatchedStatements: out.MatchedStatements,
			MissingContextValues: out.MissingContextValues, EvalDecisionDetails: out.EvalDecisionDetails,
			PermissionsBoundaryDecisionDetail: out.PermissionsBoundaryDecisionDetail,
		}}
	}
	return out, nil
}

// The names of the sources of a statement in responses. The enumeration of the model has other values than the
// responses of IAM.
const (
	fromIdentity iamtypes.PolicySourceType = "IAM Policy"
	fromBoundary iamtypes.PolicySourceType = "Permissions Boundary Policy"
	fromResource iamtypes.PolicySourceType = "Resource Policy"
)

// matched returns the statements that caused the decision: those that deny, or else those that allow. An implicit
// denial has none, and statements of control policies are omitted.
func (sim *simulation) matched(why *policy.Why) []iamtypes.Statement {
	all := []iamtypes.Statement{}
	effect := policy.Deny
	switch why.Verdict {
	case policy.Allowed:
		effect = policy.Allow
	case policy.ImplicitlyDenied:
		return all
	}
	for _, f := range why.Findings {
		if f.Failed != "" || f.Effect != effect {
			continue
		}
		st, text := iamtypes.Statement{}, ""
		switch f.Layer {
		case policy.LayerIdentity:
			h := sim.source(f.Policy)
			st.SourcePolicyId, st.SourcePolicyType, text = h.id, fromIdentity, h.text
		case policy.LayerBoundary:
			h := sim.source(f.Policy)
			st.SourcePolicyId, st.SourcePolicyType, text = h.id, fromBoundary, h.text
		case policy.LayerResource:
			st.SourcePolicyId, st.SourcePolicyType, text = "ResourcePolicy", fromResource, sim.resource
		default:
			continue
		}
		if spans := sim.spansOf(text); f.Statement < len(spans) {
			span := spans[f.Statement]
			st.StartPosition, st.EndPosition = placed(span.From), placed(span.To)
		}
		all = append(all, st)
	}
	return all
}

// spansOf returns the positions of the statements in a text. It parses each text once per simulation.
func (sim *simulation) spansOf(text string) []policy.Span {
	if spans, ok := sim.spans[text]; ok {
		return spans
	}
	if sim.spans == nil {
		sim.spans = map[string][]policy.Span{}
	}
	sim.spans[text] = policy.Spans(text)
	return sim.spans[text]
}

func placed(p policy.Place) *iamtypes.Position {
	return &iamtypes.Position{Line: new(int32(p.Line)), Column: new(int32(p.Column))}
}
