// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// at is a condition that came so long after the start.
func at(after time.Duration, kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(builders.Start.Add(after)),
	}
}

// running is a hub with a job that has run and paid for ten minutes, one that waits, and one that stands for another cluster's.
func running(t *testing.T) *fakehub.Hub {
	t.Helper()
	job, lease := builders.Leased(t, "train")
	start := metav1.NewTime(builders.Start)
	job.CreationTimestamp, lease.CreationTimestamp = start, metav1.NewTime(builders.Start.Add(time.Second))
	job.Status.GPUs = 8
	job.Status.Conditions = []metav1.Condition{
		at(0, boursev1.JobAdmitted, metav1.ConditionTrue, boursev1.ReasonJobAdmitted, "Admitted"),
		at(time.Second, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound, "Offer h100 of oslo-dc is the only offer that fits"),
		at(20*time.Second, boursev1.JobFunded, metav1.ConditionTrue, boursev1.ReasonDeposited, "The escrow holds the deposit"),
		at(time.Minute, boursev1.JobRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady, "Every worker is ready"),
		at(0, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning, "The job runs"),
	}
	job.Status.Usage = &boursev1.JobUsage{GPUMilliseconds: new(int64(4_800_000)), Token: "IO", Paid: new(int64(247_283_333)), Cost: "2.47283333 IO"}
	lease.Status.Conditions = []metav1.Condition{
		at(3*time.Second, boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld, "8 GPUs are held on 2 nodes"),
		at(20*time.Second, boursev1.LeaseFunded, metav1.ConditionTrue, boursev1.ReasonDeposited, "The escrow on chain is the lease's"),
		at(time.Minute, boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady, "Every worker is ready"),
	}
	signature := boursev1.SolanaSignature(strings.Repeat("5VERv8NMvzbJMEkV8xnrLk", 4))
	voucher := &boursev1.Voucher{
		ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: lease.Name},
		Spec: boursev1.VoucherSpec{
			Lease: *job.Status.Lease, Escrow: lease.Spec.Escrow.Address, ProgramID: lease.Spec.Escrow.ProgramID,
			DepositedAt: new(metav1.NewTime(builders.Start.Add(5 * time.Second))),
			Deposit:     &boursev1.Transaction{Purpose: boursev1.TransactionOpen, State: boursev1.TransactionLanded, Signature: signature},
		},
	}
	claim := &boursev1.Settlement{
		ObjectMeta: metav1.ObjectMeta{Namespace: boursev1.PublicNamespace, Name: "claim"},
		Spec: boursev1.SettlementSpec{
			Lease: *job.Status.Lease, Job: boursev1.ObjectReference{Namespace: job.Namespace, Name: job.Name}, Kind: boursev1.SettlementClaim,
			Period: 1, Token: "IO", Amount: "2.47283333 IO", Transaction: signature, Time: metav1.NewTime(builders.Start.Add(11 * time.Minute)),
		},
	}
	waiting := builders.Job("wait")
	waiting.CreationTimestamp = start
	waiting.Status.Conditions = []metav1.Condition{
		at(0, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits, "No offer fits"),
		at(0, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonMatching, "1 of 2 offers fails only on price"),
	}
	twin := builders.Job("research-tune-4f5e6d7c8b")
	twin.CreationTimestamp = metav1.NewTime(builders.Start.Add(11 * time.Minute))
	twin.Annotations = map[string]string{boursev1.AnnotationOriginNamespace: "research", boursev1.AnnotationOriginName: "tune"}
	member := builders.Member(builders.Supplier)
	member.Spec.DisplayName = "Oslo Data Centre"
	indexes := []fakehub.Index{
		{Of: &boursev1.GPULease{}, Name: "spec.job.namespace", Values: func(o client.Object) []string { return []string{o.(*boursev1.GPULease).Spec.Job.Namespace} }},
		{Of: &boursev1.Settlement{}, Name: "spec.job.name", Values: func(o client.Object) []string { return []string{o.(*boursev1.Settlement).Spec.Job.Name} }},
	}
	return fakehub.New(t, indexes, job, lease, voucher, claim, waiting, twin, member, builders.Offer(builders.Supplier, "h100"))
}

