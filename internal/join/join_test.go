// SPDX-License-Identifier: Apache-2.0

package join

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
)

const hub = "join.example:9444"

var start = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

func pair(name string) *signer.Keypair { return signer.FromSeed(sha256.Sum256([]byte(name))) }

// bench is a gate and a clock that stands still.
type bench struct {
	*Gate

	t   testing.TB
	now time.Time
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	b := &bench{t: tb, now: start}
	gate, err := NewGate(GateOptions{Hub: hub, Network: Network{7}, Random: rand.Reader, Now: func() time.Time { return b.now }})
	if err != nil {
		tb.Fatal(err)
	}
	b.Gate = gate
	return b
}

func (b *bench) challenge(wallet string) Challenge {
	b.t.Helper()
	c, err := b.Challenge(Key(pair(wallet).PublicKey()))
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// claim is a good one of the wallet "w", whose agent is "a".
func (b *bench) claim(kind Kind) Claim {
	b.t.Helper()
	c := Claim{
		Version: Version, Kind: kind, Hub: hub, Network: Network{7}, Wallet: Key(pair("w").PublicKey()), Agent: Key(pair("a").PublicKey()),
		Challenge: b.challenge("w"),
	}
	if kind == Join {
		c.Cluster, c.Roles, c.Name = "7b1c1f5e-3d0c-4b2e-9c53-1d6f1a2b3c4d", []Role{Buyer, Supplier}, "Fjord & Söhne"
		c.Until = start.Add(MaxDelegation)
	}
	if kind == Leave {
		c.Agent, c.Mode = Key{}, WhenSettled
	}
	return c
}

func encoded(tb testing.TB, c Claim) []byte {
	tb.Helper()
	message, err := c.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return message
}

func signed(tb testing.TB, name string, message []byte) []byte {
	tb.Helper()
	signature, err := pair(name).Sign(tb.Context(), message)
	if err != nil {
		tb.Fatal(err)
	}
	return signature[:]
}

func TestAGoodClaimPassesOnce(t *testing.T) {
	for kind, who := range map[Kind]string{Join: "w", Renew: "a", Leave: "w"} {
		t.Run(string(kind), func(t *testing.T) {
			b := newBench(t)
			claim := b.claim(kind)
			message := encoded(t, claim)
			signature := signed(t, who, message)
			got, err := b.Check(kind, message, signature)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(claim, got); diff != "" {
				t.Errorf("claim (-signed +read):\n%s", diff)
			}
			b.now = claim.Challenge.Expires.Add(-time.Nanosecond)
			if _, err := b.Check(kind, message, signature); !errors.Is(err, Replayed) {
				t.Errorf("the second time: %v, want %s", err, Replayed)
			}
			b.now = claim.Challenge.Expires
			if _, err := b.Check(kind, message, signature); !errors.Is(err, Expired) {
				t.Errorf("when it ends: %v, want %s", err, Expired)
			}
		})
	}
}

func TestEachReason(t *testing.T) {
	cases := map[string]struct {
		kind   Kind
		change func(b *bench, c *Claim)
		by     string // who signs; default: who must
		want   Reason
	}{
		"a challenge that ended":             {Join, func(b *bench, c *Claim) { b.now = c.Challenge.Expires }, "", Expired},
		"a delegation that ended":            {Join, func(_ *bench, c *Claim) { c.Until = start }, "", Expired},
		"another hub":                        {Join, func(_ *bench, c *Claim) { c.Hub = "evil.example" }, "", OtherHub},
		"another port of the hub's host":     {Renew, func(_ *bench, c *Claim) { c.Hub = "join.example" }, "", OtherHub},
		"another network":                    {Join, func(_ *bench, c *Claim) { c.Network[31]++ }, "", OtherNetwork},
		"another wallet's challenge":         {Join, func(b *bench, c *Claim) { c.Challenge = b.challenge("other") }, "", UnknownChallenge},
		"another process' challenge":         {Join, func(b *bench, c *Claim) { c.Challenge = newBench(b.t).challenge("w") }, "", UnknownChallenge},
		"a challenge that was made longer":   {Join, func(_ *bench, c *Claim) { c.Challenge.Expires = c.Challenge.Expires.Add(time.Hour) }, "", UnknownChallenge},
		"another wallet than that signed":    {Join, func(*bench, *Claim) {}, "other", WrongKey},
		"a join that the agent signed":       {Join, func(*bench, *Claim) {}, "a", WrongKey},
		"a renewal that the wallet signed":   {Renew, func(*bench, *Claim) {}, "w", WrongKey},
		"a delegation for ever":              {Join, func(_ *bench, c *Claim) { c.Until = start.Add(MaxDelegation + time.Second) }, "", Malformed},
		"a renewal that asks to join":        {Renew, func(b *bench, c *Claim) { *c = b.claim(Join) }, "w", Malformed},
		"a leave that the agent signed":      {Leave, func(*bench, *Claim) {}, "a", WrongKey},
		"a leave of another hub":             {Leave, func(_ *bench, c *Claim) { c.Hub = "evil.example" }, "", OtherHub},
		"a leave whose challenge ended":      {Leave, func(b *bench, c *Claim) { b.now = c.Challenge.Expires }, "", Expired},
		"a leave that asks to join":          {Leave, func(b *bench, c *Claim) { *c = b.claim(Join) }, "w", Malformed},
		"a join that asks to leave":          {Join, func(b *bench, c *Claim) { *c = b.claim(Leave) }, "w", Malformed},
		"a version that is not spoken yet":   {Join, func(_ *bench, c *Claim) { c.Version = Version + 1 }, "", UnsupportedVersion},
		"a version that is no longer spoken": {Join, func(_ *bench, c *Claim) { c.Version = Version - 2 }, "", UnsupportedVersion},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			claim := b.claim(tc.kind)
			tc.change(b, &claim)
			by := tc.by
			if by == "" {
				by = map[Kind]string{Join: "w", Renew: "a", Leave: "w"}[tc.kind]
			}
			message := encoded(t, claim)
			_, err := b.Check(tc.kind, message, signed(t, by, message))
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || refusal.Reason != tc.want || refusal.Detail == "" {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if len(b.used) > 0 {
				t.Error("a claim that was refused is remembered")
			}
		})
	}
}

