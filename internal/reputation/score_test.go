// SPDX-License-Identifier: Apache-2.0

package reputation

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden file")

const golden = "testdata/histories.txt"

// history is one of the golden file.
type history struct {
	name   string
	on     int
	events []Event
	want   string
	text   []string // its lines, without the score
}

// histories reads the golden file.
func histories(t *testing.T) (intro []string, all []history) {
	t.Helper()
	raw, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case key == "history":
			all = append(all, history{name: value})
		case len(all) == 0:
			intro = append(intro, line)
			continue
		}
		h := &all[len(all)-1]
		switch key {
		case "on":
			h.on = number(t, value)
		case "event":
			h.events = append(h.events, eventsOf(t, value)...)
		case "score":
			h.want = value
			continue
		case "":
			continue
		}
		h.text = append(h.text, line)
	}
	return intro, all
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventsOf reads one line of events.
func eventsOf(t *testing.T, text string) []Event {
	t.Helper()
	words := strings.Fields(text)
	days, stepText, stepped := strings.Cut(words[0], "/")
	fromText, toText, ranged := strings.Cut(days, "..")
	from := number(t, fromText)
	to, step := from, 1
	if ranged {
		to = number(t, toText)
	}
	if stepped {
		step = number(t, stepText)
	}
	event := Event{Part: parts, Good: words[2] == "good"}
	for part := range parts {
		if part.String() == words[1] {
			event.Part = part
		}
	}
	weight, err := strconv.ParseFloat(words[3], 64)
	if err != nil || event.Part == parts || words[2] != "good" && words[2] != "bad" {
		t.Fatalf("cannot read the event %q", text)
	}
	event.Weight = uint64(math.Round(weight * PPM))
	for i, word := range words[4:] {
		switch word {
		case "by":
			event.Counterparty = words[4+i+1]
		case "related":
			event.Related = true
		}
	}
	var events []Event
	for event.Day = from; event.Day <= to; event.Day += step {
		events = append(events, event)
	}
	return events
}

func (s *Score) line() string {
	return fmt.Sprintf("%d %d %d %d %d", s.Parts[Completion], s.Parts[Proof], s.Parts[Uptime], s.Parts[Metering], s.Overall)
}

func TestHistories(t *testing.T) {
	intro, all := histories(t)
	if len(all) != 30 {
		t.Errorf("%d histories, want 30", len(all))
	}
	out := intro
	for i, h := range all {
		score := Of(h.events, h.on)
		t.Run(h.name, func(t *testing.T) {
			if !*update && score.line() != h.want {
				t.Errorf("score %q, want %q", score.line(), h.want)
			}
			checkAgainstFloats(t, h.events, h.on)
		})
		if i > 0 {
			out = append(out, "")
		}
		out = append(append(out, h.text...), "score: "+score.line())
	}
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(out, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// floats is the published formula as a mathematician would write it.
func floats(events []Event, day int) (part [parts]float64, overall float64) {
	var shares float64
	for p := range parts {
		good, bad := map[string]float64{}, 0.0
		for _, e := range events {
			if e.Part != p || e.Related {
				continue
			}
			w := math.Min(float64(e.Weight)/PPM, 10) * math.Pow(2, -float64(max(0, day-e.Day))/30)
			if e.Good {
				good[e.Counterparty] += w
			} else {
				bad += w
			}
		}
		s := good[""]
		for who, w := range good {
			if who != "" {
				s += math.Min(w, 30)
			}
		}
		n := s + bad
		if n < 1e-6 {
			continue
		}
		const z = 1.96
		x := s / n
		part[p] = math.Max(0, (x+z*z/(2*n)-z*math.Sqrt(x*(1-x)/n+z*z/(4*n*n)))/(1+z*z/n))
		overall += part[p] * float64(p.share())
		shares += float64(p.share())
	}
	if shares > 0 {
		overall /= shares
	}
	return part, overall
}

func checkAgainstFloats(t *testing.T, events []Event, day int) {
	t.Helper()
	got := Of(events, day)
	part, overall := floats(events, day)
	for p := range parts {
		if off := math.Abs(float64(got.Parts[p]) - part[p]*PPM); off > 5 {
			t.Errorf("%s is %d ppm, %.1f in floating point", p, got.Parts[p], part[p]*PPM)
		}
	}
	if off := math.Abs(float64(got.Overall) - overall*PPM); off > 5 {
		t.Errorf("overall is %d ppm, %.1f in floating point", got.Overall, overall*PPM)
	}
}

// randomHistory draws a history of at least one observation in each part that it touches.
func randomHistory(rng *rand.Rand) []Event {
	events := make([]Event, 1+rng.IntN(60))
	for i := range events {
		events[i] = Event{
			Day: rng.IntN(200), Part: Part(rng.IntN(int(parts))), Good: rng.IntN(4) > 0, Weight: PPM + rng.Uint64N(20*PPM),
			Counterparty: []string{"", "a", "b", "c"}[rng.IntN(4)], Related: rng.IntN(10) == 0,
		}
	}
	return events
}

func TestScoresAgreeWithFloats(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		checkAgainstFloats(t, randomHistory(rng), 150+rng.IntN(150))
	}
}

func TestAScoreIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		events := randomHistory(rng)
		for i := range events {
			events[i].Weight = rng.Uint64() >> rng.IntN(64)
		}
		day := rng.IntN(400)
		score := Of(events, day)
		if score.Overall > PPM {
			t.Fatalf("a score of %d ppm", score.Overall)
		}
		rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		if again := Of(events, day); again != score {
			t.Fatalf("the same events in another order score %v, want %v", again, score)
		}
	}
}

