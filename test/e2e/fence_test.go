// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/bourse-dev/bourse/test/e2e/story"
)

const (
	hubCluster  = "hub"
	lookEvery   = 500 * time.Millisecond
	dialPatient = 700 * time.Millisecond // for a call that nobody answers; one that is answered takes a millisecond
)

// fence holds that nobody calls a member. Where clusters have network namespaces, the members' firewalls have counted every attempt. On
// loopback addresses the kernel is asked again and again who is connected to whom, so that a call of less than half a second may be missed.
type fence struct {
	f       *federation
	stop    context.CancelFunc
	watch   sync.WaitGroup
	lock    sync.Mutex
	inside  int // how often something of a member was seen to be connected to the member itself
	outside int // how often the test itself was, which shows that others would be seen, too
}

func newFence(f *federation) *fence {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	w := &fence{f: f, stop: stop}
	f.t.Cleanup(func() { // should the test not come to its end
		stop()
		w.watch.Wait()
	})
	if f.lab.Isolation == "loopback" {
		w.watch.Go(func() { w.look(ctx) })
	}
	return w
}

// end holds that nobody called a member since the lab was started. Then somebody does.
func (w *fence) end() {
	w.f.t.Helper()
	w.stop()
	w.watch.Wait()
	if w.f.lab.Isolation == "loopback" {
		w.f.teller.Say("something was connected to a member %d times when it was looked for, and always something of the member itself; "+
			"%d times this test was", w.inside, w.outside)
		if w.inside == 0 || w.outside == 0 {
			w.f.t.Error("the kernel's tables show no connections: whoever called a member would not have been seen")
		}
		return
	}
	for _, member := range w.members() { // all of them before the first is called by others
		seen := w.counted(member)
		w.f.teller.Say("the firewall of %-5s let out %d packets to the hub and their answers in; it refused %d, and %d entered", member,
			seen["asked"], seen["refused"], seen["entered"])
		if seen["asked"] == 0 || seen["answers"] == 0 {
			w.f.t.Errorf("the firewall of %s counts nothing: %v", member, seen)
		}
		if seen["refused"]+seen["entered"]+seen["astray"] > 0 {
			w.f.t.Errorf("%s was called, or called others than the hub: %v", member, seen)
		}
	}
	for _, member := range w.members() {
		w.tried(member)
	}
}

