// SPDX-License-Identifier: Apache-2.0

// Sbpfld links one relocatable BPF object into a program for Solana's virtual machine.
// It keeps what the symbol entrypoint reaches, writes the layout of sBPF version 0 or 3, and refuses every
// undefined name that is not a known system call. It knows nothing about the program that it links.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbpfld:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("sbpfld", flag.ContinueOnError)
	out := flags.String("o", "program.so", "the `file` to write")
	version := flags.Int("v", 0, "the sBPF version of the program: 0 or 3")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse arguments: %w", err)
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("want one object file, have %d arguments", flags.NArg())
	}
	raw, err := os.ReadFile(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	obj, err := readObject(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("read %s: %w", flags.Arg(0), err)
	}
	prog, err := link(obj, *version)
	if err != nil {
		return fmt.Errorf("link %s: %w", flags.Arg(0), err)
	}
	elf := prog.encode()
	if err := os.WriteFile(*out, elf, 0o644); err != nil { //nolint:gosec // A program is public.
		return fmt.Errorf("write program: %w", err)
	}
	fmt.Printf("%s: sBPF v%d, code %d, read-only data %d, file %d bytes, system calls: %s\n",
		*out, *version, len(prog.text), len(prog.rodata), len(elf), strings.Join(prog.syscalls(), " "))
	return nil
}
