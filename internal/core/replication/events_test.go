package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// bodies returns the bodies of the events of a registry that contain all texts.
func bodies(t *testing.T, s *apptest.Server, account, region string, texts ...string) (all []string) {
	t.Helper()
	a, err1 := name.ParseAccount(account)
	r, err2 := name.ParseRegion(region)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	events, err := s.Meta().Events(t.Context(), name.Registry{Account: a, Region: r}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if body := string(e.Body); !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(body, text) }) {
			all = append(all, body)
		}
	}
	return all
}

// A replication makes an event in the registry of its destination, also one that fails, and a backfill one in that of its source.
func TestReplicationsMakeEvents(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here := s.Root(t)
	s.NewAccount(t, other)
	const there = "eu-west-1"
	region, im := s.Running.Region, ocitest.NewImage(1, 1000)
	rule(t, here, "", to(there, home))
	here.CreateRepository(t, "team/app").Push(t, "v1", im)
	status(t, here, "team/app", "v1", types.ReplicationStatusComplete)
	action := []string{`"ECR Replication Action"`, `"action-type":"REPLICATE"`, `"image-digest":"` + im.Digest + `"`,
		`"source-account":"` + home + `"`, `"source-region":"` + region + `"`}
	arrived := append(slices.Clone(action), `"result":"SUCCESS"`, `"image-tag":"v1"`,
		`"resources":["arn:aws:ecr:`+there+`:`+home+`:repository/team/app"]`)
	if got := bodies(t, s, home, there, arrived...); len(got) != 1 {
		t.Errorf("the destination has the events %s, want one of a success", bodies(t, s, home, there))
	}
	if got := bodies(t, s, home, region, `"ECR Replication Action"`); len(got) != 0 {
		t.Errorf("the source has the events %s of replications, want none", got)
	}

	started, err := here.ECR().StartReplicationBackfill(t.Context(), &ecr.StartReplicationBackfillInput{
		Destination: &types.ReplicationDestination{Region: aws.String(there), RegistryId: aws.String(home)}})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, here, started.ReplicationBackfillId)
	if got := bodies(t, s, home, region, `"ECR Replication Backfill Action"`, *started.ReplicationBackfillId); len(got) != 1 {
		t.Errorf("the source has the events %s of the backfill, want one", got)
	}

	rule(t, here, "", to(region, other)) // whose registry policy allows nothing
	here.Docker(t).Repo("team/app").Push(t, "v2", ocitest.NewImage(2, 1000))
	status(t, here, "team/app", "v2", types.ReplicationStatusFailed)
	if got := bodies(t, s, other, region, `"ECR Replication Action"`, `"result":"FAILED"`); len(got) == 0 {
		t.Errorf("the destination has the events %s, want one of a failure", bodies(t, s, other, region))
	}
}
