// SPDX-License-Identifier: Apache-2.0

// Package stack owns one lab: which parts it has, in which order they start,
// what they are told about each other, and that nothing of them stays. It does
// not know how the parts work inside.
package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// StateFile is the name of the file in the lab's folder that describes the lab.
const StateFile = "lab.json"

// ErrNoLab tells that a folder holds no lab.
var ErrNoLab = errors.New("no lab here")

// State describes a running lab to whoever uses it.
type State struct {
	Clusters map[string]Cluster `json:"clusters"`
	Chain    *Chain             `json:"chain,omitempty"`
	Wallets  map[string]Wallet  `json:"wallets,omitempty"`
	Manager  *Manager           `json:"manager,omitempty"`
	Bin      map[string]string  `json:"bin"`
	// Suppliers are those with clusters of their own. A supplier's name is also its pool's, its cluster's and its wallet's, and that of
	// its namespace in the hub.
	Suppliers map[string]Remote `json:"suppliers,omitempty"`
	// Buyer is the buyer, if it has a cluster of its own, which is called so, as its namespace there and in the hub are.
	Buyer *Remote `json:"buyer,omitempty"`
	// Members are the kubeconfigs of the members that have no cluster of their own, with a member's rights in the hub.
	Members map[string]string `json:"members,omitempty"`
	// Isolation is how the clusters of a federation are kept apart, and Places where each of them runs. A hub with real nodes has a place, too.
	Isolation string           `json:"isolation,omitempty"`
	Places    map[string]Place `json:"places,omitempty"`
	// Nodes is the folder of the real nodes, if there are any.
	Nodes string `json:"nodes,omitempty"`
	// Ready is set when everything that was asked for has started.
	Ready bool `json:"ready"`
}

// Cluster is one Kubernetes API.
type Cluster struct {
	Kubeconfig string `json:"kubeconfig"`
	Server     string `json:"server"`
}

// Place is where a cluster runs.
type Place struct {
	// Host is what everything of the cluster listens on. In a namespace it is loopback, where the lab has the same ports outside.
	Host string `json:"host"`
	// Namespace is the path of its network namespace, and Address its own on the link to the hub; empty if it has none.
	Namespace string `json:"namespace,omitempty"`
	Address   string `json:"address,omitempty"`
}

// Remote is a member that is another cluster than the hub.
type Remote struct {
	// HubKubeconfig is how it reaches the hub: through its link, with a token that has a member's rights.
	HubKubeconfig string `json:"hubKubeconfig"`
	// Link is where the fault of its link to the hub is read and set.
	Link    string  `json:"link"`
	Manager Manager `json:"manager"`
}

// Chain is the local Solana chain and what was set up on it.
type Chain struct {
	RPC         string          `json:"rpc"`
	WS          string          `json:"ws"`
	GenesisHash string          `json:"genesisHash"`
	ProgramID   string          `json:"programID"`
	Config      string          `json:"config"`
	Treasury    string          `json:"treasury"`
	Mints       map[string]Mint `json:"mints"`
}

// Mint is one token.
type Mint struct {
	Address  string `json:"address"`
	Decimals uint8  `json:"decimals"`
}

// Wallet is a keypair of the lab.
type Wallet struct {
	Address string `json:"address"`
	Keypair string `json:"keypair"`
}

// Read returns the state of the lab in dir, or ErrNoLab.
func Read(dir string) (State, error) {
	data, err := os.ReadFile(filepath.Join(dir, StateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, fmt.Errorf("%w: %s", ErrNoLab, dir)
	}
	if err != nil {
		return State{}, fmt.Errorf("read state: %w", err)
	}
	var state State
	if err := json.Unmarshal(data, &state); err != nil {
		return State{}, fmt.Errorf("parse state: %w", err)
	}
	return state, nil
}

// Write replaces the state of the lab in dir.
func (s State) Write(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	path := filepath.Join(dir, StateFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("replace state: %w", err)
	}
	return nil
}
