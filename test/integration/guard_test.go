// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers/supplier/gpulease"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/presence"
	"github.com/bourse-dev/bourse/test/builders"
)

// market is the user as whom the market's manager acts.
const market = "the-market"

// guards are the kinds of objects that the chart guards a hub with.
func guards() []string {
	return []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "PriorityLevelConfiguration", "FlowSchema"}
}

// guard puts up what the chart guards an open hub with, and gives the market its own rights.
func (l *joinLab) guard() {
	l.Helper()
	render := exec.CommandContext(l.Context(), "go", "run", "-C", "hack/tools", "./chart", "template", "--root", "../..",
		"--set", "roles={market},crds.enabled=false,join.enabled=true,join.url=https://join.example", "charts/bourse")
	render.Dir = filepath.Join("..", "..")
	text, err := render.Output()
	if err != nil {
		l.Fatalf("render the chart: %v", err)
	}
	made := map[string]int{}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			l.Fatal(err)
		}
		if slices.Contains(guards(), object.GetKind()) {
			l.create(object)
			made[object.GetKind()]++
		}
	}
	if len(made) != len(guards()) {
		l.Fatalf("the chart has %v, want each of %v", made, guards())
	}
	l.role("market-role.yaml")
	l.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: market}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bourse-market"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: market}},
	})
}

// guarded is a hub with a member that joined it.
type guarded struct {
	*joinLab

	own       client.Client // the member's access
	token     string
	namespace string
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	l := newJoinLab(t)
	l.guard()
	access := l.must(l.send(join.Join, builders.Wallet("guarded"), builders.Wallet("agent")))
	l.count(access.Namespace)
	g := &guarded{joinLab: l, own: l.as(access), token: access.Token, namespace: access.Namespace}
	probe := g.offer("probe")
	probe.Finalizers = []string{"example.com/forged"}
	took := g.eventually("the policies hold", func() bool {
		err := g.own.Create(t.Context(), probe.DeepCopy(), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "metadata.finalizers")
	})
	t.Logf("the policies hold after %s", took.Round(time.Millisecond))
	return g
}

func (g *guarded) offer(name string) *boursev1.GPUOffer {
	offer := builders.Offer(g.namespace, name)
	offer.Generation, offer.Status = 0, boursev1.GPUOfferStatus{}
	return offer
}

// lease returns a lease of the member's GPUs, as the market makes it.
func (g *guarded) lease(name string) *boursev1.GPULease {
	g.Helper()
	_, lease := builders.Leased(g.T, name)
	lease.ObjectMeta = metav1.ObjectMeta{Namespace: g.namespace, Name: lease.Name, Labels: lease.Labels}
	lease.Status = boursev1.GPULeaseStatus{}
	g.create(lease)
	return lease
}

func (g *guarded) voucher(name string) *boursev1.Voucher {
	return &boursev1.Voucher{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: name},
		Spec: boursev1.VoucherSpec{
			Lease:  boursev1.ObjectReference{Namespace: "supplier", Name: name},
			Escrow: builders.Address("escrow"), ProgramID: builders.Address("program"),
		},
	}
}

func (g *guarded) stake() *boursev1.StakePosition {
	return &boursev1.StakePosition{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: boursev1.OwnStakeName},
		Spec:       boursev1.StakePositionSpec{Market: "main", Token: "IO", Amount: "1600"},
	}
}

func (g *guarded) event(name string) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: name}, EventTime: metav1.NowMicro(), ReportingController: "bourse",
		ReportingInstance: "manager", Action: "Accepted", Reason: "Accepted", Type: "Normal", Note: "The GPUs are held",
		Regarding: corev1.ObjectReference{Namespace: g.namespace, Name: "train", Kind: "ComputeJob"},
	}
}

// presence is a Lease by which a manager says that it is there.
func (g *guarded) presence(name, holder string) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: name}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder},
	}
}

// used is a usage record.
func used(sequence, milliseconds int64) *boursev1.LeaseUsage {
	return &boursev1.LeaseUsage{
		Sequence: sequence, GPUMilliseconds: &milliseconds, Gross: new(milliseconds / 10), Through: metav1.NewTime(builders.Start),
		Digest: builders.Hash(fmt.Sprint(sequence, milliseconds)),
	}
}

// reported is a lease of which two usage records were written, of 2000 GPU-ms.
func (g *guarded) reported(name string) *boursev1.GPULease {
	g.Helper()
	lease := g.lease(name)
	lease.Status.Usage = used(2, 2000)
	g.status(lease)
	return lease
}

