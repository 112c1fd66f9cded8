package deploy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// TestComposeFiles: the compose files are valid by the compose specification, and start the server with commands that it knows.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"compose.yaml", "seeded.yaml"} {
		file := filepath.Join(root, "deploy/compose", name)
		options, err := cli.NewProjectOptions([]string{file}, cli.WithoutEnvironmentResolution)
		if err != nil {
			t.Fatal(err)
		}
		project, err := options.LoadProject(t.Context())
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		service := project.Services["ecrin"]
		if service.Image != "ecrin:latest" || len(service.Ports) != 1 || service.HealthCheck == nil {
			t.Errorf("%s: got the image %q, %d ports and the health check %v, want ecrin:latest, a port and one", file, service.Image,
				len(service.Ports), service.HealthCheck)
			continue
		}
		if got := service.Ports[0].HostIP; got != "127.0.0.1" {
			t.Errorf("%s: the port is published on %q, want 127.0.0.1", file, got)
		}
		for _, args := range [][]string{append(service.Command[:len(service.Command):len(service.Command)], "--help"),
			append(service.HealthCheck.Test[2:len(service.HealthCheck.Test):len(service.HealthCheck.Test)], "--help")} {
			run(t, append([]string{ecrin(t)}, args...)...)
		}
	}
}

var metric = regexp.MustCompile(`ecrin_[a-z_]+`)

// TestMetricsOfAlertsAndDashboard: each metric and label that the alert rules and the dashboard use exists.
func TestMetricsOfAlertsAndDashboard(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.MetricsToken = secret.New("0123456789abcdef") }})
	s.Root(t).CreateRepository(t, "app")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer 0123456789abcdef")
	resp, err := s.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics: got %s and %v, want 200", resp.Status, err)
	}
	served := map[string]bool{}
	for _, name := range metric.FindAllString(string(text), -1) {
		served[name] = true
	}
	rules := read(t, "deploy/prometheus/alerts.yaml")
	var alerts struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(rules, &alerts); err != nil || len(alerts.Groups) != 1 || len(alerts.Groups[0].Rules) < 8 {
		t.Fatalf("alerts.yaml: got %+v and %v, want a group of 8 rules or more", alerts, err)
	}
	board := read(t, "deploy/grafana/ecrin.json")
	var panels struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(board, &panels); err != nil || len(panels.Panels) < 12 {
		t.Fatalf("ecrin.json: got %d panels and %v, want 12 or more", len(panels.Panels), err)
	}
	expressions := []string{}
	for _, r := range alerts.Groups[0].Rules {
		expressions = append(expressions, r.Expr)
	}
	for _, p := range panels.Panels {
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	for _, e := range expressions {
		if strings.Count(e, "(") != strings.Count(e, ")") || strings.Count(e, "{") != strings.Count(e, "}") {
			t.Errorf("%s: its brackets do not match", e)
		}
		for _, name := range metric.FindAllString(e, -1) {
			if !served[name] {
				t.Errorf("%s: the server has no metric %s", e, name)
			}
		}
	}
	for _, label := range []string{`status="`, `door="`, `kind="`, `work="`} {
		if !strings.Contains(string(text), label) {
			t.Errorf("no metric has the label %s, which the dashboard groups by", label)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
