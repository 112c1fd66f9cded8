package conformance_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/conformance"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// target returns a conformance target for an account's registry; change modifies the client, for example its
// host.
func target(t *testing.T, s *apptest.Server, a apptest.Account, change func(*ocitest.Client)) conformance.Target {
	client, api := a.Docker(t), a.ECR()
	if change != nil {
		change(&client)
	}
	var n atomic.Int64
	return conformance.Target{
		NewRepo: func(t *testing.T) ocitest.Repo {
			t.Helper()
			name := fmt.Sprintf("team/suite-%d", n.Add(1))
			if _, err := api.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
				t.Fatal(err)
			}
			return client.Repo(name)
		},
		Restart: func(t *testing.T) { s.Restart(t) },
	}
}

func TestPlainHost(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	x := target(t, s, s.Root(t), nil)
	client := s.Root(t).Docker(t)
	x.Catalog = &client
	conformance.Run(t, x)
}

// The same suite with the metadata in PostgreSQL. The log of the server does not contain the database's
// password.
func TestPostgreSQL(t *testing.T) {
	if os.Getenv("ECRIN_POSTGRES") != "1" {
		t.Skip("make postgres runs it")
	}
	t.Parallel()
	url := secret.New(pgtest.Start(t).NewDatabase(t))
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Database = url }})
	x := target(t, s, s.Root(t), nil)
	client := s.Root(t).Docker(t)
	x.Catalog = &client
	conformance.Run(t, x)
	t.Cleanup(func() { // runs before the server's cleanup, which stops the server
		if strings.Contains(s.Log.String(), pgtest.Password) {
			t.Error("the log has the password of the database")
		}
	})
}

func TestPathForm(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	conformance.Run(t, target(t, s, s.NewAccount(t, "111122223333").In("eu-west-1"), nil))
}

func TestRegistryHost(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	a := s.NewAccount(t, "111122223333").In("eu-west-1")
	var catalog ocitest.Client
	x := target(t, s, a, func(c *ocitest.Client) {
		c.Prefix, c.Host = "", "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
		catalog = *c
	})
	x.Catalog = &catalog
	conformance.Run(t, x)
}

func TestStrictECR(t *testing.T) {
	t.Parallel()
	quirks, err := registry.ParseQuirks("all")
	if err != nil {
		t.Fatal(err)
	}
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StrictECR = "all" }})
	client := s.Root(t).Docker(t)
	x := target(t, s, s.Root(t), nil)
	x.Catalog, x.Quirks = &client, quirks
	conformance.Run(t, x)
}
