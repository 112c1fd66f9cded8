package iam

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const serviceLinkedPath = "/aws-service-role/"

// serviceLinked is the name and content of the service-linked role of a service.
type serviceLinked struct{ role, policy string }

// serviceLinkedRoles are the service-linked roles of ECR, by their service. Source: ECR user guide, using
// service-linked roles.
var serviceLinkedRoles = map[string]serviceLinked{
	"pullthroughcache.ecr.amazonaws.com": {"AWSServiceRoleForECRPullThroughCache", "AWSECRPullThroughCache_ServiceRolePolicy"},
	"replication.ecr.amazonaws.com":      {"AWSServiceRoleForECRReplication", "ECRReplicationServiceRolePolicy"},
	"ecr.amazonaws.com":                  {"AWSServiceRoleForECRTemplate", "ECRTemplateServiceRolePolicy"},
}

// CreateServiceLinkedRole makes the role of one of the three services of ECR that have a service-linked role.
//
// Errors: fault.InvalidInput (another service; a suffix; the role exists), fault.LimitExceeded.
// Source: IAM API reference, CreateServiceLinkedRole.
func (s *Service) CreateServiceLinkedRole(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.CreateServiceLinkedRoleRequest) (*iamtypes.CreateServiceLinkedRoleResponse, error) {
	kind, ok := serviceLinkedRoles[in.AWSServiceName]
	if !ok {
		return nil,
			fault.InvalidInput.New("The service %s has no service-linked role here: pullthroughcache.ecr.amazonaws.com, replication.ecr.amazonaws.com and ecr.amazonaws.com do.", name.Clip(in.AWSServiceName))
	}
	if in.CustomSuffix != "" {
		return nil, fault.InvalidInput.New("Custom suffix is not allowed for %s", in.AWSServiceName)
	}
	e := s.newEntity(c, meta.Role, "AROA", serviceLinkedPath+in.AWSServiceName+"/", kind.role)
	e.Service, e.Description, e.MaxSession = in.AWSServiceName, in.Description, sessionWithout
	e.Trust.Text = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + in.AWSServiceName +
		`"},"Action":"sts:AssumeRole"}]}`
	err := s.meta.CreateEntity(ctx, e, nil, maxRoles)
	taken := errors.Is(err, fault.EntityAlreadyExists)
	if taken {
		have, find := s.meta.Entity(ctx, c.Account, meta.Role, kind.role)
		if find != nil || have.Service == "" {
			return nil, nameTaken(kind.role).Because(err)
		}
		e, err = have, nil
	}
	if err != nil {
		return nil, err
	}
	// Also for a role that exists: if the server stopped between the two steps, a repeated request completes the role.
	arn := name.AWSPolicyARN(name.DefaultPartition, serviceLinkedPath, kind.policy).String()
	if err := s.meta.Attach(ctx, e.ID, arn, 1); err != nil {
		return nil, err
	}
	if taken {
		return nil, nameTaken(kind.role)
	}
	r, err := s.roleOf(ctx, e)
	return &iamtypes.CreateServiceLinkedRoleResponse{Role: &r}, err
}

func nameTaken(role string) *fault.Error {
	return fault.InvalidInput.New("Service role name %s has been taken in this account, please try a different suffix.", role)
}

// DeleteServiceLinkedRole removes the role of a service. The role is deleted before the response, so that the status of
// the deletion task is always SUCCEEDED.
//
// Errors: fault.NoSuchEntity (also for a role that is not service-linked).
// Source: IAM API reference, DeleteServiceLinkedRole.
func (s *Service) DeleteServiceLinkedRole(ctx context.Context, c identity.Caller, e meta.Entity,
	_ *iamtypes.DeleteServiceLinkedRoleRequest) (*iamtypes.DeleteServiceLinkedRoleResponse, error) {
	if e.Service == "" {
		return nil, fault.NoSuchEntity.New("The service-linked role with name %s cannot be found.", e.Name)
	}
	arns, err := s.meta.Attachments(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	for _, arn := range arns {
		if err := s.meta.Detach(ctx, e.ID, arn); err != nil && !errors.Is(err, fault.NoSuchEntity) {
			return nil, err
		}
	}
	if err := s.meta.DeleteEntity(ctx, e); err != nil {
		return nil, err
	}
	nonce := make([]byte, 8)
	rand.Read(nonce)
	return &iamtypes.DeleteServiceLinkedRoleResponse{DeletionTaskId: s.task(c, e.Service+"/"+e.Name, nonce)}, nil
}

// task returns the id of a deletion. The id contains a MAC, so that past deletions need not be stored.
func (s *Service) task(c identity.Caller, role string, nonce []byte) string {
	const macBytes = 12
	mac := s.tasks([]byte("deletion task\n" + c.Account.String() + "\n" + role + "\n" + hex.EncodeToString(nonce)))[:macBytes]
	return "task" + serviceLinkedPath + role + "/" + hex.EncodeToString(nonce) + "-" + hex.EncodeToString(mac)
}

// GetServiceLinkedRoleDeletionStatus returns the status of a deletion, which is always SUCCEEDED.
//
// Errors: fault.NoSuchEntity (no deletion of this account has the id).
// Source: IAM API reference, GetServiceLinkedRoleDeletionStatus.
func (s *Service) GetServiceLinkedRoleDeletionStatus(_ context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.GetServiceLinkedRoleDeletionStatusRequest) (*iamtypes.GetServiceLinkedRoleDeletionStatusResponse, error) {
	role, end, ok := cutLast(strings.TrimPrefix(in.DeletionTaskId, "task"+serviceLinkedPath), "/")
	text, _, _ := strings.Cut(end, "-")
	nonce, err := hex.DecodeString(text)
	if !ok || err != nil || !hmac.Equal([]byte(s.task(c, role, nonce)), []byte(in.DeletionTaskId)) {
		return nil, fault.NoSuchEntity.New("The deletion task %s cannot be found.", name.Clip(in.DeletionTaskId))
	}
	return &iamtypes.GetServiceLinkedRoleDeletionStatusResponse{Status: iamtypes.DeletionTaskStatusTypeSUCCEEDED}, nil
}

// cutLast is like strings.Cut, but cuts at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	at := strings.LastIndex(s, separator)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(separator):], true
}