// members are the clusters other than the hub.
func (w *fence) members() []string {
	var names []string
	for name := range w.f.lab.Places {
		if name != hubCluster {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// counted are the packets that a member's firewall has seen.
func (w *fence) counted(member string) map[string]uint64 {
	w.f.t.Helper()
	out, err := exec.CommandContext(w.f.t.Context(), "nsenter", "--net="+w.f.lab.Places[member].Namespace,
		"nft", "-j", "list", "counters", "table", "inet", "bourse").Output()
	w.f.must(err)
	var read struct {
		Objects []struct {
			Counter *struct {
				Name    string
				Packets uint64
			}
		} `json:"nftables"`
	}
	w.f.must(json.Unmarshal(out, &read))
	seen := map[string]uint64{}
	for _, object := range read.Objects {
		if object.Counter != nil {
			seen[object.Counter.Name] = object.Counter.Packets
		}
	}
	for _, name := range []string{"asked", "answers", "refused", "entered", "astray"} {
		if _, there := seen[name]; !there {
			w.f.t.Errorf("the firewall of %s does not count %q", member, name)
		}
	}
	return seen
}

// tried calls every port of a member, from the hub's side and from the other members: none answers, though the member itself is answered.
func (w *fence) tried(member string) {
	w.f.t.Helper()
	place := w.f.lab.Places[member]
	_, api, err := net.SplitHostPort(strings.TrimPrefix(w.f.lab.Clusters[member].Server, "https://"))
	w.f.must(err)
	if err := dialFrom(w.f.t.Context(), place.Namespace, net.JoinHostPort(place.Address, api)); err != nil {
		w.f.t.Errorf("%s does not reach its own API server at its own address: %v", member, err)
	}
	ports := w.listening(member)
	if !slices.Contains(ports, api) || len(ports) < 6 {
		w.f.t.Errorf("%s listens on ports %v only", member, ports)
	}
	calls := 0
	var all sync.WaitGroup
	for name, from := range w.f.lab.Places {
		if name == member {
			continue
		}
		for _, port := range ports {
			calls++
			all.Go(func() {
				if err := dialFrom(w.f.t.Context(), from.Namespace, net.JoinHostPort(place.Address, port)); err == nil {
					w.f.t.Errorf("cluster %s reaches port %s of %s", name, port, member)
				}
			})
		}
	}
	all.Wait()
	seen := w.counted(member)
	w.f.teller.Say("%d calls to the %d ports that %s listens on, from all other clusters: none was answered; the firewall refused %d packets",
		calls, len(ports), member, seen["refused"])
	if seen["refused"] < uint64(len(ports)) || seen["entered"] > 0 {
		w.f.t.Errorf("the hub's calls to %d ports of %s were not refused: %v", len(ports), member, seen)
	}
}

// listening are the TCP ports that something in a member's namespace listens on, at whatever address.
func (w *fence) listening(member string) []string {
	w.f.t.Helper()
	var ports []string
	for _, socket := range w.sockets(strconv.Itoa(w.pid("cluster-" + member))) {
		if socket.state == listens {
			_, port, err := net.SplitHostPort(socket.local)
			w.f.must(err)
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// dialFrom calls an address from within a network namespace.
func dialFrom(ctx context.Context, namespace, address string) (err error) {
	// Only this thread goes there, and whoever ends what runs in the namespace must not find it there afterwards.
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
		return fmt.Errorf("enter the namespace: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Setns(int(back.Fd()), unix.CLONE_NEWNET)) }()
	conn, err := (&net.Dialer{Timeout: dialPatient}).DialContext(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// look watches who is connected to the members' loopback addresses.
func (w *fence) look(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.once()
		}
	}
}

// once looks at all connections to members.
func (w *fence) once() {
	w.lock.Lock()
	defer w.lock.Unlock()
	owners := w.owners()
	for _, socket := range w.sockets("self") {
		host, _, err := net.SplitHostPort(socket.remote)
		if err != nil || socket.state != established {
			continue
		}
		for _, member := range w.members() {
			if w.f.lab.Places[member].Host != host {
				continue
			}
			switch owner := owners[socket.inode]; owner {
			case member:
				w.inside++
			case "test":
				w.outside++
			case "": // somebody who looks in from outside of the lab, or one that ended meanwhile
			default:
				w.f.t.Errorf("something of cluster %s is connected to %s of %s", owner, socket.remote, member)
			}
		}
	}
}

// owners tells by a socket's inode which cluster the process belongs to that has it.
func (w *fence) owners() map[string]string {
	owners := map[string]string{}
	add := func(pid int, cluster string) {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is well-formed
		for _, link := range links {
			to, err := os.Readlink(link)
			if inode, is := strings.CutPrefix(to, "socket:["); err == nil && is {
				owners[strings.TrimSuffix(inode, "]")] = cluster
			}
		}
	}
	add(os.Getpid(), "test")
	records, _ := filepath.Glob(filepath.Join(w.f.lab.Dir, "proc", "*.json"))
	for _, record := range records {
		name := strings.TrimSuffix(filepath.Base(record), ".json")
		_, cluster, _ := strings.Cut(name, "-")
		if _, of := w.f.lab.Places[cluster]; !of {
			cluster = hubCluster // the manager and the chain have no cluster in their names
		}
		if pid, err := w.recorded(name); err == nil { // or it is being restarted
			add(pid, cluster)
		}
	}
	return owners
}

// pid is that of one of the lab's processes.
func (w *fence) pid(name string) int {
	w.f.t.Helper()
	pid, err := w.recorded(name)
	w.f.must(err)
	return pid
}

func (w *fence) recorded(name string) (int, error) {
	data, err := os.ReadFile(filepath.Join(w.f.lab.Dir, "proc", name+".json"))
	if err != nil {
		return 0, err
	}
	var record struct{ PID int }
	return record.PID, json.Unmarshal(data, &record)
}

// The states of sockets that matter, as the kernel writes them.
const (
	established = "01"
	listens     = "0A"
)

// socket is one line of the kernel's table of TCP sockets.
type socket struct{ local, remote, state, inode string }

// sockets are the TCP sockets of a process's network namespace.
func (w *fence) sockets(pid string) []socket {
	var all []socket
	for _, family := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join("/proc", pid, "net", family))
		if errors.Is(err, os.ErrNotExist) {
			continue // the kernel has no IPv6
		}
		if err == nil {
			var read []socket
			read, err = readSockets(string(text))
			all = append(all, read...)
		}
		if err != nil {
			w.f.t.Errorf("read sockets: %v", err)
		}
	}
	return all
}

func readSockets(table string) ([]socket, error) {
	var all []socket
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[0] == "sl" {
			continue
		}
		local, err := readAddress(fields[1])
		if err != nil {
			return nil, err
		}
		remote, err := readAddress(fields[2])
		if err != nil {
			return nil, err
		}
		all = append(all, socket{local: local, remote: remote, state: fields[3], inode: fields[9]})
	}
	return all, nil
}

// readAddress reads an address as the kernel writes it: words of four bytes each, the last of them first, and the port.
func readAddress(text string) (string, error) {
	host, port, _ := strings.Cut(text, ":")
	ip, err := hex.DecodeString(host)
	if err != nil {
		return "", fmt.Errorf("read address %q: %w", text, err)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(ip)%4 != 0 {
		return "", fmt.Errorf("read address %q: it is none", text)
	}
	for word := range slices.Chunk(ip, 4) {
		slices.Reverse(word)
	}
	return net.JoinHostPort(net.IP(ip).String(), strconv.FormatUint(number, 10)), nil
}

func TestTheKernelsTableOfSocketsIsRead(t *testing.T) {
	got, err := readSockets(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0201007F:8D51 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:D2F0 0201007F:8D51 01 00000000:00000000 02:00000428 00000000     0        0 4712 2 0000000000000000 20 4 30 10 -1
   2: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000001000000:0050 01 00000000:00000000 02:0 0     0        0 4713 2
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []socket{
		{"127.0.1.2:36177", "0.0.0.0:0", listens, "4711"},
		{"127.0.0.1:54000", "127.0.1.2:36177", established, "4712"},
		{"127.0.0.1:8080", "[::1]:80", established, "4713"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(socket{})); diff != "" {
		t.Errorf("sockets (-want +got):\n%s", diff)
	}
	if _, err := readSockets("0: zz:0 00000000:0000 0A 0 0 0 0 0 0 1\n0: 0100007F:0000 00000000:0000 0A 0 0 0 0 0 0 1"); err == nil {
		t.Error("no address: no error")
	}
}

// fakeOutput is in what all fake pods print.
const fakeOutput = "This pod is fake"

// logged holds that the pods of a job have logs, which come from their own cluster.
func (f *federation) logged(job *story.Job) {
	f.t.Helper()
	pods, err := story.Pods(f.t.Context(), f.lab, job)
	f.must(err)
	cluster := f.lab.ClusterOf(job.Lease.Namespace)
	for i := range pods {
		if pods[i].Status.Phase != corev1.PodRunning {
			continue
		}
		text, err := f.lab.KubectlIn(f.t.Context(), cluster, "logs", "-n", pods[i].Namespace, pods[i].Name)
		f.must(err)
		if !strings.Contains(text, fakeOutput) {
			f.t.Errorf("pod %s prints %q", pods[i].Name, text)
		}
	}
}
