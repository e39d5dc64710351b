// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"io/fs"
	"testing"
)

func TestModesSayWhoCanUseAKeyWhereThereAreAny(t *testing.T) {
	for _, tc := range []struct {
		system string
		mode   fs.FileMode
		want   bool
	}{
		{"linux", 0o600, false}, {"linux", 0o440, false}, {"linux", 0o644, true}, {"darwin", 0o660, true}, {"windows", 0o666, false}, {"windows", 0o444, false},
	} {
		if got := exposed(tc.mode, tc.system); got != tc.want {
			t.Errorf("%04o on %s: %t, want %t", tc.mode, tc.system, got, tc.want)
		}
	}
}
