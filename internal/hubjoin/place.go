// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
)

// The most that a member may have in its namespace. A cluster offers one object for each model and price, a lease has one voucher, and a
// manager says for each of its roles that it is there.
const (
	mostOffers    = 64
	mostJobs      = 256
	mostVouchers  = 4096
	mostStakes    = 64
	mostPresences = 8
)

// errReplaced says that an object kept coming back while it was replaced.
var errReplaced = errors.New("somebody else makes it too")

// taken refuses a wallet that is a member by another way, since one wallet has one namespace.
func (h *Hub) taken(ctx context.Context, wallet join.Key, namespace string) error {
	var members boursev1.MemberList
	if err := h.o.Live.List(ctx, &members, client.MatchingFields{byWallet: address(wallet)}); err != nil {
		return fmt.Errorf("list members: %w", err)
	}
	for i := range members.Items {
		if members.Items[i].Namespace != namespace {
			return join.Refuse(join.WalletTaken, "The wallet is a member in the namespace %s; ask the market's admin for access to it",
				members.Items[i].Namespace)
		}
	}
	return nil
}

// namespace makes the wallet's namespace.
func (h *Hub) namespace(ctx context.Context, wallet join.Key, name string) error {
	found := &corev1.Namespace{}
	err := h.o.Live.Get(ctx, client.ObjectKey{Name: name}, found)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("get namespace: %w", err)
	case found.Labels[boursev1.LabelWallet] != address(wallet):
		return join.Refuse(join.WalletTaken, "The namespace %s exists, and was not made for this wallet; ask the market's admin", name)
	case !found.DeletionTimestamp.IsZero():
		return join.Refuse(join.Leaving, "What the wallet's member left behind is being removed; join again when it is gone")
	default:
		return nil
	}
	if !h.newcomers.AllowN(h.o.Now(), 1) {
		return join.Refuse(join.Busy, "Too many have joined in the last minutes; come back in a while")
	}
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		boursev1.LabelWallet: address(wallet), "pod-security.kubernetes.io/enforce": "restricted",
	}}}
	if err := h.o.Client.Create(ctx, made); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace: %w", err)
	}
	return nil
}

// member makes the wallet's Member, or brings it up to date: who joins is there, and does not leave. Its state is the admin's.
func (h *Hub) member(ctx context.Context, namespace string, spec boursev1.MemberSpec) (*boursev1.Member, error) {
	member := &boursev1.Member{}
	err := h.o.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, member)
	if apierrors.IsNotFound(err) {
		spec.AskedAt = h.stamp(nil)
		member = &boursev1.Member{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: boursev1.MemberName}, Spec: spec}
		if err := h.o.Client.Create(ctx, member); err != nil {
			return nil, fmt.Errorf("create member: %w", err)
		}
		return member, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get member: %w", err)
	}
	if member.Spec.State == boursev1.MemberSuspended {
		return nil, suspended()
	}
	spec.State, spec.AskedAt = member.Spec.State, h.stamp(member.Spec.AskedAt)
	if apiequality.Semantic.DeepEqual(member.Spec, spec) {
		return member, nil
	}
	before := member.DeepCopy()
	member.Spec = spec
	if err := h.o.Client.Patch(ctx, member, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, fmt.Errorf("patch member: %w", err)
	}
	return member, nil
}

func specOf(claim *join.Claim) boursev1.MemberSpec {
	spec := boursev1.MemberSpec{
		Wallet: boursev1.SolanaAddress(address(claim.Wallet)), AgentKey: boursev1.SolanaAddress(address(claim.Agent)),
		AgentKeyUntil: new(metav1.NewTime(claim.Until)), ClusterUID: claim.Cluster, DisplayName: claim.Name,
	}
	for _, role := range claim.Roles {
		switch role {
		case join.Supplier:
			spec.Roles = append(spec.Roles, boursev1.MemberSupplier)
		case join.Buyer:
			spec.Roles = append(spec.Roles, boursev1.MemberBuyer)
		}
	}
	return spec
}

// ensure makes the object as one of the member's, with which it goes, and brings it up to date. One of an earlier Member of the namespace is
// on its way out, so it is replaced.
func (h *Hub) ensure(ctx context.Context, member *boursev1.Member, object client.Object) error {
	if err := controllerutil.SetOwnerReference(member, object, h.o.Client.Scheme()); err != nil {
		return fmt.Errorf("name owner: %w", err)
	}
	for range 2 {
		made, ok := object.DeepCopyObject().(client.Object)
		if !ok {
			return fmt.Errorf("copy object: %T is no API object", object)
		}
		err := h.o.Live.Get(ctx, client.ObjectKeyFromObject(object), made)
		switch {
		case apierrors.IsNotFound(err):
			if err := h.o.Client.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("create %T: %w", object, err)
			}
			return nil
		case err != nil:
			return fmt.Errorf("get %T: %w", object, err)
		case belongs(made, member):
			return h.update(ctx, made, object)
		}
		precondition := client.Preconditions{UID: new(made.GetUID())}
		if err := h.o.Client.Delete(ctx, made, precondition); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete old %T: %w", object, err)
		}
	}
	return fmt.Errorf("replace %T: %w", object, errReplaced)
}

// update gives a member that joined an older hub the quota that it has now; whatever else it got is the same in all.
func (h *Hub) update(ctx context.Context, made, wanted client.Object) error {
	old, isOne := made.(*corev1.ResourceQuota)
	now, toBe := wanted.(*corev1.ResourceQuota)
	if !isOne || !toBe || apiequality.Semantic.DeepEqual(old.Spec, now.Spec) {
		return nil
	}
	next := old.DeepCopy()
	next.Spec = now.Spec
	if err := h.o.Client.Patch(ctx, next, client.MergeFrom(old)); err != nil {
		return fmt.Errorf("patch quota: %w", err)
	}
	return nil
}

func belongs(object client.Object, member *boursev1.Member) bool {
	for _, owner := range object.GetOwnerReferences() {
		if owner.UID == member.UID {
			return object.GetDeletionTimestamp().IsZero()
		}
	}
	return false
}

// binding gives the member's account the shared role in its own namespace.
func binding(namespace string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: Name}},
	}
}

// quota bounds how much of the hub's memory a member can take. The market's own objects in the namespace, its leases, do not count.
func quota(namespace string) *corev1.ResourceQuota {
	most := func(count int64) resource.Quantity { return *resource.NewQuantity(count, resource.DecimalSI) }
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"count/gpuoffers.bourse.dev":       most(mostOffers),
			"count/computejobs.bourse.dev":     most(mostJobs),
			"count/vouchers.bourse.dev":        most(mostVouchers),
			"count/stakepositions.bourse.dev":  most(mostStakes),
			"count/leases.coordination.k8s.io": most(mostPresences),
			corev1.ResourcePods:                most(0),
		}},
	}
}
