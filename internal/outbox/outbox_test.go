// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/signer"
)

func wallet(name string) *signer.Keypair { return signer.FromSeed(sha256.Sum256([]byte(name))) }

// pay is a transfer of lamports.
func pay(from, to chain.Address, lamports uint64) []chain.Instruction {
	data := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, 2), lamports)
	return []chain.Instruction{{
		Program:  chain.SystemProgram,
		Accounts: []chain.Meta{{Address: from, Signer: true, Writable: true}, {Address: to, Writable: true}},
		Data:     data,
	}}
}

const confirmLag, finalLag = 2, 32

func newChain(payer *signer.Keypair) *chaintest.Fake {
	fake := chaintest.New(confirmLag, finalLag)
	fake.Fund(payer.PublicKey(), 1_000_000_000)
	fake.Tick(finalLag + 1)
	return fake
}

func prepare(t *testing.T, on Chain, payer *signer.Keypair, to chain.Address) Record {
	t.Helper()
	record, err := Prepare(t.Context(), on, payer, "pay", pay(payer.PublicKey(), to, 1_000), 1)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestDecide(t *testing.T) {
	record := Record{LastValidBlockHeight: 100, Slot: 50}
	failure := &chain.Failure{Kind: "InstructionError", Detail: "Custom", Code: 105}
	unknown := chain.Status{Slot: 120, Oldest: 50}
	cases := map[string]struct {
		height chain.Height
		status chain.Status
		want   Outcome
	}{
		"finalized":                            {chain.Height{Block: 1}, chain.Status{Found: true, Commitment: chain.Finalized, Landed: 7}, Outcome{State: Landed, Slot: 7}},
		"finalized and failed":                 {chain.Height{Block: 1}, chain.Status{Found: true, Commitment: chain.Finalized, Landed: 7, Failure: failure}, Outcome{State: Failed, Slot: 7, Failure: failure}},
		"confirmed only":                       {chain.Height{Block: 101, Slot: 110}, chain.Status{Found: true, Commitment: chain.Confirmed}, Outcome{State: Pending, Seen: chain.Confirmed}},
		"processed and failed":                 {chain.Height{Block: 1}, chain.Status{Found: true, Commitment: chain.Processed, Failure: failure}, Outcome{State: Pending, Seen: chain.Processed}},
		"unknown in time":                      {chain.Height{Block: 99, Slot: 110}, unknown, Outcome{State: Pending}},
		"unknown at the last valid height":     {chain.Height{Block: 100, Slot: 110}, unknown, Outcome{State: Pending}},
		"unknown after the last valid height":  {chain.Height{Block: 101, Slot: 110}, unknown, Outcome{State: Expired}},
		"unknown to a node at just that slot":  {chain.Height{Block: 101, Slot: 120}, unknown, Outcome{State: Expired}},
		"unknown to a node one slot behind":    {chain.Height{Block: 101, Slot: 121}, unknown, Outcome{State: Pending}},
		"unknown to a node that forgot":        {chain.Height{Block: 101, Slot: 110}, chain.Status{Slot: 120, Oldest: 51}, Outcome{State: Forgotten}},
		"unknown to a node behind that forgot": {chain.Height{Block: 101, Slot: 121}, chain.Status{Slot: 120, Oldest: 51}, Outcome{State: Pending}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.status.Finalized = tc.height
			if diff := cmp.Diff(tc.want, decide(record, tc.status)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrepareSendsNothing(t *testing.T) {
	payer, to := wallet("payer"), wallet("to").PublicKey()
	fake := newChain(payer)
	fake.Faults(func(method string) chaintest.Fault {
		if method == "Send" {
			t.Error("Prepare sent")
		}
		return chaintest.Fault{}
	})
	record := prepare(t, fake, payer, to)
	if record.Purpose != "pay" || record.Attempt != 1 || record.LastValidBlockHeight == 0 || record.Slot == 0 {
		t.Errorf("record: %+v", record)
	}
	if _, _, err := open(record); err != nil {
		t.Errorf("open own record: %v", err)
	}
}

func TestPrepareReportsWhatWouldFail(t *testing.T) {
	payer := wallet("payer")
	fake := newChain(payer)
	_, err := Prepare(t.Context(), fake, payer, "pay", pay(payer.PublicKey(), wallet("to").PublicKey(), 1<<60), 1)
	if failure, ok := errors.AsType[*chain.Failure](err); !ok || !failure.IsCustom(1) {
		t.Errorf("got %v, want the chain's failure", err)
	}
	if chain.ClassOf(err) != chain.Stop {
		t.Errorf("class %s, want %s", chain.ClassOf(err), chain.Stop)
	}
}

func TestPrepareNeedsItsOwnSignatureOnly(t *testing.T) {
	payer := wallet("payer")
	fake := newChain(payer)
	instructions := pay(wallet("other").PublicKey(), payer.PublicKey(), 0)
	if _, err := Prepare(t.Context(), fake, payer, "pay", instructions, 1); err == nil {
		t.Error("prepared a transaction that somebody else must sign too")
	}
}

func TestDriveToTheEnd(t *testing.T) {
	payer, to := wallet("payer"), wallet("to").PublicKey()
	fake := newChain(payer)
	record := prepare(t, fake, payer, to)
	var seen []string
	for range 60 {
		outcome, err := Drive(t.Context(), fake, record)
		if err != nil {
			t.Fatal(err)
		}
		step := string(outcome.State) + " " + string(outcome.Seen)
		if len(seen) == 0 || seen[len(seen)-1] != step {
			seen = append(seen, step)
		}
		fake.Tick(1)
	}
	want := []string{"Pending ", "Pending processed", "Pending confirmed", "Landed "}
	if diff := cmp.Diff(want, seen); diff != "" || fake.Balance(to) != 1_000 {
		t.Errorf("paid %d; steps (-want +got):\n%s", fake.Balance(to), diff)
	}
}

func TestDriveRefusesDamagedRecords(t *testing.T) {
	payer, to := wallet("payer"), wallet("to").PublicKey()
	fake := newChain(payer)
	good, other := prepare(t, fake, payer, to), prepare(t, fake, payer, wallet("other").PublicKey())
	fake.Faults(func(method string) chaintest.Fault {
		t.Errorf("called %s with a damaged record", method)
		return chaintest.Fault{}
	})
	raw, err := base64.StdEncoding.DecodeString(good.Raw)
	if err != nil {
		t.Fatal(err)
	}
	altered := append([]byte(nil), raw...)
	altered[len(altered)-1]++
	cases := map[string]func(*Record){
		"no signature":              func(r *Record) { r.Signature = "" },
		"another signature":         func(r *Record) { r.Signature = other.Signature },
		"no bytes":                  func(r *Record) { r.Raw = "" },
		"bytes that are not base64": func(r *Record) { r.Raw = "!" },
		"another's bytes":           func(r *Record) { r.Raw = other.Raw },
		"altered bytes":             func(r *Record) { r.Raw = base64.StdEncoding.EncodeToString(altered) },
		"bytes cut short":           func(r *Record) { r.Raw = base64.StdEncoding.EncodeToString(raw[:len(raw)-1]) },
		"bytes left over":           func(r *Record) { r.Raw = base64.StdEncoding.EncodeToString(append(slices.Clip(raw), 0)) },
	}
	for name, edit := range cases {
		t.Run(name, func(t *testing.T) {
			record := good
			edit(&record)
			if _, err := Drive(t.Context(), fake, record); !errors.Is(err, ErrRecord) {
				t.Errorf("got %v, want %v", err, ErrRecord)
			}
		})
	}
}

// A copy waits on its way while the tip passes the last valid height on a fork that is then dropped; the copy lands after all.
func TestForkAcrossExpiry(t *testing.T) {
	payer, to := wallet("payer"), wallet("to").PublicKey()
	fake := newChain(payer)
	record := prepare(t, fake, payer, to)
	delay := uint64(156)
	fake.Faults(func(method string) chaintest.Fault {
		if method != "Send" {
			return chaintest.Fault{}
		}
		fault := chaintest.Fault{Delay: delay, Drop: delay == 0}
		delay = 0 // only the first copy travels
		return fault
	})
	if _, err := Drive(t.Context(), fake, record); err != nil {
		t.Fatal(err)
	}
	for fake.TipHeight().Block <= record.LastValidBlockHeight {
		fake.Tick(1)
	}
	naive := tipTruster{fake}
	if outcome, err := Drive(t.Context(), naive, record); err != nil || outcome.State != Expired {
		t.Fatalf("trusting the tip: %+v, %v; want it to be fooled", outcome, err)
	}
	if outcome, err := Drive(t.Context(), fake, record); err != nil || outcome.State != Pending {
		t.Fatalf("when only the tip has passed: %+v, %v", outcome, err)
	}
	fake.Rollback(finalLag, false)
	fake.Tick(3 * finalLag)
	outcome, err := Drive(t.Context(), fake, record)
	if err != nil || outcome.State != Landed || fake.Balance(to) != 1_000 {
		t.Fatalf("after the fork: %+v, %v, paid %d", outcome, err, fake.Balance(to))
	}
}

func TestForgottenIsNotExpired(t *testing.T) {
	payer, to := wallet("payer"), wallet("to").PublicKey()
	fake := newChain(payer)
	record := prepare(t, fake, payer, to)
	if _, err := Drive(t.Context(), fake, record); err != nil {
		t.Fatal(err)
	}
	fake.Tick(200)
	fake.Forget(20)
	outcome, err := Drive(t.Context(), fake, record)
	if err != nil || outcome.State != Forgotten || fake.Balance(to) != 1_000 {
		t.Fatalf("%+v, %v, paid %d", outcome, err, fake.Balance(to))
	}
}

// tipTruster is the mutant that takes the height of the newest block for settled.
type tipTruster struct{ *chaintest.Fake }

func (m tipTruster) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	height := m.TipHeight()
	status, err := m.Fake.Status(ctx, signature)
	status.Finalized = height
	return status, err
}
