// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bourse-dev/bourse/hack/lab/process"
)

const patience = time.Second

// site is a network for a test, of the clusters hub, oslo and porto.
func site(t *testing.T, dir, gate string) (Config, map[string]Place) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := Config{Dir: dir, Hub: "hub", Members: []string{"oslo", "porto"}, Ports: 2, Gate: gate}
	t.Cleanup(func() {
		if err := Down(context.Background(), dir); err != nil { // the test's own context has ended
			t.Error(err)
		}
	})
	places, err := Up(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return config, places
}

func gateProgram(t *testing.T) string {
	t.Helper()
	if err := Check(t.Context()); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	program := filepath.Join(t.TempDir(), "gate")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/gate").CombinedOutput(); err != nil {
		t.Fatalf("build gate: %v: %s", err, out)
	}
	return program
}

// within does something in a network namespace.
func within(t *testing.T, namespace string, do func() error) error {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer back.Close() //nolint:errcheck // only read
	there, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer there.Close() //nolint:errcheck // only read
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	return errors.Join(do(), unix.Setns(int(back.Fd()), unix.CLONE_NEWNET))
}

// greet listens in a namespace, and greets whoever comes with its name.
func greet(t *testing.T, place Place, address, name string) {
	t.Helper()
	var listener net.Listener
	err := within(t, place.Namespace, func() (err error) {
		listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // nobody comes any more
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			_, _ = io.WriteString(conn, name) // whoever asked sees what arrives
			_ = conn.Close()
		}
	}()
}

// call returns what greets a caller.
func call(t *testing.T, from, address string) (greeting string, err error) {
	t.Helper()
	err = within(t, from, func() error {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp4", address)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // all was read
		text, err := io.ReadAll(conn)
		greeting = string(text)
		return err
	})
	return greeting, err
}

func at(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func TestMembersCallTheHubAndNobodyCallsThem(t *testing.T) {
	config, places := site(t, filepath.Join(t.TempDir(), "lab"), gateProgram(t))
	const here = "/proc/self/ns/net"
	hub, oslo, porto := places["hub"], places["oslo"], places["porto"]
	greet(t, hub, at(loopback, hub.Ports[0]), "the hub's API")
	greet(t, hub, at(loopback, hub.Ports[1]), "the chain")
	greet(t, hub, at(HubAddress, 22), "what the hub keeps to itself")
	greet(t, oslo, at(loopback, oslo.Ports[0]), "oslo's API")
	greet(t, oslo, at("0.0.0.0", 4711), "what oslo keeps to itself")
	cases := map[string]struct {
		from, address string
		want          string // empty: nobody answers
	}{
		"the lab reaches the hub":                    {here, at(loopback, hub.Ports[0]), "the hub's API"},
		"the lab reaches the chain":                  {here, at(loopback, hub.Ports[1]), "the chain"},
		"the lab reaches a member":                   {here, at(loopback, oslo.Ports[0]), "oslo's API"},
		"a member reaches the hub":                   {oslo.Namespace, at(HubAddress, APIPort), "the hub's API"},
		"a member reaches the chain":                 {porto.Namespace, at(HubAddress, ChainPort), "the chain"},
		"a member reaches itself":                    {oslo.Namespace, at(oslo.Address, oslo.Ports[0]), "oslo's API"},
		"a member does not reach the hub's own port": {oslo.Namespace, at(HubAddress, 22), ""},
		"the hub does not reach a member":            {hub.Namespace, at(oslo.Address, oslo.Ports[0]), ""},
		"nor another port of it":                     {hub.Namespace, at(oslo.Address, 4711), ""},
		"nor does a member reach another":            {porto.Namespace, at(oslo.Address, oslo.Ports[0]), ""},
		"the lab's loopback is not the hub's":        {hub.Namespace, at(loopback, oslo.Ports[0]), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := call(t, tc.from, tc.address)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("call to %s: %q, %v; want %q", tc.address, got, err, tc.want)
			}
		})
	}
	counted(t, oslo, func(c Counts) bool {
		return c.Asked > 0 && c.Answers > 0 && c.Refused >= 2 && c.Entered == 0 && c.Astray > 0
	})
	counted(t, porto, func(c Counts) bool {
		return c.Asked > 0 && c.Answers > 0 && c.Refused == 0 && c.Entered == 0 && c.Astray > 0
	})
	if err := Down(t.Context(), config.Dir); err != nil {
		t.Fatal(err)
	}
	gone(t, config.Dir)
	if _, err := call(t, here, at(loopback, hub.Ports[0])); err == nil {
		t.Error("a gate is still open")
	}
}

