package iam

import (
	"context"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// owner is whose keys an operation is about: a user, or the root user when user is zero.
type owner struct {
	principal string // as meta.AccessKey has it
	user      meta.Entity
}

// shown is the owner's name where one has to stand.
func (o owner) shown() string {
	if o.user.ID == "" {
		return rootName
	}
	return o.user.Name
}

// owner finds the user by name; without a name it is the caller, the root user too. Temporary credentials need the name.
// Errors: fault.NoSuchEntity, fault.Validation. Source: IAM API reference, CreateAccessKey, UserName.
func (s *Service) owner(ctx context.Context, c identity.Caller, userName string) (o owner, err error) {
	switch {
	case userName != "":
		o.user, err = s.meta.Entity(ctx, c.Account, meta.User, userName)
	case c.Session != "":
		return owner{}, mustNameUser()
	case c.Kind == identity.User:
		o.user, err = s.meta.EntityByID(ctx, c.Principal)
	case c.Kind == identity.Root:
		return owner{principal: c.Account.String()}, nil
	default:
		return owner{}, mustNameUser()
	}
	o.principal = o.user.ID
	return o, err
}

// CreateAccessKey makes an access key for a user, or for the caller. Its secret is shown this once.
//
// Errors: fault.NoSuchEntity, fault.LimitExceeded, fault.Validation (no name, and the caller has no long-term credentials).
// Source: IAM API reference, CreateAccessKey.
func (s *Service) CreateAccessKey(ctx context.Context, c identity.Caller, in *iamtypes.CreateAccessKeyRequest) (*iamtypes.CreateAccessKeyResponse, error) {
	o, err := s.owner(ctx, c, in.UserName)
	if err != nil {
		return nil, err
	}
	var k identity.Key
	if o.user.ID != "" {
		k, err = s.id.CreateUserKey(ctx, o.user)
	} else {
		k, err = s.id.CreateKey(ctx, c.Account)
	}
	if errors.Is(err, fault.AccessKeyLimit) {
		return nil, fault.LimitExceeded.New("Cannot exceed quota for AccessKeysPerUser: %d", identity.MaxKeys).Because(err)
	}
	if err != nil {
		return nil, err
	}
	return &iamtypes.CreateAccessKeyResponse{AccessKey: iamtypes.AccessKey{
		UserName: o.shown(), AccessKeyId: k.ID, Status: statusOf(k.AccessKey), SecretAccessKey: k.Secret.Reveal(), CreateDate: awswire.At(k.CreatedAt),
	}}, nil
}

func statusOf(k meta.AccessKey) iamtypes.StatusType {
	if k.Active {
		return iamtypes.StatusTypeActive
	}
	return iamtypes.StatusTypeInactive
}

// ListAccessKeys lists the keys of a user, or of the caller, oldest first.
//
// Errors: fault.NoSuchEntity, fault.Validation (the marker; or no name, and the caller has no long-term credentials).
// Source: IAM API reference, ListAccessKeys.
func (s *Service) ListAccessKeys(ctx context.Context, c identity.Caller, in *iamtypes.ListAccessKeysRequest) (*iamtypes.ListAccessKeysResponse, error) {
	o, err := s.owner(ctx, c, in.UserName)
	if err != nil {
		return nil, err
	}
	p, err := s.paging(c, "ListAccessKeys", in.Marker, in.MaxItems, o.principal)
	if err != nil {
		return nil, err
	}
	keys, err := s.meta.AccessKeysOf(ctx, c.Account, o.principal)
	if err != nil {
		return nil, err
	}
	page, truncated, marker := cut(p, keys, func(k meta.AccessKey) string { return k.CreatedAt.UTC().Format(sortable) + k.ID })
	return &iamtypes.ListAccessKeysResponse{
		AccessKeyMetadata: each(page, func(k meta.AccessKey) iamtypes.AccessKeyMetadata {
			return iamtypes.AccessKeyMetadata{UserName: o.shown(), AccessKeyId: k.ID, Status: statusOf(k), CreateDate: awswire.At(k.CreatedAt)}
		}),
		IsTruncated: truncated, Marker: marker,
	}, nil
}

// sortable writes times so that the earlier is the smaller text.
const sortable = "20060102150405.000000000"

// ownKey makes sure that a key is its owner's. Errors: fault.NoSuchEntity, fault.Validation.
func (s *Service) ownKey(ctx context.Context, c identity.Caller, userName, id string) error {
	o, err := s.owner(ctx, c, userName)
	if err != nil {
		return err
	}
	k, err := s.meta.AccessKey(ctx, id)
	if errors.Is(err, fault.AccessKeyNotFound) || err == nil && (k.Account != c.Account || k.Principal != o.principal) {
		return noKey(id)
	}
	return err
}

func noKey(id string) error {
	return fault.NoSuchEntity.New("The Access Key with id %s cannot be found.", name.Clip(id))
}

// UpdateAccessKey makes a key of a user, or of the caller, active or inactive; at once, for tokens made with it too.
//
// Errors: fault.NoSuchEntity, fault.InvalidInput (the status Expired), fault.Validation (no name, and the caller has no
// long-term credentials). Source: IAM API reference, UpdateAccessKey.
func (s *Service) UpdateAccessKey(ctx context.Context, c identity.Caller, in *iamtypes.UpdateAccessKeyRequest) (*None, error) {
	if err := s.ownKey(ctx, c, in.UserName, in.AccessKeyId); err != nil {
		return nil, err
	}
	if in.Status == iamtypes.StatusTypeExpired {
		return nil, fault.InvalidInput.New("The status of an access key can be set to Active or Inactive.")
	}
	return s.changed(in.AccessKeyId, s.meta.SetAccessKeyActive(ctx, in.AccessKeyId, in.Status == iamtypes.StatusTypeActive))
}

// changed is the answer after a change of a key, which may be gone since it was looked up.
func (s *Service) changed(id string, err error) (*None, error) {
	if errors.Is(err, fault.AccessKeyNotFound) {
		err = noKey(id)
	}
	return none(err)
}

// DeleteAccessKey removes a key of a user, or of the caller. Requests and tokens made with it end at once.
//
// Errors: fault.NoSuchEntity, fault.Validation (no name, and the caller has no long-term credentials).
// Source: IAM API reference, DeleteAccessKey.
func (s *Service) DeleteAccessKey(ctx context.Context, c identity.Caller, in *iamtypes.DeleteAccessKeyRequest) (*None, error) {
	if err := s.ownKey(ctx, c, in.UserName, in.AccessKeyId); err != nil {
		return nil, err
	}
	return s.changed(in.AccessKeyId, s.meta.DeleteAccessKey(ctx, in.AccessKeyId))
}

// notUsed stands for region and service of a key that was never used. Source: IAM API reference, AccessKeyLastUsed.
const notUsed = "N/A"

// GetAccessKeyLastUsed tells when and where a key of the account was last used, up to a few seconds ago.
//
// Errors: fault.NoSuchEntity, for keys of other accounts too. Source: IAM API reference, GetAccessKeyLastUsed.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, c identity.Caller, in *iamtypes.GetAccessKeyLastUsedRequest) (*iamtypes.GetAccessKeyLastUsedResponse, error) {
	k, err := s.meta.AccessKey(ctx, in.AccessKeyId)
	if errors.Is(err, fault.AccessKeyNotFound) || err == nil && k.Account != c.Account {
		return nil, noKey(in.AccessKeyId)
	}
	if err != nil {
		return nil, err
	}
	out := &iamtypes.GetAccessKeyLastUsedResponse{UserName: rootName}
	if k.Principal != k.Account.String() {
		u, err := s.meta.EntityByID(ctx, k.Principal)
		if err != nil {
			return nil, err
		}
		out.UserName = u.Name
	}
	// A key alone may come from a cache that does not follow its uses; a list of keys does not.
	fresh, err := s.meta.AccessKeysOf(ctx, c.Account, k.Principal)
	if err != nil {
		return nil, err
	}
	used := meta.Use{}
	for _, one := range fresh {
		if one.ID == k.ID {
			used = one.Used
		}
	}
	out.AccessKeyLastUsed = lastUse(used)
	return out, nil
}

func lastUse(u meta.Use) *iamtypes.AccessKeyLastUsed {
	if u.At.Equal(time.Time{}) {
		return &iamtypes.AccessKeyLastUsed{ServiceName: notUsed, Region: notUsed}
	}
	return &iamtypes.AccessKeyLastUsed{LastUsedDate: awswire.At(u.At), ServiceName: u.Service, Region: u.Region}
}
