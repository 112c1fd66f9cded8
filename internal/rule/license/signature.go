package license

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// MaxSize is the largest size of a licence file in bytes.
const MaxSize = 1 << 20

// Signer signs the licences of an application. Its key is signed by the root key of the installation, whose public half installers have.
type Signer struct {
	key      *rsa.PrivateKey
	public   string // PEM
	endorsed []byte // JSON of keySignature
}

// outer is what the member signature of a licence has, as JSON in base64.
type outer struct {
	LicenseData    []byte `json:"licenseData"`
	InnerSignature []byte `json:"innerSignature"`
}

// inner is the JSON in outer.InnerSignature.
type inner struct {
	LicenseSignature   []byte `json:"licenseSignature,omitempty"`
	V2LicenseSignature []byte `json:"v2LicenseSignature,omitempty"`
	PublicKey          string `json:"publicKey"`
	KeySignature       []byte `json:"keySignature,omitempty"`
	V2KeySignature     []byte `json:"v2KeySignature,omitempty"`
}

// keySignature is the JSON in inner.KeySignature.
type keySignature struct {
	Signature   []byte `json:"signature"`
	GlobalKeyID string `json:"globalKeyId"`
}

// NewSigner returns the Signer with the key of an application and the root key.
//
// Errors: a key cannot sign.
func NewSigner(application, root *rsa.PrivateKey) (*Signer, error) {
	public, err := PublicPEM(&application.PublicKey)
	if err != nil {
		return nil, err
	}
	id, err := KeyID(&root.PublicKey)
	if err != nil {
		return nil, err
	}
	endorsement, err := sign(root, []byte(public))
	if err != nil {
		return nil, err
	}
	endorsed, err := json.Marshal(keySignature{Signature: endorsement, GlobalKeyID: id})
	if err != nil {
		return nil, err
	}
	return &Signer{key: application, public: public, endorsed: endorsed}, nil
}

// PublicPEM returns a public key in the form that licences and installers have it in.
func PublicPEM(k *rsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// ParsePublicPEM is the inverse of PublicPEM. Errors: no PEM block, no RSA key, a key of less than 2048 bits.
func ParsePublicPEM(text string) (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the public key is not in PEM form")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the public key: %w", err)
	}
	r, ok := k.(*rsa.PublicKey)
	if !ok || r.N.BitLen() < 2048 {
		return nil, errors.New("the public key is no RSA key of 2048 bits or more")
	}
	return r, nil
}

// KeyID returns the id of a root key: 32 hexadecimal digits of the hash of its public half.
func KeyID(k *rsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:16]), nil
}

