#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Plants one defect at a time into a copy of the program and runs the native tests on it. A defect that no
# test notices is a hole in the tests: the run fails and names it. Arguments select defects by name. Without
# arguments each processor gets its share of them.
set -euo pipefail
cd "$(dirname "$0")/.."

if (($# == 0)) && [[ -z ${SHARE:-} ]]; then
  shares=$(nproc)
  running=()
  for ((share = 0; share < shares; share++)); do
    SHARE=$share SHARES=$shares "$PWD/mutants/run.sh" &
    running+=($!)
  done
  failed=0
  for process in "${running[@]}"; do
    wait "$process" || failed=1
  done
  exit "$failed"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r Cargo.toml Cargo.lock src tests testdata "$work"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/mutants}-${SHARE:-0}
selected=("$@")
listed=0
planted=0
survived=()

# tests runs the quick tests first and ends with the first that fails.
tests() {
  local suite
  for suite in "${suites[@]}"; do
    (cd "$work" && timeout 300 cargo test --quiet --locked --offline --test "$suite") >"$work/log" 2>&1 || return 1
  done
}

# mutant NAME FILE OLD NEW replaces OLD, which must be in the file exactly once.
mutant() {
  local name=$1 file=src/$2 old=$3 new=$4 source rest
  if ((${#selected[@]})) && [[ " ${selected[*]} " != *" $name "* ]]; then return; fi
  listed=$((listed + 1))
  if ((listed % ${SHARES:-1} != ${SHARE:-0})); then return; fi
  source=$(cat "$file" && echo .) && source=${source%.}
  rest=${source/"$old"/}
  if [[ $rest == "$source" || ${rest/"$old"/} != "$rest" ]]; then
    echo "mutants: $name: '$old' is not exactly once in $file" >&2
    exit 2
  fi
  printf '%s' "${source/"$old"/"$new"}" >"$work/$file"
  planted=$((planted + 1))
  if tests; then
    printf '%-22s SURVIVED\n' "$name"
    survived+=("$name")
  elif grep -q 'could not compile' "$work/log"; then
    cat "$work/log" >&2
    echo "mutants: $name does not compile" >&2
    exit 2
  else
    printf '%-22s caught by %s\n' "$name" "$(grep -m 1 -oE "^thread '[a-z_0-9]+'" "$work/log" | cut -d "'" -f 2)"
  fi
  cp "$file" "$work/$file"
}

suites=(lease dispute config adjust fees model garbage)
if ! tests; then
  cat "$work/log" >&2
  echo "mutants: the tests fail without any defect" >&2
  exit 2
fi

mutant open-signer open.rs 'check(buyer.is_signer(), Error::SIGNER)?;' ''
mutant open-deposit open.rs 'check(terms.deposit > 0, Error::AMOUNT)?;' ''
mutant open-fees open.rs 'terms.fees.check()?;' ''
mutant open-deadline open.rs 'lease::check_deadline(terms.deadline, now()?)?;' ''
mutant open-lease-address open.rs 'check_address(&lease::address_seeds(buyer.key(), &terms.id), program, lease.key(), terms.bump)?;' ''
mutant open-vault-address open.rs 'check_address(&lease::vault_seeds(lease.key()), program, vault.key(), terms.vault_bump)?;' ''
mutant canonical-bump abi.rs 'code == 0 && found_bump == bump && unsafe { found.assume_init() } == *address' 'let _ = (found_bump, bump); code == 0 && unsafe { found.assume_init() } == *address'
mutant open-twice open.rs 'check(lease.owned_by(&system::ID) && lease.data_len() == 0, Error::STATE)?;' ''
mutant open-mint open.rs 'check(token::is_mint(mint, terms.decimals), Error::MINT)?;' ''
mutant open-market open.rs 'terms.check(program, config, treasury.key(), arbiter.key())?;' ''
mutant open-treasury open.rs '*treasury == market.treasury && ' ''
mutant open-arbiter open.rs '*treasury == market.treasury && *arbiter == expected' '*treasury == market.treasury && (arbitrates || *arbiter == expected)'
mutant open-no-arbiter open.rs 'if arbitrates { market.arbiter } else { [0; 32] }' 'market.arbiter'
mutant open-buyer-cap open.rs 'check(self.fees.buyer <= market.max_buyer_fee, Error::CAP)?;' ''
mutant open-supplier-cap open.rs 'check(self.fees.supplier <= market.max_supplier_fee, Error::CAP)?;' ''
mutant open-arbiter-cap open.rs 'check(self.arbiter_cap <= market.max_arbiter_cap, Error::CAP)?;' ''
mutant open-pending-terms open.rs 'let market = &record.current;' 'let market = &record.pending;'
mutant open-no-delay open.rs '(delay > 0) == arbitrates && ' ''
mutant open-needless-delay open.rs '(delay > 0) == arbitrates' '(delay > 0 || !arbitrates)'
mutant open-longest-delay open.rs ' && delay <= config::MAX_DELAY' ''
mutant open-least-delay open.rs 'check(!arbitrates || delay >= market.min_dispute_delay, Error::TIME)' 'Ok(())'
mutant mint-decimals token.rs 'account.get(44) == Some([decimals, 1])' 'account.get(45) == Some([1]) && decimals < 255'
mutant grief-prefunded system.rs 'if have < self.rent {' 'if have == 0 {'
mutant deadline-ahead lease.rs 'deadline > now && ' ''
mutant deadline-edge lease.rs 'deadline > now' 'deadline >= now'
mutant deadline-too-far lease.rs ' && deadline <= now.saturating_add(MAX_TERM)' ''
mutant claim-signer claim.rs 'check(submitter.is_signer(), Error::SIGNER)?;' ''
mutant claim-accounts claim.rs 'payout.check(program, &record)?;' ''
mutant claim-voucher claim.rs 'Voucher { program, lease: lease.key(), buyer: &record.buyer, gross }.check(sysvar)?;' ''
mutant claim-not-recorded claim.rs 'record.paid = gross;' ''
mutant payout-mint payout.rs 'check(*self.mint.key() == record.mint, Error::MINT)?;' ''
mutant payout-vault payout.rs 'record.check_vault(program, self.lease.key(), self.vault.key())?;' ''
mutant payout-token payout.rs 'check(*self.token.key() == token::ID, Error::ARGUMENT)?;' ''
mutant payout-supplier payout.rs 'check(token::is_account_of(self.supplier, &record.mint, &record.supplier), Error::PARTY)?;' ''
mutant payout-treasury payout.rs 'check(token::is_account_of(self.treasury, &record.mint, &record.treasury), Error::PARTY)' 'Ok(())'
mutant payout-monotone payout.rs 'check(gross > record.paid, Error::AMOUNT)?;' ''
mutant payout-twice payout.rs 'gross > record.paid' 'gross >= record.paid'
mutant payout-debit payout.rs 'after.debit <= record.deposit' 'gross <= record.deposit'
mutant payout-no-limit payout.rs 'check(after.debit <= record.deposit, Error::AMOUNT)?;' ''
mutant payout-read-only payout.rs 'check(self.lease.store(record), Error::STATE)?;' 'let _ = self.lease.store(record);'
mutant payout-burn payout.rs 'vault.burn(due.burn)' 'vault.transfer(self.treasury, due.burn)'
mutant payout-shares-swapped payout.rs 'vault.transfer(self.supplier, due.supplier)?;' 'vault.transfer(self.supplier, due.debit)?;'
mutant voucher-sysvar voucher.rs 'check(*sysvar.key() == INSTRUCTIONS, Error::VOUCHER)?;' ''
mutant voucher-first voucher.rs 'if current == 0 {' 'if current == 0xffff {'
mutant voucher-before voucher.rs 'u16_at(sysvar, current * 2)?' 'u16_at(sysvar, 2)?'
mutant voucher-program-id voucher.rs '*program == ED25519
                && ' ''
mutant voucher-length voucher.rs '&& u16::from_le_bytes(*len) == LEN' ''
mutant voucher-head voucher.rs '&& *head == HEAD' '&& head[0] == 1'
mutant voucher-head-index voucher.rs '&& *head == HEAD' '&& head[..14] == HEAD[..14]'
mutant voucher-signer voucher.rs '&& signer == self.buyer' ''
mutant voucher-tag voucher.rs '&& *tag == TAG' ''
mutant voucher-program voucher.rs '&& of_program == self.program' ''
mutant voucher-lease voucher.rs '&& of_lease == self.lease' ''
mutant voucher-gross voucher.rs 'u64::from_le_bytes(*gross) == self.gross' 'u64::from_le_bytes(*gross) >= self.gross'
mutant lease-owner lease.rs 'check(account.owned_by(program), Error::OWNER)?;' ''
mutant lease-tombstone lease.rs 'self.magic == OPEN && ' ''
mutant lease-version lease.rs ' && self.version == VERSION' ''
mutant token-owner token.rs 'account.owned_by(&ID)
        && account.data_len() == ACCOUNT_SIZE as usize' 'account.data_len() == ACCOUNT_SIZE as usize'
mutant token-mint token.rs '&& account.get(0) == Some(*mint)' '&& mint[0] != 0xff'
mutant close-signer close.rs 'check(submitter.is_signer(), Error::SIGNER)?;' ''
mutant close-deadline close.rs 'check(now > record.deadline, Error::TIME)?;' ''
mutant close-deadline-edge close.rs 'now > record.deadline' 'now >= record.deadline'
mutant close-anybody close.rs 'if *submitter.key() != record.supplier {' 'if *submitter.key() == record.buyer {'
mutant close-supplier-waits close.rs 'if *submitter.key() != record.supplier {' '{'
mutant close-disputed close.rs 'check(record.disputed == 0 || now >= until, Error::HELD)?;' ''
mutant close-held-for-ever close.rs 'record.disputed == 0 || now >= until' 'record.disputed == 0'
mutant close-held-edge close.rs 'now >= until' 'now > until'
mutant close-held-early close.rs 'let (_, until)' 'let (until, _)'
mutant close-held-awarded close.rs 'record.disputed == 0 || ' ''
mutant close-buyer close.rs 'check(*buyer.key() == record.buyer, Error::PARTY)?;' ''
mutant close-payee close.rs 'check(token::is_account_of(buyer_tokens, &record.mint, &record.buyer), Error::PARTY)?;' ''
mutant close-vault close.rs 'record.check_vault(program, lease.key(), vault.key())?;' ''
mutant close-mint close.rs 'check(*mint.key() == record.mint, Error::MINT)?;' ''
mutant close-tombstone close.rs 'record.magic = lease::CLOSED;' ''
mutant close-dust close.rs 'let balance = token::balance(vault).ok_or(Error::STATE)?;' 'let balance = record.deposit - record.paid;'
mutant signed-signature error.rs 'signer.is_signer() && ' ''
mutant signed-key error.rs 'signer.is_signer() && signer.key() == key' 'signer.is_signer() && (*key != [0; 32] || signer.key() == key)'
mutant topup-signer top_up.rs 'check_signed(buyer, &record.buyer)?;' ''
mutant topup-vault top_up.rs 'record.check_vault(program, lease.key(), vault.key())?;' ''
mutant topup-mint top_up.rs 'check(*mint.key() == record.mint, Error::MINT)?;' ''
mutant topup-token top_up.rs 'check(*token.key() == token::ID, Error::ARGUMENT)?;' ''
mutant topup-nothing top_up.rs 'check(amount > 0, Error::AMOUNT)?;' ''
mutant topup-overflow top_up.rs 'record.deposit.checked_add(amount).ok_or(Error::AMOUNT)?' 'record.deposit.wrapping_add(amount)'
mutant topup-not-paid top_up.rs '.transfer(vault, amount)' '.transfer(vault, amount / 2)'
mutant topup-not-recorded top_up.rs 'check(lease.store(&record), Error::STATE)?;' ''
mutant extend-signer extend.rs 'check_signed(buyer, &record.buyer)?;' ''
mutant extend-nearer extend.rs 'check(deadline > record.deadline, Error::TIME)?;' ''
mutant extend-same extend.rs 'deadline > record.deadline' 'deadline >= record.deadline'
mutant extend-limit extend.rs 'check_deadline(deadline, now()?)?;' ''
mutant extend-store extend.rs 'check(lease.store(&record), Error::STATE)' '{ lease.store(&record); Ok(()) }'
mutant dispute-signer dispute.rs 'check_signed(supplier, &record.supplier)?;' ''
mutant dispute-unagreed dispute.rs 'record.arbiter_cap > 0 && ' ''
mutant dispute-twice dispute.rs ' && record.disputed_at == 0' ''
mutant dispute-after-award dispute.rs 'record.disputed_at == 0' 'record.disputed == 0'
mutant dispute-deadline dispute.rs 'check(now <= record.deadline, Error::TIME)?;' ''
mutant dispute-deadline-edge dispute.rs 'now <= record.deadline' 'now < record.deadline'
mutant dispute-amount dispute.rs 'due(&record, gross, &mut Split::default())?;' ''
mutant dispute-time dispute.rs 'record.disputed_at = now;' 'record.disputed_at = now - 1;'
mutant award-signer award.rs 'check_signed(arbiter, &record.arbiter)?;' ''
mutant award-accounts award.rs 'payout.check(program, &record)?;' ''
mutant award-undisputed award.rs 'check(record.disputed != 0, Error::DISPUTE)?;' ''
mutant award-early award.rs 'now >= from && ' ''
mutant award-early-edge award.rs 'now >= from' 'now > from'
mutant award-late award.rs ' && now < until' ''
mutant award-late-edge award.rs 'now < until' 'now <= until'
mutant award-undemanded award.rs 'check(gross <= record.disputed, Error::AMOUNT)?;' ''
mutant award-no-cap award.rs 'check(now_due.debit <= part(record.deposit, record.arbiter_cap), Error::CAP)?;' ''
mutant award-cap-of-net award.rs 'now_due.debit <= part' 'now_due.supplier <= part'
mutant award-cap-of-vault award.rs 'part(record.deposit, record.arbiter_cap)' 'record.deposit'
mutant award-not-recorded award.rs 'record.paid = gross;' ''
mutant award-twice award.rs 'record.disputed = 0;' ''
mutant award-disputable award.rs 'record.disputed = 0;' 'record.disputed = 0; record.disputed_at = 0;'
mutant config-signer configure.rs 'check(authority.is_signer(), Error::SIGNER)?;' ''
mutant config-system configure.rs 'check(*system.key() == system::ID, Error::ARGUMENT)?;' ''
mutant config-lock configure.rs 'check((config::MIN_LOCK..=config::MAX_LOCK).contains(&delay), Error::TIME)?;' ''
mutant config-create-terms configure.rs 'check(authority.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID, Error::ARGUMENT)?;
    check((config::MIN_LOCK..=config::MAX_LOCK).contains(&delay), Error::TIME)?;
    terms.check()?;' 'check(authority.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID, Error::ARGUMENT)?;
    check((config::MIN_LOCK..=config::MAX_LOCK).contains(&delay), Error::TIME)?;'
mutant config-address configure.rs 'check_address(&config::address_seeds(authority.key()), program, config.key(), *bump)?;' ''
mutant config-twice configure.rs 'check(config.owned_by(&system::ID) && config.data_len() == 0, Error::STATE)?;' ''
mutant config-mint configure.rs 'token::decimals(mint).ok_or(Error::MINT)?' 'token::decimals(mint).unwrap_or(6)'
mutant propose-signer configure.rs 'check_signed(authority, &record.authority)?;' ''
mutant propose-terms configure.rs 'check_signed(authority, &record.authority)?;
    terms.check()?;' 'check_signed(authority, &record.authority)?;'
mutant propose-at-once configure.rs 'now()?.saturating_add(record.delay as i64)' 'now()?'
mutant propose-current configure.rs 'record.pending = terms;' 'record.pending = terms; record.current = terms;'
mutant propose-cancel configure.rs 'true => 0,' 'true => record.change_at,'
mutant apply-nothing configure.rs 'check(record.change_at != 0, Error::STATE)?;' ''
mutant apply-early configure.rs 'check(now()? >= record.change_at, Error::TIME)?;' ''
mutant apply-edge configure.rs 'now()? >= record.change_at' 'now()? > record.change_at'
mutant apply-again configure.rs 'record.current = record.pending;
    record.change_at = 0;' 'record.current = record.pending;'
mutant apply-current configure.rs 'record.current = record.pending;' ''
mutant config-owner config.rs 'check(account.owned_by(program), Error::OWNER)?;' ''
mutant config-magic config.rs 'self.magic == MAGIC && ' ''
mutant config-version config.rs ' && self.version == VERSION' ''
mutant terms-treasury config.rs 'self.treasury != [0; 32] && ' ''
mutant terms-arbiter config.rs ' && (!arbitrates || self.arbiter != [0; 32])' ''
mutant terms-buyer-fee config.rs 'self.max_buyer_fee <= MAX_FEE && ' ''
mutant terms-supplier-fee config.rs ' && self.max_supplier_fee <= MAX_FEE' ''
mutant terms-cap config.rs 'check(self.max_arbiter_cap <= MAX_ARBITER_CAP, Error::AMOUNT)?;' ''
mutant terms-slash config.rs 'self.max_slash <= WHOLE && ' ''
mutant terms-delegation config.rs ' && self.max_delegation <= WHOLE' ''
mutant terms-reserved config.rs 'check(self.reserved == 0, Error::AMOUNT)?;' ''
mutant terms-dispute-delay config.rs 'self.min_dispute_delay <= MAX_DELAY && ' ''
mutant terms-slash-window config.rs ' && self.slash_window <= MAX_DELAY' ''
mutant terms-slash-hold config.rs 'self.slash_hold <= MAX_DELAY && ' ''
mutant terms-cooldown config.rs ' && self.cooldown <= MAX_COOLDOWN' ''
mutant fee-floor fees.rs 'wrapping_add((amount % whole).wrapping_mul(bps) / whole)' 'wrapping_add((amount % whole).wrapping_mul(bps) / whole + 1)'
mutant fee-limit fees.rs 'self.buyer <= MAX_FEE' 'self.buyer <= WHOLE'
mutant fee-burn-share fees.rs 'out.burn = part(fee, self.burn);' 'out.burn = part(supplier_fee, self.burn);'
mutant fee-since fees.rs 'out.burn = self.burn.checked_sub(earlier.burn).ok_or(Error::AMOUNT)?;' 'out.burn = self.burn;'
mutant duplicate-accounts abi.rs 'if first >= i {' 'if first > i {'
mutant record-size abi.rs 'if self.data_len() != size_of::<T>() {
            return false;' 'if self.data_len() < size_of::<T>() {
            return false;'
mutant record-read-only abi.rs 'if self.data_len() != size_of::<T>() || !self.writable {' 'if self.data_len() != size_of::<T>() {'
mutant terms-length abi.rs 'if bytes.len() != size_of::<T>() {' 'if bytes.len() < size_of::<T>() {'

suites=(stake slash reward muldiv config stake_model)
source mutants/stake.sh

echo "$planted planted, $((planted - ${#survived[@]})) caught"
((${#survived[@]} == 0)) || { echo "not caught: ${survived[*]}" >&2; exit 1; }
