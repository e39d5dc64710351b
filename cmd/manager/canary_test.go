// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers"
	buyervoucher "github.com/bourse-dev/bourse/controllers/buyer/voucher"
	"github.com/bourse-dev/bourse/controllers/market/feeburn"
	"github.com/bourse-dev/bourse/controllers/market/slash"
	memberstake "github.com/bourse-dev/bourse/controllers/member/stakeposition"
	"github.com/bourse-dev/bourse/controllers/supplier/gpulease"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/meter"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/process"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/signer/signertest"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

// canaryToken is a bearer token that must show up nowhere, like the keys.
const canaryToken = "canary-token-3b7e9a"

// seedOf is the seed of a test wallet: the canaries of this test.
func seedOf(name string) [32]byte { return sha256.Sum256([]byte("wallet of " + name)) }

// canary runs the manager's own wiring of wallets and logs, and the controllers that sign, on a hub and a chain in memory. It keeps
// everything that comes out.
type canary struct {
	t        *testing.T
	hub      *fakehub.Hub
	chain    *chaintest.Fake
	registry *prometheus.Registry
	out      bytes.Buffer // logs and errors
	ctx      context.Context
	o        options
	buyer    *buyervoucher.Reconciler
	supplier *gpulease.Reconciler
	lease    *boursev1.GPULease
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	job, lease := builders.Leased(t, "train")
	c := &canary{t: t, chain: chaintest.New(1, 3), registry: prometheus.NewRegistry(), lease: lease}
	fakeprogram.Install(c.chain, builders.Wallet("program").PublicKey())
	if err := fakeprogram.Configure(c.chain, builders.Config()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{builders.Buyer, builders.Supplier} {
		c.chain.Fund(builders.Wallet(name).PublicKey(), 1_000_000_000)
	}
	genesis, err := c.chain.GenesisHash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	market := builders.Market()
	market.Spec.GenesisHash = boursev1.SolanaAddress(genesis.String())
	c.hub = fakehub.New(t, nil, job, builders.Program(job, lease), lease, market)
	c.flags()
	c.log("json", "debug")
	c.start()
	return c
}

// flags are the manager's: the buyer's key is in a file, and the supplier's behind a remote signer.
func (c *canary) flags() {
	c.t.Helper()
	dir := c.t.TempDir()
	far := httptest.NewServer(signertest.Handler(builders.Wallet(builders.Supplier), canaryToken))
	c.t.Cleanup(far.Close)
	for name, content := range map[string]string{"buyer.json": keygen(builders.Buyer), "token": canaryToken} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	var err error
	c.o, err = parse([]string{
		"--roles=supplier,buyer", rpc, "--member-namespace=" + builders.Supplier,
		"--buyer-keypair=" + filepath.Join(dir, "buyer.json"), "--buyer-daily-cap=SOL=1," + string(builders.Market().Spec.Tokens[0].Mint) + ":8=20",
		"--supplier-signer-url=" + far.URL, "--supplier-wallet=" + string(builders.Address(builders.Supplier)),
		"--supplier-signer-token=" + filepath.Join(dir, "token"),
		"--lease-program=" + string(builders.Address("program")), "--state-namespace=bourse-system",
	}, &c.out)
	if err != nil {
		c.t.Fatal(err)
	}
}

// keygen writes a test wallet's key as solana-keygen does.
func keygen(name string) string {
	seed := seedOf(name)
	numbers := make([]string, 0, ed25519.PrivateKeySize)
	for _, b := range ed25519.NewKeyFromSeed(seed[:]) {
		numbers = append(numbers, strconv.FormatUint(uint64(b), 10))
	}
	return "[" + strings.Join(numbers, ",") + "]"
}

func (c *canary) log(format, level string) {
	c.t.Helper()
	logger, err := process.NewLogger(&c.out, level, format)
	if err != nil {
		c.t.Fatal(err)
	}
	c.ctx = ctrl.LoggerInto(c.t.Context(), logger)
}

// start makes the controllers as the manager does after a restart.
func (c *canary) start() {
	c.t.Helper()
	buyer, err := c.o.buyerWallet.policed(c.o, c.hub, c.hub.Now)
	if err != nil {
		c.t.Fatal(err)
	}
	supplier, err := c.o.supplierWallet.policed(c.o, c.hub, c.hub.Now)
	if err != nil {
		c.t.Fatal(err)
	}
	teller := &kube.Teller{Client: c.hub, Recorder: c.hub.Recorder, Metrics: metrics.New(c.registry)}
	c.buyer = &buyervoucher.Reconciler{Hub: c.hub, Chain: c.chain, Signer: buyer, Now: c.hub.Now}
	c.supplier = &gpulease.Reconciler{
		Teller: teller, Hub: c.hub, Local: c.hub, LocalLive: c.hub, Ledger: gpulease.OnChain{Chain: c.chain, Signer: supplier},
		Wallet: boursev1.SolanaAddress(supplier.PublicKey().String()), Namespace: builders.Supplier, HoldImage: "pause:1", Now: c.hub.Now,
	}
}

// buy is a pass of the buyer, and sell one of the supplier.
func (c *canary) buy() error { _, err := c.buyer.Reconcile(c.ctx, c.lease); return err }

func (c *canary) sell() error { _, err := c.supplier.Reconcile(c.ctx, c.lease); return err }

// passes runs the controllers in turn, and logs their errors as controller-runtime does.
func (c *canary) passes(n int, of ...func() error) {
	c.t.Helper()
	for range n {
		for _, pass := range of {
			c.read()
			if err := pass(); err != nil {
				ctrl.LoggerFrom(c.ctx).Error(err, "Reconciler error", "object", c.lease.Name)
				_, _ = fmt.Fprintf(&c.out, "%v %+v %#v\n", err, err, err)
			}
		}
		c.chain.Tick(1)
	}
}

func (c *canary) read() {
	c.t.Helper()
	c.lease = &boursev1.GPULease{ObjectMeta: c.lease.ObjectMeta}
	c.hub.Read(c.lease)
}

func (c *canary) voucher() *boursev1.Voucher {
	c.t.Helper()
	voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Buyer, Name: c.lease.Name}}
	c.hub.Read(voucher)
	return voucher
}

