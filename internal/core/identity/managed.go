package identity

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Managed is a managed policy of AWS, available in every account.
type Managed struct {
	ARN, Name, Path, Description string
	ID                           string // ANPA…
	Version                      int    // the number of its default version
	CreatedAt, UpdatedAt         time.Time
	Text                         string
	ServiceLinked                bool // can be attached to service-linked roles only
}

const administrator = "arn:aws:iam::aws:policy/AdministratorAccess"

// ManagedPolicies returns the managed policies of AWS that ecrin supports, sorted by name.
func ManagedPolicies() []Managed { return slices.Clone(managedPolicies) }

// ManagedPolicy returns the managed policy with an ARN, and whether there is one. The policies of service-linked roles
// are also found by the ARN without a path, because the ECR user guide uses that form.
func ManagedPolicy(arn string) (Managed, bool) {
	for _, m := range managedPolicies {
		if m.ARN == arn || m.ServiceLinked && arn == name.AWSPolicyARN(name.DefaultPartition, "/", m.Name).String() {
			return m, true
		}
	}
	return Managed{}, false
}

// The actions of the policies of ECR. Source: ECR user guide, AWS managed policies.
const (
	pullOnly = "GetAuthorizationToken BatchGetImage GetDownloadUrlForLayer BatchImportUpstreamImage"
	readOnly = "GetAuthorizationToken BatchCheckLayerAvailability GetDownloadUrlForLayer GetRepositoryPolicy DescribeRepositories ListImages DescribeImages BatchGetImage GetLifecyclePolicy GetLifecyclePolicyPreview ListTagsForResource DescribeImageScanFindings"
	push     = "InitiateLayerUpload UploadLayerPart CompleteLayerUpload PutImage"
	through  = "GetAuthorizationToken BatchCheckLayerAvailability InitiateLayerUpload UploadLayerPart CompleteLayerUpload PutImage BatchGetImage BatchImportUpstreamImage GetDownloadUrlForLayer GetImageCopyStatus"
)

// ownAccount limits a statement to resources of the account of the caller.
const ownAccount = `,"Condition":{"StringEquals":{"aws:ResourceAccount":"${aws:PrincipalAccount}"}}`

// managedPolicies are the managed policies of ECR with their exact actions, and some that are in common use.
var managedPolicies = []Managed{
	managed("AWSECRPullThroughCache_ServiceRolePolicy", "/aws-service-role/", "2021-11-26", "2026-05-12", 4,
		"Lets the pull through cache of ECR fill repositories.",
		called("ECR", statement(ecrActions(through), `"*"`, ownAccount))+","+called("SecretsManager",
			statement(`"secretsmanager:GetSecretValue"`, `"arn:aws:secretsmanager:*:*:secret:ecr-pullthroughcache/*"`, ownAccount))),
	managed("AdministratorAccess", "/", "2015-02-06", "2015-02-06", 1, "Allows everything.", statement(`"*"`, `"*"`, "")),
	managed("AmazonEC2ContainerRegistryFullAccess", "/", "2015-12-21", "2020-12-05", 3, "Everything in ECR.",
		statement(`["ecr:*","cloudtrail:LookupEvents"]`, `"*"`, "")+","+
			statement(`"iam:CreateServiceLinkedRole"`, `"*"`,
				`,"Condition":{"StringEquals":{"iam:AWSServiceName":["replication.ecr.amazonaws.com"]}}`)),
	managed("AmazonEC2ContainerRegistryPowerUser", "/", "2015-12-21", "2019-12-10", 3,
		"Read and push in ECR, but no repositories or policies.", statement(ecrActions(readOnly+" "+push), `"*"`, "")),
	managed("AmazonEC2ContainerRegistryPullOnly", "/", "2024-10-03", "2024-10-03", 1, "Pull from ECR.",
		statement(ecrActions(pullOnly), `"*"`, "")),
	managed("AmazonEC2ContainerRegistryReadOnly", "/", "2015-12-21", "2019-12-10", 3, "Read in ECR.",
		statement(ecrActions(readOnly), `"*"`, "")),
	managed("AmazonECSTaskExecutionRolePolicy", "/service-role/", "2017-11-16", "2017-11-16", 1, "What a task execution role of ECS needs.",
		statement(`["ecr:GetAuthorizationToken","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage","logs:CreateLogStream","logs:PutLogEvents"]`, `"*"`, "")),
	managed("ECRReplicationServiceRolePolicy", "/aws-service-role/", "2020-12-04", "2020-12-04", 1,
		"Lets replication of ECR write images.", statement(ecrActions("CreateRepository ReplicateImage"), `"*"`, "")),
	managed("ECRTemplateServiceRolePolicy", "/aws-service-role/", "2024-06-20", "2024-06-20", 1,
		"Lets creation templates of ECR make repositories.",
		called("CreateRepositoryWithTemplate", statement(ecrActions("CreateRepository"), `"*"`, ""))),
	managed("IAMFullAccess", "/", "2015-02-06", "2019-06-21", 2, "Everything in IAM.",
		statement(`["iam:*","organizations:DescribeAccount","organizations:DescribeOrganization","organizations:DescribeOrganizationalUnit","organizations:DescribePolicy","organizations:ListChildren","organizations:ListParents","organizations:ListPoliciesForTarget","organizations:ListRoots","organizations:ListPolicies","organizations:ListTargetsForPolicy"]`, `"*"`, "")),
	managed("IAMReadOnlyAccess", "/", "2015-02-06", "2018-01-25", 4, "Read in IAM.",
		statement(`["iam:GenerateCredentialReport","iam:GenerateServiceLastAccessedDetails","iam:Get*","iam:List*","iam:SimulateCustomPolicy","iam:SimulatePrincipalPolicy"]`, `"*"`, "")),
	managed("PowerUserAccess", "/", "2015-02-06", "2023-07-06", 5, "Everything but users, groups, accounts and organizations.",
		`{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"},`+
			statement(`["iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles","organizations:DescribeOrganization","account:ListRegions","account:GetAccountInformation"]`, `"*"`, "")),
}

func ecrActions(names string) string {
	return `["ecr:` + strings.Join(strings.Fields(names), `","ecr:`) + `"]`
}

func statement(actions, resource, more string) string {
	return `{"Effect":"Allow","Action":` + actions + `,"Resource":` + resource + more + `}`
}

// called returns a statement with a Sid.
func called(sid, statement string) string { return `{"Sid":"` + sid + `",` + statement[1:] }

func managed(policyName, path, created, updated string, version int, description, statements string) Managed {
	sum := sha256.Sum256([]byte("managed policy " + policyName))
	return Managed{
		ARN:  name.AWSPolicyARN(name.DefaultPartition, path, policyName).String(),
		Name: policyName, Path: path, Description: description, Version: version,
		ID:        "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17],
		CreatedAt: day(created), UpdatedAt: day(updated),
		Text:          `{"Version":"2012-10-17","Statement":[` + statements + `]}`,
		ServiceLinked: path == "/aws-service-role/",
	}
}

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic("identity: " + err.Error()) // the dates above are constants
	}
	return t
}
