// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
)

// slack is by how many base units rounding may make a bond differ from what is wanted.
const slack = 2

// judge says in conditions what the amounts mean.
func judge(position *boursev1.StakePosition, at found) error {
	wanted, err := at.place.Token.Parse(string(position.Spec.Amount))
	if err != nil {
		kube.Failed(position, boursev1.StakeBonded, boursev1.ReasonMoveRefused, "spec.amount: "+err.Error())
	} else if err := judgeBonded(position, at, wanted); err != nil {
		return err
	}
	judgeClear(position, at)
	return judgeCovered(position, at)
}

// judgeBonded compares what is bonded with what is wanted, and says who is to act.
func judgeBonded(position *boursev1.StakePosition, at found, wanted money.Amount) error {
	bonded, err := at.view.Bonded()
	if err != nil {
		return err
	}
	text, journal := at.place.Token.Format(bonded), boursev1.StakeJournal{}
	if position.Spec.Journal != nil {
		journal = *position.Spec.Journal
	}
	reached := journal.Reached == position.Spec.Amount
	switch tx := journal.Transaction; {
	case journal.Refusal != "":
		kube.Failed(position, boursev1.StakeBonded, boursev1.ReasonMoveRefused, journal.Refusal)
	case tx != nil && tx.State == boursev1.TransactionSigned:
		kube.Waiting(position, boursev1.StakeBonded, boursev1.ReasonMoving, fmt.Sprintf("A transaction is on its way: %s", tx.Purpose))
	case max(bonded, wanted)-min(bonded, wanted) <= slack, bonded > wanted && reached:
		kube.True(position, boursev1.StakeBonded, boursev1.ReasonAmountBonded, text+" are bonded")
	case reached:
		kube.Failed(position, boursev1.StakeBonded, boursev1.ReasonStakeReduced, fmt.Sprintf(
			"Slashes left %s of %s: lower spec.amount to accept that, and raise it again to add to it", text, at.place.Token.Format(wanted)))
	default:
		kube.Waiting(position, boursev1.StakeBonded, boursev1.ReasonAwaitingOperator, fmt.Sprintf(
			"%s are bonded, and the member's operator is to make it %s", text, at.place.Token.Format(wanted)))
	}
	return nil
}

// judgeClear says whether a slash is pending, and what can be done about it.
func judgeClear(position *boursev1.StakePosition, at found) {
	slash := position.Status.Slash
	switch {
	case slash == nil:
		kube.True(position, boursev1.StakeClear, boursev1.ReasonNothingPending, "No slash is pending")
	case slash.State == boursev1.PendingSlashAppealed:
		kube.Waiting(position, boursev1.StakeClear, boursev1.ReasonSlashAppealed,
			"The slash was appealed against: the market's arbiter executes it by status.slash.executableAt, or it falls")
	case at.own:
		kube.Failed(position, boursev1.StakeClear, boursev1.ReasonSlashPending, fmt.Sprintf(
			"%s is to be slashed for %s: to appeal by status.slash.executableAt, set spec.appeal to %s",
			at.place.Token.Format(money.Amount(*slash.Amount)), slash.Reason, slash.Evidence)) //nolint:gosec // never negative
	default:
		kube.Failed(position, boursev1.StakeClear, boursev1.ReasonSlashPending, fmt.Sprintf(
			"The pool is to be slashed for %s, this position by %s; the pool's owner can appeal by status.slash.executableAt",
			slash.Reason, at.place.Token.Format(money.Amount(*slash.Share)))) //nolint:gosec // never negative
	}
}

// judgeCovered compares what counts as stake with what the member's GPUs require. A delegation requires nothing.
func judgeCovered(position *boursev1.StakePosition, at found) error {
	if !at.own || at.market.Spec.Stake == nil {
		meta.RemoveStatusCondition(&position.Status.Conditions, boursev1.StakeCovered)
		return nil
	}
	var effective money.Amount
	if at.view.Pool != nil {
		var err error
		if effective, err = at.view.Pool.Effective(at.view.Config.Current.MaxDelegationBps); err != nil {
			return err
		}
	}
	counts, needs := at.place.Token.Format(effective), at.place.Token.Format(at.required)
	if effective < at.required {
		kube.Failed(position, boursev1.StakeCovered, boursev1.ReasonStakeShort, fmt.Sprintf(
			"The member's GPUs require %s, and %s count: raise spec.amount, or offer fewer GPUs", needs, counts))
		return nil
	}
	kube.True(position, boursev1.StakeCovered, boursev1.ReasonRequirementMet, fmt.Sprintf("The member's GPUs require %s, and %s count", needs, counts))
	return nil
}

// sumUp makes Ready what the first condition that does not hold says.
func sumUp(position *boursev1.StakePosition) {
	for _, part := range []string{boursev1.StakeBonded, boursev1.StakeClear, boursev1.StakeCovered} {
		condition := meta.FindStatusCondition(position.Status.Conditions, part)
		if condition == nil || condition.Status == metav1.ConditionTrue {
			continue
		}
		if condition.Status == metav1.ConditionFalse {
			kube.Failed(position, boursev1.Ready, condition.Reason, condition.Message)
		} else {
			kube.Waiting(position, boursev1.Ready, condition.Reason, condition.Message)
		}
		return
	}
	kube.True(position, boursev1.Ready, boursev1.ReasonStaked, "The stake is what it should be")
}
