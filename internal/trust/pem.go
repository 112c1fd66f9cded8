package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
)

// organization marks the subject of the CAs that ecrin makes (package tlsauto).
const organization = "ecrin"

// contents is what a PEM file holds.
type contents struct {
	exact  bool   // the CA in question
	stale  bool   // another CA that ecrin made: an installation has one at a time, a replaced one must not stay trusted
	others string // the file without these; byte for byte when there are none
}

// split sorts a PEM file. ca may be nil: then every CA that ecrin made counts as stale.
func split(content []byte, ca *x509.Certificate) contents {
	var c contents
	var kept strings.Builder
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE" && ca != nil && bytes.Equal(block.Bytes, ca.Raw):
			c.exact = true
		case block.Type == "CERTIFICATE" && madeByEcrin(block.Bytes):
			c.stale = true
		default:
			block.Headers = nil
			pem.Encode(&kept, block) // a strings.Builder does not fail
		}
	}
	c.others = kept.String()
	if !c.exact && !c.stale && len(bytes.TrimSpace(content)) > 0 {
		c.others = strings.TrimRight(string(content), "\n") + "\n"
	}
	return c
}

func madeByEcrin(der []byte) bool {
	cert, err := x509.ParseCertificate(der)
	return err == nil && cert.IsCA && slices.Equal(cert.Subject.Organization, []string{organization})
}
