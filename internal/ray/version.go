// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"fmt"
	"strconv"
	"strings"
)

// Ray has token authentication since this version; without it anybody who reaches the head could run anything.
const (
	leastMajor = 2
	leastMinor = 52
)

// Unsupported says why a version of Ray cannot be leased, or nothing. It does not tell which version that is.
func Unsupported(version string) string {
	parts := strings.Split(version, ".")
	if len(parts) == 3 {
		major, errMajor := strconv.Atoi(parts[0])
		minor, errMinor := strconv.Atoi(parts[1])
		if errMajor == nil && errMinor == nil && (major > leastMajor || major == leastMajor && minor >= leastMinor) {
			return ""
		}
	}
	return fmt.Sprintf("The program's version of Ray has no token authentication: use %d.%d.0 or newer", leastMajor, leastMinor)
}
