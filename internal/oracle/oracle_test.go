// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// golden is the account of SOL in US dollars on the public network, as it was at goldenTime: 118.62164451 ± 0.03335799.
const (
	golden = "IvEjY51+9M1gMUcENA3t3zcf1CRyFI8kjp0abRpesqw6zYt/1dayQwHvDYtv2izrpB2hXUCV0do5Kg0vjtDGx7wPTPrIwoC1beNDCsMCAAAAd+YyAAAA" +
		"AAD4////Av3FagAAAAAB/cVqAAAAAHipn8MCAAAAYp0mAAAAAACN/REbAAAAAAA="
	goldenFeed  = "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d"
	goldenTime  = 1_791_360_258
	goldenValue = 11_862_164_451
)

// at are the fields' places in a fully verified account.
const (
	feedAt       = levelAt + 1
	priceAt      = feedAt + 32
	confidenceAt = priceAt + 8
	exponentAt   = confidenceAt + 8
	publishedAt  = exponentAt + 4
)

func goldenAccount(tb testing.TB) chain.Account {
	tb.Helper()
	data, err := base64.StdEncoding.DecodeString(golden)
	if err != nil {
		tb.Fatal(err)
	}
	owner, err := chain.ParseAddress(Pyth)
	if err != nil {
		tb.Fatal(err)
	}
	return chain.Account{Address: chain.Address{1}, Exists: true, Owner: owner, Data: data}
}

func goldenRules(tb testing.TB) Feed {
	tb.Helper()
	id, err := ParseFeedID(goldenFeed)
	if err != nil {
		tb.Fatal(err)
	}
	return Feed{Program: goldenAccount(tb).Owner, ID: id, MaxAge: time.Minute, MaxConfidenceBps: 100}
}

func TestReadsARealAccount(t *testing.T) {
	now := time.Unix(goldenTime, 0)
	got, err := goldenRules(t).Read(goldenAccount(t), now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Price{Value: goldenValue, Exponent: -8, Published: now.UTC()}, got); diff != "" {
		t.Errorf("price (-want +got):\n%s", diff)
	}
}

func TestTheMarkerIsTheHashOfTheName(t *testing.T) {
	hash := sha256.Sum256([]byte("account:PriceUpdateV2"))
	if diff := cmp.Diff([8]byte(hash[:]), marker); diff != "" {
		t.Errorf("marker (-want +got):\n%s", diff)
	}
}

