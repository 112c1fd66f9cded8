package awsapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// noise are the tables that the background work of a server changes, and that of what a collection will look at: a row too many is
// harmless.
var noise = []string{"audit_pending", "access_keys", "candidates", "collection", "jobs"}

// swept is a call whose statements fail, by the key of a caller.
type swept func(key aws.Credentials) answer

func (s *server) ecrCall(operation string, pairs ...any) swept {
	body := object(pairs...)
	return func(key aws.Credentials) answer {
		return s.send(raw{key: key, target: ecrTarget + operation, body: body})
	}
}

func (s *server) iamCall(action string, pairs ...string) swept {
	return func(key aws.Credentials) answer { return s.callQuery(key, "iam", action, pairs...) }
}

const policyForAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:*"}]}`

const pullOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"

// sweptChanges are calls that change something. Each prepares what it needs; repo is a new repository, and i a number.
var sweptChanges = map[string]func(s *server, repo string, i int) swept{
	"CreateRepository": func(s *server, repo string, i int) swept {
		return s.ecrCall("CreateRepository", "repositoryName", repo+"/new", "tags", []map[string]string{{"Key": "a", "Value": "b"}})
	},
	"DeleteRepository": func(s *server, repo string, i int) swept {
		s.image(repo, fmt.Sprint(i), "v1")
		return s.ecrCall("DeleteRepository", "repositoryName", repo, "force", true)
	},
	"SetRepositoryPolicy": func(s *server, repo string, _ int) swept {
		return s.ecrCall("SetRepositoryPolicy", "repositoryName", repo, "policyText", policyForAll)
	},
	"DeleteRepositoryPolicy": func(s *server, repo string, _ int) swept {
		s.must("SetRepositoryPolicy", object("repositoryName", repo, "policyText", policyForAll))
		return s.ecrCall("DeleteRepositoryPolicy", "repositoryName", repo)
	},
	"PutImageTagMutability": func(s *server, repo string, _ int) swept {
		return s.ecrCall("PutImageTagMutability", "repositoryName", repo, "imageTagMutability", "IMMUTABLE")
	},
	"TagResource": func(s *server, repo string, _ int) swept {
		return s.ecrCall("TagResource", "resourceArn", "arn:aws:ecr:us-east-1:"+home+":repository/"+repo,
			"tags", []map[string]string{{"Key": "a", "Value": "b"}})
	},
	"CreateRepositoryCreationTemplate": func(s *server, repo string, _ int) swept {
		return s.ecrCall("CreateRepositoryCreationTemplate", "prefix", repo, "appliedFor", []string{"CREATE_ON_PUSH"},
			"repositoryPolicy", policyForAll)
	},
	"UpdateRepositoryCreationTemplate": func(s *server, repo string, _ int) swept {
		s.must("CreateRepositoryCreationTemplate", object("prefix", repo, "appliedFor", []string{"REPLICATION"}))
		return s.ecrCall("UpdateRepositoryCreationTemplate", "prefix", repo, "description", "x")
	},
	"RegisterPullTimeUpdateExclusion": func(s *server, _ string, i int) swept {
		return s.ecrCall("RegisterPullTimeUpdateExclusion", "principalArn", fmt.Sprintf("arn:aws:iam::%s:role/r%d", home, i))
	},
	"InitiateLayerUpload": func(s *server, repo string, _ int) swept {
		return s.ecrCall("InitiateLayerUpload", "repositoryName", repo)
	},
	"UploadLayerPart": func(s *server, repo string, _ int) swept {
		body := part(repo, s.begin(repo), 0, "some bytes")
		return func(key aws.Credentials) answer {
			return s.send(raw{key: key, target: ecrTarget + "UploadLayerPart", body: body})
		}
	},
	"CompleteLayerUpload": func(s *server, repo string, i int) swept {
		content := fmt.Sprint("layer", i)
		id := s.begin(repo)
		s.must("UploadLayerPart", part(repo, id, 0, content))
		return s.ecrCall("CompleteLayerUpload", "repositoryName", repo, "uploadId", id, "layerDigests", []string{digestOf(content)})
	},
	"PutImage": func(s *server, repo string, i int) swept {
		config := fmt.Sprintf("{%q:1}", fmt.Sprint(i))
		s.layer(repo, config)
		return s.ecrCall("PutImage", "repositoryName", repo, "imageManifest", manifest(config, nil), "imageTag", "v1")
	},
	"BatchDeleteImage": func(s *server, repo string, i int) swept {
		s.image(repo, fmt.Sprint(i), "v1")
		return s.ecrCall("BatchDeleteImage", "repositoryName", repo, "imageIds", []map[string]string{{"imageTag": "v1"}})
	},
	"CreateUser": func(s *server, _ string, i int) swept {
		return s.iamCall("CreateUser", "UserName", fmt.Sprint("new", i), "Tags.member.1.Key", "a", "Tags.member.1.Value", "b")
	},
	"PutUserPolicy": func(s *server, _ string, i int) swept {
		s.newUser(i)
		return s.iamCall("PutUserPolicy", "UserName", fmt.Sprint("u", i), "PolicyName", "p", "PolicyDocument",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`)
	},
	"AttachUserPolicy": func(s *server, _ string, i int) swept {
		s.newUser(i)
		return s.iamCall("AttachUserPolicy", "UserName", fmt.Sprint("u", i), "PolicyArn", pullOnly)
	},
	"DeleteUser": func(s *server, _ string, i int) swept {
		s.newUser(i)
		return s.iamCall("DeleteUser", "UserName", fmt.Sprint("u", i))
	},
	"CreateRole": func(s *server, _ string, i int) swept {
		return s.iamCall("CreateRole", "RoleName", fmt.Sprint("r", i), "AssumeRolePolicyDocument",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+home+`"},"Action":"sts:AssumeRole"}]}`)
	},
	"CreatePolicy": func(s *server, _ string, i int) swept {
		return s.iamCall("CreatePolicy", "PolicyName", fmt.Sprint("p", i), "PolicyDocument",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`)
	},
	"AssumeRole": func(s *server, _ string, i int) swept {
		role := fmt.Sprint("job", i)
		s.role(role, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`)
		user := s.user(fmt.Sprint("worker", i),
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`)
		return func(key aws.Credentials) answer {
			if key == s.key { // the root user cannot assume roles
				key = user
			}
			return s.callQuery(key, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+home+":role/"+role, "RoleSessionName", "work")
		}
	},
	"DeleteRolePolicy": func(s *server, _ string, i int) swept {
		s.role(fmt.Sprint("job", i), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`)
		return s.iamCall("DeleteRolePolicy", "RoleName", fmt.Sprint("job", i), "PolicyName", "p")
	},
	"PutRegistryPolicy": func(s *server, _ string, i int) swept {
		s.call("DeleteRegistryPolicy", "{}") // that of an earlier call, if there is one
		return s.ecrCall("PutRegistryPolicy", "policyText", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",`+
			`"Action":"ecr:ReplicateImage","Resource":"arn:aws:ecr:us-east-1:`+home+`:repository/*"}]}`)
	},
	"AddUserToGroup": func(s *server, _ string, i int) swept {
		s.newUser(i)
		s.mustStatus(s.iamCall("CreateGroup", "GroupName", fmt.Sprint("g", i))(s.key))
		return s.iamCall("AddUserToGroup", "UserName", fmt.Sprint("u", i), "GroupName", fmt.Sprint("g", i))
	},
}

// sweptReads are calls that read.
var sweptReads = map[string]func(s *server, repo string, i int) swept{
	"DescribeRepositories": func(s *server, repo string, _ int) swept {
		return s.ecrCall("DescribeRepositories", "repositoryNames", []string{repo})
	},
	"GetRepositoryPolicy": func(s *server, repo string, _ int) swept {
		s.must("SetRepositoryPolicy", object("repositoryName", repo, "policyText", policyForAll))
		return s.ecrCall("GetRepositoryPolicy", "repositoryName", repo)
	},
	"ListImages": func(s *server, repo string, i int) swept {
		s.image(repo, fmt.Sprint(i), "v1", "v2")
		return s.ecrCall("ListImages", "repositoryName", repo)
	},
	"DescribeImages": func(s *server, repo string, i int) swept {
		s.image(repo, fmt.Sprint(i), "v1", "v2")
		return s.ecrCall("DescribeImages", "repositoryName", repo)
	},
	"BatchGetImage": func(s *server, repo string, i int) swept {
		s.image(repo, fmt.Sprint(i), "v1")
		s.image(repo, fmt.Sprint("other", i), "v2")
		return s.ecrCall("BatchGetImage", "repositoryName", repo, "imageIds", []map[string]string{{"imageTag": "v1"}, {"imageTag": "v2"}})
	},
	"BatchCheckLayerAvailability": func(s *server, repo string, i int) swept {
		d := s.layer(repo, fmt.Sprint("layer", i))
		return s.ecrCall("BatchCheckLayerAvailability", "repositoryName", repo, "layerDigests", []string{d, digestOf("none")})
	},
	"ListTagsForResource": func(s *server, repo string, _ int) swept {
		arn := "arn:aws:ecr:us-east-1:" + home + ":repository/" + repo
		s.must("TagResource", object("resourceArn", arn, "tags", []map[string]string{{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}}))
		return s.ecrCall("ListTagsForResource", "resourceArn", arn)
	},
	"GetUser": func(s *server, _ string, i int) swept {
		s.newUser(i)
		return s.iamCall("GetUser", "UserName", fmt.Sprint("u", i))
	},
	"ListAttachedUserPolicies": func(s *server, _ string, i int) swept {
		s.newUser(i)
		s.mustStatus(s.iamCall("AttachUserPolicy", "UserName", fmt.Sprint("u", i), "PolicyArn", pullOnly)(s.key))
		return s.iamCall("ListAttachedUserPolicies", "UserName", fmt.Sprint("u", i))
	},
}

func (s *server) newUser(i int) {
	s.t.Helper()
	s.mustStatus(s.iamCall("CreateUser", "UserName", fmt.Sprint("u", i))(s.key))
}

func (s *server) mustStatus(a answer) {
	s.t.Helper()
	if a.Status != http.StatusOK {
		s.t.Fatalf("got %s, want 200", a)
	}
}

// Whatever statement fails during a change, an answer of success is true, and any other answer says that the server failed.
func TestNoChangeIsAnsweredFalselyWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptChanges {
		t.Run(what, func(t *testing.T) {
			slowtest.Sample(t, 4) // each has a server of its own
			t.Parallel()
			s := serve(t, nil)
			s.failing = true
			faulttest.Honest(t, faultmeta.In(s.Dir), func(i int) faulttest.Call {
				repo := fmt.Sprint("team/app-", i)
				s.repository(repo)
				call := prepare(s, repo, i)
				return faulttest.Call{Do: func() error { return s.outcome(call(s.key)) }, State: faulttest.Changes(t, s.Dir, noise...)}
			})
		})
	}
}

