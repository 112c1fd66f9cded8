package helm

import (
	"slices"
	"strings"
)

// Capabilities is .Capabilities: what the cluster can do.
type Capabilities struct {
	KubeVersion KubeVersion
	APIVersions VersionSet
	HelmVersion HelmVersion
}

// KubeVersion is the version of Kubernetes.
type KubeVersion struct {
	Version      string // such as v1.35.0
	Major, Minor string
}

// String returns the whole version.
func (k KubeVersion) String() string { return k.Version }

// GitVersion returns the whole version, for charts of earlier versions of helm.
func (k KubeVersion) GitVersion() string { return k.Version }

// VersionSet are the versions of groups that the cluster serves.
type VersionSet []string

// Has reports whether a version of a group, or a kind of it, is served.
func (v VersionSet) Has(version string) bool { return slices.Contains(v, version) }

// HelmVersion is the version of helm whose functions there are.
type HelmVersion struct {
	Version, GitCommit, GitTreeState, GoVersion string
}

// helmVersion is the version of helm that this package behaves like.
const helmVersion = "v3.20.2"

// defaultKube is the version of Kubernetes if no cluster was asked.
const defaultKube = "v1.35.0"

func newCapabilities(o Options) *Capabilities {
	k := KubeVersion{Version: o.KubeVersion}
	k.Major, k.Minor, _ = strings.Cut(strings.TrimPrefix(o.KubeVersion, "v"), ".")
	k.Minor, _, _ = strings.Cut(k.Minor, ".")
	return &Capabilities{k, VersionSet(o.APIVersions), HelmVersion{Version: helmVersion}}
}

// defaultAPIs are the versions of groups if no cluster was asked. Source: Helm, pkg/chartutil, DefaultVersionSet with Kubernetes 1.35.
var defaultAPIs = strings.Fields(`v1 admissionregistration.k8s.io/v1 admissionregistration.k8s.io/v1alpha1
admissionregistration.k8s.io/v1beta1 internal.apiserver.k8s.io/v1alpha1 apps/v1 apps/v1beta1 apps/v1beta2 authentication.k8s.io/v1
authentication.k8s.io/v1alpha1 authentication.k8s.io/v1beta1 authorization.k8s.io/v1 authorization.k8s.io/v1beta1 autoscaling/v1
autoscaling/v2 autoscaling/v2beta1 autoscaling/v2beta2 batch/v1 batch/v1beta1 certificates.k8s.io/v1 certificates.k8s.io/v1beta1
certificates.k8s.io/v1alpha1 coordination.k8s.io/v1alpha2 coordination.k8s.io/v1beta1 coordination.k8s.io/v1 discovery.k8s.io/v1
discovery.k8s.io/v1beta1 events.k8s.io/v1 events.k8s.io/v1beta1 extensions/v1beta1 flowcontrol.apiserver.k8s.io/v1
flowcontrol.apiserver.k8s.io/v1beta1 flowcontrol.apiserver.k8s.io/v1beta2 flowcontrol.apiserver.k8s.io/v1beta3 networking.k8s.io/v1
networking.k8s.io/v1beta1 node.k8s.io/v1 node.k8s.io/v1alpha1 node.k8s.io/v1beta1 policy/v1 policy/v1beta1 rbac.authorization.k8s.io/v1
rbac.authorization.k8s.io/v1beta1 rbac.authorization.k8s.io/v1alpha1 resource.k8s.io/v1 resource.k8s.io/v1beta2 resource.k8s.io/v1beta1
resource.k8s.io/v1alpha3 scheduling.k8s.io/v1alpha1 scheduling.k8s.io/v1beta1 scheduling.k8s.io/v1 storage.k8s.io/v1beta1 storage.k8s.io/v1
storage.k8s.io/v1alpha1 storagemigration.k8s.io/v1beta1 apiextensions.k8s.io/v1beta1 apiextensions.k8s.io/v1`)
