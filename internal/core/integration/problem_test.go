package integration

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
)

// The image of a test is named as people copy it: with the host of the integration's registry, and with a tag before the digest, which then
// decides. Another host is an error that names both.
func TestImageOfATest(t *testing.T) {
	t.Parallel()
	const digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	const host = "000000000000.dkr.ecr.eu-west-1.amazonaws.com"
	for image, want := range map[string]string{
		"": " ", "team/app:1.0": "team/app 1.0", "team/app@" + digest: "team/app " + digest, "team/app:1.0@" + digest: "team/app " + digest,
		host + "/team/app:1.0": "team/app 1.0", host + "/team/app:1.0@" + digest: "team/app " + digest, "app:latest": "app latest",
		"my.team/app:1": "my.team/app 1",
	} {
		repo, ref, err := splitImage(image, host)
		if got := repo + " " + ref; err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", image, got, err, want)
		}
	}
	for image, want := range map[string]string{
		"team/app": "REPOSITORY:TAG", "team/app@sha256:12": "REPOSITORY:TAG", ":1.0": "REPOSITORY:TAG", "team/app:": "REPOSITORY:TAG",
		"team/app:-@" + digest: "REPOSITORY:TAG", "localhost:5100/team/app": "REPOSITORY:TAG", "team/app@1.0": "REPOSITORY:TAG",
		"000000000000.dkr.ecr.us-east-1.amazonaws.com/team/app:1.0": host, "localhost:5100/team/app:1.0": host,
	} {
		if repo, ref, err := splitImage(image, host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %q, %v, want an error with %s", image, repo, ref, err, want)
		}
	}
}

// What to do about refused credentials does not send to the test that says it.
func TestCureOfATest(t *testing.T) {
	t.Parallel()
	refused := &upstream.Error{Reason: upstream.Unauthorized, Public: "refused"}
	for _, step := range []string{upstream.StepCaller, upstream.StepRole, upstream.StepWeb, upstream.StepToken, upstream.StepRegistry,
		upstream.StepManifest} {
		for _, code := range []string{"", "OptInRequired", "RegionDisabledException"} {
			if got := cure(step, code, refused, Settings{}); strings.Contains(got, "integration test") || got == "" {
				t.Errorf("%s, %s: got %q, want another cure than the test itself", step, code, got)
			}
		}
	}
	for code, want := range map[string]string{"RegionDisabledException": "region", "UnrecognizedClientException": "region"} {
		if got := cure(upstream.StepToken, code, refused, Settings{}); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %s in it", code, got, want)
		}
	}
}

// The host of a registry of ECR has the domain of its partition.
func TestDomainOfAPartition(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"us-east-1": "amazonaws.com", "us-gov-west-1": "amazonaws.com",
		"cn-north-1": "amazonaws.com.cn", "eusc-de-east-1": "amazonaws.eu"} {
		at, err := registryOf(&Settings{RegistryID: "000000000000", Region: region})
		if got := domainOf(at); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", region, got, err, want)
		}
	}
}