func TestTheVersionBeforeIsSpokenToo(t *testing.T) {
	b := newBench(t)
	b.newest = 5
	for version, want := range map[int]error{3: UnsupportedVersion, 4: nil, 5: nil, 6: UnsupportedVersion} {
		claim := b.claim(Join)
		claim.Version = version
		message := encoded(t, claim)
		if _, err := b.Check(Join, message, signed(t, "w", message)); !errors.Is(err, want) {
			t.Errorf("version %d: %v, want %v", version, err, want)
		}
	}
}

func TestWhatNoClaimMaySay(t *testing.T) {
	cases := map[string]func(c *Claim){
		"no hub":                       func(c *Claim) { c.Hub = "" },
		"a hub with a path":            func(c *Claim) { c.Hub = "join.example/v1" },
		"a hub in capitals":            func(c *Claim) { c.Hub = "Join.example" },
		"a hub with a space":           func(c *Claim) { c.Hub = "join.example roles=x" },
		"no role":                      func(c *Claim) { c.Roles = nil },
		"a role twice":                 func(c *Claim) { c.Roles = []Role{Buyer, Buyer} },
		"roles in another order":       func(c *Claim) { c.Roles = []Role{Supplier, Buyer} },
		"a role that does not exist":   func(c *Claim) { c.Roles = []Role{"market"} },
		"a name of two lines":          func(c *Claim) { c.Name = "a\nb" },
		"a name that turns the text":   func(c *Claim) { c.Name = "a\u202eb" },
		"a name with blanks around it": func(c *Claim) { c.Name = " a" },
		"a name that is too long":      func(c *Claim) { c.Name = strings.Repeat("a", MaxName+1) },
		"a name that is no text":       func(c *Claim) { c.Name = "\xff" },
		"a cluster in capitals":        func(c *Claim) { c.Cluster = "ABC" },
		"no end of the delegation":     func(c *Claim) { c.Until = time.Time{} },
		"an end within a second":       func(c *Claim) { c.Until = c.Until.Add(time.Millisecond) },
		"another kind":                 func(c *Claim) { c.Kind = "stay" },
		"a join that leaves":           func(c *Claim) { c.Mode = AtOnce },
		"a renewal with a name":        func(c *Claim) { c.Kind, c.Cluster, c.Roles, c.Until = Renew, "", nil, time.Time{} },
		"a renewal that leaves":        func(c *Claim) { *c = bare(c, Renew); c.Mode = Look },
		"a leave with an agent":        func(c *Claim) { *c = bare(c, Leave); c.Mode = Look },
		"a leave with a role":          func(c *Claim) { *c = bare(c, Leave); c.Agent, c.Mode, c.Roles = Key{}, Look, []Role{Buyer} },
		"a leave without a mode":       func(c *Claim) { *c = bare(c, Leave); c.Agent = Key{} },
		"a leave in another way":       func(c *Claim) { *c = bare(c, Leave); c.Agent, c.Mode = Key{}, "slowly" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			claim := newBench(t).claim(Join)
			change(&claim)
			if _, err := claim.Encode(); !errors.Is(err, Malformed) {
				t.Errorf("encode: %v, want %s", err, Malformed)
			}
			if got, err := Decode(wrap(claim.text())); err == nil && cmp.Equal(got, claim) {
				t.Error("it is read")
			}
		})
	}
}

