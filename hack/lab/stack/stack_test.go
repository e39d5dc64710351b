// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOptionsValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*Options)
		want   string
	}{
		"a hub alone":              {func(*Options) {}, ""},
		"a hub with others":        {func(o *Options) { o.Clusters = []string{"hub", "b", "c"} }, ""},
		"no hub":                   {func(o *Options) { o.Clusters = []string{"b"} }, "first cluster"},
		"no cluster":               {func(o *Options) { o.Clusters = nil }, "first cluster"},
		"a cluster twice":          {func(o *Options) { o.Clusters = []string{"hub", "b", "b"} }, "twice"},
		"a name that is a path":    {func(o *Options) { o.Clusters = []string{"hub", "../b"} }, "lower-case"},
		"an unknown mode":          {func(o *Options) { o.Mode = "both" }, "mode"},
		"a chart without a chain":  {func(o *Options) { o.Chart = true }, "--chart=false"},
		"fewer nodes than none":    {func(o *Options) { o.RealNodes = -1 }, "negative"},
		"slots that are too fast":  {func(o *Options) { o.Chain, o.SlotMS = true, 1 }, "slots"},
		"a federation":             {federate("oslo", "porto"), ""},
		"one without suppliers":    {federate(), "needs pools"},
		"one without managers":     {func(o *Options) { federate("oslo")(o); o.Chart = false }, "--chart=false"},
		"one with real nodes":      {func(o *Options) { federate("oslo")(o); o.RealNodes = 1 }, "real nodes"},
		"a supplier called buyer":  {federate("oslo", "buyer"), "twice"},
		"a supplier like a wallet": {federate("oslo", "treasury"), "called treasury"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			options := Options{Clusters: []string{Hub}, Mode: "single"}
			tc.change(&options)
			err := options.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Validate: error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// federate asks for these suppliers, with clusters of their own.
func federate(suppliers ...string) func(*Options) {
	return func(o *Options) {
		o.Federated, o.Chart, o.Chain, o.KubeRay, o.SlotMS = true, true, true, true, 100
		o.Clusters = append(append([]string{Hub}, suppliers...), Buyer)
	}
}

func newLab(t *testing.T) *Lab {
	t.Helper()
	return &Lab{Dir: filepath.Join(t.TempDir(), "lab"), Out: new(bytes.Buffer), Now: time.Now}
}

func TestStateIsReadBackAndPrivate(t *testing.T) {
	want := State{
		Clusters: map[string]Cluster{"hub": {Kubeconfig: "/k", Server: "https://127.0.0.1:1"}},
		Chain:    &Chain{RPC: "http://127.0.0.1:2", Mints: map[string]Mint{"IO": {Address: "x", Decimals: 8}}},
		Wallets:  map[string]Wallet{"buyer": {Address: "y", Keypair: "/w"}},
		Bin:      map[string]string{"kwok": "/b"},
		Ready:    true,
	}
	dir := t.TempDir()
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, StateFile))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of the state is %o, want 600", mode)
	}
	if _, err := Read(t.TempDir()); !errors.Is(err, ErrNoLab) {
		t.Errorf("Read of an empty folder: error %v, want %v", err, ErrNoLab)
	}
}

func TestALabNeedsAFolderOfItsOwn(t *testing.T) {
	lab := newLab(t)
	if err := os.MkdirAll(lab.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lab.Dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := lab.create(); err == nil {
		t.Error("create in a folder with a file: no error")
	}
	if err := lab.Down(t.Context()); !errors.Is(err, ErrNoLab) {
		t.Errorf("Down of a folder without a lab: error %v, want %v", err, ErrNoLab)
	}
	if _, err := os.Stat(filepath.Join(lab.Dir, "thesis.txt")); err != nil {
		t.Errorf("Down touched a foreign folder: %v", err)
	}
}

func TestDownRemovesAHalfMadeLab(t *testing.T) {
	lab := newLab(t)
	if err := lab.create(); err != nil {
		t.Fatal(err)
	}
	if err := lab.create(); err == nil {
		t.Error("create over a lab: no error")
	}
	if running, err := lab.Status(t.Context(), new(bytes.Buffer)); err != nil || running {
		t.Errorf("Status of a half-made lab = %t, %v; want false", running, err)
	}
	if err := lab.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lab.Dir); !os.IsNotExist(err) {
		t.Errorf("folder after Down: %v, want it gone", err)
	}
}

func TestGrant(t *testing.T) {
	c := Chain{Mints: map[string]Mint{"IO": {Address: "11111111111111111111111111111111", Decimals: 8}}}
	cases := map[string]struct {
		text    string
		want    uint64
		wantErr bool
	}{
		"whole tokens":             {"IO=1000", 100_000_000_000, false},
		"a fraction":               {"IO=0.5", 50_000_000, false},
		"more digits than it has":  {"IO=0.000000001", 0, true},
		"a token it does not know": {"FOO=1", 0, true},
		"no amount":                {"IO", 0, true},
		"a negative amount":        {"IO=-1", 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, amount, err := c.grant(tc.text)
			if uint64(amount) != tc.want || (err != nil) != tc.wantErr {
				t.Errorf("grant(%q) = %d, %v; want %d, error %t", tc.text, amount, err, tc.want, tc.wantErr)
			}
		})
	}
}
