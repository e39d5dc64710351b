// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// recordDomain keeps a record's digest apart from every other digest that members sign or compare.
const recordDomain = "bourse-usage-1"

// ErrDigest says that a text is not a digest.
var ErrDigest = errors.New("not a SHA-256 in lower-case hexadecimal")

// Digest is the SHA-256 over the digest of the record before and the record itself.
type Digest [sha256.Size]byte

// ParseDigest reads what String writes.
func ParseDigest(text string) (Digest, error) {
	var digest Digest
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(digest) || hex.EncodeToString(raw) != text {
		return Digest{}, fmt.Errorf("%q: %w", text, ErrDigest)
	}
	copy(digest[:], raw)
	return digest, nil
}

// String writes the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Record says what a lease used since it began. Only the newest counts; each names the one before by its digest.
type Record struct {
	Sequence        int64        // counts the records, from 1
	GPUMilliseconds uint64       // GPU time with every worker ready
	Gross           money.Amount // what that time costs before fees
	ReadySince      time.Time    // since when the workers are ready without a break; zero while they are not
	Through         time.Time    // up to when the time is counted
	Final           bool         // no record follows
	Digest          Digest
}

// Open says whether the workers were ready when the record was made.
func (r Record) Open() bool { return !r.ReadySince.IsZero() }

// digest chains the record to the one before; the first follows the zero digest.
func (r Record) digest(lease [32]byte, previous Digest) Digest {
	var since, final int64
	if r.Open() {
		since = r.ReadySince.Unix()
	}
	if r.Final {
		final = 1
	}
	content := make([]byte, 0, len(recordDomain)+2*sha256.Size+6*8)
	content = append(content, recordDomain...)
	content = append(content, lease[:]...)
	content = append(content, previous[:]...)
	content = binary.LittleEndian.AppendUint64(content, r.GPUMilliseconds)
	content = binary.LittleEndian.AppendUint64(content, uint64(r.Gross))
	for _, number := range []int64{r.Sequence, since, r.Through.Unix(), final} {
		content = binary.LittleEndian.AppendUint64(content, uint64(number)) //nolint:gosec // the same 64 bits
	}
	return sha256.Sum256(content)
}
