package access_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/access"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"pull:111122223333/eu-west-1/team/app", "push:000000000000/us-east-1/a/b/c"} {
		a, err := access.Parse(text)
		if err != nil || a.String() != text {
			t.Errorf("%q: got %q, %v; want the same", text, a, err)
		}
	}
	for _, text := range []string{
		"", "pull", "pull:", "PULL:111122223333/eu-west-1/app", "pull:111122223333/eu-west-1", "pull:111122223333/eu-west-1/",
		"delete:111122223333/eu-west-1/app", "pull:1/eu-west-1/app", "pull:111122223333/EU/app", "pull:111122223333/eu-west-1/App",
		"pull:111122223333/eu-west-1/../app", "pull:111122223333/eu-west-1/app:1.0", " pull:111122223333/eu-west-1/app",
		"pull:111122223333/eu-west-1/" + strings.Repeat("a", 300), "pull:111122223333/eu-west-1/app\n", "pullů:111122223333/eu-west-1/app",
	} {
		if a, err := access.Parse(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, a)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("pull:111122223333/eu-west-1/team/app")
	f.Add("push:000000000000/us-east-1/a")
	f.Add("Pull:1//")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := access.Parse(text)
		if err == nil && a.String() != text {
			t.Errorf("%q is read as %q", text, a)
		}
		if err != nil && len(err.Error()) > 2048 {
			t.Errorf("%q: the error has %d bytes", text, len(err.Error()))
		}
	})
}

// After a denial of one action the permission is asked for whose client sends it.
func TestFor(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]access.Permission{
		"ecr:BatchGetImage": access.Pull, "ecr:GetDownloadUrlForLayer": access.Pull, "ecr:BatchCheckLayerAvailability": access.Pull,
		"ecr:InitiateLayerUpload": access.Push, "ecr:UploadLayerPart": access.Push, "ecr:CompleteLayerUpload": access.Push,
		"ecr:PutImage": access.Push, "ecr:BatchDeleteImage": "", "ecr:ListImages": "", "": "",
	} {
		if got := access.For(action); got != want {
			t.Errorf("%s: got %q, want %q", action, got, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	const alice = "arn:aws:iam::111122223333:user/alice"
	head := `{"Version":"2012-10-17","Statement":[{"Sid":"AccessRequest`
	middle := `","Effect":"Allow","Principal":{"AWS":"` + alice + `"},"Action":[`
	for want, g := range map[string]access.Grant{
		head + middle + `"ecr:BatchCheckLayerAvailability","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`: {Principal: alice,
			Permission: access.Pull, Actions: access.Pull.Actions()},
		head + "Images" + middle + `"ecr:BatchGetImage"],"Condition":{"StringLike":{"ecrin:ImageTag":["1.*"]}}},{"Sid":"AccessRequest` + middle +
			`"ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer"]}]}`: {Principal: alice, Permission: access.Pull,
			Actions: access.Pull.Actions(), Tags: []string{"1.*"}},
		head + "Images" + middle + `"ecr:PutImage"],"Condition":{"StringLikeIfExists":{"ecrin:ImageTag":["1.*"]}}}]}`: {Principal: alice,
			Permission: access.Push, Actions: []string{"ecr:PutImage"}, Tags: []string{"1.*"}},
	} {
		if got := g.Policy(); got != want {
			t.Errorf("%+v:\ngot  %s\nwant %s", g, got, want)
		}
	}
}
