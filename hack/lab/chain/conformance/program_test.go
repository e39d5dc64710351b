// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/rpc"

	"github.com/bourse-dev/bourse/test/chaintest"
)

// Sizes of the upgradeable loader's accounts, and instructions' numbers.
const (
	bufferHeader  = 37
	programSize   = 36
	loaderCreate  = 0
	loaderWrite   = 1
	loaderDeploy  = 2
	bytesPerWrite = 900
)

var loader = solana.BPFLoaderUpgradeableProgramID

// elf is a real program: the bytes of the memo program that the chain has.
func (w *world) elf() []byte {
	w.t.Helper()
	info, err := w.rpc.GetAccountInfo(w.ctx(), solana.MemoProgramID)
	w.check(err)
	data := info.GetBinary()
	if len(data) < 4 || string(data[:4]) != "\x7fELF" {
		w.t.Fatalf("the memo program's account has %d bytes and no ELF", len(data))
	}
	return data
}

// call runs a program on the text "hello", and requires that it logs it.
func (w *world) call(payer solana.PrivateKey, program solana.PublicKey) {
	w.t.Helper()
	signature := w.land([]solana.PrivateKey{payer},
		solana.NewInstruction(program, solana.AccountMetaSlice{solana.Meta(payer.PublicKey()).SIGNER()}, []byte("hello")))
	got, err := w.rpc.GetTransaction(w.ctx(), signature, &rpc.GetTransactionOpts{Commitment: rpc.CommitmentConfirmed})
	w.check(err)
	logs := strings.Join(got.Meta.LogMessages, "\n")
	if !strings.Contains(logs, "Program "+program.String()+" success") || !strings.Contains(logs, "hello") {
		w.t.Errorf("logs:\n%s", logs)
	}
}

func TestALoadedProgramRunsAndSurvivesARestart(t *testing.T) {
	config := chaintest.Config{Dir: t.TempDir()}
	w := start(t, config)
	payer, program := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	w.check(w.AddProgram(w.ctx(), program.String(), w.elf()))
	w.tick(1)
	w.call(payer, program)
	for range 2 { // once from the journal, once from the snapshot
		w.check(w.Kill())
		w = start(t, config)
		w.call(payer, program)
	}
	if err := w.AddProgram(w.ctx(), program.String(), []byte("no program")); err == nil {
		t.Error("something was loaded that is no program")
	}
}

func TestAProgramIsDeployedByTheRealLoader(t *testing.T) {
	config := chaintest.Config{Dir: t.TempDir()}
	w := start(t, config)
	payer, program := w.funded(10*solana.LAMPORTS_PER_SOL), newKey(t)
	w.deploy(payer, program, w.elf())
	w.tick(1)
	w.call(payer, program.PublicKey())
	for range 2 { // once from the journal, once from the snapshot
		w.check(w.Kill())
		w = start(t, config)
		w.call(payer, program.PublicKey())
	}
}

func TestAForkTakesADeploymentBack(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, program := w.funded(10*solana.LAMPORTS_PER_SOL), newKey(t)
	w.deploy(payer, program, w.elf())
	w.tick(1)
	w.call(payer, program.PublicKey())
	depth := 2*(1+confirmLag) + 1 // the call's blocks, the deployment's, and the one between them
	_, err := w.Rollback(w.ctx(), depth, true)
	w.check(err)
	w.tick(1)
	if info, err := w.rpc.GetAccountInfoWithOpts(w.ctx(), program.PublicKey(), &rpc.GetAccountInfoOpts{Commitment: rpc.CommitmentProcessed}); err != nil || !info.Value.Executable {
		t.Errorf("program after it landed again = %+v, %v", info, err)
	}
	w.tick(1 + confirmLag)
	w.call(payer, program.PublicKey())
}

// deploy puts a program on the chain as the command line tools do.
func (w *world) deploy(payer, program solana.PrivateKey, elf []byte) {
	w.t.Helper()
	buffer := newKey(w.t)
	rent := func(size int) uint64 {
		lamports, err := w.rpc.GetMinimumBalanceForRentExemption(w.ctx(), uint64(size), rpc.CommitmentConfirmed)
		w.check(err)
		return lamports
	}
	owner := solana.Meta(payer.PublicKey()).SIGNER()
	w.land([]solana.PrivateKey{payer, buffer},
		system.NewCreateAccountInstruction(rent(bufferHeader+len(elf)), uint64(bufferHeader+len(elf)), loader, payer.PublicKey(), buffer.PublicKey()).Build(),
		solana.NewInstruction(loader, solana.AccountMetaSlice{solana.Meta(buffer.PublicKey()).WRITE(), owner}, number(loaderCreate)))
	for offset := 0; offset < len(elf); offset += bytesPerWrite {
		part := elf[offset:min(offset+bytesPerWrite, len(elf))]
		data := binary.LittleEndian.AppendUint32(number(loaderWrite), uint32(offset))
		data = append(binary.LittleEndian.AppendUint64(data, uint64(len(part))), part...)
		write := solana.NewInstruction(loader, solana.AccountMetaSlice{solana.Meta(buffer.PublicKey()).WRITE(), owner}, data)
		w.check(w.send(w.signed(w.blockhash(rpc.CommitmentConfirmed).Blockhash, []solana.PrivateKey{payer}, write)))
	}
	w.tick(1 + confirmLag)
	code, _, err := solana.FindProgramAddress([][]byte{program.PublicKey().Bytes()}, loader)
	w.check(err)
	w.land([]solana.PrivateKey{payer, program},
		system.NewCreateAccountInstruction(rent(programSize), programSize, loader, payer.PublicKey(), program.PublicKey()).Build(),
		solana.NewInstruction(loader, solana.AccountMetaSlice{
			solana.Meta(payer.PublicKey()).SIGNER().WRITE(), solana.Meta(code).WRITE(), solana.Meta(program.PublicKey()).WRITE(),
			solana.Meta(buffer.PublicKey()).WRITE(), solana.Meta(solana.SysVarRentPubkey), solana.Meta(solana.SysVarClockPubkey),
			solana.Meta(solana.SystemProgramID), owner,
		}, binary.LittleEndian.AppendUint64(number(loaderDeploy), uint64(len(elf)))))
}

// number is an instruction's number as the loader reads it.
func number(instruction uint32) []byte {
	return binary.LittleEndian.AppendUint32(nil, instruction)
}
