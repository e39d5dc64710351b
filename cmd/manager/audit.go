// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/audit"
	"github.com/bourse-dev/bourse/internal/chain"
)

const auditUsage = `bourse-manager audit derives every settlement, fee and burn again from the chain, and compares it with the public records.

It exits with 0 when all agree, with 1 at the first record that does not, and with 2 when something could not be read.

  bourse-manager audit --chain-rpc https://one.example,https://two.example,https://three.example
  kubectl get gpuleases,settlements,feeburns -A -o yaml > records.yaml
  bourse-manager audit --from records.yaml --chain-rpc https://one.example

Flags:
`

// The exit codes of the audit, beside 0.
const (
	exitMismatch   = 1
	exitUnreadable = 2
)

// auditOptions are the flags of the subcommand.
type auditOptions struct {
	options

	from string
	asOf time.Time
}

func parseAudit(args []string, output io.Writer) (auditOptions, error) {
	var o auditOptions
	fs := flag.NewFlagSet("bourse-manager audit", flag.ContinueOnError)
	fs.SetOutput(output)
	fs.Usage = func() {
		fmt.Fprint(output, auditUsage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` with access to the market's hub; default: the pod's service account, then $KUBECONFIG")
	fs.StringVar(&o.from, "from", "", "`file or folder` with records that kubectl wrote as YAML or JSON, instead of a hub")
	fs.Func("as-of", "`time` such as 2027-03-01T12:00:00Z up to which the records must be complete; "+
		"default: now, or with --from when the newest file was written", func(text string) error {
		var err error
		o.asOf, err = time.Parse(time.RFC3339, text)
		return err
	})
	o.addChainFlags(fs)
	if err := fs.Parse(args); err != nil {
		return auditOptions{}, err
	}
	if fs.NArg() > 0 {
		return auditOptions{}, fmt.Errorf("unexpected argument %q: flags begin with --", fs.Arg(0))
	}
	return o, o.checkChain()
}

// runAudit audits, writes what it found, and returns the exit code.
func runAudit(ctx context.Context, args []string, stdout, stderr io.Writer, now time.Time) int {
	o, err := parseAudit(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = o.audit(ctx, stdout, now)
	}
	if err == nil {
		return 0
	}
	if wrong, ok := errors.AsType[*audit.Mismatch](err); ok {
		fmt.Fprintln(stderr, "MISMATCH", wrong)
		return exitMismatch
	}
	fmt.Fprintln(stderr, "bourse-manager audit:", err)
	return exitUnreadable
}

func (o auditOptions) audit(ctx context.Context, stdout io.Writer, now time.Time) error {
	quorum, err := chain.NewQuorum(o.chainRPC, o.chainQuorum, chain.Options{Timeout: o.chainTimeout})
	if err != nil {
		return err
	}
	records, asOf, err := o.records(ctx, now)
	if err != nil {
		return err
	}
	report, err := audit.Run(ctx, quorum, records, asOf)
	if printed := report.Print(stdout); printed != nil {
		return printed
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "\n%s\n", report.Summary())
	return err
}

// records reads what is audited, and the moment up to which it must be complete.
func (o auditOptions) records(ctx context.Context, now time.Time) (audit.Records, time.Time, error) {
	asOf := now
	var records audit.Records
	var err error
	if o.from != "" {
		records, asOf, err = audit.Read(os.DirFS(filepath.Dir(filepath.Clean(o.from))), filepath.Base(filepath.Clean(o.from)))
	} else {
		records, err = o.hub(ctx)
	}
	if !o.asOf.IsZero() {
		asOf = o.asOf
	}
	return records, asOf, err
}

// hub lists the records of the market.
func (o auditOptions) hub(ctx context.Context) (audit.Records, error) {
	scheme, err := newScheme()
	if err != nil {
		return audit.Records{}, err
	}
	config, err := localConfig(o.kubeconfig)
	if err != nil {
		return audit.Records{}, err
	}
	hub, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return audit.Records{}, fmt.Errorf("reach hub: %w", err)
	}
	return audit.List(ctx, hub)
}
