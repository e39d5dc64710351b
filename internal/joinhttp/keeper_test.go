// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bourse-dev/bourse/internal/join"
)

func TestAKeeperDoesNotCrowdAHubThatGivesItNoToken(t *testing.T) {
	asked := 0
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(&hub{}, network)
		k.o.Client = &Client{hub: "join.example", http: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			answer := httptest.NewRecorder()
			answer.WriteHeader(http.StatusServiceUnavailable)
			return answer.Result(), nil
		})}}
		k.access, k.since = join.Access{Token: "token", Expires: time.Now().Add(time.Hour)}, time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		go func() {
			for { // every request to the API server is refused meanwhile
				select {
				case k.wake <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
		if err := k.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	if asked < 25 || asked > 45 {
		t.Errorf("a hub that gave no token for half an hour was asked %d times, want about once a minute", asked)
	}
}

func TestAKeeperNeedsNoClockThatGoesAsTheHubs(t *testing.T) {
	at := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]time.Duration{
		0: 30 * time.Minute, -time.Minute: 30*time.Minute + 30*time.Second, 59 * time.Minute: lastRetry, 24 * time.Hour: lastRetry,
	} {
		k := newKeeper(&hub{}, network)
		k.access, k.since = join.Access{Token: "token", Expires: at.Add(time.Hour)}, at.Add(ahead)
		if got := k.half(); got != want {
			t.Errorf("a clock that is %s ahead: renewed after %s, want %s", ahead, got, want)
		}
	}
}
