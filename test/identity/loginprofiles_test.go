package identity_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

const (
	firstPassword  = "correct-Horse-1"
	secondPassword = "another-Horse-2"
)

func loginProfiles(t *testing.T, root actor) {
	ada, user := root.user(t, "ada"), aws.String("ada")
	_, err := root.iam.CreateLoginProfile(t.Context(), &iam.CreateLoginProfileInput{UserName: user, Password: aws.String("short")})
	wantCode(t, "a short password", err, "PasswordPolicyViolation", "Password should have a minimum length of 8")
	made := do(t, root.iam.CreateLoginProfile, iam.CreateLoginProfileInput{UserName: user, Password: aws.String(firstPassword),
		PasswordResetRequired: true}).LoginProfile
	wantText(t, "CreateLoginProfile", made.UserName, "ada")
	if !made.PasswordResetRequired || time.Since(*made.CreateDate).Abs() > time.Hour {
		t.Errorf("CreateLoginProfile: got %+v, want one of now that must be changed", made)
	}
	_, err = ada.iam.ChangePassword(t.Context(), &iam.ChangePasswordInput{OldPassword: aws.String(firstPassword),
		NewPassword: aws.String(secondPassword)})
	wantCode(t, "ChangePassword without a right", err, "AccessDenied", "iam:ChangePassword on resource: "+root.arn("user/ada"))
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: user, PolicyName: aws.String("own"),
		PolicyDocument: aws.String(allow("iam:ChangePassword", "arn:aws:iam::*:user/${aws:username}"))})
	do(t, ada.iam.ChangePassword, iam.ChangePasswordInput{OldPassword: aws.String(firstPassword), NewPassword: aws.String(secondPassword)})
	if got := do(t, root.iam.GetLoginProfile, iam.GetLoginProfileInput{UserName: user}).LoginProfile; got.PasswordResetRequired {
		t.Error("the password must still be changed after it was")
	}
	do(t, root.iam.UpdateLoginProfile, iam.UpdateLoginProfileInput{UserName: user, PasswordResetRequired: aws.Bool(true)})
	do(t, root.iam.DeleteUserPolicy, iam.DeleteUserPolicyInput{UserName: user, PolicyName: aws.String("own")})
	_, err = root.iam.DeleteUser(t.Context(), &iam.DeleteUserInput{UserName: user})
	wantCode(t, "DeleteUser", err, "DeleteConflict", "must delete login profile first")
	do(t, root.iam.DeleteLoginProfile, iam.DeleteLoginProfileInput{UserName: user})
	_, err = root.iam.GetLoginProfile(t.Context(), &iam.GetLoginProfileInput{UserName: user})
	wantCode(t, "GetLoginProfile", err, "NoSuchEntity", "Login Profile for User ada cannot be found.")
}

// The aws CLI sets, shows, changes and deletes the password of a user. Neither the audit trail nor any other file has a password.
func TestLoginProfilesByCLI(t *testing.T) {
	t.Parallel()
	inst := newInstallation(t, apptest.Options{})
	shell := newCLI(t, inst).as(inst.account(t, "111122223333"))
	shell.ok(nil, "iam", "create-user", "--user-name", "ada")
	shell.ok(nil, "iam", "create-login-profile", "--user-name", "ada", "--password", firstPassword, "--password-reset-required")
	var got struct {
		LoginProfile struct {
			UserName              string
			PasswordResetRequired bool
		}
	}
	shell.ok(&got, "iam", "get-login-profile", "--user-name", "ada")
	if got.LoginProfile.UserName != "ada" || !got.LoginProfile.PasswordResetRequired {
		t.Errorf("get-login-profile: got %+v", got)
	}
	shell.ok(nil, "iam", "update-login-profile", "--user-name", "ada", "--password", secondPassword, "--no-password-reset-required")
	shell.refused("Password should meet 1 more of the following requirements", "iam", "update-login-profile", "--user-name", "ada",
		"--password", "lower-case")
	shell.refused("Login Profile for user ada already exists.", "iam", "create-login-profile", "--user-name", "ada", "--password",
		firstPassword)
	shell.refused("must delete login profile first", "iam", "delete-user", "--user-name", "ada")
	shell.ok(nil, "iam", "delete-login-profile", "--user-name", "ada")
	shell.ok(nil, "iam", "delete-user", "--user-name", "ada")

	lines := 0
	err := filepath.WalkDir(inst.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, password := range []string{firstPassword, secondPassword, "lower-case"} {
			if bytes.Contains(content, []byte(password)) {
				t.Errorf("%s contains the password %s", path, password)
			}
		}
		lines += bytes.Count(content, []byte(`"eventName":"UpdateLoginProfile"`))
		return err
	})
	if err != nil || lines < 2 {
		t.Errorf("the trail has %d lines of UpdateLoginProfile, %v, want both calls", lines, err)
	}
}
