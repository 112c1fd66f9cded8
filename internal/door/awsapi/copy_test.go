package awsapi_test

import (
	"strings"
	"testing"
)

// A copy needs the rights of a pull from the source and of a push to the destination, each of them.
func TestCopyNeedsTheRightsOfPullAndPush(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("staging/app")
	s.repository("production/app")
	s.image("staging/app", "a", "1.4")
	user := s.user("carla", allow("ecr:ListImages"))
	rights := map[string][]string{
		"staging":    {"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
		"production": {"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"},
	}
	copied := func(without string) answer {
		t.Helper()
		var statements []any
		for repo, actions := range rights {
			for _, a := range actions {
				if a != without {
					statements = append(statements, map[string]any{"Effect": "Allow", "Action": a,
						"Resource": "arn:aws:ecr:*:*:repository/" + repo + "/app"})
				}
			}
		}
		s.setInlinePolicy("carla", object("Version", "2012-10-17", "Statement", statements))
		return s.callEcrin(user, "CopyImage",
			`{"repositoryName":"staging/app","imageTag":"1.4","destinationRepositoryName":"production/app"}`)
	}
	for _, actions := range rights {
		for _, a := range actions {
			if got := copied(a); got.Type != "AccessDeniedException" || !strings.Contains(got.Message, a) {
				t.Errorf("without %s: got %+v, want a denial that names it", a, got)
			}
		}
	}
	if got := s.call("DescribeImages", `{"repositoryName":"production/app"}`); strings.Contains(got.Body, "1.4") {
		t.Errorf("after denied copies: got %s", got.Body)
	}
	if got := copied("none"); got.Status != 200 {
		t.Errorf("with all rights: got %+v", got)
	}
	if got := s.call("DescribeImages", `{"repositoryName":"production/app"}`); !strings.Contains(got.Body, "1.4") {
		t.Errorf("after the copy: got %s", got.Body)
	}
}

// A copy by digest without tags needs the right to store an image too, and gets no tag.
func TestCopyByDigestNeedsTheRightToStoreAnImage(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("staging")
	s.repository("production")
	d := digestOf(s.image("staging", "a", "1.4"))
	all := []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart",
		"ecr:CompleteLayerUpload"}
	user := s.user("carla", allow(all...))
	in := object("repositoryName", "staging", "imageDigest", d, "destinationRepositoryName", "production")
	if got := s.callEcrin(user, "CopyImage", in); got.Type != "AccessDeniedException" || !strings.Contains(got.Message, "ecr:PutImage") {
		t.Errorf("without ecr:PutImage: got %s, want a denial that names it", got)
	}
	s.setInlinePolicy("carla", allow(append(all, "ecr:PutImage")...))
	if got := s.callEcrin(user, "CopyImage", in); got.Body != `{"imageDigest":"`+d+`","imageTags":[],"new":true}` {
		t.Errorf("with it: got %s, want the digest, no tags, and that the image is new", got)
	}
	if got := s.must("ListImages", object("repositoryName", "production")); len(list(got, "imageIds")) != 1 {
		t.Errorf("ListImages: got %v, want one image without a tag", got)
	}
}

// A tag of an immutable repository that names another image is not moved by a copy, and the answer says so.
func TestCopyToATakenTag(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("staging")
	s.must("CreateRepository", object("repositoryName", "production", "imageTagMutability", "IMMUTABLE"))
	s.image("staging", "new", "1.4")
	d := digestOf(s.image("production", "old", "1.4"))
	const in = `{"repositoryName":"staging","imageTag":"1.4","destinationRepositoryName":"production"}`
	if got := s.callEcrin(s.key, "CopyImage", in); got.Type != "ImageTagAlreadyExistsException" {
		t.Errorf("a copy to a taken tag: got %s, want ImageTagAlreadyExistsException", got)
	}
	if got := s.call("DescribeImages", `{"repositoryName":"production"}`); !strings.Contains(got.Body, d) {
		t.Errorf("DescribeImages: got %s, want the tag at %s as before", got, d)
	}
}

// A copy of what does not exist, or to a repository that does not exist, says so.
func TestCopyOfNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.image("app", "a", "1.4")
	const app = `{"repositoryName":"app","imageTag":"1.4","destinationRepositoryName":`
	for in, want := range map[string]string{
		`{"repositoryName":"app","imageTag":"2","destinationRepositoryName":"app"}`:  "ImageNotFoundException",
		`{"repositoryName":"none","imageTag":"2","destinationRepositoryName":"app"}`: "RepositoryNotFoundException",
		app + `"none"}`: "RepositoryNotFoundException",
		`{"repositoryName":"app","destinationRepositoryName":"app"}`: "InvalidParameterException",
		app + `"app","destinationTags":["a b"]}`:                     "InvalidParameterException",
		app + `"app","destinationRegion":"no such"}`:                 "InvalidParameterException",
	} {
		if got := s.callEcrin(s.key, "CopyImage", in); got.Type != want {
			t.Errorf("%s: got %+v, want %s", in, got, want)
		}
	}
}

// A copy to another installation needs the rights of a pull and the use of the integration, which is one of the caller's account.
func TestCopyElsewhereNeedsTheUseOfTheIntegration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("staging/app")
	s.image("staging/app", "a", "1.4")
	if got := s.callEcrin(s.key, "CreateIntegration", `{"integrationName":"far","kind":"OCI","registryHost":"registry.invalid",
		"replicatesTo":{"registryId":"999988887777","region":"eu-west-1"}}`); got.Status != 200 {
		t.Fatalf("CreateIntegration: got %+v", got)
	}
	user := s.user("carla", allow("ecr:ListImages"))
	rights := []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecrin:UseIntegration"}
	for _, in := range []string{`"destinationIntegration":"far"`, `"destinationRegistryId":"999988887777","destinationRegion":"eu-west-1"`} {
		in = `{"repositoryName":"staging/app","imageTag":"1.4","destinationRepositoryName":"any/name",` + in + `}`
		for _, without := range append(rights, "") {
			var actions []string
			for _, a := range rights {
				if a != without {
					actions = append(actions, a)
				}
			}
			s.setInlinePolicy("carla", allow(actions...))
			got := s.callEcrin(user, "CopyImage", in)
			switch {
			case without == "" && (got.Status != 200 || !strings.Contains(got.Body, `"jobId"`)):
				t.Errorf("%s with all rights: got %+v, want a job", in, got)
			case without != "" && (got.Type != "AccessDeniedException" || !strings.Contains(got.Message, without)):
				t.Errorf("%s without %s: got %+v, want a denial that names it", in, without, got)
			}
		}
	}
	const app = `{"repositoryName":"staging/app","imageTag":"1.4","destinationRepositoryName":"app","destinationIntegration":`
	for in, want := range map[string]string{
		app + `"none"}`: "IntegrationNotFoundException",
		app + `"far","destinationRegion":"eu-west-1"}`: "InvalidParameterException",
		strings.Replace(app, "1.4", "9", 1) + `"far"}`: "ImageNotFoundException",
	} {
		if got := s.callEcrin(s.key, "CopyImage", in); got.Type != want {
			t.Errorf("%s: got %+v, want %s", in, got, want)
		}
	}
}
