// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// someTerms are terms for tests without a chain.
func someTerms() escrow.Terms {
	return escrow.Terms{
		Program: wallet("program").PublicKey(), Buyer: wallet("buyer").PublicKey(), Supplier: wallet("supplier").PublicKey(),
		Treasury: wallet("treasury").PublicKey(), Mint: wallet("mint").PublicKey(),
		Config: wallet("config").PublicKey(), Arbiter: wallet("arbiter").PublicKey(), ArbiterCapBps: 2_000, DisputeDelay: time.Hour,
		ID: escrow.LeaseID("hub", "suppliers", "train-1", "uid"), Deposit: 100_250_000, Deadline: time.Unix(1_800_000_000, 0).UTC(),
		Fees: money.Fees{BuyerBps: 25, SupplierBps: 25, BurnBps: 6_000}, Decimals: 8,
	}
}

// leaseData lays out a lease account as the program does.
func leaseData(t *testing.T, terms escrow.Terms, paid money.Amount) []byte {
	t.Helper()
	lease, leaseBump, err := chain.Derive(terms.Program, []byte("lease"), terms.Buyer[:], terms.ID[:])
	if err != nil {
		t.Fatal(err)
	}
	_, vaultBump, err := chain.Derive(terms.Program, []byte("vault"), lease[:])
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 256)
	copy(data, "bourse2\x01")
	copy(data[8:], terms.Buyer[:])
	copy(data[40:], terms.Supplier[:])
	copy(data[72:], terms.Arbiter[:])
	copy(data[104:], terms.Treasury[:])
	copy(data[136:], terms.Mint[:])
	copy(data[168:], terms.ID[:])
	binary.LittleEndian.PutUint64(data[200:], uint64(terms.Deposit))
	binary.LittleEndian.PutUint64(data[208:], uint64(paid))
	binary.LittleEndian.PutUint64(data[216:], uint64(terms.Deadline.Unix()))
	binary.LittleEndian.PutUint16(data[224:], terms.Fees.BuyerBps)
	binary.LittleEndian.PutUint16(data[226:], terms.Fees.SupplierBps)
	binary.LittleEndian.PutUint16(data[228:], terms.Fees.BurnBps)
	data[230], data[231], data[232], data[233] = terms.Decimals, leaseBump, vaultBump, 2
	binary.LittleEndian.PutUint16(data[234:], terms.ArbiterCapBps)
	binary.LittleEndian.PutUint32(data[236:], uint32(terms.DisputeDelay/time.Second))
	return data
}