func TestRefusesABadPrice(t *testing.T) {
	put := func(at int, value int64) func(*chain.Account) {
		return func(a *chain.Account) { binary.LittleEndian.PutUint64(a.Data[at:], uint64(value)) }
	}
	cases := map[string]struct {
		spoil func(*chain.Account)
		want  Reason
	}{
		"nothing there":              {func(a *chain.Account) { *a = chain.Account{Address: a.Address} }, Absent},
		"of another program":         {func(a *chain.Account) { a.Owner = chain.SystemProgram }, WrongOwner},
		"a byte short":               {func(a *chain.Account) { a.Data = a.Data[:accountSize-1] }, WrongShape},
		"a byte long":                {func(a *chain.Account) { a.Data = append(a.Data, 0) }, WrongShape},
		"of another kind":            {func(a *chain.Account) { a.Data[0]++ }, WrongShape},
		"vouched for by five":        {func(a *chain.Account) { a.Data[levelAt], a.Data[levelAt+1] = levelPartial, 5 }, Unverified},
		"of an unknown level":        {func(a *chain.Account) { a.Data[levelAt] = 2 }, WrongShape},
		"of another feed":            {func(a *chain.Account) { a.Data[feedAt]++ }, WrongFeed},
		"of zero":                    {put(priceAt, 0), NoPrice},
		"below zero":                 {put(priceAt, -1), NoPrice},
		"with an absurd exponent":    {func(a *chain.Account) { binary.LittleEndian.PutUint32(a.Data[exponentAt:], maxExponent+1) }, NoPrice},
		"too old":                    {put(publishedAt, goldenTime-61), Stale},
		"from the future":            {put(publishedAt, goldenTime+11), Stale},
		"of the end of time":         {put(publishedAt, math.MaxInt64), Stale},
		"of the beginning of time":   {put(publishedAt, math.MinInt64), Stale},
		"that is too uncertain":      {put(confidenceAt, goldenValue/100+1), Uncertain},
		"that is not certain at all": {put(confidenceAt, -1), Uncertain},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			account := goldenAccount(t)
			tc.spoil(&account)
			_, err := goldenRules(t).Read(account, time.Unix(goldenTime, 0))
			if !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestAcceptsAPriceAtItsLimits(t *testing.T) {
	account := goldenAccount(t)
	binary.LittleEndian.PutUint64(account.Data[confidenceAt:], goldenValue/100)
	for _, now := range []int64{goldenTime + 60, goldenTime - 10} {
		if _, err := goldenRules(t).Read(account, time.Unix(now, 0)); err != nil {
			t.Errorf("%d s after it was published: %v", now-goldenTime, err)
		}
	}
}

func TestParseFeedID(t *testing.T) {
	id, err := ParseFeedID(goldenFeed)
	if err != nil || id.String() != goldenFeed {
		t.Errorf("got %s, %v", id, err)
	}
	for _, text := range []string{"", goldenFeed[1:], goldenFeed + "00", "0x" + goldenFeed[2:]} {
		if _, err := ParseFeedID(text); !errors.Is(err, ErrFeedID) {
			t.Errorf("%q: err = %v, want %v", text, err, ErrFeedID)
		}
	}
}

func TestBound(t *testing.T) {
	usdc, io := money.Token{Symbol: "USDC", Decimals: 6}, money.Token{Symbol: "IO", Decimals: 8}
	const dollar = money.USD(1_000_000_000)
	cases := map[string]struct {
		amount money.Amount
		price  Price
		bps    uint16
		want   Bound
		fails  bool
	}{
		"ten dollars at fifty cents":        {10_000_000, Price{Value: 50_000_000, Exponent: -8}, 100, Bound{1_980_000_000, 2_020_000_000}, false},
		"no slippage at an exact price":     {10_000_000, Price{Value: 5, Exponent: -1}, 0, Bound{2_000_000_000, 2_000_000_000}, false},
		"a price with a positive exponent":  {20_000_000, Price{Value: 2, Exponent: 1}, 0, Bound{100_000_000, 100_000_000}, false},
		"both ends round inwards":           {1, Price{Value: 3, Exponent: 0}, 1_000, Bound{30, 36}, false},
		"no whole unit fits an exact price": {1, Price{Value: 3, Exponent: 0}, 0, Bound{}, true},
		"nothing":                           {0, Price{Value: 1, Exponent: 0}, 100, Bound{}, true},
		"more than 64 bits":                 {math.MaxUint64, Price{Value: 1, Exponent: -18}, 100, Bound{}, true},
		"no price":                          {1, Price{}, 100, Bound{}, true},
		"more than all":                     {1_000_000, Price{Value: 1, Exponent: 0}, 10_001, Bound{}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.price.Bound(Sale{Amount: tc.amount, Token: usdc, Price: dollar}, io, tc.bps)
			if errors.Is(err, ErrNoBound) != tc.fails || err != nil && !tc.fails {
				t.Fatalf("err = %v, want failure %v", err, tc.fails)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("bound (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := (Price{Value: 1}).Bound(Sale{Amount: 1, Token: usdc}, io, 1); !errors.Is(err, ErrNoBound) {
		t.Errorf("a sale without a price: err = %v, want %v", err, ErrNoBound)
	}
}

// Whatever the amounts, the bound lies within the exact fractions, less than one unit from them.
func TestBoundIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2_000 {
		paid, bought := money.Token{Decimals: uint8(random.UintN(10))}, money.Token{Decimals: uint8(random.UintN(10))}
		price := Price{Value: 1 + random.Uint64N(1<<40), Exponent: -int32(random.IntN(10))}
		sale := Sale{Amount: money.Amount(random.Uint64N(1 << 40)), Token: paid, Price: money.USD(1 + random.Uint64N(1<<33))}
		bps := uint16(random.UintN(2_000))
		bound, err := price.Bound(sale, bought, bps)
		if err != nil {
			continue
		}
		worth := new(big.Rat).SetFrac(
			product(uint64(sale.Amount), uint64(sale.Price), pow(bought.Decimals), pow(uint8(-price.Exponent))),
			product(price.Value, pow(paid.Decimals), pow(9)))
		for name, end := range map[string]struct {
			got  money.Amount
			bps  int64
			sign int64
		}{"least": {bound.Least, -int64(bps), 1}, "most": {bound.Most, int64(bps), -1}} {
			exact := new(big.Rat).Mul(worth, big.NewRat(10_000+end.bps, 10_000))
			off := new(big.Rat).Sub(new(big.Rat).SetInt(product(uint64(end.got))), exact)
			off.Mul(off, big.NewRat(end.sign, 1)) // how far inside
			if off.Sign() < 0 || off.Cmp(big.NewRat(1, 1)) >= 0 {
				t.Fatalf("%s is %s, exactly %s", name, end.got, exact.FloatString(3))
			}
		}
		if bound.Contains(bound.Least-1) || !bound.Contains(bound.Least) || !bound.Contains(bound.Most) || bound.Contains(bound.Most+1) {
			t.Fatalf("%+v does not contain exactly what is between its ends", bound)
		}
	}
}

func product(factors ...uint64) *big.Int {
	whole := big.NewInt(1)
	for _, factor := range factors {
		whole.Mul(whole, new(big.Int).SetUint64(factor))
	}
	return whole
}

func pow(n uint8) uint64 {
	whole := uint64(1)
	for range n {
		whole *= 10
	}
	return whole
}

// No bytes make the reader panic, and what it accepts is of the feed, positive and fresh.
func FuzzRead(f *testing.F) {
	f.Add(goldenAccount(f).Data)
	f.Add([]byte{})
	rules, now := goldenRules(f), time.Unix(goldenTime, 0)
	f.Fuzz(func(t *testing.T, data []byte) {
		price, err := rules.Read(chain.Account{Exists: true, Owner: rules.Program, Data: data}, now)
		if err == nil && (price.Value == 0 || price.Published.Before(now.Add(-rules.MaxAge)) || FeedID(data[feedAt:]) != rules.ID) {
			t.Errorf("%x was accepted as %+v", data, price)
		}
	})
}
