package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Cloud are the settings of a cloud integration: an access key, and the role of an account of AWS, or of another ecrin, that is assumed
// with it.
type Cloud struct {
	Region      string `json:"region"`               // of the calls of STS
	STS         string `json:"sts,omitempty"`        // URL of the STS API; "" for that of AWS
	AccessKeyID string `json:"accessKeyId"`          // of who assumes the role
	RoleARN     string `json:"roleArn,omitempty"`    // or the name of one of the owner's account; "" for none: the owner is used
	ExternalID  string `json:"externalId,omitempty"` // for the role

	SecretSetAt time.Time `json:"secretSetAt,omitzero"` // when the key was set; zero if that is not known
}

// Runtime are the settings of a runtime: where applications run that use integrations.
type Runtime struct {
	Hosted      bool   `json:"hosted,omitempty"`      // by the platform; else in a cluster of the account
	Version     string `json:"version"`               // semantic version
	IngressHost string `json:"ingressHost,omitempty"` // URL that reports are sent to
	RoleARN     string `json:"roleArn,omitempty"`     // of the runtime, which assumes roles of integrations
}

// The states of a cluster.
const (
	ClusterAdded     = "ADDED"     // nothing has been checked
	ClusterConnected = "CONNECTED" // a token of the cluster has been exchanged for credentials
)

// Cluster are the settings of a cluster, whose pods pull images.
type Cluster struct {
	Region    string `json:"region"`
	Principal string `json:"principal"`        // ARN of who pulls, or 12 digits for an account
	Cloud     string `json:"cloud,omitempty"`  // name of the cloud integration that it belongs to; "" for none
	Issuer    string `json:"issuer,omitempty"` // URL of the issuer of its service account tokens; "" until it is connected
	State     string `json:"state"`
}

// settings are the settings of a kind of objects.
type settings interface {
	// check returns what the settings name. Errors: fault.InvalidParameter.
	check() ([]meta.ObjectName, error)
}

// principalARN is the form of the ARN of a principal that pulls.
var principalARN = lazyregexp.New(`^(?:[0-9]{12}|arn:aws[a-z-]*:(?:iam::[0-9]{12}:(?:root|(?:user|role)/[\x21-\x7e]{1,512})|` +
	`sts::[0-9]{12}:assumed-role/[\x21-\x7e]{1,512}))$`)

func (c *Cloud) check() ([]meta.ObjectName, error) {
	if _, err := name.ParseRegion(c.Region); err != nil {
		return nil, Bad("region", "must be a region, such as eu-west-1").Because(err)
	}
	if c.STS != "" {
		if _, err := hostOf("stsEndpoint", c.STS); err != nil {
			return nil, err
		}
	}
	return nil, checkRole(c.RoleARN, c.ExternalID)
}

// checkRole checks the ARN of a role and its external id. Errors: fault.InvalidParameter.
func checkRole(arn, externalID string) error {
	switch {
	case arn != "" && !roleARN.MatchString(arn) && !roleName.MatchString(arn):
		return Bad("roleArn", "must be the ARN of a role, or the name of a role of the account of the caller")
	case externalID != "" && arn == "":
		return Bad("externalId", "must be absent without roleArn")
	}
	return nil
}

func (r *Runtime) check() ([]meta.ObjectName, error) {
	if semver.Key(r.Version) == "" {
		return nil, Bad("version", "must be a semantic version, such as 0.1.33")
	}
	if r.IngressHost != "" {
		if _, err := hostOf("ingressHost", r.IngressHost); err != nil {
			return nil, err
		}
	}
	if r.RoleARN != "" && !roleARN.MatchString(r.RoleARN) {
		return nil, Bad("roleArn", "must be the ARN of a role")
	}
	return nil, nil
}

func (c *Cluster) check() ([]meta.ObjectName, error) {
	if _, err := name.ParseRegion(c.Region); err != nil {
		return nil, Bad("region", "must be a region, such as eu-west-1").Because(err)
	}
	if !principalARN.MatchString(c.Principal) {
		return nil, Bad("principal", "must be the ARN of a user, a role or a session, or 12 digits of an account")
	}
	if c.Cloud == "" {
		return nil, nil
	}
	return []meta.ObjectName{{Kind: meta.KindCloud, Name: c.Cloud}}, nil
}

// Put stores an object: with the version 0 a new one, else the changed one. settings is a *Cloud, a *Runtime or a *Cluster.
//
// Errors: fault.InvalidParameter (settings), and those of meta.Store.PutObject.
func (s *Service) Put(ctx context.Context, o meta.Object, settings settings, secrets Secrets) (meta.Object, error) {
	var err error
	if o.Uses, err = settings.check(); err != nil {
		return o, err
	}
	if c, ok := settings.(*Cloud); ok {
		if err := s.checkForeign(Settings{STS: c.STS}); err != nil {
			return o, err
		}
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return o, fmt.Errorf("encoding the settings of an object: %w", err)
	}
	hidden, err := json.Marshal(secrets)
	if err != nil {
		return o, fmt.Errorf("encoding the secrets of an object: %w", err)
	}
	o.Settings, o.Sealed = string(text), s.keys.SealForeign(o.ARN(), secret.New(string(hidden)))
	return s.meta.PutObject(ctx, o)
}

// Read decodes the settings of an object into a *Cloud, a *Runtime or a *Cluster.
func Read(o meta.Object, settings settings) error {
	if err := json.Unmarshal([]byte(o.Settings), settings); err != nil {
		return fmt.Errorf("reading the settings of %s: %w", o.ARN(), err)
	}
	return nil
}

// OpenObject returns the secrets of an object. Errors: fault.IntegrationFailed (another master key has sealed them).
func (s *Service) OpenObject(o meta.Object) (secrets Secrets, err error) {
	text, err := s.keys.OpenForeign(o.ARN(), o.Sealed)
	if err == nil {
		err = json.Unmarshal([]byte(text.Reveal()), &secrets)
	}
	if err != nil {
		return Secrets{}, fault.IntegrationFailed.New("the secrets of %s cannot be read with the master key of this server: set them again",
			o.ARN()).Because(err)
	}
	return secrets, nil
}

// TestCloud asks STS who the owner of the key of a cloud integration is, assumes its role, asks again, and stores how that ended.
//
// Errors: fault.Throttled (too many tests run), fault.IntegrationFailed (its secrets cannot be read).
func (s *Service) TestCloud(ctx context.Context, o meta.Object) ([]Step, error) {
	if !s.enter(o.Account) {
		return nil, fault.Throttled.New("%d tests of integrations of the account run: repeat when one has ended", maxTests)
	}
	defer s.leave(o.Account)
	var c Cloud
	if err := Read(o, &c); err != nil {
		return nil, err
	}
	secrets, err := s.OpenObject(o)
	if err != nil {
		return nil, err
	}
	keys := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: secrets.SecretAccessKey, SessionToken: secrets.SessionToken}
	made, err := s.once.TestRoles(ctx, &upstream.AWS{
		Credentials: func(context.Context) (aws.Credentials, error) { return keys, nil },
		Roles:       upstream.RolesOf(c.RoleARN, c.ExternalID), Region: c.Region, STS: strings.TrimRight(c.STS, "/"),
	})
	if err != nil {
		return nil, fault.IntegrationFailed.New("the settings of the cloud integration %s are not valid", o.Name).Because(err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	all, problem := stepsOf(made, Settings{RoleARN: c.RoleARN, ExternalID: c.ExternalID})
	return all, s.meta.ObjectTested(ctx, o, problem)
}
