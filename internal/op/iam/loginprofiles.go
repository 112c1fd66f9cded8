package iam

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// OnLoginProfile resolves the user that UserName names, or without UserName the caller, who must then be a user.
func OnLoginProfile[In interface{ GetUserName() string }](s *Service, ctx context.Context, req guard.Request,
	in In) (guard.Target[meta.Entity], error) {
	t, err := s.onUserOrCaller(ctx, req, in.GetUserName())
	if in.GetUserName() == "" && req.By.Kind != identity.User {
		t.Absent = mustNameUser()
	}
	return t, err
}

// OnOwnPassword resolves the caller, who must be a user.
func OnOwnPassword(s *Service, ctx context.Context, req guard.Request,
	_ *iamtypes.ChangePasswordRequest) (guard.Target[meta.Entity], error) {
	t, err := s.onUserOrCaller(ctx, req, "")
	if req.By.Kind != identity.User {
		t.Absent = fault.InvalidUserType.New("Only IAM Users can change their own password")
	}
	return t, err
}

// CreateLoginProfile sets the password of a user that has none. Only its hash is stored.
//
// Errors: fault.Validation (no password), fault.PasswordPolicyViolation, fault.EntityAlreadyExists, fault.NoSuchEntity (the user),
// fault.Throttled. Source: IAM API reference, CreateLoginProfile.
func (s *Service) CreateLoginProfile(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.CreateLoginProfileRequest) (*iamtypes.CreateLoginProfileResponse, error) {
	if in.Password == "" {
		return nil, fault.Validation.New("1 validation error detected: Value at 'password' failed to satisfy constraint: Member must not be null")
	}
	_, err := s.meta.LoginProfile(ctx, e.ID)
	if err == nil { // before the password is hashed
		return nil, profileExists(e)
	}
	if !errors.Is(err, fault.NoSuchEntity) {
		return nil, err
	}
	hash, err := s.hash(ctx, c, e, in.Password)
	if err != nil {
		return nil, err
	}
	p := meta.LoginProfile{User: e.ID, Hash: hash, CreatedAt: s.now()}
	p.ResetRequired = in.PasswordResetRequired != nil && *in.PasswordResetRequired
	err = s.meta.CreateLoginProfile(ctx, p)
	if errors.Is(err, fault.EntityAlreadyExists) {
		err = profileExists(e).Because(err)
	}
	if err != nil {
		return nil, err
	}
	return &iamtypes.CreateLoginProfileResponse{LoginProfile: showProfile(e, p)}, nil
}

// GetLoginProfile tells that a user has a password, and since when.
//
// Errors: fault.NoSuchEntity (the user or the password). Source: IAM API reference, GetLoginProfile.
func (s *Service) GetLoginProfile(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.GetLoginProfileRequest) (*iamtypes.GetLoginProfileResponse, error) {
	p, err := s.meta.LoginProfile(ctx, e.ID)
	if err != nil {
		return nil, noProfile(e, err)
	}
	return &iamtypes.GetLoginProfileResponse{LoginProfile: showProfile(e, p)}, nil
}

// UpdateLoginProfile changes the password of a user, and whether the user must change it at the next sign-in.
//
// Errors: fault.NoSuchEntity (the user or the password), fault.PasswordPolicyViolation, fault.Throttled.
// Source: IAM API reference, UpdateLoginProfile.
func (s *Service) UpdateLoginProfile(ctx context.Context, c identity.Caller, e meta.Entity,
	in *iamtypes.UpdateLoginProfileRequest) (*None, error) {
	if _, err := s.meta.LoginProfile(ctx, e.ID); err != nil { // before the password is hashed
		return nil, noProfile(e, err)
	}
	hash := ""
	if in.Password != "" {
		var err error
		if hash, err = s.hash(ctx, c, e, in.Password); err != nil {
			return nil, err
		}
	}
	return none(noProfile(e, s.meta.UpdateLoginProfile(ctx, e.ID, "", hash, in.PasswordResetRequired)))
}

// DeleteLoginProfile deletes the password of a user.
//
// Errors: fault.NoSuchEntity (the user or the password). Source: IAM API reference, DeleteLoginProfile.
func (s *Service) DeleteLoginProfile(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.DeleteLoginProfileRequest) (*None, error) {
	return none(noProfile(e, s.meta.DeleteLoginProfile(ctx, e.ID)))
}

