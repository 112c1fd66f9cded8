package cli

import (
	"cmp"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/deliver/connect"
	"github.com/ecrin-dev/ecrin/internal/main/client"
)

// refresherName is the namespace and the service account of the refresher of pull secrets.
const refresherName = "ecrin-refresh"

// refresherValues are values of the chart deploy/helm/ecrin-refresh.
type refresherValues struct {
	Registries     []string         `yaml:"registries"`
	Namespaces     []string         `yaml:"namespaces,omitempty"`
	Endpoint       string           `yaml:"endpoint"`
	Region         string           `yaml:"region"`
	CA             string           `yaml:"ca,omitempty"`
	Role           string           `yaml:"role"`
	Audience       string           `yaml:"audience"`
	FollowKeys     string           `yaml:"followKeys,omitempty"`
	ServiceAccount refresherAccount `yaml:"serviceAccount"`
}

type refresherAccount struct {
	Create bool   `yaml:"create"`
	Name   string `yaml:"name"`
}

// printValues prints the values of the chart of the refresher. They have no secret.
func (v *clusterConnection) printValues(s *client.Client, n *connect.Connection) error {
	values := refresherValues{Registries: v.node.Node.Hosts, Endpoint: cmp.Or(v.node.Node.Endpoint, s.Server.URL), Region: s.Server.Region,
		Role: n.RoleARN(), Audience: n.Audience, ServiceAccount: refresherAccount{Name: refresherName}}
	if !v.published {
		values.FollowKeys = n.Name
	}
	for _, one := range v.namespaces {
		if one != "*" {
			values.Namespaces = append(values.Namespaces, one)
		}
	}
	if v.node.CA != "" {
		pem, err := os.ReadFile(v.node.CA)
		if err != nil {
			return err
		}
		values.CA = string(pem)
	}
	text, err := yaml.Marshal(values)
	if err != nil {
		return fmt.Errorf("writing the values: %w", err)
	}
	if _, err := v.c.Out.Write(text); err != nil {
		return err
	}
	v.c.say("next: helm install ecrin-refresh deploy/helm/ecrin-refresh --namespace %s --values FILE, with these values", refresherName)
	return nil
}
