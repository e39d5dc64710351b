// SPDX-License-Identifier: Apache-2.0

//go:build !darwin

package main

import (
	"github.com/bourse-dev/bourse/internal/agent"
	"github.com/bourse-dev/bourse/internal/host"
)

// machine is this one.
func machine(o options) agent.Machine { return host.New(o.root) }
