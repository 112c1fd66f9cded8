package iam_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// An account has at most as many entities as its quota, also with concurrent requests. Each account has its own quota.
// Source: IAM user guide, IAM and STS quotas.
func TestQuotas(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for _, c := range []struct {
		what   string
		max    int
		create func(name string) error
	}{
		{"users", 5000, func(name string) error {
			_, err := w.CreateUser(t.Context(), w.root, &iamtypes.CreateUserRequest{UserName: name})
			return err
		}},
		{"groups", 300, func(name string) error {
			_, err := w.CreateGroup(t.Context(), w.root, &iamtypes.CreateGroupRequest{GroupName: name})
			return err
		}},
		{"roles", 1000, func(name string) error {
			_, err := w.CreateRole(t.Context(), w.root, &iamtypes.CreateRoleRequest{RoleName: name, AssumeRolePolicyDocument: trustEC2})
			return err
		}},
		{"instance profiles", 1000, func(name string) error {
			_, err := w.CreateInstanceProfile(t.Context(), w.root, &iamtypes.CreateInstanceProfileRequest{InstanceProfileName: name})
			return err
		}},
		{"providers", 100, func(name string) error {
			_, err := w.CreateOpenIDConnectProvider(t.Context(), w.root,
				&iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://" + name + ".example"})
			return err
		}},
	} {
		var mu sync.Mutex
		made, full := 0, 0
		work := make(chan int)
		var all sync.WaitGroup
		for range 64 { // writers that wait share a commit
			all.Go(func() {
				for i := range work {
					err := c.create(fmt.Sprintf("n%d", i))
					mu.Lock()
					switch {
					case err == nil:
						made++
					case errors.Is(err, fault.LimitExceeded):
						full++
					default:
						t.Errorf("%s: entity %d: %v", c.what, i, err)
					}
					mu.Unlock()
				}
			})
		}
		const more = 20
		for i := range c.max + more {
			work <- i
		}
		close(work)
		all.Wait()
		if made != c.max || full != more {
			t.Errorf("%s: got %d made and %d refused, want %d and %d", c.what, made, full, c.max, more)
		}
	}
	do(t, w.CreateUser, w.stranger, iamtypes.CreateUserRequest{UserName: "n1"})
	do(t, w.CreateGroup, w.stranger, iamtypes.CreateGroupRequest{GroupName: "n1"})
	if got := len(do(t, w.ListOpenIDConnectProviders, w.root,
		iamtypes.ListOpenIDConnectProvidersRequest{}).OpenIDConnectProviderList); got != 100 {
		t.Errorf("got %d providers in the list, want 100", got)
	}
}

// Of concurrent requests for names that differ in case only, one succeeds.
func TestRaceForAName(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for _, name := range []string{"abc", "abC", "aBc", "aBC", "Abc", "AbC", "ABc", "ABC"} {
		all.Go(func() {
			_, err := w.CreateUser(t.Context(), w.root, &iamtypes.CreateUserRequest{UserName: name})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else {
				wantCode(t, name, err, fault.EntityAlreadyExists)
			}
		})
	}
	all.Wait()
	if made != 1 {
		t.Errorf("%d users have been made, want 1", made)
	}
}
