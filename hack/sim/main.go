// SPDX-License-Identifier: Apache-2.0

// Command sim plays a market on a trace of jobs and prints what came of it.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/bourse-dev/bourse/test/sim/market"
)

func main() {
	trace := flag.String("trace", "test/sim/market/testdata/gavel", "`folder` with traces as Gavel publishes them")
	parameters := flag.String("parameters", "test/sim/market/parameters.yaml", "`file` that describes the market")
	flag.Parse()
	if err := run(*trace, *parameters); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func run(trace, parameters string) error {
	jobs, err := market.Read(os.DirFS(trace))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(parameters)
	if err != nil {
		return fmt.Errorf("read parameters: %w", err)
	}
	p, err := market.Parse(text)
	if err != nil {
		return err
	}
	report := market.Play(jobs, p)
	return report.Print(os.Stdout)
}