func counted(t *testing.T, place Place, want func(Counts) bool) {
	t.Helper()
	got, err := place.Count(t.Context())
	if err != nil || !want(got) {
		t.Errorf("the firewall of %s counted %+v, %v", place.Namespace, got, err)
	}
}

// gone holds that nothing is left of a lab's network.
func gone(t *testing.T, dir string) {
	t.Helper()
	if there(t, dir) {
		t.Errorf("%s has namespaces left", dir)
	}
	if _, err := os.Stat(filepath.Join(notes, id(dir))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s has a note left: %v", dir, err)
	}
}

func there(t *testing.T, dir string) bool {
	t.Helper()
	namespaces, err := namespacesOf(id(dir))
	if err != nil {
		t.Fatal(err)
	}
	return len(namespaces) > 0
}

// A namespace that others have made gets a gate, and one URL leads to a server of its own from inside and outside.
func TestANamespaceOfOthersIsAPlace(t *testing.T) {
	gate, dir := gateProgram(t), t.TempDir()
	others := idPrefix + "others-" + strconv.Itoa(os.Getpid())
	made := others + "-hub"
	if err := run(t.Context(), "", "ip", "netns", "add", made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(context.Background(), others); err != nil { // the test's own context has ended
			t.Error(err)
		}
	})
	if err := run(t.Context(), "", "ip", "-n", made, "link", "set", "lo", "up"); err != nil {
		t.Fatal(err)
	}
	const here = "/proc/self/ns/net"
	place, err := Open(t.Context(), Config{Dir: dir, Hub: "hub", Ports: 2, Gate: gate}, filepath.Join(folder, made), at(loopback, 4711)+"="+at("127.0.0.2", 6443))
	if err != nil {
		t.Fatal(err)
	}
	greet(t, place, at(loopback, place.Ports[1]), "the gateway")
	greet(t, place, at("127.0.0.2", 6443), "the API")
	if got, err := call(t, here, at(loopback, place.Ports[1])); err != nil { // the gate opens its own ways before it passes anything on
		t.Fatal(got, err)
	}
	for name, tc := range map[string]struct{ from, address, want string }{
		"the lab reaches what is inside":  {here, at(loopback, place.Ports[1]), "the gateway"},
		"so does what is inside":          {place.Namespace, at(loopback, place.Ports[1]), "the gateway"},
		"a way leads on inside":           {place.Namespace, at(loopback, 4711), "the API"},
		"it is no way from outside":       {here, at(loopback, 4711), ""},
		"a port that nothing listens on":  {here, at(loopback, place.Ports[0]), ""},
		"an address that is inside alone": {here, at("127.0.0.2", 6443), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := call(t, tc.from, tc.address); got != tc.want {
				t.Errorf("call to %s: %q, %v; want %q", tc.address, got, err, tc.want)
			}
		})
	}
}

// A lab that was killed has no `down` of its own: the next one that starts removes what it left, and nothing of labs that run.
func TestLeftoversOfKilledLabsAreRemoved(t *testing.T) {
	gate, parent := gateProgram(t), t.TempDir()
	dirs := map[string]string{}
	for _, name := range []string{"runs", "killed", "folder gone"} {
		dirs[name] = filepath.Join(parent, name)
		site(t, dirs[name], gate)
	}
	table := process.Table{Dir: dirs["killed"]}
	records, err := table.List()
	if err != nil || len(records) != 3 {
		t.Fatalf("the lab has %d gates, %v", len(records), err)
	}
	if err := table.Stop(t.Context(), records, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dirs["folder gone"]); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if !there(t, dir) {
			t.Fatalf("%s has no namespaces", dir)
		}
	}
	site(t, filepath.Join(parent, "next"), gate)
	if !there(t, dirs["runs"]) {
		t.Error("a lab that runs has lost its namespaces")
	}
	gone(t, dirs["killed"])
	gone(t, dirs["folder gone"])
	// Nor is anything in the way of another one in the same folder, whatever is left there.
	site(t, dirs["runs"], gate)
}

func TestMoreMembersThanAddressesAreRefused(t *testing.T) {
	var members []string
	for i := range maxMembers + 1 {
		members = append(members, fmt.Sprintf("m%d", i))
	}
	if _, err := Up(t.Context(), Config{Dir: t.TempDir(), Hub: "hub", Members: members}); err == nil {
		t.Error("no error")
	}
}
