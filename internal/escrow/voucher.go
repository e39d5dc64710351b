// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// voucherTag begins every voucher. A transaction message that begins so would need 98 signers, and so be far longer than a voucher.
const voucherTag = "bourse2"

// ErrVoucher says that a signature is not the buyer's for this lease and amount.
var ErrVoucher = errors.New("voucher is not signed by the buyer")

// VoucherMessage returns what the buyer signs to promise a cumulative gross amount: 79 bytes that name the program, the lease and
// the amount. Of several vouchers only the highest counts.
func VoucherMessage(program, lease chain.Address, gross money.Amount) []byte {
	message := append([]byte(voucherTag), program[:]...)
	message = append(message, lease[:]...)
	return binary.LittleEndian.AppendUint64(message, uint64(gross))
}

// VerifyVoucher returns ErrVoucher unless the signature is the buyer's for exactly this program, lease and amount.
func VerifyVoucher(program, lease, buyer chain.Address, gross money.Amount, signature chain.Signature) error {
	if !ed25519.Verify(buyer[:], VoucherMessage(program, lease, gross), signature[:]) {
		return ErrVoucher
	}
	return nil
}

// voucherCheck returns the instruction that makes the chain verify one signature. Its offsets point into itself, in the order
// header, key, signature, message: the only form that the program accepts.
func voucherCheck(buyer chain.Address, message []byte, signature chain.Signature) chain.Instruction {
	const (
		header      = 16
		key         = header
		sig         = key + ed25519.PublicKeySize
		body        = sig + ed25519.SignatureSize
		thisOne     = 0xffff // "this instruction", as an instruction index
		onlyOne     = 1
		noPadding   = 0
		headerWords = 7
	)
	data := []byte{onlyOne, noPadding}
	//nolint:gosec // a voucher is 79 bytes long
	for _, word := range [headerWords]uint16{sig, thisOne, key, thisOne, body, uint16(len(message)), thisOne} {
		data = binary.LittleEndian.AppendUint16(data, word)
	}
	data = append(data, buyer[:]...)
	data = append(data, signature[:]...)
	return chain.Instruction{Program: chain.Ed25519Program, Data: append(data, message...)}
}
