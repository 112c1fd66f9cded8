package iam

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Users have no SSH keys, MFA devices, signing certificates and credentials of single services here: no operation makes them. The lists
// of them exist, and are empty, because programs read all of them before they delete a user: Terraform with force_destroy, for example.

// OnServiceCredentials resolves the owner of credentials of single services: all users, or that of OnKeyOwner.
func OnServiceCredentials(s *Service, ctx context.Context, req guard.Request,
	in *iamtypes.ListServiceSpecificCredentialsRequest) (guard.Target[KeyOwner], error) {
	if in.AllUsers != nil && *in.AllUsers {
		return guard.On(KeyOwner{}, askOf(req, meta.Entity{Account: req.By.Account, Kind: meta.User, Name: "*"})), nil
	}
	return OnKeyOwner(s, ctx, req, in)
}

// nothing checks the marker and page size of a list that is empty. Errors: fault.Validation (the marker).
func (s *Service) nothing(c identity.Caller, operation, marker string, maxItems *int32, of string) error {
	_, err := s.paging(c, operation, marker, maxItems, of)
	return err
}

// ListMFADevices lists the MFA devices of a user, of which there are none.
// Errors: those of ListAccessKeys. Source: IAM API reference, ListMFADevices.
func (s *Service) ListMFADevices(_ context.Context, c identity.Caller, o KeyOwner,
	in *iamtypes.ListMFADevicesRequest) (*iamtypes.ListMFADevicesResponse, error) {
	err := s.nothing(c, "ListMFADevices", in.Marker, in.MaxItems, o.Principal)
	return &iamtypes.ListMFADevicesResponse{MFADevices: []iamtypes.MFADevice{}, IsTruncated: new(false)}, err
}

// ListVirtualMFADevices lists the virtual MFA devices of the account, of which there are none.
// Errors: fault.Validation (the marker). Source: IAM API reference, ListVirtualMFADevices.
func (s *Service) ListVirtualMFADevices(_ context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.ListVirtualMFADevicesRequest) (*iamtypes.ListVirtualMFADevicesResponse, error) {
	err := s.nothing(c, "ListVirtualMFADevices", in.Marker, in.MaxItems, "")
	return &iamtypes.ListVirtualMFADevicesResponse{VirtualMFADevices: []iamtypes.VirtualMFADevice{}, IsTruncated: new(false)}, err
}

// ListSSHPublicKeys lists the SSH keys of a user, of which there are none.
// Errors: those of ListAccessKeys. Source: IAM API reference, ListSSHPublicKeys.
func (s *Service) ListSSHPublicKeys(_ context.Context, c identity.Caller, o KeyOwner,
	in *iamtypes.ListSSHPublicKeysRequest) (*iamtypes.ListSSHPublicKeysResponse, error) {
	err := s.nothing(c, "ListSSHPublicKeys", in.Marker, in.MaxItems, o.Principal)
	return &iamtypes.ListSSHPublicKeysResponse{SSHPublicKeys: []iamtypes.SSHPublicKeyMetadata{}, IsTruncated: new(false)}, err
}

// ListSigningCertificates lists the signing certificates of a user, of which there are none.
// Errors: those of ListAccessKeys. Source: IAM API reference, ListSigningCertificates.
func (s *Service) ListSigningCertificates(_ context.Context, c identity.Caller, o KeyOwner,
	in *iamtypes.ListSigningCertificatesRequest) (*iamtypes.ListSigningCertificatesResponse, error) {
	err := s.nothing(c, "ListSigningCertificates", in.Marker, in.MaxItems, o.Principal)
	return &iamtypes.ListSigningCertificatesResponse{Certificates: []iamtypes.SigningCertificate{}, IsTruncated: new(false)}, err
}

// ListServiceSpecificCredentials lists the credentials of a user, or of all users, for single services, of which there are none.
// Errors: those of ListAccessKeys. Source: IAM API reference, ListServiceSpecificCredentials.
func (s *Service) ListServiceSpecificCredentials(_ context.Context, c identity.Caller, o KeyOwner,
	in *iamtypes.ListServiceSpecificCredentialsRequest) (*iamtypes.ListServiceSpecificCredentialsResponse, error) {
	err := s.nothing(c, "ListServiceSpecificCredentials", in.Marker, in.MaxItems, o.Principal)
	return &iamtypes.ListServiceSpecificCredentialsResponse{
		ServiceSpecificCredentials: []iamtypes.ServiceSpecificCredentialMetadata{}, IsTruncated: new(false)}, err
}