// refused fails unless the voucher gives that reason.
func (c *canary) refused(reason string) {
	c.t.Helper()
	if got := c.voucher().Spec.RefusalReason; got != reason {
		c.t.Errorf("the voucher's refusal is %q, want %q: %s", got, reason, c.voucher().Spec.Refusal)
	}
	c.dump()
}

// pause makes or removes the ConfigMap that pauses the wallets.
func (c *canary) pause(on bool) {
	c.t.Helper()
	do := func(ctx context.Context, config client.Object) error { return c.hub.Delete(ctx, config) }
	if on {
		do = func(ctx context.Context, config client.Object) error { return c.hub.Create(ctx, config) }
	}
	if err := do(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "bourse-system", Name: "bourse-pause"}}); err != nil {
		c.t.Fatal(err)
	}
}

// use reports usage for the lease, as its supplier does.
func (c *canary) use() {
	c.t.Helper()
	voucher := c.voucher()
	voucher.CreationTimestamp = metav1.NewTime(builders.Start)
	c.hub.Edit(voucher)
	c.hub.Step(time.Minute)
	c.read()
	terms, err := contract.Meter(c.lease)
	if err != nil {
		c.t.Fatal(err)
	}
	var record *meter.Record
	for range 2 { // the workers become ready, and a period ends
		if record, err = terms.Next(record, meter.Sighting{Ready: true, Since: builders.Start}, c.hub.Now()); err != nil || record == nil {
			c.t.Fatalf("no usage: %v", err)
		}
	}
	if c.lease.Status.Usage, err = contract.Report(record); err != nil {
		c.t.Fatal(err)
	}
	kube.True(c.lease, boursev1.LeaseFunded, boursev1.ReasonDeposited, "The escrow holds the deposit")
	c.hub.EditStatus(c.lease)
}

