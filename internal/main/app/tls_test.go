package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// The private CA of --tls=auto issues certificates for the names of the settings only, its own certificate permits only these, and
// the log names the setting for another one.
func TestNamesOfThePrivateCA(t *testing.T) {
	t.Parallel()
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what   string
		change func(*config.Config)
		served []string
		others map[string]string // name → what the log says
	}{
		{"by default", func(*config.Config) {},
			[]string{"111122223333.dkr.ecr.us-east-1.amazonaws.com", "api.ecr.us-east-1.amazonaws.com", "ecr.us-east-1.amazonaws.com",
				"localhost", "127.0.0.1", strings.ToLower(machine)},
			map[string]string{
				"111122223333.dkr.ecr.eu-west-1.amazonaws.com": "--tls-regions us-east-1,eu-west-1", "sts.amazonaws.com": "--tls-iam-sts",
				"iam.amazonaws.com": "--tls-iam-sts", "s3.amazonaws.com": "no setting", "amazonaws.com": "no setting",
				"ecr.example.com": "--domain",
			}},
		{"with all settings", func(c *config.Config) {
			c.Domains, c.TLS.IAMSTS, c.TLS.Regions = []string{"ecr.example.com"}, true, []string{"eu-west-1"}
		}, []string{"111122223333.dkr.ecr.eu-west-1.amazonaws.com", "sts.amazonaws.com", "sts.eu-west-1.amazonaws.com", "iam.amazonaws.com",
			"111122223333.dkr.ecr.us-west-2.ecr.example.com", "ecr.example.com"},
			map[string]string{"111122223333.dkr.ecr.us-east-1.amazonaws.com": "--tls-regions", "s3.amazonaws.com": "no setting"}},
	} {
		// Each look at the clock is later than the limit of one log line in a second.
		var looks atomic.Int64
		later := func() time.Time { return time.Now().Add(time.Duration(looks.Add(1)) * 2 * time.Second) }
		s := apptest.Start(t, apptest.Options{Now: later, Config: func(c *config.Config) {
			c.TLS.Mode = config.TLSAuto
			tc.change(c)
		}})
		ca, err := os.ReadFile(s.Running.CA)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		dial := func(host string) error {
			conn, err := tls.Dial("tcp", s.Running.Address, &tls.Config{RootCAs: roots, ServerName: host})
			if err == nil {
				conn.Close()
			}
			return err
		}
		for _, host := range tc.served {
			if err := dial(host); err != nil {
				t.Errorf("%s: %s: %v, want a certificate", tc.what, host, err)
			}
		}
		for host, advice := range tc.others {
			if err := dial(host); err == nil {
				t.Errorf("%s: %s has a certificate, want none", tc.what, host)
			}
			if said := s.Log.String(); !strings.Contains(said, `"name":"`+host+`","advice":"`) || !strings.Contains(said, advice) {
				t.Errorf("%s: the log does not say %q about %s:\n%s", tc.what, advice, host, said)
			}
		}
	}
}

// A server that listens on all addresses has certificates for those of the machine.
func TestAddressesOfThePrivateCA(t *testing.T) {
	t.Parallel()
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.TLS.Mode, c.Listen = config.TLSAuto, []string{"0.0.0.0:0"}
	}})
	ca, err := os.ReadFile(s.Running.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	_, port, err := net.SplitHostPort(s.Running.Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || ip.To4() == nil {
			continue
		}
		conn, err := tls.Dial("tcp", net.JoinHostPort(ip.String(), port), &tls.Config{RootCAs: roots})
		if err != nil {
			t.Errorf("by %s: %v", ip, err)
			continue
		}
		conn.Close()
	}
}

// A replaced CA that may not sign certificates stops the start; that of an earlier version does not, with a warning.
func TestStartWithAnotherCA(t *testing.T) {
	t.Parallel()
	for want, usage := range map[string]x509.KeyUsage{"not a CA's": x509.KeyUsageCRLSign, "": x509.KeyUsageCertSign} {
		dir := t.TempDir()
		folder := filepath.Join(dir, app.TLSFolder)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		writeCA(t, folder, usage)
		c := config.Default()
		c.Data, c.Listen, c.TLS.Mode = dir, []string{"127.0.0.1:0"}, config.TLSAuto
		checked, err := c.Check()
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		a, err := app.New(t.Context(), checked, slog.New(slog.NewTextHandler(&log, nil)), time.Now)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("usage %v: got %v, want an error that says %q", usage, err, want)
			}
			continue
		}
		if err != nil || !strings.Contains(log.String(), "has no name constraints") {
			t.Fatalf("usage %v: got %v, and the log\n%s\nwant a warning", usage, err, log.String())
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// writeCA writes a CA as an earlier version made it: for ten years, without name constraints.
func writeCA(t *testing.T, folder string, usage x509.KeyUsage) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"ecrin"}, CommonName: "old"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: usage, BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem": {Type: "CERTIFICATE", Bytes: der}, "ca-key.pem": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
