package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
)

// organization is in the subject of the CAs that ecrin creates (package tlsauto).
const organization = "ecrin"

// contents describes the content of a PEM file.
type contents struct {
	exact  bool   // has the given CA
	stale  bool   // has another CA that ecrin created: an installation has one CA, and a replaced CA must not stay trusted
	others string // the file without these CAs; unchanged if there are none
}

// split returns the contents of a PEM file. If ca is nil, every CA that ecrin created counts as stale.
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
			pem.Encode(&kept, block) // writing to a strings.Builder never fails
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