// told is what the command answers twelve minutes after the start.
func told(t *testing.T, hub client.Client, name string, form output) (string, []string, error) {
	t.Helper()
	var out bytes.Buffer
	j := &jobs{now: func() time.Time { return builders.Start.Add(12 * time.Minute) }, output: form}
	hidden, err := j.answer(t.Context(), &out, hub, builders.Buyer, name)
	for line := range strings.Lines(out.String()) {
		if long := utf8.RuneCountInString(strings.TrimRight(line, "\n")); form == "" && long > width {
			t.Errorf("a line has %d characters: %s", long, line)
		}
	}
	return out.String(), hidden, err
}

func TestJobsSayWhereEachWent(t *testing.T) {
	got, hidden, err := told(t, running(t), "", "")
	want := `JOB            GPUS    STATE               SINCE  SUPPLIER          REGION    USD/H  GPU-H  PAID
research/tune  8 h100  not looked at yet   60s    –                 –         –      –      –
train          8 h100  runs                11m    Oslo Data Centre  eu-north  1.85   1.33   2.47283333 IO
wait           8 h100  waits for an offer  12m    –                 –         –      –      –
`
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(hidden) > 0 {
		t.Errorf("%v, hidden %v (-want +got):\n%s", err, hidden, diff)
	}
}

func TestAJobTellsItsWholeLife(t *testing.T) {
	hub := running(t)
	got, _, err := told(t, hub, "train", "")
	_, lease := builders.Leased(t, "train")
	signature := strings.Repeat("5VERv8NMvzbJMEkV8xnrLk", 4)
	want := `Job         train in team-a
State       runs, for 11m
            The job runs
Supplier    Oslo Data Centre, in oslo-dc
Offer       h100, eu-north, 8 h100
Price       1.85 USD per GPU-hour, paid in IO
Lease       train-0a1b2c3d
Escrow      ` + string(lease.Spec.Escrow.Address) + `
Used        1.33 GPU-hours, 2.47283333 IO paid of a deposit of 14.837 IO
Open until  2027-03-01T14:10:00Z
Program     ` + string(lease.Spec.Escrow.ProgramID) + `

2027-03-01T12:00:00Z  asked       2 × 4 h100 for 1h0m0s, at most 2 USD per GPU-hour and 20 USD in all, paid in IO
2027-03-01T12:00:01Z  matched     offer h100 of Oslo Data Centre at 1.85 USD, lease train-0a1b2c3d
2027-03-01T12:00:03Z  accepted    8 GPUs are held on 2 nodes
2027-03-01T12:00:05Z  deposit     14.837 IO
                      ` + signature + `
2027-03-01T12:00:20Z  verified    The escrow on chain is the lease's
2027-03-01T12:01:00Z  running     Every worker is ready
2027-03-01T12:11:00Z  claim       2.47283333 IO
                      ` + signature + `
`
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, name := range []string{"research/tune", "tune", "research-tune-4f5e6d7c8b"} {
		if got, _, err := told(t, hub, name, ""); err != nil || !strings.HasPrefix(got, "Job         research/tune, in the hub research-tune-4f5e6d7c8b in team-a\n") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	if _, _, err := told(t, hub, "nobody", ""); err == nil || !strings.Contains(err.Error(), "namespace team-a has no job nobody") {
		t.Errorf("a job that is not there: %v", err)
	}
}

// A job that was split went to several suppliers, and what happened to each part is told of it.
// A supplier writes what its lease says, and a buyer what its own job is called.
func TestWordsOfStrangersDoNotSteerTheTerminal(t *testing.T) {
	hub := running(t)
	_, lease := builders.Leased(t, "train")
	hub.Read(lease)
	lease.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndCompleted, Party: boursev1.PartyBuyer, Message: "\x1b[2Jpaid\u202e in full", At: metav1.NewTime(builders.Start)}
	hub.EditStatus(lease)
	twin := builders.Job("research-tune-4f5e6d7c8b")
	hub.Read(twin)
	twin.Annotations[boursev1.AnnotationOriginName] = "tune\x1b]0;root\x07\tme\nall"
	if err := hub.Update(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"train": "\uFFFD[2Jpaid\uFFFD in full", "": "research/tune\uFFFD]0;roo"} {
		text, _, err := told(t, hub, name, "")
		if err != nil || !strings.Contains(text, want) || strings.ContainsAny(text, "\x1b\x07\u202e\t") {
			t.Errorf("%v, want %q in\n%q", err, want, text)
		}
	}
}