func TestVerifyRefuses(t *testing.T) {
	put := func(offset int, value ...byte) func(*chain.Account) {
		return func(account *chain.Account) { copy(account.Data[offset:], value) }
	}
	same := func(*chain.Account) {}
	join := func(edits ...func(*chain.Account)) func(*chain.Account) {
		return func(account *chain.Account) {
			for _, edit := range edits {
				edit(account)
			}
		}
	}
	cases := map[string]struct {
		lease, vault func(*chain.Account)
		want         error
	}{
		"nothing is wrong":                 {same, same, nil},
		"no lease":                         {func(a *chain.Account) { *a = chain.Account{Address: a.Address} }, same, escrow.Absent},
		"lamports but no lease":            {func(a *chain.Account) { a.Owner, a.Data = chain.SystemProgram, nil }, same, escrow.Absent},
		"a lease at another address":       {func(a *chain.Account) { a.Address[0]++ }, same, escrow.WrongAddress},
		"a vault at another address":       {same, func(a *chain.Account) { a.Address[0]++ }, escrow.WrongAddress},
		"a lease of another program":       {func(a *chain.Account) { a.Owner = chain.TokenProgram }, same, escrow.WrongOwner},
		"a lease cut short":                {func(a *chain.Account) { a.Data = a.Data[:255] }, same, escrow.WrongLayout},
		"a lease too long":                 {func(a *chain.Account) { a.Data = append(a.Data, 0) }, same, escrow.WrongLayout},
		"an unknown marker":                {put(7, 3), same, escrow.WrongLayout},
		"a version of before":              {put(233, 1), same, escrow.WrongLayout},
		"a marker of before":               {put(6, '1'), same, escrow.WrongLayout},
		"a marker of a configuration":      {put(7, 0x10), same, escrow.WrongLayout},
		"another arbiter":                  {put(72, 1), same, escrow.WrongTerms},
		"another arbiter's cap":            {put(234, 1), same, escrow.WrongTerms},
		"another dispute's delay":          {put(236, 1), same, escrow.WrongTerms},
		"an open dispute":                  {join(put(240, 1), put(248, 5)), same, nil},
		"a dispute that was decided":       {put(240, 1), same, nil},
		"a dispute without its time":       {put(248, 5), same, escrow.Inconsistent},
		"a dispute before there was time":  {put(247, 0x80), same, escrow.Inconsistent},
		"a dispute about too much":         {join(put(240, 1), put(255, 1)), same, escrow.Inconsistent},
		"a closed lease":                   {put(7, 2), same, escrow.Closed},
		"another buyer":                    {put(8, 1), same, escrow.WrongTerms},
		"another supplier":                 {put(40, 1), same, escrow.WrongTerms},
		"another treasury":                 {put(104, 1), same, escrow.WrongTerms},
		"another mint":                     {put(136, 1), same, escrow.WrongTerms},
		"another id":                       {put(168, 1), same, escrow.WrongTerms},
		"a smaller deposit":                {put(200, 0x8f), same, escrow.WrongTerms},
		"a greater deposit, not there":     {put(200, 0x91), same, escrow.Underfunded},
		"an earlier deadline":              {put(216, 0xff, 0xd1), same, escrow.WrongTerms},
		"a later deadline":                 {put(216, 1), same, nil},
		"another buyer's fee":              {put(224, 1), same, escrow.WrongTerms},
		"another supplier's fee":           {put(226, 1), same, escrow.WrongTerms},
		"another burn":                     {put(228, 1), same, escrow.WrongTerms},
		"other decimals":                   {put(230, 6), same, escrow.WrongTerms},
		"another bump":                     {put(231, 0), same, escrow.WrongTerms},
		"another vault bump":               {put(232, 0), same, escrow.WrongTerms},
		"more paid than deposited":         {put(208, 0, 0, 0, 0, 1), same, escrow.Overpaid},
		"paid beyond 64 bits with the fee": {put(208, 255, 255, 255, 255, 255, 255, 255, 255), same, escrow.Overpaid},
		"no vault":                         {same, func(a *chain.Account) { *a = chain.Account{Address: a.Address} }, escrow.Absent},
		"a vault of another program":       {same, func(a *chain.Account) { a.Owner = chain.Token2022Program }, escrow.WrongOwner},
		"a vault cut short":                {same, func(a *chain.Account) { a.Data = a.Data[:164] }, escrow.WrongLayout},
		"a vault of another mint":          {same, put(0, 1), escrow.WrongVault},
		"a vault of another owner":         {same, put(32, 1), escrow.WrongVault},
		"a vault with a delegate":          {same, put(72, 1), escrow.WrongVault},
		"a vault somebody can close":       {same, put(129, 1), escrow.WrongVault},
		"a frozen vault":                   {same, put(108, 2), escrow.Frozen},
		"a vault never initialized":        {same, put(108, 0), escrow.WrongLayout},
		"one base unit too little":         {same, put(64, 0x8f), escrow.Underfunded},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			terms := someTerms()
			address, err := terms.Address()
			if err != nil {
				t.Fatal(err)
			}
			at, err := terms.Vault()
			if err != nil {
				t.Fatal(err)
			}
			lease := chain.Account{Address: address, Exists: true, Owner: terms.Program, Data: leaseData(t, terms, 0), Slot: 9}
			vault := chain.Account{Address: at, Exists: true, Owner: chain.TokenProgram, Data: tokenData(terms.Mint, address, uint64(terms.Deposit))}
			tc.lease(&lease)
			tc.vault(&vault)
			facts, err := escrow.Verify(terms, lease, vault)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if tc.want == nil && (facts.Balance != terms.Deposit || facts.Deposit != terms.Deposit || facts.Slot != 9) {
				t.Errorf("facts: %+v", facts)
			}
		})
	}
}

