package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/preflight"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// parallel limits the images that are asked for at once.
const parallel = 8

// Check says who will pull images, and where.
type Check struct {
	Server *Server // nil for none: then every image is of another registry
	// Locate returns the place of an image in a registry of the server, and whether it is there.
	Locate func(rewrite.Reference) (Place, bool, error)
	// Other asks another registry.
	Other func(ctx context.Context, image rewrite.Reference, platform string) (Facts, *Problem)

	Principal string   // that pulls; "" for Caller
	Caller    string   // whose credentials ask; "" for the operator, for whom no policies count
	Cluster   string   // for messages; "" for none
	Region    string   // of the cluster; "" if images may be in any region
	Platforms []string // that each image must have
}

// The answers of Answer.Pull.
const (
	MayPull    = "yes"
	MayNotPull = "no"
	Unknown    = "unknown"
)

// Answer is what is known of an image.
type Answer struct {
	Image      string    `json:"image"` // as written
	In         []string  `json:"in"`    // what runs it
	RegistryID string    `json:"registryId,omitempty"`
	Region     string    `json:"region,omitempty"`
	Repository string    `json:"repositoryName,omitempty"`
	Exists     bool      `json:"exists"`
	Digest     string    `json:"digest,omitempty"`
	Platforms  []string  `json:"platforms"`
	Size       int64     `json:"sizeInBytes,omitempty"`
	PullableBy []string  `json:"pullableBy"` // by the policy of the repository
	Principal  string    `json:"principal,omitempty"`
	Pull       string    `json:"pull"` // yes, no or unknown
	Problems   []Problem `json:"problems"`
	Ready      bool      `json:"ready"`

	// Pinned is the reference with its digest, the tag kept beside it.
	Pinned string `json:"pinned,omitempty"`
}

// Run asks for images. The answers are in the order of the images. Nothing is changed.
func (c *Check) Run(ctx context.Context, images []preflight.Wanted) []Answer {
	all := make([]Answer, len(images))
	places := make(chan struct{}, parallel)
	var wait sync.WaitGroup
	for i, w := range images {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			all[i] = c.one(ctx, w)
		})
	}
	wait.Wait()
	return all
}

// one asks for one image.
func (c *Check) one(ctx context.Context, w preflight.Wanted) Answer {
	a := Answer{Image: w.Image.String(), In: w.In, Platforms: []string{}, PullableBy: []string{}, Pull: Unknown, Problems: []Problem{}}
	platforms := c.Platforms
	if w.Platform != "" {
		platforms = []string{w.Platform}
	}
	first := ""
	if len(platforms) > 0 {
		first = platforms[0]
	}
	var p Place
	ours := false
	var err error
	if c.Server != nil && w.Image.Host != "" {
		p, ours, err = c.Locate(w.Image)
	}
	var f Facts
	var bad *Problem
	switch {
	case err != nil:
		bad = &Problem{Code: "InvalidReference", Text: err.Error(), Add: []string{}}
	case ours:
		f, bad = c.ours(ctx, p, w.Image, first, &a)
	default:
		f, bad = c.Other(ctx, w.Image, first)
		if bad == nil {
			a.Pull = MayPull // by this machine
		} else if bad.Code == AccessDenied {
			a.Pull = MayNotPull
		}
	}
	if bad != nil {
		a.Problems = append(a.Problems, *bad)
	}
	a.Exists, a.Digest, a.Size = f.Digest != "", f.Digest, f.Size
	a.Platforms = append(a.Platforms, f.Platforms...)
	for _, want := range platforms {
		if f.Digest == "" || len(f.Platforms) == 0 || slices.ContainsFunc(f.Platforms, func(have string) bool {
			return MatchPlatform(want,
				have)
		}) ||
			slices.ContainsFunc(a.Problems, func(p Problem) bool { return p.Code == PlatformAbsent }) {
			continue
		}
		a.Problems = append(a.Problems, Problem{Code: PlatformAbsent, Text: "the image has no " + want + ", only " +
			strings.Join(f.Platforms, ", "),
			Add: []string{"push the image for " + want + " too"}})
	}
	if a.Exists {
		pinned := w.Image
		pinned.Digest = f.Digest
		a.Pinned = pinned.String()
	}
	a.Ready = a.Exists && len(a.Problems) == 0
	return a
}

