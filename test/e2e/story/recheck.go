// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// mismatchCode is how the audit ends when a record does not agree.
const mismatchCode = 1

// paid finds what a settlement in an export paid the supplier; the last digit of it is the second group.
var paid = regexp.MustCompile(`(?m)^( *supplierPaid: [1-9][0-9]*)([0-9])$`)

// Recheck lets the manager's own audit derive every settlement, fee and burn again: from the hub, from an export of its records, and from
// the same export with one byte changed, which it must find.
func (t *Teller) Recheck(ctx context.Context, lab *Lab) error {
	output, code, err := audited(ctx, lab, "--kubeconfig", lab.Kubeconfig())
	if err != nil {
		return err
	}
	t.Say("bourse-manager audit: exit code %d", code)
	t.lines(output)
	if code != 0 {
		return fmt.Errorf("the audit of the hub ended with %d", code)
	}
	records, err := lab.Kubectl(ctx, "get", "gpuleases,settlements,feeburns", "-A", "-o", "yaml")
	if err != nil {
		return err
	}
	changed, err := changeOneByte(records)
	if err != nil {
		return err
	}
	for _, export := range []struct {
		name, text string
		want       int
	}{{"records.yaml", records, 0}, {"changed.yaml", changed, mismatchCode}} {
		file := filepath.Join(lab.Dir, export.name)
		if err := os.WriteFile(file, []byte(export.text), 0o600); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		output, code, err := audited(ctx, lab, "--from", file)
		if err != nil {
			return err
		}
		t.Say("bourse-manager audit --from %s: exit code %d", export.name, code)
		if code != 0 {
			t.lines(output[strings.LastIndex(strings.TrimSpace(output), "\n")+1:])
		}
		if code != export.want {
			return fmt.Errorf("the audit of %s ended with %d, want %d: %s", export.name, code, export.want, output)
		}
	}
	return nil
}

// changeOneByte makes the last digit of what one settlement paid another one.
func changeOneByte(records string) (string, error) {
	at := paid.FindStringSubmatchIndex(records)
	if at == nil {
		return "", errors.New("no settlement in the export paid a supplier")
	}
	changed := []byte(records)
	digit := &changed[at[4]]
	*digit = '0' + (*digit-'0'+1)%10
	if bytes.Equal(changed, []byte(records)) {
		return "", errors.New("the export was not changed")
	}
	return string(changed), nil
}

// audited runs the audit and returns what it wrote and how it ended.
func audited(ctx context.Context, lab *Lab, args ...string) (output string, code int, err error) {
	args = append([]string{"audit", "--chain-rpc", lab.Chain.RPC}, args...)
	out, err := exec.CommandContext(ctx, lab.Bin["manager"], args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode(), nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("run audit: %w", err)
	}
	return string(out), 0, nil
}

// lines prints what a program wrote.
func (t *Teller) lines(output string) {
	for line := range strings.Lines(output) {
		fmt.Fprintf(t.out, "          | %s\n", strings.TrimRight(line, "\n"))
	}
}