func TestAJobInPartsTellsWhereEachWent(t *testing.T) {
	hub := running(t)
	job, first := builders.Leased(t, "train")
	hub.Read(job)
	hub.Read(first)
	second := first.DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: "porto-dc", Name: "train-second", CreationTimestamp: first.CreationTimestamp}
	first.Spec.Part, second.Spec.Part = &boursev1.LeasePart{Index: new(int32(0)), Of: 2}, &boursev1.LeasePart{Index: new(int32(1)), Of: 2}
	second.Spec.Payment.PriceUSD, second.Status = "1.10", boursev1.GPULeaseStatus{}
	job.Status.Parts = []boursev1.JobPart{
		{Lease: *job.Status.Lease, Offer: "h100", Workers: 1, PriceUSD: "1.85", Score: "1.85"},
		{Lease: boursev1.ObjectReference{Namespace: second.Namespace, Name: second.Name}, Offer: "h100", Workers: 1, PriceUSD: "1.10", Score: "1.10"},
	}
	hub.Edit(first)
	if err := hub.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	hub.EditStatus(job)
	list, _, err := told(t, hub, "", "")
	if line := "train          8 h100  runs                11m    Oslo Data Cent… +1  eu-north  1.85 +1"; err != nil || !strings.Contains(list, line) {
		t.Errorf("%v, want a line %q in\n%s", err, line, list)
	}
	got, _, err := told(t, hub, "train", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Part 0      4 of the 8 GPUs\nSupplier    Oslo Data Centre, in oslo-dc\nOffer       h100, eu-north, 4 h100\nPrice       1.85 USD",
		"Part 1      4 of the 8 GPUs\nSupplier    porto-dc\nOffer       h100, 4 h100\nPrice       1.10 USD",
		"paid of a deposit of 29.674 IO\n", "matched     part 1: offer h100 of porto-dc at 1.10 USD, lease train-second\n",
		"accepted    part 0: 8 GPUs are held on 2 nodes\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
}

func TestStatesInWords(t *testing.T) {
	cases := map[string]struct {
		conditions []metav1.Condition
		want       string
	}{
		"nobody looked":   {nil, "not looked at yet"},
		"no supplier yet": {[]metav1.Condition{at(0, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingSupplier, "x")}, "waits for the supplier: x"},
		"no deposit, and why": {[]metav1.Condition{
			at(0, boursev1.JobFunded, metav1.ConditionFalse, boursev1.ReasonDepositRefused, "Refused: too dear"),
			at(0, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingDeposit, "x"),
		}, "waits for the deposit: Refused: too dear"},
		"a reason without words": {[]metav1.Condition{at(0, boursev1.Succeeded, metav1.ConditionUnknown, "Sleeping", "x")}, "Sleeping: x"},
		"over":                   {[]metav1.Condition{at(0, boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted, "x")}, "ended well: Completed: x"},
		"failed":                 {[]metav1.Condition{at(0, boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndTakenBack, "x")}, "failed: TakenBack: x"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := builders.Job("train")
			job.Status.Conditions = tc.conditions
			state, message := stateOf(job)
			if got := strings.TrimSuffix(state+": "+message, ": "); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// Programs read the same in JSON and in YAML, and people are told what forms there are.
func TestAnswersForPrograms(t *testing.T) {
	hub := running(t)
	asJSON, _, err := told(t, hub, "train", "json")
	if err != nil {
		t.Fatal(err)
	}
	asYAML, _, err := told(t, hub, "train", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	var one, other life
	if err := json.Unmarshal([]byte(asJSON), &one); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(asYAML), &other); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, other, cmp.AllowUnexported(life{})); diff != "" || len(one.Events) != 7 || len(one.Parts) != 1 ||
		one.Parts[0].Supplier.Name != "Oslo Data Centre" {
		t.Errorf("%d events of %+v (-JSON +YAML):\n%s", len(one.Events), one.Parts, diff)
	}
	if _, _, err := told(t, hub, "", "table"); err == nil || !strings.Contains(err.Error(), "give json or yaml") {
		t.Errorf("another form: %v", err)
	}
}

// shut forbids to read the kinds of some lists and objects, but in one namespace.
type shut struct {
	client.Client
	kinds []string
	open  string
}

func (s shut) forbids(of any, namespace string) error {
	kind := strings.TrimSuffix(reflect.TypeOf(of).Elem().Name(), "List")
	for _, closed := range s.kinds {
		if closed == kind && (s.open == "" || namespace != s.open) {
			return apierrors.NewForbidden(schema.GroupResource{Group: boursev1.GroupVersion.Group, Resource: kind}, "", nil)
		}
	}
	return nil
}

func (s shut) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var options client.ListOptions
	options.ApplyOptions(opts)
	if err := s.forbids(list, options.Namespace); err != nil {
		return err
	}
	return s.Client.List(ctx, list, opts...)
}

func (s shut) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if err := s.forbids(object, key.Namespace); err != nil {
		return err
	}
	return s.Client.Get(ctx, key, object, opts...)
}