func TestBetterNewsNeverLowersAScore(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		events := randomHistory(rng)
		day := 200
		before := Of(events, day)
		more := Event{Day: rng.IntN(200), Part: Part(rng.IntN(int(parts))), Weight: rng.Uint64N(10 * PPM), Counterparty: "a"}
		good, bad := more, more
		good.Good = true
		if got := Of(append(slices.Clip(events), good), day).Parts[more.Part]; got+1 < before.Parts[more.Part] {
			t.Fatalf("a good event lowered %s from %d to %d", more.Part, before.Parts[more.Part], got)
		}
		if got := Of(append(slices.Clip(events), bad), day).Parts[more.Part]; got > before.Parts[more.Part]+1 {
			t.Fatalf("a bad event raised %s from %d to %d", more.Part, before.Parts[more.Part], got)
		}
	}
}

func TestDecay(t *testing.T) {
	for days := range 400 {
		want := 1e12 * math.Pow(2, -float64(days)/HalfLife)
		if got := float64(decay(1e12, days)); math.Abs(got-want) > 2 {
			t.Errorf("after %d days %.0f is left, want %.0f", days, got, want)
		}
	}
	if got := decay(5, -3); got != 5 {
		t.Errorf("what is to come weighs %d, want all of it", got)
	}
	if got := decay(math.MaxUint64, 0); got != math.MaxUint64 {
		t.Errorf("today's weight became %d", got)
	}
	if got := decay(MaxWeight, 1<<40); got != 0 {
		t.Errorf("after an age %d is left", got)
	}
}

// A supplier that failed ten leases in a row, and then runs ten GPU-hours a day well for three buyers in turn, is in
// the middle again after two weeks.
func TestAScoreOfNothingRecovers(t *testing.T) {
	const recovery = 14 // as docs/reputation.md says
	var events []Event
	for day := range 10 {
		events = append(events, Event{Day: day, Part: Completion, Weight: MaxWeight, Counterparty: "a"})
	}
	if got := Of(events, 9).Overall; got != 0 {
		t.Fatalf("ten failures score %d, want 0", got)
	}
	for day := 10; ; day++ {
		events = append(events, Event{Day: day, Part: Completion, Good: true, Weight: MaxWeight, Counterparty: []string{"b", "c", "d"}[day%3]})
		if Of(events, day).Overall < Newcomer {
			continue
		}
		if took := day - 9; took != recovery {
			t.Errorf("the score recovers in %d days, want %d", took, recovery)
		}
		return
	}
}

func TestRanked(t *testing.T) {
	good := func(n int) []Event {
		events := make([]Event, 0, n)
		for range n {
			events = append(events, Event{Part: Completion, Good: true, Weight: PPM})
		}
		return events
	}
	failed := append(good(3), Event{Part: Proof, Weight: PPM})
	cases := map[string]struct {
		history  []Event
		explored uint64
		middle   bool
	}{
		"a newcomer is ranked in the middle":           {nil, 0, true},
		"one that is known a little too":               {good(3), 20 * PPM, true},
		"until its quota is used up":                   {good(3), 48 * PPM, false},
		"until it is known":                            {good(10), 0, false},
		"not when it failed anything":                  {failed, 0, false},
		"one without a history that used its quota up": {nil, 48 * PPM, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			score := Of(tc.history, 0)
			want := score.Overall
			if tc.middle {
				want = Newcomer
			}
			if got := DefaultQuota().Ranked(&score, tc.explored); got != want {
				t.Errorf("ranked with %d, want %d of a score of %d", got, want, score.Overall)
			}
		})
	}
	many := append(good(9), Event{Part: Uptime, Good: true, Weight: MaxWeight}, Event{Part: Uptime, Good: true, Weight: MaxWeight})
	if score := Of(many, 0); score.Overall > Newcomer && DefaultQuota().Ranked(&score, 0) != score.Overall {
		t.Error("being a newcomer lowered a score")
	}
}

func TestPartsAreNamed(t *testing.T) {
	if got := Part(9).String(); got != "unknown" {
		t.Errorf("got %q", got)
	}
}

func BenchmarkOf(b *testing.B) {
	events := make([]Event, 1000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range events {
		events[i] = Event{Day: rng.IntN(100), Part: Part(i % 4), Good: i%20 != 0, Weight: rng.Uint64N(MaxWeight), Counterparty: strconv.Itoa(i % 50)}
	}
	b.ReportAllocs()
	for b.Loop() {
		Of(events, 100)
	}
}
