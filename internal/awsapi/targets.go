package awsapi

import (
	"reflect"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// one is the target of a single access.
func one(a identity.Access, err error) ([]identity.Access, error) {
	return []identity.Access{a}, err
}

// onNothing is for actions without a resource, on the caller itself.
func onNothing(_ *API, c *call, _ awswire.Input) ([]identity.Access, error) {
	return one(identity.Access{Region: c.region, Resource: "*"}, nil)
}

// onRegistry is for actions on the caller's own registry that have no resource in IAM.
func onRegistry(_ *API, c *call, _ awswire.Input) ([]identity.Access, error) {
	return one(identity.Access{Account: c.caller.Account, Region: c.region, Resource: "*"}, nil)
}

// onSetting is for account settings, which policies can tell apart. Source: service authorization reference of ECR.
func onSetting(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	return one(identity.Access{
		Account: c.caller.Account, Region: c.region, Resource: "*",
		Keys: []identity.ConditionKey{{Name: "ecr:AccountSetting", Values: []string{member(in, "Name")}}},
	}, nil)
}

// member reads a text member of an input by its Go name; "" when the input does not have it.
func member(in awswire.Input, field string) string {
	f := reflect.ValueOf(in).Elem().FieldByName(field)
	if !f.IsValid() || f.Kind() != reflect.String {
		return ""
	}
	return f.String()
}

// registryOf is the registry that registryId names in the call's region, the caller's own without it.
func (c *call) registryOf(id string) (name.Registry, error) {
	if id == "" {
		if c.caller.Account == (name.Account{}) {
			return name.Registry{}, badMember("registryId", "Member must not be null: the operator has no registry of its own")
		}
		return c.own(), nil
	}
	account, err := name.ParseAccount(id)
	return name.Registry{Account: account, Region: c.region}, err
}

// repositoryAccess is what an action on a repository needs. A name outside the grammar is no repository, and the operation says
// so to those who may ask.
func repositoryAccess(reg name.Registry, repositoryName string) identity.Access {
	repo, err := name.ParseRepo(repositoryName)
	if err != nil {
		repo = name.Repo{}
	}
	return identity.Access{Account: reg.Account, Region: reg.Region, Resource: reg.RepositoryARN(repositoryName), Repository: repo}
}

func onRepository(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	reg, err := c.registryOf(member(in, "RegistryId"))
	return one(repositoryAccess(reg, member(in, "RepositoryName")), err)
}

// onAnyRepository is for ecrin's operations on a repository, which the operator may call too.
func onAnyRepository(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	reg, err := c.registryOf(a.registryID(c, member(in, "RegistryId")))
	return one(repositoryAccess(reg, member(in, "RepositoryName")), err)
}

// onRestored is for putting an image back: it may get a tag, as by a push.
func onRestored(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	all, err := onAnyRepository(a, c, in)
	if err == nil {
		all[0].Image = imageNamed(member(in, "ImageTag"), member(in, "ImageDigest"), false)
	}
	return all, err
}

// imageNamed is an image by its tag and digest as they were sent; of what is neither the operation says so.
func imageNamed(tag, digest string, stored bool) identity.Image {
	im := identity.Image{Stored: stored}
	if t, err := name.ParseTag(tag); err == nil {
		im.Tag = t
	}
	if d, err := name.ParseDigest(digest); err == nil {
		im.Digest = d
	}
	return im
}

// onRepositories is for listings: the repositories that are named, or all of a registry.
func onRepositories(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	reg, err := c.registryOf(member(in, "RegistryId"))
	if list, ok := in.(*ecrtypes.DescribeRepositoriesRequest); ok && len(list.RepositoryNames) > 0 {
		var all []identity.Access
		for _, n := range list.RepositoryNames {
			all = append(all, repositoryAccess(reg, n))
		}
		return all, err
	}
	return one(identity.Access{Account: reg.Account, Region: reg.Region, Resource: reg.RepositoryARN("*")}, err)
}

func onResource(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	arn := member(in, "ResourceArn")
	reg, repo, err := name.ParseRepositoryARN(arn)
	if err == nil && reg.Region != c.region {
		err = badMember("resourceArn", "Invalid ARN")
	}
	return one(identity.Access{Account: reg.Account, Region: reg.Region, Resource: arn, Repository: repo}, err)
}

// onImages is for operations that name images of a repository: each must be allowed.
func onImages(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	all, err := onRepository(a, c, in)
	if err != nil {
		return nil, err
	}
	var images []identity.Image
	add := func(tag, digest string, stored bool) {
		images = append(images, imageNamed(tag, digest, stored))
	}
	switch v := in.(type) {
	case *ecrtypes.BatchGetImageRequest:
		for _, id := range v.ImageIds {
			add(id.ImageTag, id.ImageDigest, true)
		}
	case *ecrtypes.BatchDeleteImageRequest:
		for _, id := range v.ImageIds {
			add(id.ImageTag, id.ImageDigest, true)
			images[len(images)-1].Whole = true
		}
	case *ecrtypes.DescribeImagesRequest:
		for _, id := range v.ImageIds {
			add(id.ImageTag, id.ImageDigest, true)
		}
	case *ecrtypes.ListImageReferrersRequest:
		add("", v.SubjectId.ImageDigest, true)
	case *ecrtypes.PutImageRequest:
		add(v.ImageTag, v.ImageDigest, false)
	}
	if len(images) == 0 {
		return all, nil
	}
	access := all[0]
	all = all[:0]
	for _, im := range images {
		access.Image = im
		all = append(all, access)
	}
	return all, nil
}

// tagged adds the condition keys of the resource tags that a request carries: aws:RequestTag/KEY and aws:TagKeys. Condition keys
// have no case, tags may have: of those that differ in case alone each has to be allowed.
func tagged(on target) target {
	return func(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
		all, err := on(a, c, in)
		if err != nil {
			return nil, err
		}
		keys := tagKeysOf(in)
		for i := range all {
			all[i].Keys = slices.Concat(all[i].Keys, keys)
			for _, twin := range twins(keys) {
				more := all[i]
				more.Keys = slices.Concat(more.Keys, []identity.ConditionKey{twin}) // the last one counts
				all = append(all, more)
			}
		}
		return all, nil
	}
}

// twins are the keys that a later one of another case would hide.
func twins(keys []identity.ConditionKey) []identity.ConditionKey {
	var hidden []identity.ConditionKey
	last := map[string]int{}
	for i, k := range keys {
		if before, ok := last[strings.ToLower(k.Name)]; ok {
			hidden = append(hidden, keys[before])
		}
		last[strings.ToLower(k.Name)] = i
	}
	return hidden
}

// tagKeysOf reads the members Tags (a list of Key and Value) and TagKeys of an input.
func tagKeysOf(in awswire.Input) []identity.ConditionKey {
	var keys []identity.ConditionKey
	var names []string
	v := reflect.ValueOf(in).Elem()
	if tags := v.FieldByName("Tags"); tags.IsValid() && tags.Kind() == reflect.Slice {
		for i := range tags.Len() {
			key := tags.Index(i).FieldByName("Key").String()
			names = append(names, key)
			keys = append(keys, identity.ConditionKey{Name: "aws:RequestTag/" + key, Values: []string{tags.Index(i).FieldByName("Value").String()}})
		}
	}
	if list := v.FieldByName("TagKeys"); list.IsValid() && list.Kind() == reflect.Slice {
		names = append(names, list.Interface().([]string)...)
	}
	if len(names) > 0 {
		slices.Sort(names)
		keys = append(keys, identity.ConditionKey{Name: "aws:TagKeys", Values: slices.Compact(names), List: true})
	}
	return keys
}

// onAccount is for ecrin's operations on an account: the one named, or the caller's own.
func onAccount(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	account := c.caller.Account
	if id := member(in, "AccountId"); id != "" {
		var err error
		if account, err = name.ParseAccount(id); err != nil {
			return nil, err
		}
	}
	return one(identity.Access{Account: account, Region: c.region, Resource: identity.RootARN(account)}, nil)
}

// onAccessKey is for ecrin's operations on a key: it belongs to its account. An unknown key is nobody's, so that only
// the operator learns that it does not exist.
func onAccessKey(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	id := member(in, "AccessKeyId")
	k, err := a.registry.Meta().AccessKey(c.ctx, id)
	if err != nil && c.caller.Kind == identity.Operator {
		return nil, err
	}
	access := identity.Access{Account: k.Account, Region: c.region, Resource: "arn:aws:iam::" + k.Account.String() + ":access-key/" + id}
	if err != nil {
		access.Account = name.MustAccount("000000000000")
		if c.caller.Account == access.Account {
			return nil, err
		}
	}
	return one(access, nil)
}