// Whatever bytes an account holds, reading it is a fact or a refusal, never a panic.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("bourse2\x01"), []byte{})
	f.Fuzz(func(t *testing.T, lease, vault []byte) {
		terms := someTerms()
		address, err := terms.Address()
		if err != nil {
			t.Fatal(err)
		}
		at, err := terms.Vault()
		if err != nil {
			t.Fatal(err)
		}
		good := leaseData(t, terms, 0)
		copy(good, lease)
		purse := tokenData(terms.Mint, address, uint64(terms.Deposit))
		copy(purse, vault)
		facts, err := escrow.Verify(terms,
			chain.Account{Address: address, Exists: true, Owner: terms.Program, Data: good},
			chain.Account{Address: at, Exists: true, Owner: chain.TokenProgram, Data: purse})
		if err == nil && facts.Balance < terms.Deposit-facts.Paid-facts.Paid/10 {
			t.Fatalf("accepted an empty vault: %+v", facts)
		}
	})
}

func TestVerifyMint(t *testing.T) {
	address := wallet("mint").PublicKey()
	mint := func(owner chain.Address, data []byte) chain.Account {
		return chain.Account{Address: address, Exists: true, Owner: owner, Data: data}
	}
	uninitialized := mintData(8, 1, false)
	uninitialized[45] = 0
	cases := map[string]struct {
		account chain.Account
		policy  escrow.MintPolicy
		want    error
	}{
		"a plain mint":                        {mint(chain.TokenProgram, mintData(8, 1, false)), escrow.MintPolicy{}, nil},
		"a freezable mint":                    {mint(chain.TokenProgram, mintData(8, 1, true)), escrow.MintPolicy{}, escrow.Freezable},
		"a freezable mint the market accepts": {mint(chain.TokenProgram, mintData(8, 1, true)), escrow.MintPolicy{AcceptFreeze: true}, nil},
		"other decimals":                      {mint(chain.TokenProgram, mintData(6, 1, false)), escrow.MintPolicy{}, escrow.WrongDecimals},
		"a mint of Token-2022":                {mint(chain.Token2022Program, mintData(8, 1, false)), escrow.MintPolicy{}, escrow.UnsafeExtension},
		"a mint of a stranger's program":      {mint(address, mintData(8, 1, false)), escrow.MintPolicy{}, escrow.WrongOwner},
		"a token account instead":             {mint(chain.TokenProgram, make([]byte, 165)), escrow.MintPolicy{}, escrow.WrongLayout},
		"a mint never initialized":            {mint(chain.TokenProgram, uninitialized), escrow.MintPolicy{}, escrow.Uninitialized},
		"nothing":                             {chain.Account{Address: address}, escrow.MintPolicy{}, escrow.Absent},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := escrow.VerifyMint(tc.account, 8, tc.policy); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestVoucher(t *testing.T) {
	terms := someTerms()
	lease, err := terms.Address()
	if err != nil {
		t.Fatal(err)
	}
	message := escrow.VoucherMessage(terms.Program, lease, 7)
	if len(message) != 79 {
		t.Errorf("a voucher has %d bytes, want 79", len(message))
	}
	signature, err := wallet("buyer").Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	other := wallet("other").PublicKey()
	cases := map[string]struct {
		program, lease, buyer chain.Address
		gross                 money.Amount
		want                  error
	}{
		"the buyer's voucher": {terms.Program, lease, terms.Buyer, 7, nil},
		"another amount":      {terms.Program, lease, terms.Buyer, 8, escrow.ErrVoucher},
		"another lease":       {terms.Program, other, terms.Buyer, 7, escrow.ErrVoucher},
		"another program":     {other, lease, terms.Buyer, 7, escrow.ErrVoucher},
		"another signer":      {terms.Program, lease, other, 7, escrow.ErrVoucher},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := escrow.VerifyVoucher(tc.program, tc.lease, tc.buyer, tc.gross, signature); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	if _, err := escrow.Claim(terms, terms.Supplier, 8, signature); !errors.Is(err, escrow.ErrVoucher) {
		t.Errorf("a claim with a false voucher: got %v", err)
	}
	big := terms.Deposit
	signature, err = wallet("buyer").Sign(t.Context(), escrow.VoucherMessage(terms.Program, lease, big))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := escrow.Claim(terms, terms.Supplier, big, signature); !errors.Is(err, escrow.ErrTerms) {
		t.Errorf("a claim beyond the deposit: got %v", err)
	}
}

func TestLeaseIDsDiffer(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, parts := range [][4]string{
		{"hub", "ns", "name", "uid"}, {"hub", "ns", "nameu", "id"}, {"hubn", "s", "name", "uid"}, {"", "hubns", "name", "uid"}, {"hub", "ns", "name", "uid2"},
	} {
		id := escrow.LeaseID(parts[0], parts[1], parts[2], parts[3])
		if other, ok := seen[id]; ok {
			t.Errorf("%v and %s have one id", parts, other)
		}
		seen[id] = parts[0] + "/" + parts[1] + "/" + parts[2] + "/" + parts[3]
		if id != escrow.LeaseID(parts[0], parts[1], parts[2], parts[3]) {
			t.Errorf("%v has two ids", parts)
		}
	}
}

func TestTermsAreValidated(t *testing.T) {
	cases := map[string]func(*escrow.Terms){
		"no config":     func(t *escrow.Terms) { t.Config = chain.Address{} },
		"no program":    func(t *escrow.Terms) { t.Program = chain.Address{} },
		"no buyer":      func(t *escrow.Terms) { t.Buyer = chain.Address{} },
		"no supplier":   func(t *escrow.Terms) { t.Supplier = chain.Address{} },
		"no treasury":   func(t *escrow.Terms) { t.Treasury = chain.Address{} },
		"no mint":       func(t *escrow.Terms) { t.Mint = chain.Address{} },
		"no deposit":    func(t *escrow.Terms) { t.Deposit = 0 },
		"no deadline":   func(t *escrow.Terms) { t.Deadline = time.Time{} },
		"excessive fee": func(t *escrow.Terms) { t.Fees.BuyerBps = 1_001 },

		"an arbiter without a cap":      func(t *escrow.Terms) { t.ArbiterCapBps, t.DisputeDelay = 0, 0 },
		"a delay without a cap":         func(t *escrow.Terms) { t.ArbiterCapBps, t.Arbiter = 0, chain.Address{} },
		"a cap without an arbiter":      func(t *escrow.Terms) { t.Arbiter = chain.Address{} },
		"a cap beyond half":             func(t *escrow.Terms) { t.ArbiterCapBps = 5_001 },
		"a cap without a delay":         func(t *escrow.Terms) { t.DisputeDelay = 0 },
		"a delay of more than 30 days":  func(t *escrow.Terms) { t.DisputeDelay = 30*24*time.Hour + time.Second },
		"a delay of a part of a second": func(t *escrow.Terms) { t.DisputeDelay = 1_500 * time.Millisecond },
		"a buyer who judges":            func(t *escrow.Terms) { t.Arbiter = t.Buyer },
		"a supplier who judges":         func(t *escrow.Terms) { t.Arbiter = t.Supplier },
	}
	for name, edit := range cases {
		t.Run(name, func(t *testing.T) {
			terms := someTerms()
			edit(&terms)
			if _, err := escrow.Open(terms); !errors.Is(err, escrow.ErrTerms) {
				t.Errorf("got %v, want %v", err, escrow.ErrTerms)
			}
		})
	}
}
