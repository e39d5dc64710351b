// SPDX-License-Identifier: Apache-2.0
//! How a gross amount is shared out.
//!
//! Every share is a function of the lease's *cumulative* gross amount; a claim pays
//! the difference between two of its values. So it makes no difference to anybody
//! in how many claims an amount is collected, and rounding never adds up.

use crate::error::{check, Error, Result};

/// The whole, in basis points.
pub const WHOLE: u16 = 10_000;
/// The most that either side may be charged, in basis points.
pub const MAX_FEE: u16 = 1_000;

/// The fee terms of a lease, in basis points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fees {
    /// What the buyer pays on top of the gross amount.
    pub buyer: u16,
    /// What is taken from the supplier's gross amount.
    pub supplier: u16,
    /// The part of both fees that is burned; the treasury gets the rest.
    pub burn: u16,
}

/// The shares of one cumulative gross amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Split {
    /// What leaves the vault: the sum of the three shares below.
    pub debit: u64,
    /// What the supplier gets.
    pub supplier: u64,
    /// What the treasury gets.
    pub treasury: u64,
    /// What is burned.
    pub burn: u64,
}

impl Fees {
    /// Refuses terms out of range.
    #[inline(always)]
    pub fn check(&self) -> Result {
        let fair = self.buyer <= MAX_FEE && self.supplier <= MAX_FEE && self.burn <= WHOLE;
        check(fair, Error::AMOUNT)
    }

    /// Writes the shares of the cumulative amount `gross` to `out`.
    #[inline(never)]
    pub fn split(&self, gross: u64, out: &mut Split) -> Result {
        let buyer_fee = part(gross, self.buyer);
        let supplier_fee = part(gross, self.supplier);
        let fee = buyer_fee.checked_add(supplier_fee).ok_or(Error::AMOUNT)?;
        out.debit = gross.checked_add(buyer_fee).ok_or(Error::AMOUNT)?;
        out.supplier = gross.checked_sub(supplier_fee).ok_or(Error::AMOUNT)?;
        out.burn = part(fee, self.burn);
        out.treasury = fee.checked_sub(out.burn).ok_or(Error::AMOUNT)?;
        Ok(())
    }
}

impl Split {
    /// Writes what is due now to `out`: this split less an earlier one of the same terms.
    #[inline(always)]
    pub fn since(&self, earlier: &Split, out: &mut Split) -> Result {
        out.debit = self.debit.checked_sub(earlier.debit).ok_or(Error::AMOUNT)?;
        out.supplier = self.supplier.checked_sub(earlier.supplier).ok_or(Error::AMOUNT)?;
        out.treasury = self.treasury.checked_sub(earlier.treasury).ok_or(Error::AMOUNT)?;
        out.burn = self.burn.checked_sub(earlier.burn).ok_or(Error::AMOUNT)?;
        Ok(())
    }
}

/// `floor(amount * bps / 10000)` for `bps <= 10000`, without leaving 64 bits.
///
/// The BPF target has no 128-bit arithmetic, and a checked product of 64-bit numbers
/// needs it. With `amount = 10000 q + r` the result is `q * bps + r * bps / 10000`;
/// no product exceeds `amount` or 10^8, so none can wrap.
pub const fn part(amount: u64, bps: u16) -> u64 {
    let whole = WHOLE as u64;
    let bps = bps as u64;
    (amount / whole).wrapping_mul(bps).wrapping_add((amount % whole).wrapping_mul(bps) / whole)
}
