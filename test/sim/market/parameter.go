// SPDX-License-Identifier: Apache-2.0

package market

import (
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/price"
)

// perNode is how many GPUs a node has.
const perNode = 8

// Parameters say what market the jobs come to.
type Parameters struct {
	Seed            uint64 `json:"seed"`
	Nodes           int    `json:"nodes"`     // of eight GPUs
	Suppliers       int    `json:"suppliers"` // who share the nodes evenly
	StepSeconds     int64  `json:"stepSeconds"`
	PatienceSeconds int64  `json:"patienceSeconds"` // how long a job waits before it goes elsewhere
	LowestAskUSD    string `json:"lowestAskUSD"`    // asks are spread evenly
	HighestAskUSD   string `json:"highestAskUSD"`
	LowestValueUSD  string `json:"lowestValueUSD"` // so is what a GPU-hour is worth to a job: assumed
	HighestValueUSD string `json:"highestValueUSD"`
	Index           *Index `json:"index,omitempty"` // without it asks stay as they are
	asks, values    [2]money.USD
}

// Index is the rule of the price index, in parts per million. Every supplier follows it, from half of its ask to four times as much.
type Index struct {
	Target  uint32 `json:"target"`
	Gain    uint32 `json:"gain"`
	Step    uint32 `json:"step"`
	Floor   uint32 `json:"floor"`
	Ceiling uint32 `json:"ceiling"`
}

func (i Index) rules() price.Rules {
	return price.Rules{Target: i.Target, Gain: i.Gain, Step: i.Step, Floor: i.Floor, Ceiling: i.Ceiling}
}

// Parse reads parameters strictly and checks them.
func Parse(data []byte) (Parameters, error) {
	var p Parameters
	if err := yaml.UnmarshalStrict(data, &p); err != nil {
		return Parameters{}, fmt.Errorf("parse parameters: %w", err)
	}
	return p, p.check()
}

func (p *Parameters) check() error {
	switch {
	case p.Nodes < 1, p.Suppliers < 1, p.Nodes%p.Suppliers != 0:
		return errors.New("nodes: must be a multiple of suppliers, which must be at least 1")
	case p.StepSeconds < 1, p.PatienceSeconds < 0:
		return errors.New("stepSeconds must be at least 1, and patienceSeconds not negative")
	}
	for _, span := range []struct {
		name      string
		low, high string
		into      *[2]money.USD
	}{{"AskUSD", p.LowestAskUSD, p.HighestAskUSD, &p.asks}, {"ValueUSD", p.LowestValueUSD, p.HighestValueUSD, &p.values}} {
		for i, text := range []string{span.low, span.high} {
			value, err := money.ParseUSD(text)
			if err != nil {
				return fmt.Errorf("lowest%s, highest%s: %w", span.name, span.name, err)
			}
			span.into[i] = value
		}
		if span.into[0] > span.into[1] {
			return fmt.Errorf("lowest%s must not exceed highest%s", span.name, span.name)
		}
	}
	if p.Index != nil {
		if err := p.Index.rules().Validate(); err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	return nil
}
