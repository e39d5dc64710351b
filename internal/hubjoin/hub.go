// SPDX-License-Identifier: Apache-2.0

// Package hubjoin gives those who join a hub their place in it: a namespace, a Member, and an account whose short-lived tokens open that
// namespace alone; and it writes down who asks for access and who leaves. It keeps no token and no key, it trusts claims that were checked
// before, and it takes access away when it is told to.
package hubjoin

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
)

// Name is that of everything by which a member has access: the ServiceAccount, its RoleBinding and its quota in each member's namespace, and
// the one ClusterRole that they all share. The server's own rights name it, so that it can make tokens of no other account and bind no
// other role.
const Name = "bourse-member"

// How many wallets that are not yet members are let in. Wallets cost nothing, and each one takes a namespace.
const (
	newcomersEvery = 10 * time.Second
	newcomersBurst = 100
)

// byWallet is the field that Members can be selected by.
const byWallet = "spec.wallet"

// Options are what members are given access to.
type Options struct {
	Client   client.Client
	Live     client.Reader // not cached: what is read decides about access
	Server   string        // the URL of the hub's API, as members reach it
	CA       []byte        // PEM; empty: the system's certificates
	Lifetime time.Duration // of a token
	Now      func() time.Time
	Stake    StakeRule // what new members must have at stake; by itself nothing
}

// Hub lets members in.
type Hub struct {
	o         Options
	newcomers *rate.Limiter
	stakes    *staker
}

// The join server may do this and no more: its ClusterRole is generated from these lines.
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;create;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts;resourcequotas,verbs=create
// +kubebuilder:rbac:groups="",resources=serviceaccounts,resourceNames=bourse-member,verbs=get;delete
// +kubebuilder:rbac:groups="",resources=resourcequotas,resourceNames=bourse-member,verbs=get;patch;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,resourceNames=bourse-member,verbs=create
// +kubebuilder:rbac:groups=bourse.dev,resources=members,verbs=get;list;create;patch;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=markets,verbs=list
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=create
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,resourceNames=bourse-member,verbs=get;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles,resourceNames=bourse-member,verbs=bind

// New returns a hub that members can join.
func New(o Options) *Hub {
	return &Hub{o: o, newcomers: rate.NewLimiter(rate.Every(newcomersEvery), newcomersBurst), stakes: newStaker(o.Stake)}
}

// Admit makes the wallet a member, or says that it is one, and gives it access. What it repeats it finds done.
func (h *Hub) Admit(ctx context.Context, claim join.Claim) (join.Access, error) {
	namespace := join.Namespace(claim.Wallet)
	if err := h.taken(ctx, claim.Wallet, namespace); err != nil {
		return join.Access{}, err
	}
	if err := h.staked(ctx, claim.Wallet, namespace); err != nil {
		return join.Access{}, err
	}
	if err := h.namespace(ctx, claim.Wallet, namespace); err != nil {
		return join.Access{}, err
	}
	member, err := h.member(ctx, namespace, specOf(&claim))
	if err != nil {
		return join.Access{}, err
	}
	return h.access(ctx, member)
}

// Renew gives a member access once more, if the agent that asks is the one that its wallet delegated to. One whose delegation has ended is
// there all the same.
func (h *Hub) Renew(ctx context.Context, claim join.Claim) (join.Access, error) {
	member := &boursev1.Member{}
	key := client.ObjectKey{Namespace: join.Namespace(claim.Wallet), Name: boursev1.MemberName}
	if err := h.o.Live.Get(ctx, key, member); apierrors.IsNotFound(err) {
		return join.Access{}, join.Refuse(join.NotMember, "The wallet has not joined this hub, or was removed; join again")
	} else if err != nil {
		return join.Access{}, fmt.Errorf("get member: %w", err)
	}
	spec := &member.Spec
	switch {
	case string(spec.Wallet) != address(claim.Wallet):
		return join.Access{}, join.Refuse(join.WalletTaken, "The namespace is another wallet's")
	case string(spec.AgentKey) != address(claim.Agent):
		return join.Access{}, join.Refuse(join.WrongKey, "The wallet has delegated to another agent; join again with this one")
	}
	if err := h.asked(ctx, member); err != nil {
		return join.Access{}, err
	}
	if spec.AgentKeyUntil == nil || !h.o.Now().Before(spec.AgentKeyUntil.Time) {
		return join.Access{}, join.Refuse(join.Expired, "The delegation to the agent has ended; join again")
	}
	return h.access(ctx, member)
}

// access makes what a member has access by, and a token.
func (h *Hub) access(ctx context.Context, member *boursev1.Member) (join.Access, error) {
	if member.Spec.State == boursev1.MemberSuspended {
		return join.Access{}, suspended()
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: member.Namespace, Name: Name}}
	for _, object := range []client.Object{quota(member.Namespace), account.DeepCopy(), binding(member.Namespace)} {
		if err := h.ensure(ctx, member, object); err != nil {
			return join.Access{}, err
		}
	}
	if err := h.recheck(ctx, member); err != nil {
		return join.Access{}, err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(h.o.Lifetime.Seconds()))}}
	if err := h.o.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return join.Access{}, fmt.Errorf("request token: %w", err)
	}
	return join.Access{
		Namespace: member.Namespace, Server: h.o.Server, CA: h.o.CA,
		Token: request.Status.Token, Expires: request.Status.ExpirationTimestamp.UTC(),
	}, nil
}

// recheck looks at the member once more when its access is made. Whoever suspended it in between has taken away what there was then, and
// what was made since must not stay.
func (h *Hub) recheck(ctx context.Context, member *boursev1.Member) error {
	now := &boursev1.Member{}
	err := h.o.Live.Get(ctx, client.ObjectKeyFromObject(member), now)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get member: %w", err)
	}
	if err == nil && now.UID == member.UID && now.Spec.State != boursev1.MemberSuspended {
		return nil
	}
	if err := h.Withdraw(ctx, member.Namespace); err != nil {
		return err
	}
	return suspended()
}

// Withdraw takes a namespace's member its access: its rights at once, and its tokens with its account. What the member has in the namespace
// stays.
func (h *Hub) Withdraw(ctx context.Context, namespace string) error {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: Name}
	for _, object := range []client.Object{&rbacv1.RoleBinding{ObjectMeta: meta}, &corev1.ServiceAccount{ObjectMeta: meta}} {
		err := h.o.Live.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find access of %s: %w", namespace, err)
		}
		if err := h.o.Client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("withdraw access of %s: %w", namespace, err)
		}
	}
	return nil
}

func suspended() error {
	return join.Refuse(join.Suspended, "The market's admin has suspended this member, or removed it just now")
}

func address(key join.Key) string { return chain.Address(key).String() }
