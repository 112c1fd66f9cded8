package iam

import (
	"context"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// KeyOwner is the owner of access keys: a user, or the root user of the account if User is zero.
type KeyOwner struct {
	Principal string // as meta.AccessKey has it
	User      meta.Entity
}

// shown returns the name of the owner in responses, rootName for a root user.
func (o KeyOwner) shown() string {
	if o.User.ID == "" {
		return rootName
	}
	return o.User.Name
}

// OnKeyOwner resolves the owner of the keys in a request: the user that UserName names, or without UserName the caller,
// which may be the root user. UserName is required for callers with temporary credentials. Source: IAM API reference,
// CreateAccessKey, UserName.
func OnKeyOwner[In interface{ GetUserName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[KeyOwner], error) {
	userName := in.GetUserName()
	user, err := s.onUserOrCaller(ctx, req, userName)
	t := guard.Target[KeyOwner]{Value: KeyOwner{user.Value.ID, user.Value}, Asks: user.Asks, Absent: user.Absent}
	switch longTerm := req.By.SessionKey == ""; {
	case userName != "" || longTerm && req.By.Kind == identity.User:
	case longTerm && req.By.Kind == identity.Root:
		t.Value.Principal = req.By.Account.String()
	default:
		t.Absent = mustNameUser()
	}
	return t, err
}

// OnOwnedKey resolves a key of the user that UserName names, or without UserName a key of the caller.
func OnOwnedKey[In interface {
	GetUserName() string
	GetAccessKeyId() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.AccessKey], error) {
	owner, err := OnKeyOwner(s, ctx, req, in)
	t := guard.Target[meta.AccessKey]{Asks: owner.Asks, Absent: owner.Absent}
	if err != nil || t.Absent != nil {
		return t, err
	}
	k, err := s.meta.AccessKey(ctx, in.GetAccessKeyId())
	switch {
	case errors.Is(err, fault.AccessKeyNotFound) || err == nil && (k.Account != req.By.Account || k.Principal != owner.Value.Principal):
		t.Absent = noKey(in.GetAccessKeyId())
		return t, nil
	case err != nil:
		return t, err
	}
	t.Value = k
	return t, nil
}

// OwnedKey is an access key and its owner.
type OwnedKey struct {
	Key   meta.AccessKey
	Owner KeyOwner
}

// OnKey resolves an access key of the account. The request needs the action on the owner of the key. If the key does not
// exist or belongs to another account, Absent is fault.AccessDenied. Source: answers of IAM.
func OnKey(s *Service, ctx context.Context, req guard.Request, in *iamtypes.GetAccessKeyLastUsedRequest) (guard.Target[OwnedKey], error) {
	unknown := guard.On(OwnedKey{}, askOf(req, meta.Entity{Account: req.By.Account, Kind: meta.User, Name: "*"}))
	unknown.Absent = fault.AccessDenied.New(
		"User: %s is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key %s", req.By.ARN, name.Clip(in.AccessKeyId))
	k, err := s.meta.AccessKey(ctx, in.AccessKeyId)
	if errors.Is(err, fault.AccessKeyNotFound) || err == nil && k.Account != req.By.Account {
		return unknown, nil
	}
	if err != nil {
		return guard.Target[OwnedKey]{}, err
	}
	owned := OwnedKey{k, KeyOwner{Principal: k.Principal}}
	if k.Principal == k.Account.String() {
		return guard.On(owned, guard.Ask{Owner: req.Owner(), Region: req.Region, Resource: identity.RootARN(req.By.Account)}), nil
	}
	owned.Owner.User, err = s.meta.EntityByID(ctx, k.Principal)
	if errors.Is(err, fault.NoSuchEntity) { // the user was deleted with its keys after the key was read
		return unknown, nil
	}
	return guard.On(owned, askOf(req, owned.Owner.User)), err
}

// CreateAccessKey makes an access key for a user, or for the caller. Its secret is in this response only.
//
// Errors: fault.NoSuchEntity, fault.LimitExceeded, fault.Validation (no name, and the caller has no long-term credentials).
// Source: IAM API reference, CreateAccessKey.
func (s *Service) CreateAccessKey(ctx context.Context, c identity.Caller, o KeyOwner,
	_ *iamtypes.CreateAccessKeyRequest) (*iamtypes.CreateAccessKeyResponse, error) {
	var k identity.Key
	var err error
	if o.User.ID != "" {
		k, err = s.id.CreateUserKey(ctx, o.User)
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
		UserName: o.shown(), AccessKeyId: k.ID, Status: statusOf(k.AccessKey), SecretAccessKey: k.Secret.Reveal(),
		CreateDate: awswire.At(k.CreatedAt),
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
func (s *Service) ListAccessKeys(ctx context.Context, c identity.Caller, o KeyOwner,
	in *iamtypes.ListAccessKeysRequest) (*iamtypes.ListAccessKeysResponse, error) {
	p, err := s.paging(c, "ListAccessKeys", in.Marker, in.MaxItems, o.Principal)
	if err != nil {
		return nil, err
	}
	keys, err := s.meta.AccessKeysOf(ctx, c.Account, o.Principal)
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

// sortable returns a time as a text; the texts sort by time.
const sortable = "20060102150405.000000000"

func noKey(id string) error {
	return fault.NoSuchEntity.New("The Access Key with id %s cannot be found.", name.Clip(id))
}

// UpdateAccessKey makes a key of a user, or of the caller, active or inactive. It takes effect immediately, also for
// tokens that were issued with the key.
//
// Errors: fault.NoSuchEntity, fault.InvalidInput (the status Expired), fault.Validation (no name, and the caller has no
// long-term credentials). Source: IAM API reference, UpdateAccessKey.
func (s *Service) UpdateAccessKey(ctx context.Context, _ identity.Caller, k meta.AccessKey,
	in *iamtypes.UpdateAccessKeyRequest) (*None, error) {
	if in.Status == iamtypes.StatusTypeExpired {
		return nil, fault.InvalidInput.New("The status of an access key can be set to Active or Inactive.")
	}
	return s.changed(k.ID, s.meta.SetAccessKeyActive(ctx, k.ID, in.Status == iamtypes.StatusTypeActive))
}

// changed returns the response to the change of a key; an error if the key was deleted after it was resolved.
func (s *Service) changed(id string, err error) (*None, error) {
	if errors.Is(err, fault.AccessKeyNotFound) {
		err = noKey(id)
	}
	return none(err)
}

// DeleteAccessKey removes a key of a user, or of the caller. It takes effect immediately, also for tokens that were
// issued with the key.
//
// Errors: fault.NoSuchEntity, fault.Validation (no name, and the caller has no long-term credentials).
// Source: IAM API reference, DeleteAccessKey.
func (s *Service) DeleteAccessKey(ctx context.Context, _ identity.Caller, k meta.AccessKey,
	_ *iamtypes.DeleteAccessKeyRequest) (*None, error) {
	return s.changed(k.ID, s.meta.DeleteAccessKey(ctx, k.ID))
}

// notUsed is the region and the service of a key that was never used. Source: IAM API reference, AccessKeyLastUsed.
const notUsed = "N/A"

// GetAccessKeyLastUsed returns the time, region and service of the last use of a key. Uses in the last few seconds may
// be missing.
//
// Errors: fault.AccessDenied (the key does not exist or belongs to another account).
// Source: IAM API reference, GetAccessKeyLastUsed.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, c identity.Caller, k OwnedKey,
	_ *iamtypes.GetAccessKeyLastUsedRequest) (*iamtypes.GetAccessKeyLastUsedResponse, error) {
	// A single key may come from a cache, which is not updated with its uses; a list of keys does not come from a
	// cache.
	fresh, err := s.meta.AccessKeysOf(ctx, c.Account, k.Key.Principal)
	if err != nil {
		return nil, err
	}
	used := meta.Use{}
	for _, one := range fresh {
		if one.ID == k.Key.ID {
			used = one.Used
		}
	}
	return &iamtypes.GetAccessKeyLastUsedResponse{UserName: k.Owner.shown(), AccessKeyLastUsed: lastUse(used)}, nil
}

func lastUse(u meta.Use) *iamtypes.AccessKeyLastUsed {
	if u.At.Equal(time.Time{}) {
		return &iamtypes.AccessKeyLastUsed{ServiceName: notUsed, Region: notUsed}
	}
	return &iamtypes.AccessKeyLastUsed{LastUsedDate: awswire.At(u.At), ServiceName: u.Service, Region: u.Region}
}
