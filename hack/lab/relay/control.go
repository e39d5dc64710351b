// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/json"
	"net/http"
)

// FaultPath is where a relay's fault is read and set.
const FaultPath = "/fault"

// maxFault is far above what a fault takes.
const maxFault = 4096

// report is what a GET answers.
type report struct {
	Fault Fault `json:"fault"`
	Count Count `json:"count"`
}

// Control serves the relay's fault: GET reads it with what has happened on the link, PUT replaces it.
func (r *Relay) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+FaultPath, func(w http.ResponseWriter, _ *http.Request) {
		var now report
		now.Fault, now.Count = r.Look()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(now) // whoever asked is gone
	})
	mux.HandleFunc("PUT "+FaultPath, func(w http.ResponseWriter, request *http.Request) {
		decoder := json.NewDecoder(http.MaxBytesReader(w, request.Body, maxFault))
		decoder.DisallowUnknownFields()
		var fault Fault
		err := decoder.Decode(&fault)
		if err == nil {
			err = r.Set(fault)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