func sign(k *rsa.PrivateKey, message []byte) ([]byte, error) {
	h := sha256.Sum256(message)
	return rsa.SignPSS(rand.Reader, k, crypto.SHA256, h[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}

func verify(k *rsa.PublicKey, message, signature []byte) error {
	h := sha256.Sum256(message)
	return rsa.VerifyPSS(k, crypto.SHA256, h[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
}

// Encode returns the file of a licence: YAML with the signatures of the licence and of each field.
//
// Errors: the licence has no id, application or name; a field is not valid UTF-8; a key cannot sign.
func Encode(l License, v Version, s *Signer) ([]byte, error) {
	if l.ID == "" || l.AppSlug == "" || l.Name == "" {
		return nil, errors.New("a licence has an id, an application and a name")
	}
	if v != V1 && v != V2 {
		return nil, fmt.Errorf("there are licences of the versions %s and %s, not of %q", V1, V2, v)
	}
	d := l.document(v)
	for name, f := range d.Spec.Entitlements {
		if !utf8.ValidString(f.Value.String()) {
			return nil, fmt.Errorf("the field %s is no text", name) // see apart
		}
		signature, err := sign(s.key, []byte(f.Value.String()))
		if err != nil {
			return nil, fmt.Errorf("signing the field %s: %w", name, err)
		}
		if v == V1 {
			f.Signature = &fieldSignature{V1: signature}
		} else {
			f.Signature = &fieldSignature{V2: signature}
		}
		d.Spec.Entitlements[name] = f
	}
	data, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	signature, err := sign(s.key, data)
	if err != nil {
		return nil, fmt.Errorf("signing the licence: %w", err)
	}
	in := inner{PublicKey: s.public, V2LicenseSignature: signature, V2KeySignature: s.endorsed}
	if v == V1 {
		in.LicenseSignature, in.KeySignature = signature, s.endorsed
	}
	o := outer{LicenseData: data}
	if o.InnerSignature, err = json.Marshal(in); err != nil {
		return nil, err
	}
	if d.Spec.Signature, err = json.Marshal(o); err != nil {
		return nil, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return toYAML(text)
}

// Verified is a licence whose signatures are right.
type Verified struct {
	License
	Version Version
	// Changed are the members of the file whose values are not those that were signed, such as spec.channelName. License has the signed
	// values.
	Changed []string
}

// Parse parses a licence file in either version, and verifies its signatures with the root key.
//
// Errors say what is wrong: the file is larger than MaxSize, no licence, or not signed by a key that the root key has signed. A file that
// was changed after it was signed is no error, see Verified.
func Parse(text []byte, root *rsa.PublicKey) (Verified, error) {
	d, o, in, err := parse(text)
	if err != nil {
		return Verified{}, err
	}
	key, err := in.applicationKey(root)
	if err != nil {
		return Verified{}, err
	}
	signature := in.V2LicenseSignature
	if d.APIVersion == V1 && len(in.LicenseSignature) > 0 {
		signature = in.LicenseSignature
	}
	if err := verify(key, o.LicenseData, signature); err != nil {
		return Verified{}, errors.New("the signature of the licence is wrong: the file is damaged, or was not made by the vendor")
	}
	var signed document
	if err := json.Unmarshal(o.LicenseData, &signed); err != nil {
		return Verified{}, fmt.Errorf("the signed data of the licence: %w", err)
	}
	if signed.Kind != kind || signed.APIVersion != V1 && signed.APIVersion != V2 {
		return Verified{}, fmt.Errorf("what is signed is no licence but %s of %s", signed.Kind, signed.APIVersion)
	}
	for name, f := range signed.Spec.Entitlements {
		if s := f.signature(); s != nil {
			if err := verify(key, []byte(f.Value.String()), s); err != nil {
				return Verified{}, fmt.Errorf("the signature of the field %s is wrong", name)
			}
		}
	}
	d.Spec.Signature = nil
	changed, err := differences(d, signed)
	if err != nil {
		return Verified{}, err
	}
	return Verified{License: signed.license(), Version: signed.APIVersion, Changed: changed}, nil
}

// ID returns the id in a licence file without verifying anything; for messages, and to ask the vendor for the current licence.
//
// Errors: those of the form of the file in Parse.
func ID(text []byte) (string, error) {
	d, _, _, err := parse(text)
	return d.Spec.LicenseID, err
}

// Read returns the signed values of a licence file without verifying who signed them: for those who trust whoever gave them the file.
//
// Errors: those of the form of the file in Parse.
func Read(text []byte) (License, error) {
	_, o, _, err := parse(text)
	if err != nil {
		return License{}, err
	}
	var signed document
	if err := json.Unmarshal(o.LicenseData, &signed); err != nil {
		return License{}, fmt.Errorf("the signed data of the licence: %w", err)
	}
	return signed.license(), nil
}

func (f sigfield) signature() []byte {
	switch {
	case f.Signature == nil:
		return nil
	case len(f.Signature.V2) > 0:
		return f.Signature.V2
	}
	return f.Signature.V1
}

// parse parses the file and the two layers of its signature.
func parse(text []byte) (d document, o outer, in inner, err error) {
	if len(text) > MaxSize {
		return d, o, in, fmt.Errorf("a licence has at most %d bytes", MaxSize)
	}
	data, err := toJSON(text)
	if err != nil {
		return d, o, in, fmt.Errorf("the licence is no YAML file: %w", err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, o, in, fmt.Errorf("the licence: %w", err)
	}
	if d.Kind != kind || d.APIVersion != V1 && d.APIVersion != V2 {
		return d, o, in, fmt.Errorf("the file is no licence: it is kind %q of %q, and not License of %s or %s", d.Kind, d.APIVersion, V1, V2)
	}
	if len(d.Spec.Signature) == 0 {
		return d, o, in, errors.New("the licence is not signed")
	}
	if err := json.Unmarshal(d.Spec.Signature, &o); err != nil || len(o.InnerSignature) == 0 {
		return d, o, in, errors.New("the signature of the licence has another form: it is no JSON with licenseData and innerSignature")
	}
	if err := json.Unmarshal(o.InnerSignature, &in); err != nil {
		return d, o, in, errors.New("the inner signature of the licence is no JSON")
	}
	return d, o, in, nil
}

// applicationKey returns the key of the application, which must be signed by the root key.
func (in inner) applicationKey(root *rsa.PublicKey) (*rsa.PublicKey, error) {
	text := in.V2KeySignature
	if len(text) == 0 {
		text = in.KeySignature
	}
	var k keySignature
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, errors.New("the licence has no signature of the key that signed it")
	}
	key, err := ParsePublicPEM(in.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := verify(root, []byte(in.PublicKey), k.Signature); err != nil {
		return nil, fmt.Errorf("the licence was signed by another vendor's key: its root key has the id %q", k.GlobalKeyID)
	}
	return key, nil
}

// differences returns the members under spec that differ.
func differences(file, signed document) ([]string, error) {
	a, err := members(file)
	if err != nil {
		return nil, err
	}
	b, err := members(signed)
	if err != nil {
		return nil, err
	}
	var changed []string
	for name := range b {
		if !bytes.Equal(a[name], b[name]) {
			changed = append(changed, "spec."+name)
		}
	}
	for name := range a {
		if _, ok := b[name]; !ok {
			changed = append(changed, "spec."+name)
		}
	}
	slices.Sort(changed)
	if file.Metadata.Name != signed.Metadata.Name {
		changed = append([]string{"metadata.name"}, changed...)
	}
	return changed, nil
}

// members returns the members of the spec of a file as JSON, those of entitlements with their names, such as entitlements.seats.
func members(d document) (map[string]json.RawMessage, error) {
	fields := d.Spec.Entitlements
	d.Spec.Entitlements = nil
	text, err := json.Marshal(d.Spec)
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if all["entitlements."+name], err = json.Marshal(fields[name]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Detached is the signature of a document that is no licence, by the key of an application.
type Detached struct {
	PublicKey   string // of the application, PEM
	Signature   []byte
	RootKeyID   string
	Endorsement []byte // signature of PublicKey by the root key
}

// apart begins what Signer.Document signs. No licence and no field of one begins with it, for they are valid UTF-8: a signature of one
// never stands for the other.
const apart = "\xff"

// Document signs a document that is no licence.
func (s *Signer) Document(message []byte) (Detached, error) {
	var k keySignature
	if err := json.Unmarshal(s.endorsed, &k); err != nil {
		return Detached{}, err
	}
	signature, err := sign(s.key, append([]byte(apart), message...))
	return Detached{PublicKey: s.public, Signature: signature, RootKeyID: k.GlobalKeyID, Endorsement: k.Signature}, err
}

// Verify verifies the signature with the key that it names, which the caller has to trust: see Endorsed and ApplicationKey.
//
// Errors: the signature is wrong.
func (d Detached) Verify(message []byte) error {
	key, err := ParsePublicPEM(d.PublicKey)
	if err != nil {
		return err
	}
	return verify(key, append([]byte(apart), message...), d.Signature)
}

// Endorsed returns nil if a root key has signed the key of the application.
func (d Detached) Endorsed(root *rsa.PublicKey) error {
	return verify(root, []byte(d.PublicKey), d.Endorsement)
}

// ApplicationKey returns the public key of the application of a licence, which signs its bundles too. With a root key the licence is
// verified.
//
// Errors: those of Parse; without a root key, those of the form of the file.
func ApplicationKey(text []byte, root *rsa.PublicKey) (*rsa.PublicKey, error) {
	if root != nil {
		if _, err := Parse(text, root); err != nil {
			return nil, err
		}
	}
	_, _, in, err := parse(text)
	if err != nil {
		return nil, err
	}
	return ParsePublicPEM(in.PublicKey)
}