// ours asks for an image of a registry of the server: its region first, as a copy in another region has another name.
func (c *Check) ours(ctx context.Context, p Place, image rewrite.Reference, platform string, a *Answer) (Facts, *Problem) {
	region := p.Registry.Region.String()
	a.RegistryID, a.Region, a.Repository = p.Registry.Account.String(), region, p.Repo.String()
	f, bad := c.Server.Look(ctx, p, platform)
	if c.Region != "" && c.Region != region {
		a.Problems = append(a.Problems, c.elsewhere(ctx, p, image, f.Digest))
	}
	if bad == nil || bad.Code == ImageNotFound {
		a.PullableBy = c.Server.Pullers(ctx, p)
	}
	a.Principal = cmp.Or(c.Principal, c.Caller)
	if a.Principal == "" || bad != nil {
		return f, bad
	}
	if c.Principal == "" {
		a.Pull, bad = c.Server.tryPull(ctx, p, f.Blob)
		return f, bad
	}
	if a.Pull, bad = c.mayPull(ctx, p); bad == nil && a.Pull == MayNotPull {
		bad = &Problem{Code: AccessDenied, Text: "the principal may not pull", Add: []string{}}
	}
	return f, bad
}

// elsewhere is the problem of an image in another region than the cluster: with the copy there, or how to make one.
func (c *Check) elsewhere(ctx context.Context, p Place, image rewrite.Reference, digest string) Problem {
	from := p.Registry.Region.String()
	where := "the cluster is"
	if c.Cluster != "" {
		where = "the cluster " + c.Cluster + " is"
	}
	bad := Problem{Code: RegionDiffers,
		Text: fmt.Sprintf("the image is in the region %s, and %s in %s: clusters pull from a repository in their region",
			from, where, c.Region)}
	there := p
	var err error
	if there.Registry.Region, err = name.ParseRegion(c.Region); err != nil {
		bad.Text += "; " + err.Error()
		return bad
	}
	copied := InRegion(image, p, there.Registry.Region)
	if f, problem := c.Server.Look(ctx, there, ""); problem == nil && (digest == "" || f.Digest == digest) {
		bad.Text += "; its replicated copy there is " + copied.String()
		bad.Add = []string{"use the name " + copied.String()}
		return bad
	}
	bad.Text += "; replicate it to " + c.Region
	bad.Add = []string{
		fmt.Sprintf("ecrin application replicate %s --to %s; the policy of the copy is its own, and not copied",
			p.Registry.String()+"/"+p.reference(), c.Region),
		"then use the name " + copied.String(),
	}
	return bad
}

// InRegion returns the name of the copy that replication makes of an image at a place in another region. A name without a region, which is
// of the default registry of the server, gets the account and the region before the repository.
func InRegion(image rewrite.Reference, p Place, to name.Region) rewrite.Reference {
	host := strings.Split(image.Host, ".")
	if i := slices.Index(host, p.Registry.Region.String()); i >= 0 {
		host[i] = to.String()
		image.Host = strings.Join(host, ".")
		return image
	}
	image.Path = p.Registry.Account.String() + "/" + to.String() + "/" + p.Repo.String()
	return image
}

// token is the action without which nobody logs in.
const token = "ecr:GetAuthorizationToken"

// mayPull asks the server whether the principal may pull an image: log in, read its manifest, and read its layers.
func (c *Check) mayPull(ctx context.Context, p Place) (string, *Problem) {
	if c.Server.Call == nil {
		return Unknown, nil
	}
	region := p.Registry.Region.String()
	var missing []ecrintypes.Explanation
	for _, action := range []string{token, "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"} {
		in := &ecrintypes.ExplainAccessRequest{Principal: c.Principal, Action: action}
		if action != token {
			in.RegistryId, in.RepositoryName = p.Registry.Account.String(), p.Repo.String()
			if action == "ecr:BatchGetImage" {
				in.ImageTag, in.ImageDigest = p.Tag, p.Digest
			}
		}
		var out ecrintypes.ExplainAccessResponse
		if err := c.Server.Call(ctx, region, "ExplainAccess", in, &out); err != nil {
			return Unknown, &Problem{Code: "PermissionUnknown", Text: fmt.Sprintf("whether %s may pull cannot be found out: %v", c.Principal, err),
				Add: []string{"name a principal of an account that this server has (ecrin account list), or make its account " +
					"(ecrin account create): the policies of others are not known here"}}
		}
		if e := out.Explanation; !e.Allowed {
			missing = append(missing, e)
		}
	}
	if len(missing) > 0 {
		return MayNotPull, c.denied(ctx, p, missing)
	}
	return MayPull, nil
}