// bare is the claim without what only a join says.
func bare(c *Claim, kind Kind) Claim {
	return Claim{
		Version: c.Version, Kind: kind, Hub: c.Hub, Network: c.Network, Wallet: c.Wallet, Agent: c.Agent, Challenge: c.Challenge,
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	good := string(encoded(t, newBench(t).claim(Join)))
	text := good[headLength:]
	swap := func(from, to string) []byte { return wrap(strings.Replace(text, from, to, 1)) }
	cases := map[string][]byte{
		"nothing":                   nil,
		"the text without its head": []byte(text),
		"a head of another version": []byte(strings.Replace(good, domain+"\x00", domain+"\x01", 1)),
		"a length that is less":     []byte(good + "x"),
		"a second line":             swap(" roles", "\nroles"),
		"another product":           swap(product, "other.dev"),
		"no version":                swap(" v1 ", " 1 "),
		"a version with a zero":     swap(" v1 ", " v01 "),
		"a field that is missing":   swap(" roles=buyer,supplier", ""),
		"a field twice":             swap(" roles=", " roles=buyer roles="),
		"fields in another order":   swap("network", "wallet"),
		"a key in capitals":         swap("network=07", "network=0A"),
		"a key that is short":       swap("network=07", "network="),
		"a name that is not escaped": swap("name=Fjord+%26+S%C3%B6hne",
			"name=Fjord+%26+S%c3%b6hne"),
		"an end in another zone":     swap("until=2027-05-30T12:00:00Z", "until=2027-05-30T14:00:00+02:00"),
		"an end that is not said":    swap("expires=2027-03-01T12:05:00Z", "expires=2027-03-01T12:05:01Z"),
		"a message that is too long": wrap(strings.Repeat("a", maxText+1)),
	}
	for name, message := range cases {
		t.Run(name, func(t *testing.T) {
			if string(message) == good {
				t.Fatal("the test changes nothing")
			}
			if claim, err := Decode(message); !errors.Is(err, Malformed) {
				t.Errorf("got %+v, %v, want %s", claim, err, Malformed)
			}
		})
	}
}

// What a wallet signs to join must not be what moves its money, whatever the claim says.
func TestNoClaimIsATransaction(t *testing.T) {
	for _, kind := range []Kind{Join, Renew, Leave} {
		message := encoded(t, newBench(t).claim(kind))
		if message[0] != 0xff {
			t.Errorf("%s: the first byte is %#x, and wallets sign 0xff off the chain", kind, message[0])
		}
		if _, err := chain.NewEnvelope(message); err == nil {
			t.Errorf("%s: it can be read as a transaction's message", kind)
		}
		if _, err := chain.OpenEnvelope(message); err == nil {
			t.Errorf("%s: it can be read as a transaction", kind)
		}
	}
}

func TestTheLongestClaimFits(t *testing.T) {
	claim := newBench(t).claim(Join)
	claim.Hub, claim.Cluster, claim.Name = strings.Repeat("h", maxHub), strings.Repeat("0", maxUID), strings.Repeat("ö", MaxName/2)
	if got, err := Decode(encoded(t, claim)); err != nil || got.Name != claim.Name {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAnyFlippedBitIsRefused(t *testing.T) {
	for kind, who := range map[Kind]string{Join: "w", Renew: "a", Leave: "w"} {
		b := newBench(t)
		message := encoded(t, b.claim(kind))
		signature := signed(t, who, message)
		for bit := range 8 * (len(message) + len(signature)) {
			m, s := append([]byte(nil), message...), append([]byte(nil), signature...)
			if at := bit / 8; at < len(m) {
				m[at] ^= 1 << (bit % 8)
			} else {
				s[at-len(m)] ^= 1 << (bit % 8)
			}
			if _, err := b.Check(kind, m, s); err == nil {
				t.Fatalf("%s: bit %d of %q was flipped, and it passed", kind, bit, message)
			} else if _, ok := errors.AsType[*Refusal](err); !ok {
				t.Fatalf("%s: bit %d: %v is no refusal", kind, bit, err)
			}
		}
		if _, err := b.Check(kind, message, signature); err != nil {
			t.Errorf("%s: after all that the good one: %v", kind, err)
		}
	}
}

func TestOfManyAtOnceOnePasses(t *testing.T) {
	b := newBench(t)
	message := encoded(t, b.claim(Join))
	signature := signed(t, "w", message)
	var passed [16]bool
	var group sync.WaitGroup
	for i := range passed {
		group.Go(func() {
			_, err := b.Check(Join, message, signature)
			passed[i] = err == nil
		})
	}
	group.Wait()
	count := 0
	for _, one := range passed {
		if one {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d passed, want 1", count)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	b := newBench(t)
	claim := b.claim(Join)
	message := encoded(t, claim)
	for i := range MostPending {
		b.used[[nonceLength]byte{byte(i), byte(i >> 8), 1}] = start.Add(time.Minute)
	}
	if _, err := b.Check(Join, message, signed(t, "w", message)); !errors.Is(err, Busy) {
		t.Errorf("with no room: %v, want %s", err, Busy)
	}
	b.now = start.Add(time.Minute)
	if _, err := b.Check(Join, message, signed(t, "w", message)); err != nil {
		t.Errorf("when others have expired: %v", err)
	}
	if len(b.used) != 1 {
		t.Errorf("%d are remembered, want 1", len(b.used))
	}
}

// What was forgotten because it had expired stays expired, whatever becomes of the clock.
func TestAClockThatIsSetBackRevivesNothing(t *testing.T) {
	b := newBench(t)
	message := encoded(t, b.claim(Join))
	b.now = start.Add(Lifetime)
	b.challenge("other")
	b.now = start
	if _, err := b.Check(Join, message, signed(t, "w", message)); !errors.Is(err, Expired) {
		t.Errorf("got %v, want %s", err, Expired)
	}
}

func TestNamespacesFollowFromWallets(t *testing.T) {
	one, two := Namespace(Key{1}), Namespace(Key{2})
	if one == two || len(one) > 63 || one != Namespace(Key{1}) {
		t.Errorf("namespaces %s and %s", one, two)
	}
}

func FuzzDecode(f *testing.F) {
	b := newBench(f)
	for _, kind := range []Kind{Join, Renew, Leave} {
		f.Add(encoded(f, b.claim(kind)))
	}
	f.Add([]byte(domain))
	f.Fuzz(func(t *testing.T, message []byte) {
		claim, err := Decode(message)
		if err != nil {
			if _, ok := errors.AsType[*Refusal](err); !ok {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		again, err := claim.Encode()
		if err != nil || string(again) != string(message) {
			t.Fatalf("%q is read, and written as %q, %v", message, again, err)
		}
		if _, err := chain.NewEnvelope(message); err == nil {
			t.Fatalf("%q is a transaction's message too", message)
		}
	})
}

func TestTokensAreSentByHTTPSAlone(t *testing.T) {
	for text, good := range map[string]bool{
		"https://hub.example:6443": true, "https://hub.example/k8s/clusters/a": true, "https://[2001:db8::1]:6443": true,
		"http://hub.example:6443": false, "hub.example:6443": false, "hub.example": false, "": false, "https://": false,
		"https://me:word@hub.example": false, "https://hub.example?a=b": false, "https://hub.example#a": false,
	} {
		if err := CheckServer(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestHubOfAURL(t *testing.T) {
	cases := map[string]string{
		"https://Join.example":         "join.example",
		"https://join.example:443/":    "join.example",
		"https://join.example:9444":    "join.example:9444",
		"https://[::1]:9444":           "[::1]:9444",
		"http://join.example":          "",
		"https://a:b@join.example":     "",
		"https://join.example/v1":      "",
		"https://join.example?x=y":     "",
		"https://jöin.example":         "",
		"join.example":                 "",
		"https://":                     "",
		"https://join.example roles=x": "",
	}
	for text, want := range cases {
		if got, err := HubOf(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestAccessIsPrintedWithoutItsToken(t *testing.T) {
	access := Access{Namespace: "member-1", Token: "secret-token"}
	encoded, err := json.Marshal(map[string]any{"access": access})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(access), fmt.Sprintf("%+v", access), fmt.Sprintf("%#v", access), fmt.Sprintf("%v", []Access{access}), string(encoded)} {
		if strings.Contains(shown, "secret") {
			t.Errorf("shown: %s", shown)
		}
	}
}
