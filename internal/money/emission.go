// SPDX-License-Identifier: Apache-2.0

package money

// The supply of the market's token IO, in its base units of 10^-8 IO: what existed at genesis, what is emitted month by month over
// twenty years, and their sum, which is the cap.
const (
	EmissionMonths        = len(emission)
	GenesisSupply  Amount = 500_000_000_00000000
	EmissionTotal  Amount = 300_000_000_00000000
	SupplyCap             = GenesisSupply + EmissionTotal
)

// Emission returns what is emitted in a month, counted from 1. Before the first month and after the last it is nothing.
//
// The published schedule is 8 % of the genesis supply a year in the first month, and 1.0150801 % less in each following one. Rounded
// as published, it would exceed the cap by 5,579 IO after twenty years; so each month is rounded down to a base unit, and the last
// one takes what is left of the total.
func Emission(month int) Amount {
	if month < 1 || month > EmissionMonths {
		return 0
	}
	return emission[month-1]
}

// Emitted returns what was emitted from the first month to the end of the given one.
func Emitted(month int) Amount {
	var sum Amount // never above EmissionTotal
	for _, amount := range emission[:min(max(month, 0), EmissionMonths)] {
		sum += amount
	}
	return sum
}