// dump adds the metrics and every object to what came out.
func (c *canary) dump() {
	c.t.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, family := range families {
		_, _ = fmt.Fprintln(&c.out, family)
	}
	for _, list := range []client.ObjectList{
		&boursev1.GPULeaseList{}, &boursev1.VoucherList{}, &boursev1.ComputeJobList{}, &boursev1.MarketList{}, &corev1.ConfigMapList{},
	} {
		if err := c.hub.List(c.ctx, list); err != nil {
			c.t.Fatal(err)
		}
		text, err := yaml.Marshal(list)
		if err != nil {
			c.t.Fatal(err)
		}
		_, _ = fmt.Fprintf(&c.out, "%s\n%+v\n", text, list)
	}
}

// everything is all that came out: logs, errors, events, metrics, and every object.
func (c *canary) everything() string {
	c.t.Helper()
	c.dump()
	for range c.hub.Events() {
		_, _ = fmt.Fprintln(&c.out, <-c.hub.Recorder.Events)
	}
	return c.out.String()
}

// clean fails if a key or the token shows.
func clean(t *testing.T, what, output string) {
	t.Helper()
	for _, name := range []string{builders.Buyer, builders.Supplier} {
		if forms := signertest.Leaks(output, seedOf(name)); len(forms) > 0 {
			t.Errorf("%s shows the key of %s as %v", what, name, forms)
		}
	}
	if strings.Contains(output, canaryToken) {
		t.Errorf("%s shows the bearer token", what)
	}
}

// A lease's whole life with keys that are known, through the manager's own wallets and logs, with every fault that has words for people.
func TestNoKeyComesOutOfALeasesLife(t *testing.T) {
	c := newCanary(t)
	c.pause(true)
	c.passes(2, c.buy)
	c.refused(boursev1.ReasonPaused)
	c.pause(false)
	c.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	c.passes(2, c.buy)
	c.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{} })
	c.hub.Fail(func(string, client.Object) error { return io.ErrUnexpectedEOF })
	c.passes(2, c.buy)
	c.hub.Fail(nil)
	c.passes(8, c.buy)
	if deposit := c.voucher().Spec.Deposit; deposit == nil || deposit.State != boursev1.TransactionLanded {
		t.Fatalf("the deposit did not land: %+v", deposit)
	}
	c.log("console", "debug")
	c.dump()
	c.registry = prometheus.NewRegistry() // a new process has a new one
	c.start()
	c.use()
	c.pause(true)
	c.passes(1, c.buy)
	c.refused(boursev1.ReasonPaused)
	c.pause(false)
	c.passes(30, c.buy, c.sell)
	if paid := c.lease.Status.Paid; paid == nil || *paid == 0 {
		t.Errorf("the supplier was not paid: %+v", c.lease.Status)
	}
	output := c.everything()
	for _, must := range []string{"Changed condition", "Paused", "bourse_condition_transitions_total", "bourse-spending-buyer", "injected fault", "unexpected EOF"} {
		if !strings.Contains(output, must) {
			t.Errorf("the output holds no %q, so it is not the whole", must)
		}
	}
	clean(t, "the output", output)
}

