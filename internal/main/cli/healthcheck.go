package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthPatience is how long a server may take for an answer about itself.
const healthPatience = 4 * time.Second

func (c *commands) healthcheck() *cobra.Command {
	cmd := &cobra.Command{Use: "healthcheck [URL]", Args: cobra.MaximumNArgs(1),
		Short: "Ask a server whether it is ready; for container engines, whose image has no other program",
		Long: `Ask a server whether it is ready. The command succeeds if URL answers 200, and otherwise fails with the answer. It needs no credentials and
reads no data directory.`,
		Example: "  ecrin healthcheck\n  ecrin healthcheck https://ecr.example.com/readyz --ca /etc/ecrin/ca.pem"}
	ca := cmd.Flags().String("ca", "", "PEM `file` of the authorities that are trusted, instead of those of the system")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		url := "http://127.0.0.1:5100/readyz"
		if len(args) == 1 {
			url = args[0]
		}
		transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
		if *ca != "" {
			pem, err := os.ReadFile(*ca)
			if err != nil {
				return err
			}
			transport.TLSClientConfig.RootCAs = x509.NewCertPool()
			if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
				return usageError{fmt.Errorf("--ca %s has no certificate", *ca)}
			}
		}
		req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, url, nil)
		if err != nil || req.URL.Host == "" {
			return usageError{fmt.Errorf("%q is no URL: use http://HOST:PORT/readyz", url)}
		}
		resp, err := (&http.Client{Transport: transport, Timeout: healthPatience}).Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }() // read as far as it is shown
		if resp.StatusCode != http.StatusOK {
			said, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // a part is better than nothing
			return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(said)))
		}
		if *asJSON {
			return c.printJSON(map[string]any{"url": url, "ready": true})
		}
		c.say("ready")
		return nil
	}
	return cmd
}
