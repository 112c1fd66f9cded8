package app

import (
	"encoding/json"
	"net/http"
)

// ProofPath is the path at which a server proves that it holds the master key of its data directory.
const ProofPath = "/.ecrin/proof"

// maxChallenge is the greatest length of a challenge, in bytes.
const maxChallenge = 128

// Proof is the answer at ProofPath to the query parameter challenge.
type Proof struct {
	Once  string `json:"once"`  // value for identity.OnceHeader of the next request
	Proof []byte `json:"proof"` // see identity.Keyring.ServerProof
}

// prove answers a challenge.
func (a *App) prove(w http.ResponseWriter, r *http.Request) {
	challenge := r.URL.Query().Get("challenge")
	if len(challenge) < 16 || len(challenge) > maxChallenge {
		writeText(w, http.StatusBadRequest, "want a challenge of 16 to 128 bytes")
		return
	}
	once, proof := a.identity.Prove(challenge, a.url)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(Proof{Once: once, Proof: proof})
}
