// SPDX-License-Identifier: Apache-2.0

// Package controllers holds the one list of Bourse's controllers, by role. It knows what each of them is given, and nothing of
// what they decide.
package controllers

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	buyerjob "github.com/bourse-dev/bourse/controllers/buyer/computejob"
	buyervoucher "github.com/bourse-dev/bourse/controllers/buyer/voucher"
	"github.com/bourse-dev/bourse/controllers/market/computejob"
	"github.com/bourse-dev/bourse/controllers/market/feeburn"
	marketlease "github.com/bourse-dev/bourse/controllers/market/gpulease"
	"github.com/bourse-dev/bourse/controllers/market/gpuoffer"
	"github.com/bourse-dev/bourse/controllers/market/market"
	"github.com/bourse-dev/bourse/controllers/market/member"
	"github.com/bourse-dev/bourse/controllers/market/settlement"
	"github.com/bourse-dev/bourse/controllers/market/slash"
	marketstake "github.com/bourse-dev/bourse/controllers/market/stakeposition"
	marketvoucher "github.com/bourse-dev/bourse/controllers/market/voucher"
	memberstake "github.com/bourse-dev/bourse/controllers/member/stakeposition"
	"github.com/bourse-dev/bourse/controllers/supplier/gpulease"
	"github.com/bourse-dev/bourse/controllers/supplier/gpupool"
	suppliermarket "github.com/bourse-dev/bourse/controllers/supplier/market"
	"github.com/bourse-dev/bourse/controllers/supplier/mockrental"
	"github.com/bourse-dev/bourse/controllers/supplier/namespace"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/gpunode"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/swap"
)

// eventSource is how the operator signs its events.
const eventSource = "bourse"

// Options is what the controllers are given.
type Options struct {
	Roles   Roles
	Hub     cluster.Cluster // the market's API server
	Local   cluster.Cluster // the member's own one; in a standalone market, the same
	Chain   *chain.Quorum
	Now     func() time.Time
	Metrics *metrics.Metrics

	// These are the role market's.
	TreasurySigner signer.Signer                   // nil where the treasury's key is not
	Swaps          func(endpoint string) swap.Port // proposes what the treasury may sign
	Access         member.Access                   // takes members what they got by joining; nil where nobody can join
	MostUnseenDays int32                           // after how many days without a sign a member that joined is let go; 0 for never

	// MemberNamespace is the namespace of a supplier or a buyer in a hub that is another cluster, and a supplier's in any hub.
	MemberNamespace string

	// These are the role supplier's.
	SupplierSigner  signer.Signer
	SystemNamespace string                // the operator's own one in this cluster
	HoldImage       string                // an image that only waits
	RegistryCIDRs   []string              // what leases may reach to load images and packages
	Tunnel          suppliermarket.Tunnel // nil where buyers see nothing of their leases but what the hub says
	// NotMember says whether the hub has said that it does not know the supplier any more; nil where it is not asked.
	NotMember func() bool

	// These are the role buyer's.
	BuyerSigner   signer.Signer
	JobNamespaces []string // the namespaces of this cluster whose jobs are mirrored into a hub that is another one; empty for all

	// AuthoritySigner is the role market's, for slashes: the wallet that controls the market's configuration on chain. It may be nil.
	AuthoritySigner signer.Signer
}

// Setup adds the controllers of every role to the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	for role, controllersOf := range map[Role]func() []controller{Market: o.market, Supplier: o.supplier, Buyer: o.buyer} {
		if !o.Roles.Has(role) {
			continue
		}
		if err := add(ctx, mgr, string(role), controllersOf()); err != nil {
			return err
		}
	}
	if !o.Roles.Has(Supplier) && !o.Roles.Has(Buyer) {
		return nil
	}
	return add(ctx, mgr, "member", o.member())
}

func add(ctx context.Context, mgr ctrl.Manager, role string, list []controller) error {
	for _, c := range list {
		if err := c.reconciler.SetupWithManager(ctx, sideOf(mgr, c.side)); err != nil {
			return fmt.Errorf("set up controller %s/%s: %w", role, c.kind, err)
		}
	}
	return nil
}

// controller reconciles one kind on one side.
type controller struct {
	kind       string
	side       cluster.Cluster
	reconciler interface {
		SetupWithManager(ctx context.Context, mgr ctrl.Manager) error
	}
}

