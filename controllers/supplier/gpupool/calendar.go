// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/api/meta"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

var (
	errTimeZone = errors.New("a schedule is in UTC and names no time zone")
	errNever    = errors.New("the schedule never begins")
)

// budget is the most GPUs that the market may have of the pool now, and looks again when that changes. A budget whose schedule cannot be
// read always counts: the supplier wanted a limit.
func (p *pass) budget(pool *boursev1.GPUPool, total int32) int32 {
	if len(pool.Spec.Budgets) == 0 {
		meta.RemoveStatusCondition(&pool.Status.Conditions, boursev1.PoolBudgeted)
		return gpu.Unlimited
	}
	limit, wrong := gpu.Unlimited, ""
	for i := range pool.Spec.Budgets {
		of := &pool.Spec.Budgets[i]
		counts, next, err := active(of, p.Now())
		if err != nil {
			counts = true
			if wrong == "" {
				wrong = fmt.Sprintf("spec.budgets[%d].schedule cannot be read, so its limit always counts: %v", i, err)
			}
		}
		p.lookAgain(next)
		if counts {
			limit = min(limit, share(of.GPUs, total))
		}
	}
	if wrong != "" {
		kube.Failed(pool, boursev1.PoolBudgeted, boursev1.ReasonScheduleInvalid, wrong)
	} else {
		kube.True(pool, boursev1.PoolBudgeted, boursev1.ReasonScheduled, "Each budget counts when its schedule says")
	}
	return limit
}

// active says whether the budget counts now, and how long it takes until that may change; zero if it never does.
func active(of *boursev1.OfferBudget, now time.Time) (bool, time.Duration, error) {
	if of.Schedule == "" {
		return true, 0, nil
	}
	if strings.Contains(of.Schedule, "TZ=") {
		return false, 0, errTimeZone
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	schedule, err := parser.Parse(of.Schedule)
	if err != nil {
		return false, 0, fmt.Errorf("parse cron: %w", err)
	}
	lasts := time.Duration(number(of.DurationSeconds)) * time.Second
	now = now.UTC()
	begin := schedule.Next(now.Add(-lasts)) // the earliest beginning that may still last
	switch {
	case begin.IsZero():
		return false, 0, errNever
	case begin.After(now):
		return false, begin.Sub(now), nil
	default:
		return true, begin.Add(lasts).Sub(now), nil
	}
}

// share reads a number of GPUs, or a part of all of them in hundredths, rounded down.
func share(text string, total int32) int32 {
	hundredths, isPart := strings.CutSuffix(text, "%")
	value, err := strconv.ParseInt(hundredths, 10, 32)
	switch {
	case err != nil: // the API server refuses it
		value = 0
	case isPart:
		value = int64(total) * value / 100
	}
	return int32(min(value, int64(gpu.Unlimited)))
}

// maintained says whether a maintenance window is open, and when the next one begins; the zero time if none is announced.
func (p *pass) maintained(pool *boursev1.GPUPool) (open bool, next time.Time) {
	now := p.Now()
	for _, window := range pool.Spec.Maintenance {
		end := window.Start.Add(time.Duration(window.DurationSeconds) * time.Second)
		switch {
		case window.Start.After(now):
			p.lookAgain(window.Start.Sub(now))
			if next.IsZero() || window.Start.Time.Before(next) {
				next = window.Start.Time
			}
		case now.Before(end):
			open = true
			p.lookAgain(end.Sub(now))
		}
	}
	return open, next
}

// stop is what keeps every free GPU of the pool from the market now, or nothing.
func stop(pool *boursev1.GPUPool, maintained bool) gpu.Reason {
	switch {
	case pool.Spec.Mode == boursev1.PoolHold:
		return gpu.OnHold
	case pool.Spec.Mode == boursev1.PoolDrain:
		return gpu.InDrain
	case maintained:
		return gpu.Maintenance
	case pool.Recycling():
		return gpu.Recycling
	default:
		return ""
	}
}

// lookAgain ends the pass's rest after that time at the latest.
func (p *pass) lookAgain(in time.Duration) {
	if in > 0 && (p.wake == 0 || in < p.wake) {
		p.wake = in
	}
}
