// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// worked is the example of the documentation: what it says there is checked here.
func worked(t *testing.T) (*Demand, []Offer) {
	t.Helper()
	d := demand(t, func(d *Demand) {
		d.UID, d.Penalties = "5c0e7a52-8d1c-4c5e-9a57-0a3f5ab0c111", []Penalty{{Region: "us-east", PPM: 100_000}}
		d.Models[1].Speed = 450_000
	})
	return d, []Offer{
		offer(t, "oslo-dc/h100", "1.85", reputed(900_000)),
		offer(t, "rome-dc/h100", "1.80", reputed(600_000)),
		offer(t, "york-dc/h100", "1.70", func(o *Offer) { o.Region, o.Reputation = "us-east", 950_000 }),
		offer(t, "lima-rig/a100", "0.80", func(o *Offer) { o.Model, o.Reputation = "a100", 800_000 }),
		offer(t, "kyiv-dc/h100", "2.10", reputed(990_000)),
	}
}

func TestARecordHoldsTheDecision(t *testing.T) {
	d, offers := worked(t)
	decision := decide(t, d, offers)
	book := DigestOf(offers)
	want := Record{
		Formula: Formula, At: start, Demand: d.Digest(), Book: book, Offers: 5, Rejected: "price 1",
		Winners: []Winner{{Offer: "york-dc/h100", Workers: 2, Score: usd(t, "1.9635")}},
		By:      "Score", Next: "oslo-dc/h100", NextScore: usd(t, "2.035"),
	}
	if diff := cmp.Diff(want, decision.Record(book)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	explanation := "the best of 4 that fit, at 1.70 USD per GPU-hour: its reputation and speed outweigh the cheapest, at 0.80"
	if got := decision.Explain(); got != explanation {
		t.Errorf("explanation %q, want %q", got, explanation)
	}
	checkPage(t, explanation, "1.9635", "2.035", "2.52", "2.1333")
	if differences := Replay(decision.Record(book), d, offers); differences != nil {
		t.Errorf("the replay differs: %v", differences)
	}
}

func TestAReplayTellsWhatDiffers(t *testing.T) {
	cases := map[string]struct {
		change func(*Record, *Demand, []Offer)
		want   []string // how the differences begin
	}{
		"another price": {func(_ *Record, _ *Demand, offers []Offer) { offers[0].Price-- }, []string{"book", "next score"}},
		"another winner in the record": {
			func(r *Record, _ *Demand, _ []Offer) { r.Winners[0].Offer = "oslo-dc/h100" }, []string{"winners"},
		},
		"another job":             {func(_ *Record, d *Demand, _ []Offer) { d.UID = "another" }, []string{"demand"}},
		"another moment":          {func(_ *Record, d *Demand, _ []Offer) { d.At = d.At.Add(time.Second) }, []string{"time", "demand"}},
		"an offer that was taken": {func(_ *Record, _ *Demand, offers []Offer) { offers[4].Held = []Gang{{1, 1}} }, []string{"book"}},
		"the winner was taken": {
			func(_ *Record, _ *Demand, offers []Offer) { offers[2].Held = []Gang{{2, 8}} },
			[]string{"book", "rejected", "winners", "next", "next score"},
		},
		"another formula": {func(r *Record, _ *Demand, _ []Offer) { r.Formula++ }, []string{"formula"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, offers := worked(t)
			decision := Judge(d, offers)
			record := decision.Record(DigestOf(offers))
			tc.change(&record, d, offers)
			differences := Replay(record, d, offers)
			for i, want := range tc.want {
				if i >= len(differences) || !strings.HasPrefix(differences[i], want+":") {
					t.Fatalf("differences %q, want %q", differences, tc.want)
				}
			}
			if len(differences) != len(tc.want) {
				t.Errorf("differences %q, want %q", differences, tc.want)
			}
		})
	}
}

// checkPage looks for what the example comes to in the documentation.
func checkPage(t *testing.T, texts ...string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/matching.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(string(page), text) {
			t.Errorf("docs/matching.md does not say %q", text)
		}
	}
}

func TestThePageListsTheRulesInOrder(t *testing.T) {
	page, err := os.ReadFile("../../docs/matching.md")
	if err != nil {
		t.Fatal(err)
	}
	rest := string(page)
	for r := range ruleCount {
		row := fmt.Sprintf("| %d | %s | ", r+1, r)
		_, after, found := strings.Cut(rest, row)
		if !found {
			t.Fatalf("docs/matching.md has no row %q after the one before", row)
		}
		rest = after
	}
}

// change sets a field to something that it is not.
func change(t *testing.T, field reflect.Value) {
	t.Helper()
	switch one := field.Addr().Interface().(type) {
	case *time.Time:
		*one = one.Add(time.Nanosecond)
	case *[]string:
		*one = append(*one, "more")
	case *[]Model:
		*one = append(*one, Model{Name: "more"})
	case *[]Penalty:
		*one = append(*one, Penalty{Region: "more"})
	case *[]Shape:
		*one = append(*one, Shape{Free: 1, Nodes: 1})
	case *[]Gang:
		*one = append(*one, Gang{Workers: 1, PerWorker: 1})
	case *Weights:
		one.Packing++
	default:
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Int, reflect.Int64:
			field.SetInt(field.Int() + 1)
		case reflect.Uint8, reflect.Uint32, reflect.Uint64:
			field.SetUint(field.Uint() + 1)
		default:
			t.Fatalf("a field of type %s is not tested", field.Type())
		}
	}
}

// A field that were left out of a digest could be changed without anybody noticing.
func TestADigestCoversEveryField(t *testing.T) {
	d := demand(t, nil)
	for i := range reflect.TypeFor[Demand]().NumField() {
		other := *d
		change(t, reflect.ValueOf(&other).Elem().Field(i))
		if other.Digest() == d.Digest() {
			t.Errorf("a demand with another %s has the same digest", reflect.TypeFor[Demand]().Field(i).Name)
		}
	}
	o := offer(t, "oslo", "1.85", nil)
	for i := range reflect.TypeFor[Offer]().NumField() {
		other := o
		change(t, reflect.ValueOf(&other).Elem().Field(i))
		if DigestOf([]Offer{other}) == DigestOf([]Offer{o}) {
			t.Errorf("an offer with another %s has the same digest", reflect.TypeFor[Offer]().Field(i).Name)
		}
	}
}

func TestADigestIsReadAsItIsWritten(t *testing.T) {
	want := DigestOf(nil)
	got, err := ParseDigest(want.String())
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for _, text := range []string{"", "00", strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		if _, err := ParseDigest(text); err == nil {
			t.Errorf("%q was read as a digest", text)
		}
	}
}