// ended is one that is over and settled.
func (g *guarded) ended(name string) *boursev1.GPULease {
	g.Helper()
	lease := g.lease(name)
	lease.Status.Usage = used(2, 2000)
	lease.Status.Usage.Final = boursev1.UsageFinal
	lease.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndFault, Party: boursev1.PartySupplier, At: metav1.NewTime(builders.Start), Message: "A node failed"}
	kube.Failed(lease, boursev1.Succeeded, boursev1.ReasonEnded, "A node failed")
	g.status(lease)
	return lease
}

func (g *guarded) status(lease *boursev1.GPULease) {
	g.Helper()
	if err := g.admin.Status().Update(g.Context(), lease); err != nil {
		g.Fatal(err)
	}
}

// What a member's operators write passes, from an offer to the end of a lease. They write as the controllers do, with the controllers' own
// writers.
func TestTheGuardsLetPassWhatOperatorsWrite(t *testing.T) {
	g := newGuarded(t)
	ctx := t.Context()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	specs := &kube.SpecWriter{Client: g.own}
	offer := g.offer("pool-h100")
	must("advertise", g.own.Create(ctx, offer))
	before := offer.DeepCopy()
	offer.Spec.ValidUntil, offer.Spec.PriceUSD = metav1.NewTime(builders.Start.Add(time.Hour)), "1.50"
	must("renew", specs.Write(ctx, before, offer))
	must("withdraw", g.own.Delete(ctx, offer))

	g.leaseLives(g.lease("life"))

	voucher := g.voucher("paid")
	must("open", g.own.Create(ctx, voucher))
	for sequence := range int64(3) {
		earlier := voucher.DeepCopy()
		voucher.Spec.Sequence, voucher.Spec.Gross, voucher.Spec.UsageDigest = sequence+1, new(sequence), builders.Hash("usage")
		voucher.Spec.Signature = boursev1.SolanaSignature(strings.Repeat("1", 64))
		must("promise", specs.Write(ctx, earlier, voucher))
	}
	position := g.stake()
	must("stake", g.own.Create(ctx, position))
	must("hold a stake", kube.Hold(ctx, g.own, position, "bourse.dev/stake-journal"))
	unmoved := position.DeepCopy()
	position.Spec.Journal = &boursev1.StakeJournal{Pool: builders.Address("pool")}
	must("journal", specs.Write(ctx, unmoved, position))
	must("let go of a stake", kube.Free(ctx, g.own, position, "bourse.dev/stake-journal"))
	must("delete a stake", g.own.Delete(ctx, position))

	job := jobIn(g.namespace, "train")
	job.Labels, job.Annotations = map[string]string{"team": "vision"}, map[string]string{"note": strings.Repeat("x", 100_000)}
	must("buy", g.own.Create(ctx, job))
	must("tell", g.own.Create(ctx, g.event("told")))
	g.isThere("manager-0")
	if sign := g.isThere("manager-1"); len(sign.ManagedFields) != 0 {
		t.Errorf("a sign of presence says who wrote which field: %v", sign.ManagedFields)
	}
}

// isThere lets a manager show a sign of presence, and returns it.
func (g *guarded) isThere(holder string) *coordinationv1.Lease {
	g.Helper()
	sign := &presence.Sign{
		Client: g.own, Namespace: g.namespace, Role: "supplier", Holder: holder, Now: time.Now, Log: logr.Discard(),
	}
	ctx, stop := context.WithCancel(g.Context())
	ended := make(chan error, 1)
	go func() { ended <- sign.Start(ctx) }()
	found := g.presence("bourse-presence-supplier", "")
	g.eventually("the manager "+holder+" is there", func() bool {
		err := g.admin.Get(ctx, client.ObjectKeyFromObject(found), found)
		return err == nil && *found.Spec.HolderIdentity == holder
	})
	stop()
	if err := <-ended; err != nil {
		g.Error(err)
	}
	return found
}