// A wallet that cannot be opened says why, and nothing of what is in its files.
func TestNoKeyComesOutOfABadStart(t *testing.T) {
	c := newCanary(t)
	dir := t.TempDir()
	write := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := keygen(builders.Buyer)
	for name, path := range map[string]string{
		"cut off":        write("cut", key[:len(key)-9], 0o600),
		"with more text": write("more", key+" # mine", 0o600),
		"for everybody":  write("open", key, 0o644),
	} {
		c.o.buyerWallet.keypair = path
		_, err := c.o.buyerWallet.policed(c.o, c.hub, c.hub.Now)
		if err == nil {
			t.Errorf("%s: the key file was accepted", name)
		}
		clean(t, name, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
	c.o.supplierWallet.token = write("two", canaryToken+" "+canaryToken, 0o600)
	_, err := c.o.supplierWallet.policed(c.o, c.hub, c.hub.Now)
	if err == nil {
		t.Error("two tokens in one file were accepted")
	}
	clean(t, "a bad token", fmt.Sprintf("%v %+v %#v", err, err, err))
}

// holders returns one of each exported type that can hold a signer, with a canary in it.
func (c *canary) holders() map[string]any {
	pair := builders.Wallet(builders.Buyer)
	ledger := gpulease.OnChain{Chain: c.chain, Signer: pair}
	return map[string]any{
		"controllers.Options":           controllers.Options{SupplierSigner: c.buyer.Signer, BuyerSigner: pair, TreasurySigner: pair},
		"voucher.Reconciler":            buyervoucher.Reconciler{Signer: pair},
		"gpulease.OnChain":              ledger,
		"gpulease.Reconciler":           gpulease.Reconciler{Ledger: ledger},
		"joinhttp.KeeperOptions":        joinhttp.KeeperOptions{Agent: pair},
		"signer.Keypair":                *pair,
		"feeburn.Reconciler":            feeburn.Reconciler{Treasury: pair},
		"slash.Reconciler":              slash.Reconciler{Authority: pair},
		"stakeposition.Reconciler":      memberstake.Reconciler{Wallets: []signer.Signer{pair}},
		"signer.Policy":                 signer.NewPolicy(pair, signer.PolicyOptions{}),
		"signer.Remote":                 c.remote(),
		"signertest.Refusing":           signertest.Refusing{Signer: pair},
		"*signer.Keypair":               pair,
		"the supplier's, with a policy": c.supplier.Ledger,
		"the flags":                     c.o,
	}
}

func (c *canary) remote() signer.Signer {
	c.t.Helper()
	far, err := c.o.supplierWallet.open(time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	return far
}

func TestNoKeyComesOutOfWhatHoldsASigner(t *testing.T) {
	c := newCanary(t)
	for name, holder := range c.holders() {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			clean(t, name+" by "+verb, fmt.Sprintf(verb, holder))
			clean(t, "a pointer to "+name+" by "+verb, fmt.Sprintf(verb, &holder))
			clean(t, "a list of "+name+" by "+verb, fmt.Sprintf(verb, []any{holder}))
		}
		text, err := json.Marshal(holder)
		clean(t, name+" as JSON", fmt.Sprint(string(text), err))
		c.out.Reset()
		ctrl.LoggerFrom(c.ctx).Info("Canary", "holder", holder)
		clean(t, name+" in a log", c.out.String())
	}
}

// Whoever adds an exported type with a signer in it adds it to holders too.
func TestEveryTypeThatHoldsASignerIsTried(t *testing.T) {
	var found []string
	for _, folder := range []string{"../../internal", "../../controllers", "../../cmd", "../../api"} {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			names, err := signerHolders(path)
			found = append(found, names...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// These hold a key in a function value, or one of the others.
	found = append(found, "signer.Keypair", "signer.Remote", "gpulease.Reconciler")
	slices.Sort(found)
	tried := newCanary(t).holders()
	for _, extra := range []string{"*signer.Keypair", "the supplier's, with a policy", "the flags"} {
		delete(tried, extra)
	}
	names := make([]string, 0, len(tried))
	for name := range tried {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(found, names); diff != "" {
		t.Errorf("types that hold a signer (-in the code +tried):\n%s", diff)
	}
}

// signerHolders lists the exported structs of a file that have a field of a signer's type, or a list or map of them.
func signerHolders(path string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []string
	ast.Inspect(file, func(node ast.Node) bool {
		named, ok := node.(*ast.TypeSpec)
		if !ok || !named.Name.IsExported() {
			return true
		}
		if structure, ok := named.Type.(*ast.StructType); ok && slices.ContainsFunc(structure.Fields.List, func(field *ast.Field) bool {
			return isSigner(field.Type, file.Name.Name)
		}) {
			found = append(found, file.Name.Name+"."+named.Name.Name)
		}
		return true
	})
	return found, nil
}

func isSigner(of ast.Expr, in string) bool {
	switch of := of.(type) {
	case *ast.StarExpr:
		return isSigner(of.X, in)
	case *ast.ArrayType:
		return isSigner(of.Elt, in)
	case *ast.MapType:
		return isSigner(of.Value, in)
	case *ast.Ident:
		return in == "signer" && slices.Contains([]string{"Signer", "Keypair", "Policy", "Remote"}, of.Name)
	case *ast.SelectorExpr:
		from, ok := of.X.(*ast.Ident)
		return ok && from.Name == "signer" && slices.Contains([]string{"Signer", "Keypair", "Policy", "Remote"}, of.Sel.Name)
	default:
		return false
	}
}
