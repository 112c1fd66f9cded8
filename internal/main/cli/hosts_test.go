package cli_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// The names are those of every account, of every region with a repository, and of the regions of the configuration.
func TestHostsOfEveryAccountAndRegionInUse(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.TLS.Regions = []string{"eu-west-1"} }})
	must(t, "account", "create", "111122223333", "--data", s.Dir)
	_, err := s.Root(t).ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")},
		func(o *ecr.Options) { o.Region = "ap-south-1" })
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "hosts", "--data", s.Dir)
	var got []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); words[0] == "127.0.0.1" {
			got = append(got, words[1])
		}
	}
	want := []string{"000000000000.dkr.ecr.us-east-1", "111122223333.dkr.ecr.us-east-1", "api.ecr.us-east-1", "ecr.us-east-1",
		"000000000000.dkr.ecr.eu-west-1", "api.ecr.eu-west-1", "ecr.eu-west-1",
		"000000000000.dkr.ecr.ap-south-1", "api.ecr.ap-south-1", "ecr.ap-south-1"}
	if code != 0 || strings.Join(got, " ") != strings.Join(want, ".amazonaws.com ")+".amazonaws.com" {
		t.Errorf("ecrin hosts: got %d, %q, %s, want %q", code, got, errs, want)
	}
}