// leaseLives writes to a lease what its supplier does.
func (g *guarded) leaseLives(lease *boursev1.GPULease) {
	g.Helper()
	ctx := g.Context()
	teller := &kube.Teller{Client: g.own, Recorder: events.NewFakeRecorder(100), Metrics: metrics.New(prometheus.NewRegistry())}
	if err := kube.Hold(ctx, g.own, lease, gpulease.Finalizer); err != nil {
		g.Errorf("hold: %v", err)
	}
	steps := []struct {
		what string
		step func()
	}{
		{"accept", func() { kube.True(lease, boursev1.LeaseAccepted, boursev1.ReasonCapacityHeld, "The GPUs are held") }},
		{"fund", func() { kube.True(lease, boursev1.LeaseFunded, boursev1.ReasonDeposited, "The deposit is there") }},
		{"meter first", func() { lease.Status.Usage = used(1, 0) }},
		{"meter again", func() { lease.Status.Usage = used(2, 1000) }},
		{"wait for workers", func() { lease.Status.Usage = used(3, 1000); lease.Status.NotReadySeconds = 5 }},
		{"forgive", func() { lease.Status.UnpaidSeconds = 60 }},
		{"count anew", func() { lease.Status.UnpaidSeconds = 0; lease.Status.Promised = new(int64(100)) }},
		{"end", func() {
			lease.Status.Usage = used(4, 1500)
			lease.Status.Usage.Final = boursev1.UsageFinal
			lease.Status.End = &boursev1.LeaseEnd{
				Reason: boursev1.EndTermReached, Party: boursev1.PartyBuyer, At: metav1.NewTime(builders.Start), Message: "The term is over",
			}
			kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonSettling, "The lease is being settled")
		}},
		{"settle", func() { kube.True(lease, boursev1.LeaseSettled, boursev1.ReasonClosed, "All is paid") }},
		{"succeed", func() { kube.True(lease, boursev1.Succeeded, boursev1.EndTermReached, "The term is over") }},
	}
	for _, s := range steps {
		before := lease.DeepCopy()
		s.step()
		if err := teller.Write(ctx, before, lease); err != nil {
			g.Errorf("%s: %v", s.what, err)
		}
	}
	if err := kube.Free(ctx, g.own, lease, gpulease.Finalizer); err != nil {
		g.Errorf("let go: %v", err)
	}
}

// A write that roles allow and policies do not names the field in its refusal.
func TestTheGuardsRefuseWhatOnlyTheMarketMayWrite(t *testing.T) {
	g := newGuarded(t)
	held := jobIn(g.namespace, "held")
	held.Finalizers = []string{"bourse.dev/lease"} // the market's
	g.create(held)
	g.Cleanup(func() { g.unhold(held) })
	offer := g.offer("pool-h100")
	g.create(offer)
	open, over := g.reported("open"), g.ended("over")
	long := strings.Repeat("x", 9000)
	cases := map[string]struct {
		object client.Object
		patch  string // JSON merge patch; empty: the object is created
		status bool
		field  string
	}{
		"a lease's contract":         {open, `{"spec":{"state":"Ended","endReason":"JobDeleted"}}`, false, "spec:"},
		"a lease's labels":           {open, `{"metadata":{"labels":{"bourse.dev/job-uid":"another"}}}`, false, "metadata:"},
		"a lease's annotations":      {open, `{"metadata":{"annotations":{"a":"b"}}}`, false, "metadata:"},
		"a lease's finalizers":       {open, `{"metadata":{"finalizers":["example.com/kept"]}}`, false, "metadata.finalizers"},
		"a lease's owner":            {open, g.owner(), false, "metadata.ownerReferences"},
		"usage that shrinks":         {open, `{"status":{"usage":{"sequence":3,"gpuMilliseconds":1999}}}`, true, "status.usage"},
		"an amount that shrinks":     {open, `{"status":{"usage":{"sequence":3,"gross":199}}}`, true, "status.usage"},
		"an older record":            {open, `{"status":{"usage":{"sequence":1}}}`, true, "status.usage"},
		"a record written anew":      {open, `{"status":{"usage":{"gpuMilliseconds":2001}}}`, true, "status.usage"},
		"usage that is forgotten":    {open, `{"status":{"usage":null}}`, true, "status.usage"},
		"more than the last record":  {over, `{"status":{"usage":{"sequence":3,"final":"Open"}}}`, true, "status.usage"},
		"another end":                {over, `{"status":{"end":{"reason":"Completed","party":"Buyer"}}}`, true, "status.end"},
		"no end":                     {over, `{"status":{"end":null}}`, true, "status.end"},
		"an outcome that is mended":  {over, `{"status":{"conditions":[` + condition("Succeeded", "True") + `]}}`, true, "status.conditions"},
		"an outcome that is left":    {over, `{"status":{"conditions":[` + condition("Settled", "True") + `]}}`, true, "status.conditions"},
		"the market's hold on a job": {held, `{"metadata":{"finalizers":null}}`, false, "metadata.finalizers"},
		"a hold on an offer":         {offer, `{"metadata":{"finalizers":["bourse.dev/release"]}}`, false, "metadata.finalizers"},
		"an offer's owner":           {offer, g.owner(), false, "metadata.ownerReferences"},
		"long annotations":           {offer, fmt.Sprintf(`{"metadata":{"annotations":{"a":%q}}}`, long), false, "metadata.annotations"},
		"many annotations":           {offer, `{"metadata":{"annotations":` + many() + `}}`, false, "metadata:"},
		"many labels":                {offer, `{"metadata":{"labels":` + many() + `}}`, false, "metadata:"},
		"a voucher that stays":       {withFinalizer(g.voucher("stays"), "example.com/kept"), "", false, "metadata.finalizers"},
		"a stake that stays":         {withFinalizer(g.stake(), "example.com/kept"), "", false, "metadata.finalizers"},
		"a long event":               {annotated(g.event("long"), long), "", false, "metadata.annotations"},
		"an event about much":        {about(g.event("much"), long), "", false, "regarding"},
		"a Lease of its own":         {g.presence("kube-scheduler", "me"), "", false, "metadata.name"},
		"a long sign of presence":    {g.presence("bourse-presence-buyer", long), "", false, "spec:"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object, ok := tc.object.DeepCopyObject().(client.Object)
			if !ok {
				t.Fatalf("%T is no API object", tc.object)
			}
			err := g.try(object, tc.patch, tc.status)
			if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
				t.Fatalf("got %v, want it refused by a policy", err)
			}
			if _, message, _ := strings.Cut(err.Error(), "denied request: "); !strings.HasPrefix(message, tc.field) {
				t.Errorf("refused with %v, want it to begin with %q", err, tc.field)
			}
		})
	}
}

