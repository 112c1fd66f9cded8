package upgrade_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// This file writes the contents of a directory of testdata. Add data that a later version stores; existing directories
// do not change.

const (
	otherAccount = "111122223333"
	otherRegion  = "eu-west-1"
)

func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

const (
	mayLogin = `{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`
	mayRead  = `{"Sid":"Read","Effect":"Allow","Resource":"*",
		"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:ListImages","ecr:DescribeImages"]}`
)

// keep records the access key of a principal.
func (w *writer) keep(t *testing.T, name string, key map[string]any) {
	t.Helper()
	k := Key{ID: at[string](t, key, "AccessKeyId"), Secret: at[string](t, key, "SecretAccessKey")}
	k.Token, _ = key["SessionToken"].(string)
	w.Keys[name] = k
}

// login records a docker password of a principal.
func (w *writer) login(t *testing.T, as string) {
	t.Helper()
	out := w.do(t, as, "ecr GetAuthorizationToken")
	plain, err := base64.StdEncoding.DecodeString(at[string](t, at[[]any](t, out, "authorizationData")[0],
		"authorizationToken"))
	if err != nil {
		t.Fatal(err)
	}
	w.Passwords[as] = strings.TrimPrefix(string(plain), "AWS:")
}

// writeIdentities creates accounts, users, groups, roles, policies, keys, a provider, sessions and docker passwords.
func (w *writer) writeIdentities(t *testing.T) {
	t.Helper()
	root := func(name string, out map[string]any) {
		w.Keys[name] = Key{ID: at[string](t, out, "accessKey", "accessKeyId"), Secret: at[string](t, out, "accessKey",
			"secretAccessKey")}
	}
	root("root", w.do(t, "operator", "ecrin GetAccountCredentials"))
	root("other root", w.do(t, "operator", "ecrin CreateAccount", "accountId", otherAccount, "alias", "second"))
	arn := func(resource string) string { return "arn:aws:iam::" + w.Account + ":" + resource }

	w.do(t, "root", "iam CreateAccountAlias", "AccountAlias", "first")
	managed := at[string](t, w.do(t, "root", "iam CreatePolicy", "PolicyName", "Reader", "Path", "/teams/", "Description",
		"reads images",
		"PolicyDocument", document(mayLogin, mayRead), "Tags.member.1.Key", "kind", "Tags.member.1.Value", "managed"),
		"Policy", "Arn")
	w.do(t, "root", "iam CreatePolicyVersion", "PolicyArn", managed, "SetAsDefault", "true",
		"PolicyDocument", document(mayLogin, mayRead, `{"Effect":"Allow","Action":"ecr:DescribeRepositories","Resource":"*"}`))
	w.do(t, "root", "iam CreateGroup", "GroupName", "Builders", "Path", "/teams/")
	w.do(t, "root", "iam PutGroupPolicy", "GroupName", "Builders", "PolicyName", "push",
		"PolicyDocument", document(mayLogin, `{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:`+
			w.Account+`:repository/team/*"}`))
	for _, user := range []string{"ada", "ben", "cleo"} {
		w.do(t, "root", "iam CreateUser", "UserName", user, "Path", "/people/", "Tags.member.1.Key", "name",
			"Tags.member.1.Value", user)
	}
	w.do(t, "root", "iam AddUserToGroup", "GroupName", "Builders", "UserName", "ada")
	w.do(t, "root", "iam AttachUserPolicy", "UserName", "ben", "PolicyArn", managed)
	w.do(t, "root", "iam AttachGroupPolicy", "GroupName", "Builders", "PolicyArn",
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")
	w.do(t, "root", "iam PutUserPolicy", "UserName", "ben", "PolicyName", "not-secret",
		"PolicyDocument", document(`{"Sid":"NotSecret","Effect":"Deny","Action":"*","Resource":"*",
			"Condition":{"StringLike":{"ecr:ResourceTag/secrecy":"high*"}}}`))
	w.do(t, "root", "iam PutUserPermissionsBoundary", "UserName", "ada", "PermissionsBoundary",
		"arn:aws:iam::aws:policy/AdministratorAccess")
	for _, user := range []string{"ada", "ben", "cleo"} {
		w.keep(t, user, at[map[string]any](t, w.do(t, "root", "iam CreateAccessKey", "UserName", user), "AccessKey"))
	}
	w.keep(t, "cleo, inactive", at[map[string]any](t, w.do(t, "root", "iam CreateAccessKey", "UserName", "cleo"),
		"AccessKey"))
	w.do(t, "cleo, inactive", "sts GetCallerIdentity")
	w.do(t, "root", "iam UpdateAccessKey", "UserName", "cleo", "AccessKeyId", w.Keys["cleo, inactive"].ID, "Status",
		"Inactive")

	issuer := oidctest.Start(t, oidctest.Options{Path: "/id/X1"})
	provider := at[string](t, w.do(t, "root", "iam CreateOpenIDConnectProvider", "Url", issuer.URL(),
		"ClientIDList.member.1", oidctest.Audience, "ThumbprintList.member.1", issuer.Thumbprint()), "OpenIDConnectProviderArn")
	w.do(t, "root", "iam CreateRole", "RoleName", "deploy", "Path", "/robots/", "Description", "deploys",
		"MaxSessionDuration", "43200",
		"AssumeRolePolicyDocument", document(`{"Effect":"Allow","Principal":{"AWS":"`+
			arn("user/people/ben")+`"},"Action":["sts:AssumeRole","sts:TagSession"]}`))
	w.do(t, "root", "iam CreateRole", "RoleName", "pod",
		"AssumeRolePolicyDocument", document(`{"Effect":"Allow","Principal":{"Federated":"`+
			provider+`"},"Action":"sts:AssumeRoleWithWebIdentity"}`))
	for _, role := range []string{"deploy", "pod"} {
		w.do(t, "root", "iam AttachRolePolicy", "RoleName", role, "PolicyArn", managed)
	}
	w.do(t, "root", "iam CreateInstanceProfile", "InstanceProfileName", "machines")
	w.do(t, "root", "iam AddRoleToInstanceProfile", "InstanceProfileName", "machines", "RoleName", "deploy")
	w.do(t, "root", "iam PutUserPolicy", "UserName", "ben", "PolicyName", "become",
		"PolicyDocument", document(`{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession","sts:GetFederationToken"],"Resource":"*"}`))

	w.keep(t, "deploy", at[map[string]any](t, w.do(t, "ben", "sts AssumeRole", "RoleArn", arn("role/robots/deploy"),
		"RoleSessionName", "night",
		"DurationSeconds", "43200", "Policy", document(mayLogin, mayRead), "Tags.member.1.Key", "run", "Tags.member.1.Value",
		"7"), "Credentials"))
	w.keep(t, "pod", at[map[string]any](t, w.do(t, "", "sts AssumeRoleWithWebIdentity", "RoleArn", arn("role/pod"),
		"RoleSessionName", "web",
		"WebIdentityToken", issuer.Mint(issuer.Kubernetes("apps", "web"))), "Credentials"))
	w.keep(t, "guest", at[map[string]any](t, w.do(t, "ben", "sts GetFederationToken", "Name", "guest",
		"Policy", document(mayLogin, mayRead)), "Credentials"))
	w.keep(t, "ada, session", at[map[string]any](t, w.do(t, "ada", "sts GetSessionToken"), "Credentials"))
	for _, as := range []string{"root", "other root", "ada", "ben", "cleo", "deploy", "pod"} {
		if as == "cleo" {
			w.do(t, "root", "iam PutUserPolicy", "UserName", "cleo", "PolicyName", "login", "PolicyDocument", document(mayLogin))
		}
		w.login(t, as)
	}
}

// writeRegistry creates repositories in two accounts and regions, images of all kinds, and control policies.
func (w *writer) writeRegistry(t *testing.T) {
	t.Helper()
	w.json(t, "root", "ecr CreateRepository", "",
		`{"repositoryName":"team/app","tags":[{"Key":"team","Value":"blue"},{"Key":"stage","Value":"prod"}]}`)
	w.json(t, "root", "ecr CreateRepository", "",
		`{"repositoryName":"team/fixed","imageTagMutability":"IMMUTABLE_WITH_EXCLUSION",
		"imageTagMutabilityExclusionFilters":[{"filterType":"WILDCARD","filter":"dev-*"}],"imageScanningConfiguration":{"scanOnPush":true}}`)
	w.json(t, "root", "ecr CreateRepository", "",
		`{"repositoryName":"private/plans","tags":[{"Key":"secrecy","Value":"high"}]}`)
	w.json(t, "root", "ecr CreateRepository", otherRegion, `{"repositoryName":"team/app"}`)
	w.json(t, "other root", "ecr CreateRepository", otherRegion,
		`{"repositoryName":"shared/base","imageTagMutability":"IMMUTABLE"}`)
	w.json(t, "other root", "ecr CreateRepository", "", `{"repositoryName":"team/gone"}`)
	w.json(t, "other root", "ecr DeleteRepository", "", `{"repositoryName":"team/gone"}`)
	w.json(t, "root", "ecr SetRepositoryPolicy", "", `{"repositoryName":"team/app","policyText":`+quote(document(
		`{"Sid":"Ada","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+
			w.Account+`:user/people/ada"},"Action":"ecr:*"}`))+`}`)
	w.json(t, "other root", "ecr SetRepositoryPolicy", otherRegion, `{"repositoryName":"shared/base","policyText":`+
		quote(document(
			`{"Sid":"First","Effect":"Allow","Principal":{"AWS":"`+
				w.Account+`"},"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}`))+`}`)
	w.json(t, "root", "ecr PutRegistryPolicy", "", `{"policyText":`+
		quote(document(`{"Sid":"Second","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+
			otherAccount+`:root"},"Action":"ecr:CreateRepository","Resource":"arn:aws:ecr:`+w.Region+`:`+
			w.Account+`:repository/mirror/*"}`))+`}`)
	w.json(t, "root", "ecr PutAccountSetting", "", `{"name":"BLOB_MOUNTING","value":"DISABLED"}`)
	w.json(t, "other root", "ecr PutAccountSetting", otherRegion, `{"name":"REGISTRY_POLICY_SCOPE","value":"V1"}`)
	w.do(t, "operator", "ecrin PutControlPolicy", "name", "keep-registry-policy", "type", "SERVICE_CONTROL_POLICY",
		"policyText", document(`{"Sid":"Keep","Effect":"Deny","Action":"ecr:DeleteRegistryPolicy","Resource":"*"}`))
	w.do(t, "operator", "ecrin PutControlPolicy", "name", "stay-inside", "type", "RESOURCE_CONTROL_POLICY", "accountId",
		otherAccount,
		"policyText", document(`{"Sid":"Inside","Effect":"Deny","Principal":"*","Action":"ecr:DeleteRepositoryPolicy","Resource":"*"}`))

	// One image, an index over two, an artifact that refers to the index, and tags that move.
	app := w.docker("ada", w.Account, w.Region).Repo("team/app")
	images := []ocitest.Image{ocitest.NewImage(1, 300), ocitest.NewImage(2, 300, 200), ocitest.NewImage(3, 100),
		ocitest.NewImage(4, 100)}
	app.Push(t, "v1", images[0])
	app.Push(t, "", images[1])
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Annotations: map[string]string{"note": "both"},
		Manifests: []ocitest.Descriptor{images[0].Descriptor(), images[1].Descriptor()}}.JSON()
	app.PutManifest(t, "multi", ocitest.IndexType, index).Want(t, http.StatusCreated)
	subject, empty := ocitest.Describe(ocitest.IndexType, index), ocitest.Describe(ocitest.EmptyType, []byte("{}"))
	signature := ocitest.Bytes(50, 80)
	app.PutBlob(t, []byte("{}"))
	app.PutBlob(t, signature)
	app.PutManifest(t, "signature", ocitest.ImageType, ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType,
		ArtifactType: "application/example.signature",
		Config:       &empty, Layers: []ocitest.Descriptor{ocitest.Describe("application/octet-stream", signature)},
		Subject:     &subject,
		Annotations: map[string]string{"signed-by": "ada"}}.JSON()).Want(t, http.StatusCreated)
	app.Push(t, "latest", images[0])
	app.Push(t, "latest", images[2])
	app.Push(t, "gone", images[3])
	app.PutManifest(t, "v3", ocitest.ImageType, images[2].Manifest).Want(t, http.StatusCreated)
	w.json(t, "ada", "ecr BatchDeleteImage", "", `{"repositoryName":"team/app","imageIds":[{"imageDigest":`+
		quote(images[3].Digest)+`}]}`)
	w.Deleted = append(w.Deleted, Deleted{As: "root", Repository: "team/app", Path: app.Path("/manifests/" +
		images[3].Digest), Digest: images[3].Digest})
	w.json(t, "ada", "ecr BatchDeleteImage", "", `{"repositoryName":"team/app","imageIds":[{"imageTag":"v3"}]}`)

	fixed := w.docker("root", w.Account, w.Region).Repo("team/fixed")
	fixed.Push(t, "v1", images[1])
	fixed.Push(t, "dev-1", images[1])
	fixed.Push(t, "dev-1", images[2])
	w.docker("root", w.Account, w.Region).Repo("private/plans").Push(t, "v1", ocitest.NewImage(5, 50))
	// Repositories and docker passwords belong to one region.
	w.caller.region = otherRegion
	w.login(t, "other root")
	w.login(t, "root")
	w.caller.region = w.Region
	w.Passwords["root, "+otherRegion] = w.Passwords["root"]
	w.login(t, "root")
	w.docker("root, "+otherRegion, w.Account, otherRegion).Repo("team/app").Push(t, "v1", ocitest.NewImage(6, 50))
	w.docker("other root", otherAccount, otherRegion).Repo("shared/base").Push(t, "v1", ocitest.NewImage(7, 50))
	fixed.Manifest(t, "v1").Want(t, http.StatusOK)
}

// writeLast creates what the kill interrupts: an open upload, a denial, and changes whose audit lines are not in the
// files yet.
func (w *writer) writeLast(t *testing.T) {
	t.Helper()
	app := w.docker("ada", w.Account, w.Region).Repo("team/app")
	location := app.Begin(t)
	u := Upload{As: "ada", Seed: 60, Size: 700}
	app.Do(t, http.MethodPatch, location, ocitest.Bytes(u.Seed, u.Size), "Content-Range", fmt.Sprintf("0-%d",
		u.Size-1)).Want(t, http.StatusAccepted)
	u.Location = location[strings.Index(location, "/v2/"):]
	w.Uploads = append(w.Uploads, u)
	w.docker("ben", w.Account, w.Region).Repo("private/plans").Manifest(t, "v1").WantError(t, http.StatusForbidden, "DENIED")
	_ = trail(t, w.caller, w.operator, w.caller.now()) // moves the earlier lines into the files
	w.json(t, "root", "ecr TagResource", "", `{"resourceArn":"arn:aws:ecr:`+w.Region+`:`+
		w.Account+`:repository/team/app","tags":[{"Key":"last","Value":"yes"}]}`)
	w.do(t, "root", "iam TagUser", "UserName", "cleo", "Tags.member.1.Key", "last", "Tags.member.1.Value", "yes")
	app.Push(t, "last", ocitest.NewImage(8, 40))
}

// list requests everything and records the answers.
func (w *writer) list(t *testing.T) {
	t.Helper()
	keys := opened{Listing: w.Listing, operator: w.operator}.keys()
	call := func(as, operation, region string, in map[string]any) Call {
		t.Helper()
		service, op, _ := strings.Cut(operation, " ")
		c := Call{As: as, Service: service, Region: region, Operation: op, In: in}.run(t, w.caller, keys)
		w.Calls = append(w.Calls, c)
		return c
	}
	type in = map[string]any
	call("operator", "ecrin ListAccounts", "", nil)
	call("operator", "ecrin ListControlPolicies", "", nil)
	for _, as := range []string{"root", "other root"} {
		account := w.Account
		if as == "other root" {
			account = otherAccount
		}
		call("operator", "ecrin ListAccessKeys", "", in{"accountId": account})
		call("operator", "ecrin GetAccountCredentials", "", in{"accountId": account})
		call("operator", "ecrin ListTokens", "", in{"accountId": account})
		call(as, "iam GetAccountAuthorizationDetails", "", in{"MaxItems": 1000})
		call(as, "iam GetAccountSummary", "", nil)
		call(as, "iam ListAccountAliases", "", nil)
		for _, region := range []string{w.Region, otherRegion} {
			call(as, "ecr GetRegistryPolicy", region, nil)
			for _, setting := range []string{"BLOB_MOUNTING", "REGISTRY_POLICY_SCOPE"} {
				call(as, "ecr GetAccountSetting", region, in{"name": setting})
			}
			repositories := call(as, "ecr DescribeRepositories", region, in{"maxResults": 1000})
			for _, r := range at[[]any](t, repositories.Out, "repositories") {
				w.listRepository(t, call, as, account, region, at[string](t, r, "repositoryName"), at[string](t, r, "repositoryArn"))
			}
		}
	}
	for _, list := range []string{"Users", "Groups", "Roles", "InstanceProfiles", "OpenIDConnectProviders"} {
		call("root", "iam List"+list, "", nil)
	}
	call("root", "iam ListPolicies", "", in{"Scope": "Local"})
	arn := "arn:aws:iam::" + w.Account + ":"
	for _, version := range []string{"v1", "v2"} {
		call("root", "iam GetPolicyVersion", "", in{"PolicyArn": arn + "policy/teams/Reader", "VersionId": version})
	}
	call("root", "iam ListEntitiesForPolicy", "", in{"PolicyArn": arn + "policy/teams/Reader"})
	call("root", "iam GetPolicy", "", in{"PolicyArn": arn + "policy/teams/Reader"})
	for _, user := range []string{"ada", "ben", "cleo"} {
		for _, operation := range []string{"GetUser", "ListAccessKeys", "ListUserTags", "ListGroupsForUser",
			"ListUserPolicies", "ListAttachedUserPolicies"} {
			call("root", "iam "+operation, "", in{"UserName": user})
		}
	}
	call("root", "iam GetUserPolicy", "", in{"UserName": "ben", "PolicyName": "not-secret"})
	call("root", "iam GetGroup", "", in{"GroupName": "Builders"})
	call("root", "iam GetGroupPolicy", "", in{"GroupName": "Builders", "PolicyName": "push"})
	for _, role := range []string{"deploy", "pod"} {
		call("root", "iam GetRole", "", in{"RoleName": role})
		call("root", "iam ListAttachedRolePolicies", "", in{"RoleName": role})
	}
	for _, p := range at[[]any](t, call("root", "iam ListOpenIDConnectProviders", "", nil).Out,
		"OpenIDConnectProviderList") {
		call("root", "iam GetOpenIDConnectProvider", "", in{"OpenIDConnectProviderArn": at[string](t, p, "Arn")})
	}
	// Every key signs a request; requests with inactive keys are refused.
	for _, as := range []string{"root", "other root", "ada", "ben", "cleo", "cleo, inactive", "deploy", "pod", "guest",
		"ada, session"} {
		call(as, "sts GetCallerIdentity", "", nil)
	}
	call("ada", "ecr DeleteRegistryPolicy", "", nil) // denied by the operator
	call("guest", "ecr ListImages", "", in{"repositoryName": "team/app"})
	call("ben", "ecr ListImages", "", in{"repositoryName": "private/plans"}) // denied by the resource tag

	w.Trail = trail(t, w.caller, w.operator, w.Written)
	for _, line := range w.Trail {
		if strings.Contains(line, `"AccessDenied"`) {
			_, rest, _ := strings.Cut(line, `"requestID":"`)
			id, _, _ := strings.Cut(rest, `"`)
			call("operator", "ecrin ExplainRequest", "", in{"requestId": id})
			last := &w.Calls[len(w.Calls)-1]
			e := at[map[string]any](t, last.Out, "explanation")
			for k := range e { // the texts may change
				if k != "allowed" && k != "verdict" && k != "decidedBy" && k != "principalArn" && k != "action" && k != "resource" {
					delete(e, k)
				}
			}
		}
	}
}

// listRepository requests everything about one repository by both APIs.
func (w *writer) listRepository(t *testing.T, call func(as, operation, region string, in map[string]any) Call, as,
	account, region, name, arn string) {
	t.Helper()
	type in = map[string]any
	call(as, "ecr GetRepositoryPolicy", region, in{"repositoryName": name})
	call(as, "ecr ListTagsForResource", region, in{"resourceArn": arn})
	call(as, "ecrin ListTagHistory", region, in{"repositoryName": name, "maxResults": 1000})
	call(as, "ecrin ListDeletedImages", region, in{"repositoryName": name})
	call(as, "ecr ListImages", region, in{"repositoryName": name, "maxResults": 1000})
	images := call(as, "ecr DescribeImages", region, in{"repositoryName": name, "maxResults": 1000})
	password := as
	if as == "root" && region != w.Region {
		password = as + ", " + region
	}
	get := func(as, path string) {
		w.Gets = append(w.Gets, Get{As: as, Path: "/v2/" + account + "/" + region + "/" + name + path}.run(t, w.docker(as,
			account, region)))
	}
	blobs := map[string]bool{}
	get(password, "/tags/list")
	for _, im := range at[[]any](t, images.Out, "imageDetails") {
		digest := at[string](t, im, "imageDigest")
		call(as, "ecr ListImageReferrers", region, in{"repositoryName": name, "subjectId": in{"imageDigest": digest}})
		get(password, "/manifests/"+digest)
		var m ocitest.Manifest
		w.docker(password, account, region).Repo(name).Manifest(t, digest).Want(t, http.StatusOK).JSON(t, &m)
		for _, b := range m.Layers {
			blobs[b.Digest] = true
		}
		if m.Config != nil {
			blobs[m.Config.Digest] = true
		}
		get(password, "/referrers/"+digest)
		tags, _ := im.(map[string]any)["imageTags"].([]any)
		for _, tag := range tags {
			get(password, "/manifests/"+tag.(string))
			for _, other := range []string{"ada", "ben", "cleo", "deploy", "pod"} {
				get(other, "/manifests/"+tag.(string))
			}
		}
	}
	for _, blob := range slices.Sorted(maps.Keys(blobs)) {
		get(password, "/blobs/"+blob)
	}
}
