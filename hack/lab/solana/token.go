// SPDX-License-Identifier: Apache-2.0

package solana

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Instruction tags and sizes of the System, Token and Associated Token Account programs.
const (
	systemCreateAccount  = 0
	tokenMintToChecked   = 14
	tokenInitializeMint2 = 20
	associatedIdempotent = 1
	mintSize             = 82
)

// Mint is a token and who may make more of it.
type Mint struct {
	Address  chain.Address
	Decimals uint8
	// Authority signs what makes more of the token.
	Authority signer.Signer
}

// CreateMint makes a token. Its authority pays and, if freezable, may freeze accounts, as the issuer of a real USDC may.
func (n *Network) CreateMint(ctx context.Context, authority signer.Signer, decimals uint8, freezable bool) (Mint, error) {
	key, err := newKey()
	if err != nil {
		return Mint{}, err
	}
	holder := authority.PublicKey()
	data := append([]byte{tokenInitializeMint2, decimals}, holder[:]...)
	if freezable {
		data = append(append(data, 1), holder[:]...)
	} else {
		data = append(data, 0)
	}
	mint := Mint{Address: key.PublicKey(), Decimals: decimals, Authority: authority}
	err = n.Run(ctx, []chain.Instruction{
		createAccount(holder, mint.Address, chain.TokenProgram, mintSize),
		{Program: chain.TokenProgram, Accounts: []chain.Meta{{Address: mint.Address, Writable: true}}, Data: data},
	}, authority, key)
	if err != nil {
		return Mint{}, fmt.Errorf("create mint: %w", err)
	}
	return mint, nil
}

// MintTo makes amount base units of a token for a wallet, whose associated token account is made if it is missing.
// An amount of zero only makes the account.
func (n *Network) MintTo(ctx context.Context, mint Mint, owner chain.Address, amount uint64) error {
	payer := mint.Authority.PublicKey()
	account, err := chain.TokenAddress(owner, mint.Address)
	if err != nil {
		return fmt.Errorf("derive token account: %w", err)
	}
	instructions := []chain.Instruction{{
		Program: chain.AssociatedProgram,
		Accounts: []chain.Meta{
			{Address: payer, Signer: true, Writable: true},
			{Address: account, Writable: true},
			{Address: owner},
			{Address: mint.Address},
			{Address: chain.SystemProgram},
			{Address: chain.TokenProgram},
		},
		Data: []byte{associatedIdempotent},
	}}
	if amount > 0 {
		instructions = append(instructions, chain.Instruction{
			Program: chain.TokenProgram,
			Accounts: []chain.Meta{
				{Address: mint.Address, Writable: true},
				{Address: account, Writable: true},
				{Address: payer, Signer: true},
			},
			Data: append(binary.LittleEndian.AppendUint64([]byte{tokenMintToChecked}, amount), mint.Decimals),
		})
	}
	if err := n.Run(ctx, instructions, mint.Authority); err != nil {
		return fmt.Errorf("mint tokens: %w", err)
	}
	return nil
}

// createAccount makes an account of size bytes for a program, paid by payer.
func createAccount(payer, account, owner chain.Address, size int) chain.Instruction {
	data := binary.LittleEndian.AppendUint32(nil, systemCreateAccount)
	data = binary.LittleEndian.AppendUint64(data, rent(size))
	data = binary.LittleEndian.AppendUint64(data, uint64(size))
	return chain.Instruction{
		Program: chain.SystemProgram,
		Accounts: []chain.Meta{
			{Address: payer, Signer: true, Writable: true},
			{Address: account, Signer: true, Writable: true},
		},
		Data: append(data, owner[:]...),
	}
}

// rent is the lamports that exempt an account of size bytes from rent: two years
// at 3480 lamports per byte and year, with 128 bytes for the account itself.
func rent(size int) uint64 { return uint64(size+128) * 3480 * 2 }