func (g *guarded) try(object client.Object, patch string, status bool) error {
	body := client.RawPatch(types.MergePatchType, []byte(patch))
	switch {
	case patch == "":
		return g.own.Create(g.Context(), object)
	case status:
		return g.own.Status().Patch(g.Context(), object, body)
	default:
		return g.own.Patch(g.Context(), object, body)
	}
}

// unhold takes the market's finalizer off, so that the job can go.
func (g *guarded) unhold(job *boursev1.ComputeJob) {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := g.admin.Patch(cleanupContext(), job, patch); err != nil {
		g.Errorf("take the finalizer off: %v", err)
	}
}

// owner makes the member's Member the owner of an object, with which the garbage collector would take it.
func (g *guarded) owner() string {
	g.Helper()
	return fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"bourse.dev/v1alpha1","kind":"Member","name":"member","uid":%q}]}}`, g.member(g.namespace).UID)
}

func condition(of, status string) string {
	return fmt.Sprintf(`{"type":%q,"status":%q,"reason":"Ended","message":"A node failed","lastTransitionTime":"2027-03-01T12:00:00Z"}`, of, status)
}

// many is a map of 33 labels or annotations.
func many() string {
	pairs := make([]string, 33)
	for i := range pairs {
		pairs[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func withFinalizer(object client.Object, finalizer string) client.Object {
	object.SetFinalizers([]string{finalizer})
	return object
}

func about(event *eventsv1.Event, text string) client.Object {
	event.Regarding.FieldPath = text
	return event
}

func annotated(object client.Object, text string) client.Object {
	object.SetAnnotations(map[string]string{"a": text})
	return object
}

// The market and the hub's administrators are not bound, and nor is Kubernetes itself, which may neither trade nor manage.
func TestTheGuardsBindMembersOnly(t *testing.T) {
	g := newGuarded(t)
	lease := g.ended("over")
	config := rest.CopyConfig(apiServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: market}
	asMarket, err := client.New(config, client.Options{Scheme: g.admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	end := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Ended","endReason":"JobDeleted"}}`))
	if err := asMarket.Patch(t.Context(), lease, end); err != nil {
		t.Errorf("the market may not end a lease: %v", err)
	}
	mend := client.RawPatch(types.MergePatchType, []byte(`{"status":{"end":{"reason":"Completed"}},"metadata":{"labels":{"a":"b"}}}`))
	if err := g.admin.Status().Patch(t.Context(), lease, mend); err != nil {
		t.Errorf("an administrator may not mend a lease: %v", err)
	}
	config = rest.CopyConfig(apiServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:generic-garbage-collector", Groups: []string{"system:serviceaccounts"}}
	collector, err := client.New(config, client.Options{Scheme: g.admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	kept := g.offer("pool-h100")
	kept.Finalizers = []string{"orphan"}
	g.create(kept)
	off := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := collector.Patch(t.Context(), kept, off); err != nil {
		t.Errorf("the garbage collector may not work: %v", err)
	}
}

// The join server may delete namespaces and Members, and no others than those of members that joined.
func TestTheManagerDeletesWhatWasMadeForMembersOnly(t *testing.T) {
	g := newGuarded(t)
	config := rest.CopyConfig(apiServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:bourse-system:bourse", Groups: []string{"system:masters"}}
	manager, err := client.New(config, client.Options{Scheme: g.admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range map[string]map[string]string{
		"an-administrators": nil, "a-members": {boursev1.LabelWallet: string(builders.Address("leaves"))}, "a-leases": {boursev1.LabelLease: "over"},
	} {
		g.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	for namespace, want := range map[string]bool{"an-administrators": false, "a-leases": false, "a-members": true} {
		member := builders.Member(namespace)
		g.create(member)
		if err := manager.Delete(t.Context(), member); (err == nil) != want {
			t.Errorf("delete a Member of %s: %v, want allowed %v", namespace, err, want)
		}
	}
	for name, want := range map[string]bool{"kube-public": false, "an-administrators": false, "a-leases": true, "a-members": true} {
		err := manager.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, client.DryRunAll)
		if (err == nil) != want {
			t.Errorf("delete the namespace %s: %v, want allowed %v", name, err, want)
		}
	}
}

// Each name under which an object is applied takes room in it, and nothing else bounds how many there are.
func TestAMembersObjectHasFewFieldManagers(t *testing.T) {
	g := newGuarded(t)
	g.create(g.offer("pool-h100"))
	const most = 32
	for i := range most + 1 {
		applied := &unstructured.Unstructured{}
		applied.SetAPIVersion(boursev1.GroupVersion.String())
		applied.SetKind("GPUOffer")
		applied.SetNamespace(g.namespace)
		applied.SetName("pool-h100")
		applied.SetLabels(map[string]string{"a": "b"})
		err := g.own.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(fmt.Sprint("manager-", i)))
		switch {
		case err == nil && i < most:
		case err != nil && i >= most-1 && strings.Contains(err.Error(), "metadata.managedFields"):
			return // whoever made it counts, too
		default:
			t.Fatalf("manager %d: %v", i, err)
		}
	}
}

// classes is what a response says of how its request was classified.
type classes struct {
	next  http.RoundTripper
	level *string
}

func (c classes) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if err == nil {
		*c.level = response.Header.Get("X-Kubernetes-Pf-Prioritylevel-Uid")
	}
	return response, err
}

// What members ask waits in a level of its own, and so does what the market asks: neither keeps the other waiting, nor Kubernetes.
func TestMembersShareALevelOfTheirOwn(t *testing.T) {
	g := newGuarded(t)
	level := func(name string) string {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("flowcontrol.apiserver.k8s.io/v1")
		object.SetKind("PriorityLevelConfiguration")
		if err := g.admin.Get(t.Context(), client.ObjectKey{Name: name}, object); err != nil {
			t.Fatal(err)
		}
		return string(object.GetUID())
	}
	account := func(namespace, name string) *rest.Config {
		config := rest.CopyConfig(apiServer)
		config.Impersonate = rest.ImpersonationConfig{
			UserName: "system:serviceaccount:" + namespace + ":" + name,
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		}
		return config
	}
	member := rest.AnonymousClientConfig(apiServer)
	member.BearerToken = g.token
	for name, tc := range map[string]struct {
		as   *rest.Config
		want string
	}{
		"a member":                   {member, "bourse-members"},
		"the market":                 {account("bourse-system", "bourse"), "bourse-market"},
		"Kubernetes' own controller": {account("kube-system", "generic-garbage-collector"), "workload-high"},
	} {
		t.Run(name, func(t *testing.T) {
			var seen string
			tc.as.Wrap(func(next http.RoundTripper) http.RoundTripper { return classes{next, &seen} })
			c, err := client.New(tc.as, client.Options{Scheme: g.admin.Scheme()})
			if err != nil {
				t.Fatal(err)
			}
			want := level(tc.want)
			g.eventually("its requests are of the level "+tc.want, func() bool {
				err := c.List(t.Context(), &boursev1.ComputeJobList{}, client.InNamespace(g.namespace))
				return (err == nil || apierrors.IsForbidden(err)) && seen == want
			})
		})
	}
}