// outcome returns an error for an answer that says that the server failed, and fails the test for another refusal.
func (s *server) outcome(a answer) error {
	s.t.Helper()
	switch {
	case a.Status == http.StatusOK && !strings.Contains(a.Body, `"failures":[{`):
		return nil
	case a.Status < 500:
		s.t.Errorf("got %s, want success or a failure of the server", a)
	}
	return errors.New(a.String())
}

// variable are the parts of an answer that differ from call to call.
var variable = regexp.MustCompile(`<RequestId>[^<]*</RequestId>|"lastRecordedPullTime":[0-9.]+,?`)

// Whatever statement fails during a read, an answer of success is the whole one.
func TestNoReadIsAnsweredFalselyWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptReads {
		t.Run(what, func(t *testing.T) {
			slowtest.Sample(t, 4) // each has a server of its own
			t.Parallel()
			s := serve(t, nil)
			s.failing = true
			faults := faultmeta.In(s.Dir)
			faulttest.Honest(t, faults, func(i int) faulttest.Call {
				repo := fmt.Sprint("team/app-", i)
				s.repository(repo)
				call := prepare(s, repo, i)
				var got answer
				return faulttest.Call{
					Do: func() error {
						got = call(s.key)
						if got.Status < 500 && got.Status != http.StatusOK {
							t.Errorf("got %s, want success or a failure of the server", got)
						}
						if got.Status != http.StatusOK {
							return errors.New(got.String())
						}
						return nil
					},
					State: func() string {
						if got.Status != http.StatusOK {
							return "no answer"
						}
						// Nothing fails any more.
						if want := call(s.key); variable.ReplaceAllString(got.Body, "") != variable.ReplaceAllString(want.Body, "") {
							return fmt.Sprintf("%s in place of %s", got, want)
						}
						return "the answer"
					},
				}
			})
		})
	}
}

// A user without permissions stays refused whatever statement fails.
func TestNoStrangerIsAnsweredWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for _, all := range []map[string]func(s *server, repo string, i int) swept{sweptChanges, sweptReads} {
		for what, prepare := range all {
			if what == "GetRepositoryPolicy" || what == "DeleteRepositoryPolicy" {
				continue // their policy allows everyone
			}
			t.Run(what, func(t *testing.T) {
				slowtest.Sample(t, 4) // each has a server of its own
				t.Parallel()
				s := serve(t, nil)
				s.failing = true
				stranger := s.user("stranger", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
				faulttest.Closed(t, faultmeta.In(s.Dir), func(i int) faulttest.Call {
					repo := fmt.Sprint("team/app-", i)
					s.repository(repo)
					call := prepare(s, repo, i)
					changed := faulttest.Changes(t, s.Dir, noise...)
					return faulttest.Call{Do: func() error {
						a := call(stranger)
						if now := changed(); now != "" {
							t.Errorf("call %d: the database has changed: %s", i, now)
						}
						if a.Status == http.StatusOK {
							return nil
						}
						return errors.New(a.String())
					}}
				})
			})
		}
	}
}
