package ecrin

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// onObject resolves an object of an account, which need not exist: the value then has the version 0, and absent is the error. label "" is
// all objects of the kind.
func onObject(s *Service, ctx context.Context, req guard.Request, in accountNamed, kind, label string) (
	t guard.Target[meta.Object], absent, err error) {
	of, err := OnAccount(s, ctx, req, in)
	if err != nil {
		return t, nil, err
	}
	t = guard.Target[meta.Object]{Value: meta.Object{Account: of.Value, Kind: kind, Name: label}, Asks: of.Asks}
	t.Asks[0].Resource = t.Value.ARN()
	if label == "" {
		t.Asks[0].Resource += "*"
		return t, nil, nil
	}
	stored, err := s.meta.Object(ctx, of.Value, kind, label)
	if errors.Is(err, fault.ObjectNotFound) {
		return t, err, nil
	}
	t.Value = stored
	return t, nil, err
}

// onNew resolves an object that is stored or replaced, if it is the one that the request has seen: by the revision that descriptions have,
// or guard.NoneSeen for an object that must not exist. The store compares the version again when it replaces the object.
func onNew(s *Service, ctx context.Context, req guard.Request, in accountNamed, kind, label string) (guard.Target[meta.Object], error) {
	t, _, err := onObject(s, ctx, req, in, kind, label)
	t.Value.CreatedBy = req.By.ARN
	if failed := req.If.Check(revision(t.Value.Version)); failed != nil && err == nil {
		t.Absent = failed
	}
	return t, err
}

// revision returns the version of an object or an integration as answers have it; guard.NoneSeen for 0.
func revision(version int64) string {
	if version == 0 {
		return guard.NoneSeen
	}
	return strconv.FormatInt(version, 10)
}

// onStored resolves an object that exists, or all for "".
func onStored(s *Service, ctx context.Context, req guard.Request, in accountNamed, kind, label string) (guard.Target[meta.Object], error) {
	t, absent, err := onObject(s, ctx, req, in, kind, label)
	t.Absent = absent
	return t, err
}

// OnNewCloud resolves a cloud integration that is stored or replaced.
func OnNewCloud(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.PutCloudIntegrationRequest) (
	guard.Target[meta.Object], error) {
	return onNew(s, ctx, req, in, meta.KindCloud, in.CloudName)
}

// OnNewRuntime resolves a runtime that is stored or replaced.
func OnNewRuntime(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.PutRuntimeRequest) (guard.Target[meta.Object], error) {
	return onNew(s, ctx, req, in, meta.KindRuntime, in.RuntimeName)
}

// OnNewCluster resolves a cluster that is stored or replaced.
func OnNewCluster(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.PutClusterRequest) (guard.Target[meta.Object], error) {
	return onNew(s, ctx, req, in, meta.KindCluster, in.ClusterName)
}

// OnCloud resolves a cloud integration by its name, or all of an account.
func OnCloud[In interface {
	accountNamed
	GetCloudName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Object], error) {
	return onStored(s, ctx, req, in, meta.KindCloud, in.GetCloudName())
}

// OnRuntime resolves a runtime by its name, or all of an account.
func OnRuntime[In interface {
	accountNamed
	GetRuntimeName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Object], error) {
	return onStored(s, ctx, req, in, meta.KindRuntime, in.GetRuntimeName())
}

// OnCluster resolves a cluster by its name, or all of an account.
func OnCluster[In interface {
	accountNamed
	GetClusterName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Object], error) {
	return onStored(s, ctx, req, in, meta.KindCluster, in.GetClusterName())
}

