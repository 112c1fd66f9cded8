// Package access has the pure parts of requests for access: the address that a denial carries, and the policy that a grant is. See
// docs/design/access-requests.md.
package access

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Permission is what is asked for.
type Permission string

// The permissions.
const (
	Pull Permission = "PULL"
	Push Permission = "PUSH"
)

// actions are those of the permissions: what docker needs besides ecr:GetAuthorizationToken, which no policy of a repository can allow.
var actions = map[Permission][]string{
	Pull: {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
	Push: {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage",
		"ecr:UploadLayerPart"},
}

// Actions returns the actions of a permission, sorted; nil for an unknown one.
func (p Permission) Actions() []string { return slices.Clone(actions[p]) }

// For returns the permission to ask for after an action was denied; "" for an action that no permission is for.
func For(action string) Permission {
	for _, p := range []Permission{Pull, Push} { // the actions of both are mostly those of a pull
		if slices.Contains(actions[p], action) {
			return p
		}
	}
	return ""
}

// Action is the action of asking for access. It needs no permission; a policy can deny it.
const Action = "ecrin:RequestAccess"

// Address names what a denied request needs: a permission on a repository. It is all that a request for access is made of, so that
// nothing is stored for a denial. The repository need not exist.
type Address struct {
	Permission Permission
	Registry   name.Registry
	Repository name.Repo
}

// String returns the text of an address, such as pull:111122223333/eu-west-1/team/app.
func (a Address) String() string {
	return strings.ToLower(string(a.Permission)) + ":" + a.Registry.Account.String() + "/" + a.Registry.Region.String() + "/" +
		a.Repository.String()
}

// Parse decodes the result of String, exactly.
//
// Errors: fault.InvalidParameter.
func Parse(s string) (Address, error) {
	bad := func(err error) (Address, error) {
		return Address{}, fault.InvalidParameter.New("an address of a request for access looks like pull:111122223333/eu-west-1/team/app, got %q",
			name.Clip(s)).Because(err)
	}
	permission, rest, found := strings.Cut(s, ":")
	a := Address{Permission: Permission(strings.ToUpper(permission))}
	if !found || actions[a.Permission] == nil || permission != strings.ToLower(permission) {
		return bad(nil)
	}
	account, rest, _ := strings.Cut(rest, "/")
	region, repo, _ := strings.Cut(rest, "/")
	var err error
	if a.Registry.Account, err = name.ParseAccount(account); err != nil {
		return bad(err)
	}
	if a.Registry.Region, err = name.ParseRegion(region); err != nil {
		return bad(err)
	}
	if a.Repository, err = name.ParseRepo(repo); err != nil {
		return bad(err)
	}
	return a, nil
}

// Grant is what the owner of a repository allows one principal.
type Grant struct {
	Principal  string // ARN of a root user, user or role
	Permission Permission
	Actions    []string // some of those of Permission
	Tags       []string // patterns of tags with * and ?; none for all images
}

// image are the actions that are about an image with a tag. The others are about layers.
var image = []string{"ecr:BatchGetImage", "ecr:PutImage"}

// Image reports whether a condition on tags applies to an action of the grant.
func (g Grant) Image(action string) bool { return slices.Contains(image, action) }

type statement struct {
	Sid       string                         `json:"Sid"`
	Effect    string                         `json:"Effect"`
	Principal map[string]string              `json:"Principal"`
	Action    []string                       `json:"Action"`
	Condition map[string]map[string][]string `json:"Condition,omitempty"`
}

// Policy returns the grant as a repository policy. With tags, the actions about images have a condition on ecrin:ImageTag. For a push the
// condition does not apply to images without a tag: the images of an index are pushed by their digests.
func (g Grant) Policy() string {
	one := statement{Sid: "AccessRequest", Effect: "Allow", Principal: map[string]string{"AWS": g.Principal}, Action: g.Actions}
	all := []statement{one}
	if len(g.Tags) > 0 {
		all = nil
		layers, images := one, one
		layers.Action = slices.DeleteFunc(slices.Clone(g.Actions), g.Image)
		images.Action = slices.DeleteFunc(slices.Clone(g.Actions), func(a string) bool { return !g.Image(a) })
		images.Sid = "AccessRequestImages"
		operator := "StringLike"
		if g.Permission == Push {
			operator = "StringLikeIfExists"
		}
		images.Condition = map[string]map[string][]string{operator: {"ecrin:ImageTag": g.Tags}}
		for _, s := range []statement{images, layers} {
			if len(s.Action) > 0 {
				all = append(all, s)
			}
		}
	}
	text, err := json.Marshal(struct {
		Version   string      `json:"Version"`
		Statement []statement `json:"Statement"`
	}{"2012-10-17", all})
	if err != nil {
		panic("access: " + err.Error()) // cannot happen: texts can be encoded
	}
	return string(text)
}
