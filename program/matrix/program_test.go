// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"
)

var le = binary.LittleEndian

var (
	ed25519Program = solana.MustPublicKeyFromBase58("Ed25519SigVerify111111111111111111111111111")
	sysvar         = solana.MustPublicKeyFromBase58("Sysvar1nstructions1111111111111111111111111")
)

// world is a deployed program with a market, a mint and everybody who uses it.
type world struct {
	*chain
	program                                    key
	mint                                       key
	market                                     market
	arbiter                                    key
	admin, buyer, supplier, treasury, stranger key
	warped                                     time.Duration
}

const (
	wealth   = 1_000_000_000
	decimals = 6
	hour     = 3600
	day      = 24 * hour
)

func newWorld(t *testing.T, elf []byte) *world {
	t.Helper()
	w := &world{chain: startChain(t)}
	w.admin = w.newWallet(100)
	for _, k := range []*key{&w.buyer, &w.supplier, &w.treasury, &w.stranger, &w.arbiter} {
		*k = w.newWallet(10)
	}
	w.deploy(elf)
	w.mint = w.newMint(decimals)
	w.market = w.newMarket()
	w.must(w.admin, token.NewMintToInstruction(wealth, w.mint, tokens(w.buyer, w.mint), w.admin, nil).Build())
	return w
}

// newMint makes a mint with a freeze authority, as USDC has one, and token accounts for everybody.
func (w *world) newMint(decimals uint8) key {
	w.t.Helper()
	mint := w.newKey()
	w.must(w.admin,
		system.NewCreateAccountInstruction(rent(82), 82, solana.TokenProgramID, w.admin, mint).Build(),
		token.NewInitializeMint2Instruction(decimals, w.admin, w.admin, mint).Build())
	for _, owner := range []key{w.buyer, w.supplier, w.treasury, w.stranger} {
		w.must(w.admin, createTokens(w.admin, owner, mint))
	}
	return mint
}

func rent(size uint64) uint64 { return (size + 128) * 6960 }

// deploy writes the program to a buffer and deploys it with the upgradeable loader, as `solana program deploy` does.
func (w *world) deploy(elf []byte) {
	w.t.Helper()
	const chunk = 900
	loader := solana.BPFLoaderUpgradeableProgramID
	size := uint64(len(elf))
	buffer := w.newKey()
	w.program = w.newKey()
	w.must(w.admin,
		system.NewCreateAccountInstruction(rent(37+size), 37+size, loader, w.admin, buffer).Build(),
		solana.NewInstruction(loader, metas(write(buffer), read(w.admin)), []byte{0, 0, 0, 0}))
	for at := 0; at < len(elf); at += chunk {
		part := elf[at:min(at+chunk, len(elf))]
		data := le.AppendUint32([]byte{1, 0, 0, 0}, uint32(at))
		data = append(le.AppendUint64(data, uint64(len(part))), part...)
		w.must(w.admin, solana.NewInstruction(loader, metas(write(buffer), sign(w.admin)), data))
	}
	programData, _, err := solana.FindProgramAddress([][]byte{w.program[:]}, loader)
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(w.admin,
		system.NewCreateAccountInstruction(rent(36), 36, loader, w.admin, w.program).Build(),
		solana.NewInstruction(loader, metas(sign(w.admin).WRITE(), write(programData), write(w.program), write(buffer),
			read(solana.SysVarRentPubkey), read(solana.SysVarClockPubkey), read(solana.SystemProgramID), sign(w.admin)),
			le.AppendUint64([]byte{2, 0, 0, 0}, size)))
	w.tick() // A program can be called from the slot after its deployment.
}

func read(k key) *solana.AccountMeta  { return solana.Meta(k) }
func write(k key) *solana.AccountMeta { return solana.Meta(k).WRITE() }
func sign(k key) *solana.AccountMeta  { return solana.Meta(k).SIGNER() }

func metas(m ...*solana.AccountMeta) solana.AccountMetaSlice { return m }

// warp moves the chain's clock forward.
func (w *world) warp(seconds int) {
	w.t.Helper()
	by := time.Duration(seconds) * time.Second
	if err := w.sim.WarpTime(w.t.Context(), by); err != nil {
		w.t.Fatal(err)
	}
	w.warped += by
	w.tick()
}

