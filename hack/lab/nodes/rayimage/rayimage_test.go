// SPDX-License-Identifier: Apache-2.0

package rayimage

import (
	"regexp"
	"strings"
	"testing"
)

var pinned = regexp.MustCompile(`^([a-z0-9-]+)==([^ ]+) --hash=sha256:[0-9a-f]{64}$`)

func TestEveryRequirementIsPinnedByHash(t *testing.T) {
	versions := map[string]string{}
	for line := range strings.Lines(requirements) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		match := pinned.FindStringSubmatch(line)
		if match == nil {
			t.Errorf("%q is not a pinned requirement", line)
			continue
		}
		versions[match[1]] = match[2]
	}
	if versions["ray"] != Version {
		t.Errorf("the wheel is of Ray %q, the image of %q", versions["ray"], Version)
	}
	// Without these Ray runs, but has no job API.
	for _, needed := range []string{"aiohttp", "aiohttp-cors", "opentelemetry-sdk", "prometheus-client", "pydantic", "virtualenv"} {
		if versions[needed] == "" {
			t.Errorf("%s is missing", needed)
		}
	}
}

func TestContainersDoNotRunAsRoot(t *testing.T) {
	if got := spec("/root").User; got == "" || got == "0" {
		t.Errorf("the image's user is %q", got)
	}
}
