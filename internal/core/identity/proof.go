package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// OnceHeader is the header of the operator's requests with a value that the server accepts once.
const OnceHeader = "X-Ecrin-Once"

// onceLife is the time for which a value of OnceHeader is valid.
const onceLife = time.Minute

// ServerProof returns a MAC, made with the master key, over the challenge of a client, the URL of the server, and the
// value once that the server issued. It proves that the server at this URL holds the master key.
func (k *Keyring) ServerProof(challenge, url, once string) []byte {
	return k.MAC("proof of the server", []byte(strings.Join([]string{challenge, url, once}, "\n")))
}

// Prove returns a new value for OnceHeader, and the proof that this server, at the address url, holds the master key.
// challenge comes from the client. Callers need no credentials: only a client with the master key can use the result.
func (s *Service) Prove(challenge, url string) (once string, proof []byte) {
	once = s.onces.issue(s.now())
	return once, s.keys.ServerProof(challenge, url, once)
}

// acceptOnce returns nil if a request of the operator has a signed OnceHeader with a value that this process issued and
// that no earlier request had. This prevents the replay of an intercepted request, and the use of a request that was
// signed for another server.
//
// Errors: fault.AccessDenied.
func (s *Service) acceptOnce(r *http.Request, sig *sigv4.Signature) error {
	if slices.Contains(sig.SignedHeaders, strings.ToLower(OnceHeader)) && s.onces.use(r.Header.Get(OnceHeader), s.now()) {
		return nil
	}
	return fault.AccessDenied.New("a request of the operator needs a fresh value in the header %s: use the command line of ecrin", OnceHeader)
}

// onceValues issues values and accepts each of them once. Only accepted values are stored.
type onceValues struct {
	start sync.Once
	key   [32]byte // of this process

	mu   sync.Mutex
	used map[string]time.Time // accepted values that have not expired, and when each expires
}

const onceBytes = 8 + 16 + sha256.Size // time, random part, MAC

func (o *onceValues) mac(b []byte) []byte {
	o.start.Do(func() { rand.Read(o.key[:]) })
	h := hmac.New(sha256.New, o.key[:])
	h.Write(b)
	return h.Sum(nil)
}

func (o *onceValues) issue(now time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.Add(onceLife).UnixMilli()))
	b = append(b, make([]byte, 16)...)
	rand.Read(b[8:])
	return base64.RawURLEncoding.EncodeToString(append(b, o.mac(b)...))
}

func (o *onceValues) use(value string, now time.Time) bool {
	b, err := unarmored(value)
	if err != nil || len(b) != onceBytes || !hmac.Equal(b[24:], o.mac(b[:24])) {
		return false
	}
	ends := time.UnixMilli(int64(binary.BigEndian.Uint64(b)))
	if !now.Before(ends) {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for used, end := range o.used {
		if !now.Before(end) {
			delete(o.used, used)
		}
	}
	if _, again := o.used[value]; again {
		return false
	}
	if o.used == nil {
		o.used = map[string]time.Time{}
	}
	o.used[value] = ends // stays small: only requests with the operator's signature reach this line
	return true
}
