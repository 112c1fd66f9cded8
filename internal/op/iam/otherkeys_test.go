package iam_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// The lists of credentials that ecrin has not are empty, of a user and of the caller; an unknown user and a wrong marker are errors.
func TestOtherCredentials(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "u")
	no := new(false)
	for _, user := range []string{"u", ""} {
		same(t, "ListMFADevices", do(t, w.ListMFADevices, w.root, iamtypes.ListMFADevicesRequest{UserName: user}),
			&iamtypes.ListMFADevicesResponse{MFADevices: []iamtypes.MFADevice{}, IsTruncated: no})
		same(t, "ListSSHPublicKeys", do(t, w.ListSSHPublicKeys, w.root, iamtypes.ListSSHPublicKeysRequest{UserName: user}),
			&iamtypes.ListSSHPublicKeysResponse{SSHPublicKeys: []iamtypes.SSHPublicKeyMetadata{}, IsTruncated: no})
		same(t, "ListSigningCertificates", do(t, w.ListSigningCertificates, w.root, iamtypes.ListSigningCertificatesRequest{UserName: user}),
			&iamtypes.ListSigningCertificatesResponse{Certificates: []iamtypes.SigningCertificate{}, IsTruncated: no})
		same(t, "ListServiceSpecificCredentials", do(t, w.ListServiceSpecificCredentials, w.root,
			iamtypes.ListServiceSpecificCredentialsRequest{UserName: user}), &iamtypes.ListServiceSpecificCredentialsResponse{
			ServiceSpecificCredentials: []iamtypes.ServiceSpecificCredentialMetadata{}, IsTruncated: no})
	}
	same(t, "ListVirtualMFADevices", do(t, w.ListVirtualMFADevices, w.root, iamtypes.ListVirtualMFADevicesRequest{}),
		&iamtypes.ListVirtualMFADevicesResponse{VirtualMFADevices: []iamtypes.VirtualMFADevice{}, IsTruncated: no})
	do(t, w.ListServiceSpecificCredentials, w.root, iamtypes.ListServiceSpecificCredentialsRequest{AllUsers: new(true)})

	refuse(t, w.ListMFADevices, w.root, iamtypes.ListMFADevicesRequest{UserName: "none"}, fault.NoSuchEntity)
	refuse(t, w.ListSSHPublicKeys, w.root, iamtypes.ListSSHPublicKeysRequest{UserName: "none"}, fault.NoSuchEntity)
	refuse(t, w.ListSigningCertificates, w.root, iamtypes.ListSigningCertificatesRequest{UserName: "none"}, fault.NoSuchEntity)
	refuse(t, w.ListServiceSpecificCredentials, w.root, iamtypes.ListServiceSpecificCredentialsRequest{UserName: "none"}, fault.NoSuchEntity)
	refuse(t, w.ListMFADevices, w.root, iamtypes.ListMFADevicesRequest{Marker: "x"}, fault.Validation)
	refuse(t, w.ListVirtualMFADevices, w.root, iamtypes.ListVirtualMFADevicesRequest{Marker: "x"}, fault.Validation)
}
