// SPDX-License-Identifier: Apache-2.0
//! Stakes: what suppliers and those who trust them put up, and what misconduct costs.
//!
//! A supplier owns a pool. The owner and others, the delegators, bond tokens to it and
//! get shares of it. A slash burns tokens of the pool, so it meets everybody in
//! proportion to the shares, those that are being unbonded included. Nothing else
//! changes what a share is worth, but for rounding, which is always in favour of the
//! pool. Shares start at one base unit each, so a share is never worth more than that:
//! `total <= shares`, and one is zero only if the other is.
//!
//! A slash waits for its window, in which the owner can appeal to the market's arbiter.
//! While it is pending nothing is withdrawn; it ends by itself if nobody decides.

pub mod appeal;
pub mod bond;
pub mod create;
pub mod drop;
pub mod execute;
pub mod pool;
pub mod position;
pub mod propose;
pub mod unbond;
pub mod withdraw;
