// SPDX-License-Identifier: Apache-2.0

package device

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"slices"
)

// domain begins every record, so that a signature over one cannot be taken for a signature over anything else.
const domain = "bourse.dev/node-record/v1"

// ErrSignature says that a record was not signed by the key that it names.
var ErrSignature = errors.New("the signature does not belong to the record")

// Record is what an agent signs.
type Record struct {
	Node     string
	BootID   string
	Driver   string
	Devices  []Device
	Sequence int64
}

// Encode returns the bytes that are signed: the domain, the node, the kernel's boot, the driver, the sequence, and the devices in the order
// of their UUIDs. Texts are preceded by their length in four bytes, numbers take eight, lists begin with their length, and what may be
// missing is preceded by whether it is there, so that no two records have the same bytes. What changes all the time is not among them.
func (r Record) Encode() []byte {
	var e encoder
	e.text(domain)
	e.text(r.Node)
	e.text(r.BootID)
	e.text(r.Driver)
	e.number(r.Sequence)
	e.number(int64(len(r.Devices)))
	ordered := slices.SortedFunc(slices.Values(r.Devices), func(a, b Device) int { return cmp.Compare(a.UUID, b.UUID) })
	for i := range ordered {
		e.device(&ordered[i])
	}
	return e.bytes
}

// Verify returns ErrSignature unless the key has signed the record.
func (r Record) Verify(publicKey, signature []byte) error {
	if len(publicKey) != ed25519.PublicKeySize || !ed25519.Verify(publicKey, r.Encode(), signature) {
		return ErrSignature
	}
	return nil
}

type encoder struct{ bytes []byte }

func (e *encoder) device(d *Device) {
	for _, text := range []string{
		d.UUID, d.Parent, string(d.Class), d.Product, d.Model, string(d.Fault), d.Pod.Namespace, d.Pod.Name, d.PCI.BusID, d.Fabric, d.ComputeCapability,
	} {
		e.text(text)
	}
	for _, number := range []int32{d.MemoryMiB, d.XID, d.PCI.Generation, d.PCI.Width} {
		e.number(int64(number))
	}
	for _, number := range []*int32{d.Processes, d.Links, d.PowerLimitPercent} {
		e.optional(number)
	}
}

func (e *encoder) text(text string) {
	e.bytes = binary.BigEndian.AppendUint32(e.bytes, uint32(len(text))) //nolint:gosec // the API bounds every text far below
	e.bytes = append(e.bytes, text...)
}

func (e *encoder) number(number int64) {
	e.bytes = binary.BigEndian.AppendUint64(e.bytes, uint64(number)) //nolint:gosec // the same bits
}

func (e *encoder) optional(number *int32) {
	if number == nil {
		e.bytes = append(e.bytes, 0)
		return
	}
	e.bytes = append(e.bytes, 1)
	e.number(int64(*number))
}
