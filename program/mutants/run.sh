#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Plants one defect at a time into a copy of the program and runs the native tests on it. A defect that no
# test notices is a hole in the tests: the run fails and names it. Arguments select defects by name.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r Cargo.toml Cargo.lock src tests "$work"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/mutants}
selected=("$@")
planted=0
survived=()

# tests runs the quick tests first and ends with the first that fails.
tests() {
  local suite
  for suite in lease fees model; do
    (cd "$work" && timeout 300 cargo test --quiet --locked --offline --test "$suite") >"$work/log" 2>&1 || return 1
  done
}

# mutant NAME FILE OLD NEW replaces OLD, which must be in the file exactly once.
mutant() {
  local name=$1 file=src/$2 old=$3 new=$4 source rest
  if ((${#selected[@]})) && [[ " ${selected[*]} " != *" $name "* ]]; then return; fi
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

if ! tests; then
  cat "$work/log" >&2
  echo "mutants: the tests fail without any defect" >&2
  exit 2
fi

mutant open-signer open.rs 'check(buyer.is_signer(), Error::SIGNER)?;' ''
mutant open-deposit open.rs 'check(terms.deposit > 0, Error::AMOUNT)?;' ''
mutant open-fees open.rs 'terms.fees.check()?;' ''
mutant open-deadline open.rs 'terms.deadline > now()?' 'terms.deadline >= now()?'
mutant open-lease-address open.rs 'lease::check_address(&lease::address_seeds(buyer.key(), &terms.id), program, lease.key(), terms.bump)?;' ''
mutant open-vault-address open.rs 'lease::check_address(&lease::vault_seeds(lease.key()), program, vault.key(), terms.vault_bump)?;' ''
mutant canonical-bump abi.rs 'code == 0 && found_bump == bump && unsafe { found.assume_init() } == *address' 'let _ = (found_bump, bump); code == 0 && unsafe { found.assume_init() } == *address'
mutant open-twice open.rs 'check(lease.owned_by(&system::ID) && lease.data_len() == 0, Error::STATE)?;' ''
mutant open-mint open.rs 'check(token::is_mint(mint, terms.decimals), Error::MINT)?;' ''
mutant mint-decimals token.rs 'account.get(44) == Some([decimals, 1])' 'account.get(45) == Some([1]) && decimals < 255'
mutant grief-prefunded system.rs 'if have < self.rent {' 'if have == 0 {'
mutant claim-signer claim.rs 'check(submitter.is_signer(), Error::SIGNER)?;' ''
mutant claim-mint claim.rs 'check(*mint.key() == record.mint, Error::MINT)?;' ''
mutant claim-vault claim.rs 'record.check_vault(program, lease.key(), vault.key())?;' ''
mutant claim-supplier claim.rs 'check(token::is_account_of(supplier_tokens, &record.mint, &record.supplier), Error::PARTY)?;' ''
mutant claim-treasury claim.rs 'check(token::is_account_of(treasury_tokens, &record.mint, &record.treasury), Error::PARTY)?;' ''
mutant claim-monotone claim.rs 'check(gross > record.paid, Error::AMOUNT)?;' ''
mutant claim-twice claim.rs 'gross > record.paid' 'gross >= record.paid'
mutant claim-debit claim.rs 'after.debit <= record.deposit' 'gross <= record.deposit'
mutant claim-no-limit claim.rs 'check(after.debit <= record.deposit, Error::AMOUNT)?;' ''
mutant claim-voucher claim.rs 'Voucher { program, lease: lease.key(), buyer: &record.buyer, gross }.check(sysvar)?;' ''
mutant claim-not-recorded claim.rs 'record.paid = gross;' ''
mutant claim-burn claim.rs 'vault.burn(due.burn)' 'vault.transfer(treasury_tokens, due.burn)'
mutant claim-shares-swapped claim.rs 'vault.transfer(supplier_tokens, due.supplier)?;' 'vault.transfer(supplier_tokens, due.debit)?;'
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
mutant lease-tombstone lease.rs 'lease.magic == OPEN && ' ''
mutant lease-version lease.rs ' && lease.version == VERSION' ''
mutant token-owner token.rs 'account.owned_by(&ID)
        && account.data_len() == ACCOUNT_SIZE as usize' 'account.data_len() == ACCOUNT_SIZE as usize'
mutant token-mint token.rs '&& account.get(0) == Some(*mint)' '&& mint[0] != 0xff'
mutant close-signer close.rs 'check(submitter.is_signer(), Error::SIGNER)?;' ''
mutant close-deadline close.rs 'check(now()? > record.deadline, Error::TIME)?;' ''
mutant close-deadline-edge close.rs 'now()? > record.deadline' 'now()? >= record.deadline'
mutant close-anybody close.rs 'if *submitter.key() != record.supplier {' 'if *submitter.key() == record.buyer {'
mutant close-supplier-waits close.rs 'if *submitter.key() != record.supplier {' '{'
mutant close-buyer close.rs 'check(*buyer.key() == record.buyer, Error::PARTY)?;' ''
mutant close-payee close.rs 'check(token::is_account_of(buyer_tokens, &record.mint, &record.buyer), Error::PARTY)?;' ''
mutant close-vault close.rs 'record.check_vault(program, lease.key(), vault.key())?;' ''
mutant close-mint close.rs 'check(*mint.key() == record.mint, Error::MINT)?;' ''
mutant close-tombstone close.rs 'record.magic = lease::CLOSED;' ''
mutant close-dust close.rs 'let balance = token::balance(vault).ok_or(Error::STATE)?;' 'let balance = record.deposit - record.paid;'
mutant fee-floor fees.rs 'wrapping_add((amount % whole).wrapping_mul(bps) / whole)' 'wrapping_add((amount % whole).wrapping_mul(bps) / whole + 1)'
mutant fee-limit fees.rs 'self.buyer <= MAX_FEE' 'self.buyer <= WHOLE'
mutant fee-burn-share fees.rs 'out.burn = part(fee, self.burn);' 'out.burn = part(supplier_fee, self.burn);'
mutant fee-since fees.rs 'out.burn = self.burn.checked_sub(earlier.burn).ok_or(Error::AMOUNT)?;' 'out.burn = self.burn;'
mutant duplicate-accounts abi.rs 'if first >= i {' 'if first > i {'

echo "$planted planted, $((planted - ${#survived[@]})) caught"
((${#survived[@]} == 0)) || { echo "not caught: ${survived[*]}" >&2; exit 1; }