// denied is the problem of a principal that may not pull, with the policies to paste for all that is missing: the explanations of the
// requests of a pull that are denied.
func (c *Check) denied(ctx context.Context, p Place, missing []ecrintypes.Explanation) *Problem {
	first := missing[0]
	bad := &Problem{Code: AccessDenied, Text: AccessDenied + ": " + first.Text}
	if first.Action == token {
		bad.Text += "; its identity policy needs " + token + " on the resource * (a repository policy cannot allow it)"
	}
	for _, e := range missing {
		for _, l := range e.Layers {
			if l.Verdict == ecrintypes.VerdictExplicitDeny {
				bad.Add = append(bad.Add, fmt.Sprintf("a statement denies it; ecrin explain --as %s --action %s --on %s names it", c.Principal,
					e.Action, p.Registry.String()+"/"+p.Repo.String()))
				return bad
			}
		}
	}
	who, err := policy.ParsePrincipal(c.Principal)
	own := err != nil || who.Account == p.Registry.Account
	if missing[len(missing)-1].Action != token && !own {
		if text, changed := c.pullPolicy(ctx, p, who); changed {
			bad.Add = append(bad.Add, fmt.Sprintf("the policy of the repository %s in %s, by its owner:\n%s", p.Repo, p.Registry, text))
		}
	}
	needs := identityNeeds(missing)
	if needs != "" {
		bad.Add = append(bad.Add, "an identity policy of "+c.identity(first.PrincipalArn)+":\n"+needs)
	}
	for _, e := range missing {
		other := slices.ContainsFunc(e.Changes, func(o ecrintypes.PolicyChange) bool {
			return o.Layer != policy.LayerIdentity.String() && o.Layer != policy.LayerResource.String()
		})
		if other || len(bad.Add) == 0 {
			bad.Add = append(bad.Add, cmp.Or(explain.Cure(e), "let an administrator of the account look at: ecrin explain --as "+c.Principal))
			break
		}
	}
	return bad
}

// identityNeeds returns the identity policy that allows all that is missing and that an identity policy can allow; "" for nothing.
func identityNeeds(missing []ecrintypes.Explanation) string {
	var login string
	var actions []string
	resource := ""
	for _, e := range missing {
		if !slices.ContainsFunc(e.Changes, func(o ecrintypes.PolicyChange) bool { return o.Layer == policy.LayerIdentity.String() }) {
			continue
		}
		if e.Action == token {
			login = `{"Effect":"Allow","Action":"` + token + `","Resource":"*"}`
			continue
		}
		actions, resource = append(actions, `"`+e.Action+`"`), e.Resource
	}
	all := []string{login}
	if len(actions) > 0 {
		all = append(all, `{"Effect":"Allow","Action":[`+strings.Join(actions, ",")+`],"Resource":"`+resource+`"}`)
	}
	if all = slices.DeleteFunc(all, func(s string) bool { return s == "" }); len(all) == 0 {
		return ""
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(all, ",") + `]}`
}

// identity returns who has the identity policies of the principal, whose ARN in explanations is given: for a session, which has none, its
// role.
func (c *Check) identity(arn string) string {
	if strings.Contains(c.Principal, ":role/") {
		return c.Principal
	}
	if before, after, ok := strings.Cut(arn, ":assumed-role/"); ok {
		role, _, _ := strings.Cut(after, "/")
		return "the role " + role + " of the account " + before[strings.LastIndexByte(before, ':')+1:]
	}
	return arn
}

// pullPolicy returns the policy of a repository that lets the account of a principal pull: the present one with the statement that
// platforms ask for, and whether it has not got it yet.
func (c *Check) pullPolicy(ctx context.Context, p Place, who policy.Principal) (string, bool) {
	account, err := policy.ParsePrincipal(who.Account.String())
	if err != nil {
		return "", false
	}
	var existing *policy.Document
	if calls, err := c.Server.client(ctx, p.Registry); err == nil {
		id, repo := p.Registry.Account.String(), p.Repo.String()
		out, err := calls.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RegistryId: &id, RepositoryName: &repo})
		if err == nil {
			if existing, err = policy.ParseStored(aws.ToString(out.PolicyText), policy.Repository); err != nil {
				return "", false // it names who was deleted: GrantRepositoryAccess says so
			}
		}
	}
	d, changed, _ := policy.Grant(existing, account, policy.PullActions(), policy.PullSid)
	return d.String(), changed
}

// ReadCluster returns a cluster by its name.
//
// Errors: there is none; those of the server.
func (s *Server) ReadCluster(ctx context.Context, region, account, label string) (ecrintypes.Cluster, error) {
	var out ecrintypes.DescribeClustersResponse
	if err := s.Call(ctx, region, "DescribeClusters", &ecrintypes.DescribeClustersRequest{AccountId: account, ClusterName: label},
		&out); err != nil {
		return ecrintypes.Cluster{}, err
	}
	if len(out.Clusters) == 0 {
		return ecrintypes.Cluster{}, errors.New("there is no cluster " + label + ": ecrin cluster list shows those that there are")
	}
	return out.Clusters[0], nil
}
