// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"github.com/gagliardetto/solana-go"
)

// derive finds a program address. One with a bump below 255 only costs more to find.
func (w *world) derive(seeds ...[]byte) (key, uint8) {
	w.t.Helper()
	k, bump, err := solana.FindProgramAddress(seeds, w.program)
	if err != nil {
		w.t.Fatal(err)
	}
	return k, bump
}

// pool is a supplier's pool in the world's market.
type pool struct {
	owner, address, vault key
	bump, vaultBump       uint8
}

func (w *world) poolOf(owner key) pool {
	w.t.Helper()
	p := pool{owner: owner}
	p.address, p.bump = w.derive([]byte("pool"), w.market.address[:], owner[:])
	p.vault, p.vaultBump = w.derive([]byte("pool-vault"), p.address[:])
	return p
}

func (w *world) position(p pool, staker key) (key, uint8) {
	w.t.Helper()
	return w.derive([]byte("position"), p.address[:], staker[:])
}

func (w *world) createPool(p pool) call {
	return call{w.program, metas(sign(p.owner).WRITE(), read(w.market.address), write(p.address), write(p.vault), read(w.mint),
		read(solana.SystemProgramID), read(solana.TokenProgramID)), []byte{16, p.bump, p.vaultBump}}
}

func (w *world) bond(p pool, staker key, amount uint64) call {
	position, bump := w.position(p, staker)
	return call{w.program, metas(sign(staker).WRITE(), read(w.market.address), write(p.address), write(position), write(p.vault), read(w.mint),
		write(tokens(staker, w.mint)), read(solana.SystemProgramID), read(solana.TokenProgramID)), append(le.AppendUint64([]byte{17}, amount), bump)}
}

func (w *world) unbond(p pool, staker key, shares uint64) call {
	position, _ := w.position(p, staker)
	return call{w.program, metas(sign(staker), read(w.market.address), write(p.address), write(position)), le.AppendUint64([]byte{18}, shares)}
}

func (w *world) withdraw(p pool, staker key) call {
	position, _ := w.position(p, staker)
	return call{w.program, metas(sign(staker), write(p.address), write(position), write(p.vault), read(w.mint),
		write(tokens(staker, w.mint)), read(solana.TokenProgramID)), []byte{19}}
}

func (w *world) proposeSlash(p pool, amount uint64, evidence [32]byte) call {
	data := append(le.AppendUint64([]byte{20}, amount), 3)
	return call{w.program, metas(sign(w.market.authority), read(w.market.address), write(p.address)), append(data, evidence[:]...)}
}

func (w *world) appeal(p pool, number uint32) call {
	return call{w.program, metas(sign(p.owner), write(p.address)), le.AppendUint32([]byte{21}, number)}
}

func (w *world) executeSlash(submitter key, p pool, number uint32) call {
	return call{w.program, metas(sign(submitter), write(p.address), write(p.vault), write(w.mint), read(solana.TokenProgramID)),
		le.AppendUint32([]byte{22}, number)}
}

func (w *world) dropSlash(submitter key, p pool, number uint32) call {
	return call{w.program, metas(sign(submitter), read(w.market.address), write(p.address)), le.AppendUint32([]byte{23}, number)}
}

// rewards are those of the world's market.
type rewards struct {
	address, vault  key
	bump, vaultBump uint8
}

func (w *world) rewards() rewards {
	w.t.Helper()
	var r rewards
	r.address, r.bump = w.derive([]byte("rewards"), w.market.address[:])
	r.vault, r.vaultBump = w.derive([]byte("rewards-vault"), r.address[:])
	return r
}

func (w *world) createRewards(r rewards) call {
	return call{w.program, metas(sign(w.market.authority).WRITE(), read(w.market.address), write(r.address), write(r.vault), read(w.mint),
		read(solana.SystemProgramID), read(solana.TokenProgramID)), []byte{32, r.bump, r.vaultBump}}
}

func (w *world) post(r rewards, epoch, total uint64, root [32]byte) call {
	data := le.AppendUint64(le.AppendUint64([]byte{33}, epoch), total)
	return call{w.program, metas(sign(w.market.authority), read(w.market.address), write(r.address), read(r.vault)), append(data, root[:]...)}
}

func (w *world) claimRewards(submitter key, r rewards, wallet key, amount uint64, proof ...[32]byte) call {
	receipt, bump := w.derive([]byte("reward"), r.address[:], wallet[:])
	data := append(le.AppendUint64([]byte{34}, amount), bump)
	for _, step := range proof {
		data = append(data, step[:]...)
	}
	return call{w.program, metas(sign(submitter).WRITE(), write(r.address), write(r.vault), write(receipt), read(wallet),
		write(tokens(wallet, w.mint)), read(w.mint), read(solana.SystemProgramID), read(solana.TokenProgramID)), data}
}