func TestWhatMayNotBeReadIsLeftOutAndNamed(t *testing.T) {
	hub := running(t)
	got, hidden, err := told(t, shut{Client: hub, kinds: []string{"Member", "GPUOffer", "GPULease", "Voucher", "Settlement"}}, "train", "")
	if diff := cmp.Diff([]string{"gpuleases", "vouchers", "members", "gpuoffers", "settlements"}, hidden); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if !strings.Contains(got, "Supplier    oslo-dc\n") || !strings.Contains(got, "State       runs, for 11m\n") {
		t.Errorf("what may be read is not told:\n%s", got)
	}
	if _, _, err := told(t, shut{Client: hub, kinds: []string{"ComputeJob"}}, "", ""); err == nil || !strings.Contains(err.Error(), "read jobs") {
		t.Errorf("without its jobs: %v", err)
	}
}

func TestAJobIsFoundByTheNameThatItsBuyerKnows(t *testing.T) {
	named := func(namespace, name, originNamespace, originName string) boursev1.ComputeJob {
		job := builders.Job(name)
		job.Namespace = namespace
		if originName != "" {
			job.Annotations = map[string]string{boursev1.AnnotationOriginNamespace: originNamespace, boursev1.AnnotationOriginName: originName}
		}
		return *job
	}
	jobs := []boursev1.ComputeJob{
		named("team-a", "ml-train-0a1b", "ml", "train"), named("team-a", "train", "", ""), named("team-a", "ml-tune-1a2b", "ml", "tune"),
		named("team-a", "ml-eval-2a3b", "ml", "eval"), named("team-b", "lab-eval-3a4b", "lab", "eval"),
	}
	cases := map[string]struct{ name, want, wantErr string }{
		"its own name before another's origin": {name: "train", want: "train"},
		"that other, by its namespace":         {name: "ml/train", want: "ml-train-0a1b"},
		"an origin":                            {name: "tune", want: "ml-tune-1a2b"},
		"a copy's own name":                    {name: "ml-tune-1a2b", want: "ml-tune-1a2b"},
		"two origins":                          {name: "eval", wantErr: "there are several jobs eval"},
		"one of the two":                       {name: "lab/eval", want: "lab-eval-3a4b"},
		"none":                                 {name: "none", wantErr: "there is no job none"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job, err := findJob(jobs, "", tc.name)
			switch {
			case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)):
				t.Errorf("got %v, want %s", err, tc.wantErr)
			case tc.wantErr == "" && (err != nil || job.Name != tc.want):
				t.Errorf("got %v, %v, want %s", job, err, tc.want)
			}
		})
	}
}
