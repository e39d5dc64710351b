// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/bourse-dev/bourse/internal/agent"
	"github.com/bourse-dev/bourse/internal/apple"
)

// machine is this one.
func machine(options) agent.Machine { return apple.New() }
