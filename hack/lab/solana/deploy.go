// SPDX-License-Identifier: Apache-2.0

package solana

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	solanago "github.com/gagliardetto/solana-go"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Instruction tags and account sizes of the upgradeable loader.
const (
	loaderInitializeBuffer = 0
	loaderWrite            = 1
	loaderDeploy           = 2
	bufferHeader           = 37
	programSize            = 36
	// pieceSize leaves room in a transaction for its header and one signature.
	pieceSize = 900
)

var loader = solanago.BPFLoaderUpgradeableProgramID

// Deploy puts a program on the chain through the upgradeable loader: it writes
// the ELF into a buffer and deploys the buffer. The payer becomes the authority
// that may upgrade the program.
func (n *Network) Deploy(ctx context.Context, payer signer.Signer, elf []byte) (chain.Address, error) {
	buffer, err := newKey()
	if err != nil {
		return chain.Address{}, err
	}
	program, err := newKey()
	if err != nil {
		return chain.Address{}, err
	}
	if err := n.writeBuffer(ctx, payer, buffer, elf); err != nil {
		return chain.Address{}, fmt.Errorf("write buffer: %w", err)
	}
	holder, id := payer.PublicKey(), program.PublicKey()
	data, _, err := chain.Derive(loader, id[:])
	if err != nil {
		return chain.Address{}, fmt.Errorf("derive program data: %w", err)
	}
	err = n.Run(ctx, []chain.Instruction{
		createAccount(holder, id, loader, programSize),
		{
			Program: loader,
			Accounts: []chain.Meta{
				{Address: holder, Signer: true, Writable: true},
				{Address: data, Writable: true},
				{Address: id, Writable: true},
				{Address: buffer.PublicKey(), Writable: true},
				{Address: solanago.SysVarRentPubkey},
				{Address: solanago.SysVarClockPubkey},
				{Address: chain.SystemProgram},
				{Address: holder, Signer: true},
			},
			Data: binary.LittleEndian.AppendUint64(tag(loaderDeploy), uint64(len(elf))),
		},
	}, payer, program)
	if err != nil {
		return chain.Address{}, fmt.Errorf("deploy buffer: %w", err)
	}
	return id, nil
}

// writeBuffer fills a new buffer with the ELF. The pieces land in any order.
func (n *Network) writeBuffer(ctx context.Context, payer signer.Signer, buffer *signer.Keypair, elf []byte) error {
	holder, address := payer.PublicKey(), buffer.PublicKey()
	err := n.Run(ctx, []chain.Instruction{
		createAccount(holder, address, loader, bufferHeader+len(elf)),
		{
			Program:  loader,
			Accounts: []chain.Meta{{Address: address, Writable: true}, {Address: holder}},
			Data:     tag(loaderInitializeBuffer),
		},
	}, payer, buffer)
	if err != nil {
		return fmt.Errorf("create buffer: %w", err)
	}
	var sent []chain.Signature
	offset := 0
	for piece := range slices.Chunk(elf, pieceSize) {
		data := binary.LittleEndian.AppendUint32(tag(loaderWrite), uint32(offset))
		data = binary.LittleEndian.AppendUint64(data, uint64(len(piece)))
		signature, err := n.send(ctx, []chain.Instruction{{
			Program:  loader,
			Accounts: []chain.Meta{{Address: address, Writable: true}, {Address: holder, Signer: true}},
			Data:     append(data, piece...),
		}}, []signer.Signer{payer})
		if err != nil {
			return fmt.Errorf("write at %d: %w", offset, err)
		}
		sent = append(sent, signature)
		offset += len(piece)
	}
	for _, signature := range sent {
		if err := n.await(ctx, signature); err != nil {
			return err
		}
	}
	return nil
}

func tag(number uint32) []byte { return binary.LittleEndian.AppendUint32(nil, number) }
