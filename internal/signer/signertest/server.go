// SPDX-License-Identifier: Apache-2.0

// Package signertest has the reference server of the remote signer's protocol, which docs/remote-signer.md describes, and a wallet that
// tests can stop.
package signertest

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"

	"github.com/bourse-dev/bourse/internal/signer"
)

// maxRequest is above what a message of the network's greatest size takes.
const maxRequest = 4096

// Handler signs with the wallet for whoever knows the token; an empty token asks for none.
func Handler(wallet signer.Signer, token string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		given := request.Header.Get("Authorization")
		if token != "" && subtle.ConstantTimeCompare([]byte(given), []byte("Bearer "+token)) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var asked struct {
			Wallet  string `json:"wallet"`
			Message []byte `json:"message"`
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxRequest))
		if err != nil || json.Unmarshal(body, &asked) != nil || len(asked.Message) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if asked.Wallet != wallet.PublicKey().String() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		signature, err := wallet.Sign(request.Context(), asked.Message)
		if err != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"signature": signature.String()}) // the client asks again
	})
}