// in is the chain's time in so many seconds.
func (w *world) in(seconds int64) int64 { return time.Now().Add(w.warped).Unix() + seconds }

// lease is what an opening says.
type lease struct {
	id                          [32]byte
	deposit                     uint64
	deadline                    int64
	buyerFee, supplierFee, burn uint16
	arbiterCap                  uint16
	disputeDelay                uint32
	arbiter                     key
	decimals, bump, vaultBump   uint8
	address, vault              key
}

// newLease names a lease without arbitration, whose addresses have the canonical bump 255, so that finding them always costs the same.
func (w *world) newLease(name string, deposit uint64) lease {
	w.t.Helper()
	l := lease{deposit: deposit, deadline: w.in(hour), buyerFee: 225, supplierFee: 25, burn: 4000, decimals: decimals}
	copy(l.id[8:], name)
	for n := uint64(0); l.bump != 255 || l.vaultBump != 255; n++ {
		le.PutUint64(l.id[:], n)
		var err error
		if l.address, l.bump, err = solana.FindProgramAddress([][]byte{[]byte("lease"), w.buyer[:], l.id[:]}, w.program); err != nil {
			w.t.Fatal(err)
		}
		if l.vault, l.vaultBump, err = solana.FindProgramAddress([][]byte{[]byte("vault"), l.address[:]}, w.program); err != nil {
			w.t.Fatal(err)
		}
	}
	return l
}

// call is an instruction of the program whose parts a test may change.
type call struct {
	program  key
	accounts solana.AccountMetaSlice
	data     []byte
}

func (c call) build() solana.Instruction { return solana.NewInstruction(c.program, c.accounts, c.data) }

// with replaces one account.
func (c call) with(at int, m *solana.AccountMeta) call {
	c.accounts = slices.Clone(c.accounts)
	c.accounts[at] = m
	return c
}

func (w *world) open(l lease) call {
	data := append([]byte{0}, l.id[:]...)
	data = le.AppendUint64(data, l.deposit)
	data = le.AppendUint64(data, uint64(l.deadline))
	for _, bps := range []uint16{l.buyerFee, l.supplierFee, l.burn, l.arbiterCap} {
		data = le.AppendUint16(data, bps)
	}
	data = le.AppendUint32(data, l.disputeDelay)
	data = append(data, l.decimals, l.bump, l.vaultBump)
	return call{w.program, metas(sign(w.buyer).WRITE(), write(l.address), write(l.vault), read(w.mint), write(tokens(w.buyer, w.mint)),
		read(w.supplier), read(w.treasury), read(l.arbiter), read(w.market.address), read(solana.SystemProgramID), read(solana.TokenProgramID)), data}
}

func (w *world) claim(submitter key, l lease, gross uint64) call {
	return call{w.program, metas(sign(submitter).WRITE(), write(l.address), write(l.vault), write(w.mint), write(tokens(w.supplier, w.mint)),
		write(tokens(w.treasury, w.mint)), read(sysvar), read(solana.TokenProgramID)), le.AppendUint64([]byte{1}, gross)}
}

func (w *world) close(submitter key, l lease) call {
	return call{w.program, metas(sign(submitter).WRITE(), write(l.address), write(l.vault), read(w.mint), write(tokens(w.buyer, w.mint)),
		write(w.buyer), read(solana.TokenProgramID)), []byte{2}}
}

func message(program, lease key, gross uint64) []byte {
	m := append([]byte("bourse2"), program[:]...)
	return le.AppendUint64(append(m, lease[:]...), gross)
}

// check is the Ed25519 program's check of a message that the signer signs here.
func (w *world) check(signer key, message []byte) call {
	w.t.Helper()
	signature, err := w.keys[signer].Sign(message)
	if err != nil {
		w.t.Fatal(err)
	}
	data := []byte{1, 0, 48, 0, 255, 255, 16, 0, 255, 255, 112, 0, byte(len(message)), 0, 255, 255}
	data = append(data, signer[:]...)
	data = append(data, signature[:]...)
	return call{ed25519Program, nil, append(data, message...)}
}

// voucher is the check of the buyer's voucher.
func (w *world) voucher(l lease, gross uint64) solana.Instruction {
	w.t.Helper()
	return w.check(w.buyer, message(w.program, l.address, gross)).build()
}