// ChangePassword changes the password of the caller, who must give the old one.
//
// Errors: fault.InvalidUserType (the caller is no user), fault.NoSuchEntity (the caller has no password), fault.AccessDenied (the old
// password), fault.PasswordPolicyViolation, fault.Throttled, fault.TargetChanged (another request has changed the password).
// Source: IAM API reference, ChangePassword.
func (s *Service) ChangePassword(ctx context.Context, c identity.Caller, e meta.Entity, in *iamtypes.ChangePasswordRequest) (*None, error) {
	if err := s.checkPassword(ctx, e, in.NewPassword); err != nil {
		return nil, err
	}
	old, err := s.id.CheckPassword(ctx, e, secret.New(in.OldPassword))
	if err != nil {
		return nil, noProfile(e, err)
	}
	hash, err := s.hash(ctx, c, e, in.NewPassword)
	if err != nil {
		return nil, err
	}
	again := false
	err = s.meta.UpdateLoginProfile(ctx, e.ID, old, hash, &again)
	if errors.Is(err, fault.NoSuchEntity) { // it was changed or deleted while this one was hashed
		err = fault.TargetChanged.New("the password of the user %s has changed", e.Name).Because(err)
	}
	return none(err)
}

// hash checks and hashes a new password of a user.
func (s *Service) hash(ctx context.Context, c identity.Caller, e meta.Entity, password string) (string, error) {
	if err := s.checkPassword(ctx, e, password); err != nil {
		return "", err
	}
	return s.id.PasswordHash(ctx, c, secret.New(password))
}

// checkPassword checks a new password of a user against the default password policy, and that it is not the name of the account.
// Errors: fault.PasswordPolicyViolation.
func (s *Service) checkPassword(ctx context.Context, e meta.Entity, password string) error {
	a, err := s.meta.Account(ctx, e.Account)
	if err != nil {
		return err
	}
	if text := weakness(password, a.ID.String(), a.Alias); text != "" {
		return fault.PasswordPolicyViolation.New("%s", text)
	}
	return nil
}

const (
	minPassword     = 8 // characters
	minCharacterSet = 3 // of the four of passwordSets
)

// passwordSets are the kinds of characters of the default password policy. Source: IAM user guide, default password policy; the texts of
// recorded answers of IAM.
var passwordSets = []struct {
	has  func(rune) bool
	text string
}{
	{func(r rune) bool { return r >= 'A' && r <= 'Z' }, "Password should have at least one uppercase letter"},
	{func(r rune) bool { return r >= 'a' && r <= 'z' }, "Password should have at least one lowercase letter"},
	{func(r rune) bool { return r >= '0' && r <= '9' }, "Password should have at least one number"},
	{func(r rune) bool { return strings.ContainsRune("!@#$%^&*()_+-=[]{}|'", r) }, "Password should have at least one symbol"},
}

// weakness returns what the default password policy finds in a password, "" for nothing.
func weakness(password, account, alias string) string {
	if utf8.RuneCountInString(password) < minPassword {
		return "Password should have a minimum length of 8"
	}
	var missing []string
	for _, set := range passwordSets {
		if !strings.ContainsFunc(password, set.has) {
			missing = append(missing, set.text)
		}
	}
	if more := minCharacterSet - (len(passwordSets) - len(missing)); more > 0 {
		return "Password should meet " + string(rune('0'+more)) + " more of the following requirements: " + strings.Join(missing, ", ")
	}
	if password == account || alias != "" && strings.EqualFold(password, alias) {
		return "Password should not be the name of the account"
	}
	return ""
}

func showProfile(e meta.Entity, p meta.LoginProfile) iamtypes.LoginProfile {
	return iamtypes.LoginProfile{UserName: e.Name, CreateDate: awswire.Time{Time: p.CreatedAt}, PasswordResetRequired: &p.ResetRequired}
}

func profileExists(e meta.Entity) *fault.Error {
	return fault.EntityAlreadyExists.New("Login Profile for user %s already exists.", e.Name)
}

// noProfile returns err with the text of IAM if it says that a user has no password.
func noProfile(e meta.Entity, err error) error {
	if errors.Is(err, fault.NoSuchEntity) {
		return fault.NoSuchEntity.New("Login Profile for User %s cannot be found.", e.Name).Because(err)
	}
	return err
}
