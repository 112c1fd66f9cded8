package vendorpolicy

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
)

// Details is what a policy has beside its statements: what tools gave, as they gave it.
type Details struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Definition  string `json:"definition"`
	Digest      []byte `json:"digest"` // of the statements that follow from the definition
}

const (
	idPrefix   = "ecrin-vendor-policy:"
	maxDetails = 4 * MaxDefinition // bytes of JSON
)

// document is a document of IAM. Its Id has the details, so that they change together with the statements.
type document struct {
	Version   string
	ID        string `json:"Id"`
	Statement json.RawMessage
}

func digest(statements []byte) []byte {
	sum := sha256.Sum256(statements)
	return sum[:16]
}

// Document returns the text of a document of IAM with statements and details, whose digest it sets.
func Document(all []Statement, d Details) (string, error) {
	statements, err := json.Marshal(all)
	if err != nil {
		return "", err
	}
	d.Digest = digest(statements)
	text, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(text); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	out, err := json.Marshal(document{Version: "2012-10-17", ID: idPrefix + base64.RawURLEncoding.EncodeToString(b.Bytes()),
		Statement: statements})
	return string(out), err
}

// DetailsOf returns the details in the text of a document, and whether it has any that its statements follow from. A document that another
// tool has made or changed has none.
func DetailsOf(text string) (d Details, ok bool) {
	var doc document
	if json.Unmarshal([]byte(text), &doc) != nil || !strings.HasPrefix(doc.ID, idPrefix) {
		return d, false
	}
	packed, err := base64.RawURLEncoding.DecodeString(doc.ID[len(idPrefix):])
	if err != nil {
		return d, false
	}
	details, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxDetails))
	if err != nil || json.Unmarshal(details, &d) != nil {
		return Details{}, false
	}
	var compact bytes.Buffer
	if json.Compact(&compact, doc.Statement) != nil || !bytes.Equal(digest(compact.Bytes()), d.Digest) {
		return Details{}, false
	}
	return d, true
}