func (o Options) market() []controller {
	hub, live, teller := o.Hub.GetClient(), o.Hub.GetAPIReader(), o.teller(o.Hub)
	return []controller{
		{"market", o.Hub, &market.Reconciler{Teller: teller, Hub: hub, Chain: o.Chain, Now: o.Now}},
		{"member", o.Hub, &member.Reconciler{Teller: teller, Hub: hub, Live: live, Access: o.Access, MostUnseen: o.MostUnseenDays, Now: o.Now}},
		{"gpuoffer", o.Hub, &gpuoffer.Reconciler{Teller: teller, Hub: hub, Now: o.Now}},
		{"gpulease", o.Hub, &marketlease.Reconciler{Hub: hub, Now: o.Now}},
		{"computejob", o.Hub, &computejob.Reconciler{Teller: teller, Hub: hub, Live: live, Now: o.Now}},
		{"voucher", o.Hub, &marketvoucher.Reconciler{Teller: teller, Hub: hub}},
		{"settlement", o.Hub, &settlement.Reconciler{Teller: teller, Hub: hub, Live: live, Chain: o.Chain, Now: o.Now}},
		{"stakeposition", o.Hub, &marketstake.Reconciler{Teller: teller, Hub: hub, Chain: o.Chain, Now: o.Now}},
		{"slash", o.Hub, &slash.Reconciler{
			Teller: teller, Hub: hub, Chain: o.Chain, Outbox: o.Chain, Authority: o.AuthoritySigner, Now: o.Now,
		}},
		{"feeburn", o.Hub, &feeburn.Reconciler{
			Teller: teller, Hub: hub, Chain: o.Chain, Treasury: o.TreasurySigner, Swaps: o.Swaps, Now: o.Now,
		}},
	}
}

func (o Options) supplier() []controller {
	list := []controller{
		{"gpupool", o.Local, &gpupool.Reconciler{
			Teller: o.teller(o.Local), Recorder: o.Local.GetEventRecorder(eventSource),
			Local: o.Local.GetClient(), Hub: o.Hub.GetClient(), HubCache: o.Hub.GetCache(),
			Namespace: o.MemberNamespace, System: o.SystemNamespace, NotMember: o.NotMember, Verified: gpunode.Verify, Now: o.Now,
		}},
		{"mockrental", o.Local, &mockrental.Reconciler{
			Local: o.Local.GetClient(), Recorder: o.Local.GetEventRecorder(eventSource), HoldImage: o.HoldImage, Now: o.Now,
		}},
		{"gpulease", o.Hub, &gpulease.Reconciler{
			Teller: o.teller(o.Hub), Hub: o.Hub.GetClient(), Local: o.Local.GetClient(), LocalLive: o.Local.GetAPIReader(),
			LocalCache: o.Local.GetCache(), Ledger: gpulease.OnChain{Chain: o.Chain, Signer: o.SupplierSigner},
			Wallet:    boursev1.SolanaAddress(o.SupplierSigner.PublicKey().String()),
			Namespace: o.MemberNamespace, System: o.SystemNamespace, HoldImage: o.HoldImage, RegistryCIDRs: o.RegistryCIDRs, Now: o.Now,
		}},
		{"namespace", o.Local, &namespace.Reconciler{
			Local: o.Local.GetClient(), Recorder: o.Local.GetEventRecorder(eventSource),
			Hub: o.Hub.GetClient(), Live: o.Hub.GetAPIReader(), HubCache: o.Hub.GetCache(), Namespace: o.MemberNamespace, Now: o.Now,
		}},
	}
	if o.Tunnel != nil {
		list = append(list, controller{"market", o.Hub, &suppliermarket.Reconciler{Hub: o.Hub.GetClient(), Tunnel: o.Tunnel}})
	}
	return list
}

func (o Options) buyer() []controller {
	vouchers := controller{"voucher", o.Hub, &buyervoucher.Reconciler{
		Hub: o.Hub.GetClient(), HubCache: o.Hub.GetCache(), Chain: o.Chain, Signer: o.BuyerSigner, Now: o.Now,
	}}
	if o.Local == o.Hub { // jobs are where the market reads them
		return []controller{vouchers}
	}
	return []controller{vouchers, {"computejob", o.Local, &buyerjob.Reconciler{
		Teller: o.teller(o.Local), Recorder: o.Local.GetEventRecorder(eventSource),
		Local: o.Local.GetClient(), LocalLive: o.Local.GetAPIReader(),
		Hub: o.Hub.GetClient(), HubLive: o.Hub.GetAPIReader(), HubCache: o.Hub.GetCache(),
		Namespace: o.MemberNamespace, Namespaces: o.JobNamespaces,
		Wallet: boursev1.SolanaAddress(o.BuyerSigner.PublicKey().String()), Now: o.Now,
	}}}
}

// member is what suppliers and buyers alike do, with either's wallet. One wallet may be both.
func (o Options) member() []controller {
	var wallets []signer.Signer
	for role, wallet := range map[Role]signer.Signer{Supplier: o.SupplierSigner, Buyer: o.BuyerSigner} {
		if o.Roles.Has(role) {
			wallets = append(wallets, wallet)
		}
	}
	return []controller{
		{"stakeposition", o.Hub, &memberstake.Reconciler{
			Hub: o.Hub.GetClient(), HubCache: o.Hub.GetCache(), Chain: o.Chain, Wallets: wallets, Now: o.Now,
		}},
	}
}

// teller writes statuses and events on one side.
func (o Options) teller(side cluster.Cluster) *kube.Teller {
	return &kube.Teller{Client: side.GetClient(), Recorder: side.GetEventRecorder(eventSource), Metrics: o.Metrics}
}
