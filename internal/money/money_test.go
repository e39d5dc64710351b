// SPDX-License-Identifier: Apache-2.0

package money

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const most = Amount(math.MaxUint64)

func TestAmountIsChecked(t *testing.T) {
	cases := map[string]struct {
		got     func() (Amount, error)
		want    Amount
		wantErr error
	}{
		"a sum that fits":                 {func() (Amount, error) { return Amount(1).Add(2) }, 3, nil},
		"the greatest sum":                {func() (Amount, error) { return (most - 1).Add(1) }, most, nil},
		"a sum one too great":             {func() (Amount, error) { return most.Add(1) }, 0, ErrOverflow},
		"a difference that is zero":       {func() (Amount, error) { return most.Sub(most) }, 0, nil},
		"a difference one too low":        {func() (Amount, error) { return Amount(1).Sub(2) }, 0, ErrUnderflow},
		"a sum of nothing":                {func() (Amount, error) { return Sum() }, 0, nil},
		"a sum of many":                   {func() (Amount, error) { return Sum(1, 2, 3) }, 6, nil},
		"a sum of many that does not fit": {func() (Amount, error) { return Sum(1, most, 3) }, 0, ErrOverflow},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.got()
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("got %d, %v; want %d, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestTokenFormat(t *testing.T) {
	cases := map[string]struct {
		token  Token
		amount Amount
		want   string
	}{
		"nothing":                         {Token{"IO", 8}, 0, "0.00 IO"},
		"one base unit":                   {Token{"IO", 8}, 1, "0.00000001 IO"},
		"two decimals are kept":           {Token{"IO", 8}, 12_30000000, "12.30 IO"},
		"more only where they say more":   {Token{"USDC", 6}, 102_250100, "102.2501 USDC"},
		"the greatest amount":             {Token{"IO", 8}, most, "184467440737.09551615 IO"},
		"a token with one decimal":        {Token{"X", 1}, 15, "1.5 X"},
		"a token that cannot be divided":  {Token{"NFT", 0}, 3, "3 NFT"},
		"more decimals than 64 bits have": {Token{"X", 25}, 1, "0.0000000000000000000000001 X"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.token.Format(tc.amount); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseUSD(t *testing.T) {
	cases := map[string]struct {
		text    string
		want    USD
		wantErr bool
	}{
		"dollars and cents":        {"1.85", 1_850_000_000, false},
		"whole dollars":            {"2", 2_000_000_000, false},
		"nothing":                  {"0", 0, false},
		"the finest price":         {"0.000000001", 1, false},
		"the greatest price":       {"18446744073.709551615", math.MaxUint64, false},
		"one beyond the greatest":  {"18446744073.709551616", 0, true},
		"too fine":                 {"0.0000000001", 0, true},
		"empty":                    {"", 0, true},
		"a bare point":             {".", 0, true},
		"no whole part":            {".5", 0, true},
		"no fraction":              {"5.", 0, true},
		"two points":               {"1.2.3", 0, true},
		"a sign":                   {"-1", 0, true},
		"a plus":                   {"+1", 0, true},
		"an exponent":              {"1e3", 0, true},
		"a leading zero":           {"01", 0, true},
		"space":                    {" 1", 0, true},
		"a comma":                  {"1,85", 0, true},
		"a separator":              {"1_000", 0, true},
		"digits of another script": {"١", 0, true},
		"hexadecimal":              {"0x1", 0, true},
		"not a number":             {"NaN", 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseUSD(tc.text)
			if got != tc.want || (err != nil) != tc.wantErr {
				t.Errorf("got %d, %v; want %d, error %t", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestPriceInToken(t *testing.T) {
	io, usdc := Token{"IO", 8}, Token{"USDC", 6}
	usd := func(text string) USD {
		price, err := ParseUSD(text)
		if err != nil {
			t.Fatal(err)
		}
		return price
	}
	cases := map[string]struct {
		perHour, perToken USD
		token             Token
		want              Amount
		wantErr           error
	}{
		"a token worth a dollar":                  {usd("1.85"), usd("1"), usdc, 1_850_000, nil},
		"a token worth less":                      {usd("1.85"), usd("0.25"), io, 7_40000000, nil},
		"a remainder is rounded up":               {usd("1"), usd("0.3"), io, 3_33333334, nil},
		"the least price is not free":             {1, usd("1000"), usdc, 1, nil},
		"no price stays no price":                 {0, usd("1"), io, 0, nil},
		"a token without a price":                 {usd("1"), 0, io, 0, ErrNoPrice},
		"a price beyond 64 bits":                  {math.MaxUint64, 1, io, 0, ErrOverflow},
		"a token with too many decimals":          {1, 1, Token{"X", 20}, 0, ErrOverflow},
		"a token with as many decimals as can be": {1, 1, Token{"X", 19}, 10_000_000_000_000_000_000, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := PriceInToken(tc.perHour, tc.perToken, tc.token)
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("got %d, %v; want %d, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestGross(t *testing.T) {
	cases := map[string]struct {
		price   Amount
		ms      uint64
		want    Amount
		wantErr error
	}{
		"an hour is the price":           {7_40000000, 3_600_000, 7_40000000, nil},
		"less than a unit is nothing":    {1, 3_599_999, 0, nil},
		"the rest is rounded down":       {10, 3_599_999, 9, nil},
		"no usage":                       {most, 0, 0, nil},
		"no price":                       {0, math.MaxUint64, 0, nil},
		"the greatest price for an hour": {most, 3_600_000, most, nil},
		"one millisecond more":           {most, 3_600_001, 0, ErrOverflow},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Gross(tc.price, tc.ms)
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("got %d, %v; want %d, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	usdc := Fees{BuyerBps: ReservationBps + FacilitationBps, SupplierBps: ReservationBps}
	io := Fees{BuyerBps: ReservationBps, SupplierBps: ReservationBps, BurnBps: 10_000}
	cases := map[string]struct {
		fees    Fees
		gross   Amount
		want    Split
		wantErr error
	}{
		"the published example in USDC": {usdc, 100_000000, Split{Debit: 102_250000, Supplier: 99_750000, Treasury: 2_500000, BuyerFee: 2_250000, SupplierFee: 250000}, nil},
		"the published example in IO":   {io, 100_00000000, Split{Debit: 100_25000000, Supplier: 99_75000000, Burn: 50000000, BuyerFee: 25000000, SupplierFee: 25000000}, nil},
		"half of the fees is burned":    {Fees{25, 25, 5_000}, 1_000_010, Split{Debit: 1_002_510, Supplier: 997_510, Treasury: 2_500, Burn: 2_500, BuyerFee: 2_500, SupplierFee: 2_500}, nil},
		"one base unit bears no fee":    {usdc, 1, Split{Debit: 1, Supplier: 1}, nil},
		"nothing":                       {usdc, 0, Split{}, nil},
		"no fees":                       {Fees{}, most, Split{Debit: most, Supplier: most}, nil},
		"a debit beyond 64 bits":        {usdc, most, Split{}, ErrOverflow},
		"a buyer's fee beyond 10 %":     {Fees{BuyerBps: 1_001}, 1, Split{}, ErrFees},
		"a supplier's fee beyond 10 %":  {Fees{SupplierBps: 1_001}, 1, Split{}, ErrFees},
		"a burn beyond the fees":        {Fees{BurnBps: 10_001}, 1, Split{}, ErrFees},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.fees.Split(tc.gross)
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("got error %v, want %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("split (-want +got):\n%s", diff)
			}
		})
	}
}

// The worked example of docs/money.md: 8 GPUs at 1.85 USDC for an hour, of which 45 minutes are used, in three claims.
func TestTheWorkedExample(t *testing.T) {
	usdc := Fees{BuyerBps: ReservationBps + FacilitationBps, SupplierBps: ReservationBps}
	term, err := Gross(1_850000, 8*msPerHour)
	if err != nil {
		t.Fatal(err)
	}
	deposit, err := usdc.Split(term)
	if err != nil || deposit.Debit != 15_133000 {
		t.Fatalf("deposit %+v, %v", deposit, err)
	}
	cumulative := make([]Amount, 0, 3)
	for quarter := range uint64(3) {
		gross, err := Gross(1_850000, 8*(quarter+1)*msPerHour/4)
		if err != nil {
			t.Fatal(err)
		}
		cumulative = append(cumulative, gross)
	}
	first, whole := settle(t, usdc, cumulative[:1]), settle(t, usdc, cumulative)
	if first.Debit != 3_783250 || first.Supplier != 3_690750 || first.Treasury != 92500 {
		t.Errorf("the first claim: %+v", first)
	}
	if whole.Debit != 11_349750 || whole.Supplier != 11_072250 || whole.Treasury != 277500 || deposit.Debit-whole.Debit != 3_783250 {
		t.Errorf("all claims: %+v", whole)
	}
}

// checkSplit is what every split must satisfy.
func checkSplit(t *testing.T, fees Fees, gross Amount, split Split) {
	t.Helper()
	parts, err := Sum(split.Supplier, split.Treasury, split.Burn)
	if err != nil || parts != split.Debit {
		t.Fatalf("%+v of %d: parts sum to %d, %v; debit is %d", fees, gross, parts, err, split.Debit)
	}
	if split.Supplier+split.SupplierFee != gross || split.Debit-split.BuyerFee != gross {
		t.Fatalf("%+v of %d: %+v does not add up to the gross amount", fees, gross, split)
	}
	if split.Treasury+split.Burn != split.BuyerFee+split.SupplierFee {
		t.Fatalf("%+v of %d: %+v loses fees", fees, gross, split)
	}
	for _, fee := range []struct {
		got Amount
		bps uint16
	}{{split.BuyerFee, fees.BuyerBps}, {split.SupplierFee, fees.SupplierBps}} {
		want := new(big.Int).Mul(new(big.Int).SetUint64(uint64(gross)), big.NewInt(int64(fee.bps)))
		if want.Quo(want, big.NewInt(wholeBps)); want.Uint64() != uint64(fee.got) {
			t.Fatalf("%d bps of %d: got %d, want %s", fee.bps, gross, fee.got, want)
		}
	}
}

func randomFees(random *rand.Rand) Fees {
	return Fees{
		BuyerBps:    uint16(random.UintN(MaxFeeBps + 1)),
		SupplierBps: uint16(random.UintN(MaxFeeBps + 1)),
		BurnBps:     uint16(random.UintN(MaxBurnBps + 1)),
	}
}

// settle pays in periods of cumulative amounts, as claims do, and returns the sum of the periods.
func settle(t *testing.T, fees Fees, cumulative []Amount) Split {
	t.Helper()
	var before, total Split
	for _, gross := range cumulative {
		now, err := fees.Split(gross)
		if err != nil {
			t.Fatal(err)
		}
		period, err := now.Sub(before)
		if err != nil {
			t.Fatalf("%+v: from %+v to %+v: %v", fees, before, now, err)
		}
		total.Debit += period.Debit
		total.Supplier += period.Supplier
		total.Treasury += period.Treasury
		total.Burn += period.Burn
		total.BuyerFee += period.BuyerFee
		total.SupplierFee += period.SupplierFee
		before = now
	}
	return total
}

func TestWhenPeriodsEndDoesNotChangeWhatIsPaid(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		fees := randomFees(random)
		cumulative := make([]Amount, 1+random.IntN(20))
		var gross Amount
		for i := range cumulative {
			gross += Amount(random.Uint64() >> (8 + random.UintN(56))) // never beyond 20 × 2^56
			cumulative[i] = gross
		}
		whole, err := fees.Split(gross)
		if err != nil {
			t.Fatal(err)
		}
		checkSplit(t, fees, gross, whole)
		if diff := cmp.Diff(whole, settle(t, fees, cumulative)); diff != "" {
			t.Fatalf("%+v over %v (-at once +in periods):\n%s", fees, cumulative, diff)
		}
	}
}

// Rounding each period by itself is what other markets do. This suite's property must reject it.
func TestRoundingEachPeriodWouldLoseFees(t *testing.T) {
	fees := Fees{BuyerBps: 25, SupplierBps: 25}
	var perPeriod Amount
	for range 1000 {
		split, err := fees.Split(399) // a fee of 0.9975 base units
		if err != nil {
			t.Fatal(err)
		}
		perPeriod += split.BuyerFee
	}
	whole, err := fees.Split(399_000)
	if err != nil {
		t.Fatal(err)
	}
	if perPeriod != 0 || whole.BuyerFee != 997 {
		t.Errorf("rounded per period %d, cumulative %d; want 0 and 997", perPeriod, whole.BuyerFee)
	}
}

func TestSubRefusesToGoBack(t *testing.T) {
	if _, err := (Split{Debit: 1}).Sub(Split{Debit: 2}); !errors.Is(err, ErrUnderflow) {
		t.Errorf("got %v, want %v", err, ErrUnderflow)
	}
}

func TestMaxGrossIsTheGreatest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		fees, deposit := randomFees(random), Amount(random.Uint64()>>random.UintN(64))
		checkMaxGross(t, fees, deposit)
	}
	for _, deposit := range []Amount{0, 1, 2, 9_999, 10_000, 10_001, most - 1, most} {
		for _, bps := range []uint16{0, 1, 25, 225, 999, 1_000} {
			checkMaxGross(t, Fees{BuyerBps: bps}, deposit)
		}
	}
}

func checkMaxGross(t *testing.T, fees Fees, deposit Amount) {
	t.Helper()
	gross, err := fees.MaxGross(deposit)
	if err != nil {
		t.Fatal(err)
	}
	split, err := fees.Split(gross)
	if err != nil || split.Debit > deposit {
		t.Fatalf("%+v: %d of a deposit of %d costs %d, %v", fees, gross, deposit, split.Debit, err)
	}
	if gross == most {
		return
	}
	if more, err := fees.Split(gross + 1); err == nil && more.Debit <= deposit {
		t.Fatalf("%+v: a deposit of %d covers %d too", fees, deposit, gross+1)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(uint64(100_000000), uint64(50), uint16(225), uint16(25), uint16(0))
	f.Add(uint64(math.MaxUint64), uint64(1), uint16(0), uint16(1_000), uint16(10_000))
	f.Add(uint64(1), uint64(0), uint16(1_000), uint16(1_000), uint16(5_000))
	f.Fuzz(func(t *testing.T, gross, earlier uint64, buyer, supplier, burn uint16) {
		fees := Fees{BuyerBps: buyer, SupplierBps: supplier, BurnBps: burn}
		split, err := fees.Split(Amount(gross))
		if err != nil {
			if fees.Validate() == nil && gross <= math.MaxUint64/2 {
				t.Fatalf("%+v of %d: %v", fees, gross, err)
			}
			return
		}
		checkSplit(t, fees, Amount(gross), split)
		before, err := fees.Split(Amount(min(gross, earlier)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := split.Sub(before); err != nil {
			t.Fatalf("%+v: a period from %d to %d: %v", fees, earlier, gross, err)
		}
	})
}

func FuzzParseUSD(f *testing.F) {
	for _, seed := range []string{"1.85", "0", "0.000000001", "18446744073.709551615", "1e9", "-1", "00.1", "1."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		price, err := ParseUSD(text)
		if err != nil {
			return
		}
		again, err := ParseUSD(price.String())
		if err != nil || again != price {
			t.Fatalf("%q is %d, written %q, read again %d, %v", text, price, price, again, err)
		}
		want, ok := new(big.Rat).SetString(text)
		if !ok || want.Cmp(new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(price)), big.NewInt(1_000_000_000))) != 0 {
			t.Fatalf("%q is not %d nano-dollars", text, price)
		}
	})
}

func FuzzTokenFormat(f *testing.F) {
	f.Add(uint64(1), uint8(8))
	f.Add(uint64(math.MaxUint64), uint8(19))
	f.Fuzz(func(t *testing.T, amount uint64, decimals uint8) {
		token := Token{Symbol: "T", Decimals: decimals % 20}
		text := token.Format(Amount(amount))
		back, err := token.Parse(text[:len(text)-len(" T")])
		if err != nil || uint64(back) != amount {
			t.Fatalf("%d with %d decimals is %q, read again %d, %v", amount, token.Decimals, text, back, err)
		}
	})
}
