package credential

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const maxHost = 255 // bytes of HOST:PORT

// hostName is the form of a name of a host in lower case, without its port.
var hostName = lazyregexp.New(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*$`)

// ParseHost returns the registry, HOST or HOST:PORT in lower case, that a text names: a host, a URL, or the name of an image, which has a
// path. A port is kept, unless it is 443.
//
// Errors: the text names no host.
func ParseHost(text string) (string, error) {
	bad := fmt.Errorf("got %q, want HOST or HOST:PORT of a registry", name.Clip(text))
	host := strings.ToLower(strings.TrimSpace(text))
	for _, scheme := range []string{"https://", "http://"} {
		host = strings.TrimPrefix(host, scheme)
	}
	host, _, _ = strings.Cut(host, "/")
	if host == "" || len(host) > maxHost {
		return "", bad
	}
	label, port := host, ""
	if strings.Contains(host, ":") && !strings.HasSuffix(host, "]") {
		var err error
		if label, port, err = net.SplitHostPort(host); err != nil {
			return "", bad
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return "", bad
		}
	}
	label = strings.TrimSuffix(strings.TrimPrefix(label, "["), "]")
	if a, err := netip.ParseAddr(label); err == nil && a.Is6() && a.Zone() == "" {
		label = "[" + label + "]"
	} else if !hostName.MatchString(label) {
		return "", bad
	}
	if port != "" && port != "443" {
		return label + ":" + port, nil
	}
	return label, nil
}

// registryHost is the form of the hosts of registries of ECR and ecrin: account, region, and the domain.
var registryHost = lazyregexp.New(`^\d{12}\.dkr[.-]ecr(-fips)?\.([a-z0-9-]+)\.([a-z0-9.-]+)$`)

// awsDomain is the form of the domains of ECR. Source: the credential helpers of AWS and Kubernetes.
var awsDomain = lazyregexp.New(`^(amazonaws\.com(\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn|sc2s\.sgov\.gov|` +
	`c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)

// registry is what the host of a registry says about it.
type registry struct {
	region string // "" if the host does not say it
	fips   bool
	ported bool // it has a name of ECR, and another port than 443, which ECR has not
	aws    bool // it is a host of ECR
}

func registryOf(host string) registry {
	label, _, hasPort := strings.Cut(host, ":")
	m := registryHost.FindStringSubmatch(label)
	if m == nil {
		return registry{}
	}
	of := awsDomain.MatchString(m[3])
	return registry{region: m[2], fips: m[1] != "", aws: of && !hasPort, ported: of && hasPort}
}

// MatchHost reports whether a pattern has a host: both have the same number of labels, each * of the pattern stands for any part of one
// label, and the ports are the same. It is the rule of the kubelet for matchImages.
func MatchHost(pattern, host string) bool {
	pattern, patternPort, _ := strings.Cut(pattern, ":")
	host, port, _ := strings.Cut(host, ":")
	want, got := strings.Split(pattern, "."), strings.Split(host, ".")
	if patternPort != port || len(want) != len(got) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], got[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
