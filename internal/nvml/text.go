// SPDX-License-Identifier: Apache-2.0

package nvml

import "bytes"

// terminated is the text before the zero that ends it.
func terminated(text []byte) string {
	before, _, _ := bytes.Cut(text, []byte{0})
	return string(before)
}
