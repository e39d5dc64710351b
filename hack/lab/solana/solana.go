// SPDX-License-Identifier: Apache-2.0

// Package solana sets up a local chain as a person would set up a real test
// network: it makes wallets, mints and token accounts, pays them out, and
// deploys programs, all by ordinary transactions. It does not know what Bourse
// uses them for.
package solana

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gagliardetto/solana-go/rpc"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
)

const (
	// pollEvery is shorter than the local chain's slot.
	pollEvery = 20 * time.Millisecond
	// landWithin is much longer than a blockhash lives on the local chain.
	landWithin = time.Minute
	// lamportsPerSOL is the number of base units in one SOL.
	lamportsPerSOL = 1_000_000_000
)

// Network is a chain on which set-up transactions are made.
type Network struct {
	client *chain.Client
	faucet *rpc.Client
}

// Connect returns the network behind a JSON-RPC endpoint. It does not connect yet.
func Connect(endpoint string) *Network {
	return &Network{client: chain.NewClient(endpoint, chain.Options{}), faucet: rpc.New(endpoint)}
}

// Genesis returns the hash that names the network.
func (n *Network) Genesis(ctx context.Context) (string, error) {
	hash, err := n.client.GenesisHash(ctx)
	if err != nil {
		return "", fmt.Errorf("read genesis hash: %w", err)
	}
	return hash.String(), nil
}

// Airdrop gives a wallet SOL from the network's faucet.
func (n *Network) Airdrop(ctx context.Context, to chain.Address, sol uint64) error {
	signature, err := n.faucet.RequestAirdrop(ctx, to, sol*lamportsPerSOL, rpc.CommitmentConfirmed)
	if err != nil {
		return fmt.Errorf("request airdrop: %w", err)
	}
	return n.await(ctx, signature)
}

// Run makes one transaction, paid by the first signer, and waits until it is confirmed.
func (n *Network) Run(ctx context.Context, instructions []chain.Instruction, signers ...signer.Signer) error {
	signature, err := n.send(ctx, instructions, signers)
	if err != nil {
		return err
	}
	return n.await(ctx, signature)
}

func (n *Network) send(ctx context.Context, instructions []chain.Instruction, signers []signer.Signer) (chain.Signature, error) {
	if len(signers) == 0 {
		return chain.Signature{}, errors.New("no signer")
	}
	blockhash, err := n.client.Blockhash(ctx)
	if err != nil {
		return chain.Signature{}, fmt.Errorf("read blockhash: %w", err)
	}
	message, err := chain.CompileMessage(signers[0].PublicKey(), instructions, blockhash.Hash)
	if err != nil {
		return chain.Signature{}, fmt.Errorf("compile transaction: %w", err)
	}
	envelope, err := chain.NewEnvelope(message)
	if err != nil {
		return chain.Signature{}, fmt.Errorf("open envelope: %w", err)
	}
	for _, s := range signers {
		signature, err := s.Sign(ctx, message)
		if err != nil {
			return chain.Signature{}, fmt.Errorf("sign: %w", err)
		}
		if err := envelope.Add(s.PublicKey(), signature); err != nil {
			return chain.Signature{}, fmt.Errorf("add signature: %w", err)
		}
	}
	raw, err := envelope.Bytes()
	if err != nil {
		return chain.Signature{}, fmt.Errorf("encode transaction: %w", err)
	}
	if err := n.client.Send(ctx, raw); err != nil {
		return chain.Signature{}, fmt.Errorf("send transaction: %w", err)
	}
	id, _ := envelope.ID()
	return id, nil
}

// await waits until a transaction is confirmed and did not fail.
func (n *Network) await(ctx context.Context, signature chain.Signature) error {
	ctx, cancel := context.WithTimeout(ctx, landWithin)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		status, err := n.client.Status(ctx, signature)
		switch {
		case err != nil:
			return fmt.Errorf("read status: %w", err)
		case status.Failure != nil:
			return fmt.Errorf("transaction %s: %w", signature, status.Failure)
		case status.Found && status.Commitment != chain.Processed:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await transaction %s: %w", signature, ctx.Err())
		case <-ticker.C:
		}
	}
}