// described returns an object, or all of its kind if it has no name, in the form of an answer.
func described[Out any](ctx context.Context, s *Service, o meta.Object, show func(meta.Object) (Out, error)) ([]Out, error) {
	all := []meta.Object{o}
	if o.Name == "" {
		var err error
		if all, err = s.meta.Objects(ctx, o.Account, o.Kind); err != nil {
			return nil, err
		}
	}
	out := make([]Out, 0, len(all))
	for _, one := range all {
		shown, err := show(one)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return out, nil
}

func showCloud(o meta.Object) (ecrintypes.CloudIntegration, error) {
	var c integration.Cloud
	err := integration.Read(o, &c)
	return ecrintypes.CloudIntegration{Revision: revision(o.Version), CloudName: o.Name, Arn: o.ARN(), AccountId: o.Account.String(),
		Region: c.Region, StsEndpoint: c.STS,
		AwsAccessKeyId: c.AccessKeyID, RoleArn: c.RoleARN, ExternalId: c.ExternalID, CreatedAt: *awswire.At(o.CreatedAt),
		UpdatedAt: *awswire.At(o.UpdatedAt), CreatedBy: o.CreatedBy, LastTestedAt: awswire.At(o.TestedAt), LastError: o.Error,
		CredentialsSetAt: awswire.At(c.SecretSetAt)}, err
}

func cloudResponse(o meta.Object, err error) (*ecrintypes.CloudIntegrationResponse, error) {
	if err != nil {
		return nil, err
	}
	one, err := showCloud(o)
	return &ecrintypes.CloudIntegrationResponse{CloudIntegration: one}, err
}

// PutCloudIntegration stores how an account of AWS, or of another ecrin, is reached: a key, and the role that is assumed with it. It
// replaces the one with the name, whose secret stays if the request has the same key and no secret. It makes no call: TestCloudIntegration
// does.
//
// Errors: fault.IntegrationFailed (the secret that stays cannot be read), and those of integration.Service.Put.
func (s *Service) PutCloudIntegration(ctx context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.PutCloudIntegrationRequest) (
	*ecrintypes.CloudIntegrationResponse, error) {
	secrets, setAt := integration.Secrets{SecretAccessKey: in.AwsSecretAccessKey, SessionToken: in.AwsSessionToken}, s.now()
	if in.AwsSecretAccessKey == "" {
		var had integration.Cloud
		if o.Version != 0 {
			if err := integration.Read(o, &had); err != nil {
				return nil, err
			}
		}
		if had.AccessKeyID != in.AwsAccessKeyId {
			return nil, integration.Bad("awsSecretAccessKey", "must be present for a new access key")
		}
		setAt = had.SecretSetAt
		var err error
		if secrets, err = s.remotes.OpenObject(o); err != nil {
			return nil, err
		}
	}
	return cloudResponse(s.remotes.Put(ctx, o, &integration.Cloud{Region: in.Region, STS: in.StsEndpoint, AccessKeyID: in.AwsAccessKeyId,
		RoleARN: in.RoleArn, ExternalID: in.ExternalId, SecretSetAt: setAt}, secrets))
}

// DescribeCloudIntegrations returns the cloud integrations of an account by name, or one of them, without their secrets.
func (s *Service) DescribeCloudIntegrations(ctx context.Context, _ identity.Caller, o meta.Object,
	_ *ecrintypes.DescribeCloudIntegrationsRequest) (*ecrintypes.DescribeCloudIntegrationsResponse, error) {
	all, err := described(ctx, s, o, showCloud)
	return &ecrintypes.DescribeCloudIntegrationsResponse{CloudIntegrations: all}, err
}

// DeleteCloudIntegration deletes a cloud integration that nothing names. Errors: fault.ObjectNotFound, fault.ObjectInUse.
func (s *Service) DeleteCloudIntegration(ctx context.Context, _ identity.Caller, o meta.Object, _ *ecrintypes.CloudIntegrationRequest) (
	*ecrintypes.CloudIntegrationResponse, error) {
	return cloudResponse(o, s.meta.DeleteObject(ctx, o.Account, o.Kind, o.Name))
}

// TestCloudIntegration asks who the owner of the key is, assumes the role, and asks again, up to the first call that fails.
//
// Errors: those of integration.Service.TestCloud.
func (s *Service) TestCloudIntegration(ctx context.Context, _ identity.Caller, o meta.Object, _ *ecrintypes.CloudIntegrationRequest) (
	*ecrintypes.TestIntegrationResponse, error) {
	return testResponse(s.remotes.TestCloud(ctx, o))
}

func showRuntime(o meta.Object) (ecrintypes.Runtime, error) {
	var r integration.Runtime
	err := integration.Read(o, &r)
	return ecrintypes.Runtime{Revision: revision(o.Version), RuntimeName: o.Name, Arn: o.ARN(), AccountId: o.Account.String(),
		Hosted: r.Hosted, Version: r.Version,
		IngressHost: r.IngressHost, RoleArn: r.RoleARN, CreatedAt: *awswire.At(o.CreatedAt), UpdatedAt: *awswire.At(o.UpdatedAt),
		CreatedBy: o.CreatedBy}, err
}

func runtimeResponse(o meta.Object, err error) (*ecrintypes.RuntimeResponse, error) {
	if err != nil {
		return nil, err
	}
	one, err := showRuntime(o)
	return &ecrintypes.RuntimeResponse{Runtime: one}, err
}

// PutRuntime stores a runtime, or replaces the one with the name. Errors: those of integration.Service.Put.
func (s *Service) PutRuntime(ctx context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.PutRuntimeRequest) (
	*ecrintypes.RuntimeResponse, error) {
	return runtimeResponse(s.remotes.Put(ctx, o, &integration.Runtime{Hosted: in.Hosted != nil && *in.Hosted, Version: in.Version,
		IngressHost: in.IngressHost, RoleARN: in.RoleArn}, integration.Secrets{}))
}

// DescribeRuntimes returns the runtimes of an account by name, or one of them.
func (s *Service) DescribeRuntimes(ctx context.Context, _ identity.Caller, o meta.Object, _ *ecrintypes.DescribeRuntimesRequest) (
	*ecrintypes.DescribeRuntimesResponse, error) {
	all, err := described(ctx, s, o, showRuntime)
	return &ecrintypes.DescribeRuntimesResponse{Runtimes: all}, err
}

// DeleteRuntime deletes a runtime that no integration names. Errors: fault.ObjectNotFound, fault.ObjectInUse.
func (s *Service) DeleteRuntime(ctx context.Context, _ identity.Caller, o meta.Object, _ *ecrintypes.RuntimeRequest) (
	*ecrintypes.RuntimeResponse, error) {
	return runtimeResponse(o, s.meta.DeleteObject(ctx, o.Account, o.Kind, o.Name))
}

func showCluster(o meta.Object) (ecrintypes.Cluster, error) {
	var c integration.Cluster
	err := integration.Read(o, &c)
	out := ecrintypes.Cluster{Revision: revision(o.Version), ClusterName: o.Name, Arn: o.ARN(), AccountId: o.Account.String(),
		Region: c.Region, Principal: c.Principal,
		PrincipalAccountId: c.Principal, CloudName: c.Cloud, Issuer: c.Issuer, State: ecrintypes.ClusterState(c.State),
		CreatedAt: *awswire.At(o.CreatedAt), UpdatedAt: *awswire.At(o.UpdatedAt), CreatedBy: o.CreatedBy}
	if arn, err := name.ParseARN(c.Principal); err == nil {
		out.PrincipalAccountId = arn.Account.String()
	}
	return out, err
}

func clusterResponse(o meta.Object, err error) (*ecrintypes.ClusterResponse, error) {
	if err != nil {
		return nil, err
	}
	one, err := showCluster(o)
	return &ecrintypes.ClusterResponse{Cluster: one}, err
}

// PutCluster stores a cluster, or replaces the one with the name. Errors: those of integration.Service.Put.
func (s *Service) PutCluster(ctx context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.PutClusterRequest) (
	*ecrintypes.ClusterResponse, error) {
	c := &integration.Cluster{Region: in.Region, Principal: in.Principal, Cloud: in.CloudName, Issuer: in.Issuer, State: string(in.State)}
	if c.State == "" {
		c.State = integration.ClusterAdded
	}
	return clusterResponse(s.remotes.Put(ctx, o, c, integration.Secrets{}))
}

// DescribeClusters returns the clusters of an account by name, or one of them. A cluster whose principal is a role of the account has the
// time at which that was last used.
func (s *Service) DescribeClusters(ctx context.Context, _ identity.Caller, o meta.Object, _ *ecrintypes.DescribeClustersRequest) (
	*ecrintypes.DescribeClustersResponse, error) {
	all, err := described(ctx, s, o, func(one meta.Object) (ecrintypes.Cluster, error) {
		c, err := showCluster(one)
		if err == nil {
			c.LastSeenAt, err = s.lastSeen(ctx, one.Account, c.Principal)
		}
		return c, err
	})
	return &ecrintypes.DescribeClustersResponse{Clusters: all}, err
}

// lastSeen returns when a role of an account was last used; nil for never, for a principal of another kind or account, and for a role
// that does not exist.
func (s *Service) lastSeen(ctx context.Context, account name.Account, principal string) (*awswire.Time, error) {
	arn, err := name.ParseARN(principal)
	if err != nil || arn.Account != account {
		return nil, nil
	}
	kind, rest, _ := strings.Cut(arn.Resource, "/")
	switch kind {
	case "role":
		rest = rest[strings.LastIndexByte(rest, '/')+1:]
	case "assumed-role":
		rest, _, _ = strings.Cut(rest, "/")
	default:
		return nil, nil
	}
	e, err := s.meta.Entity(ctx, account, meta.Role, rest)
	if errors.Is(err, fault.NoSuchEntity) {
		return nil, nil
	}
	return awswire.At(e.LastUsedAt), err
}

// DeleteCluster deletes a cluster. What was made for it, its OIDC provider and role, stays.
//
// Errors: fault.ObjectNotFound, fault.ObjectInUse.
func (s *Service) DeleteCluster(ctx context.Context, _ identity.Caller, o meta.Object, _ *ecrintypes.ClusterRequest) (
	*ecrintypes.ClusterResponse, error) {
	return clusterResponse(o, s.meta.DeleteObject(ctx, o.Account, o.Kind, o.Name))
}
