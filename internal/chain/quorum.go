// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDisagree says that endpoints say different things of one moment, so that none of them can be believed.
var ErrDisagree = errors.New("endpoints disagree")

// ErrNetwork says that an endpoint is of another network than the others.
var ErrNetwork = errors.New("endpoint is of another network")

// How often, and how far apart, endpoints are asked that have come to different slots: a slot takes 400 ms.
const (
	agreeRounds  = 4
	defaultPause = 400 * time.Millisecond
)

// Quorum calls several endpoints as if they were one that cannot lie: what decides money is believed only when enough of them say
// the same. It asks all of them at once and waits for no more than it needs. When one is enough, the others only stand in for it.
//
// Nothing is pushed: polling is the truth, and there is no websocket, because no controller needs to know sooner than it looks.
type Quorum struct {
	endpoints []*endpoint
	need      int
	pause     time.Duration
	current   atomic.Int64  // the endpoint that answered last, for what one may answer
	floor     atomic.Uint64 // the finalized slot that enough endpoints have reached: no reading goes back behind it

	mu      sync.Mutex
	genesis *Hash // what enough endpoints call the network
}

// endpoint is one of them.
type endpoint struct {
	place  int // counted from 0, in the order of the configuration
	client *Client
	known  atomic.Bool // it is of the right network, and has answered ever since that was seen
}

// NewQuorum returns a client of the endpoints. It does not connect yet. Of need endpoints must say the same; 0 means more than half
// of them, and 1 that any of them is believed. Fewer than half are refused: two such groups could both be enough, and disagree.
func NewQuorum(urls []string, need int, options Options) (*Quorum, error) {
	most := len(urls)/2 + 1
	switch {
	case len(urls) == 0:
		return nil, errors.New("make quorum: there is no endpoint")
	case need == 0:
		need = most
	case need < 0 || need > len(urls):
		return nil, fmt.Errorf("make quorum: %d of %d endpoints cannot agree", need, len(urls))
	case need > 1 && need < most:
		return nil, fmt.Errorf("make quorum: %d of %d endpoints are not more than half: two such groups could disagree", need, len(urls))
	}
	if options.Pause <= 0 {
		options.Pause = defaultPause
	}
	q := &Quorum{need: need, pause: options.Pause}
	for place, url := range urls {
		q.endpoints = append(q.endpoints, &endpoint{place: place, client: NewClient(url, options)})
	}
	return q, nil
}

// request is one call to one endpoint.
type request[T any] func(ctx context.Context, c *Client) (T, error)

// answer is what one endpoint said.
type answer[T any] struct {
	from  int    // the endpoint's place
	slot  uint64 // where it was, when that matters
	value T
	err   error
}

// ask puts the request to every endpoint of the right network at once and returns the answers as they came, up to the first that
// makes them enough, or leaves fewer endpoints than needed. Requests that are still under way then are ended before it returns.
func ask[T any](ctx context.Context, q *Quorum, need int, put request[T], enough func([]answer[T]) bool) []answer[T] {
	return poll(ctx, q, need, func(ctx context.Context, e *endpoint) (T, error) { return vetted(ctx, q, e, put) }, enough)
}

// poll is ask, of whatever network an endpoint is. When one answer is enough, the endpoints are asked in turn.
func poll[T any](
	ctx context.Context, q *Quorum, need int, put func(context.Context, *endpoint) (T, error), enough func([]answer[T]) bool,
) []answer[T] {
	if q.need == 1 {
		return inTurn(ctx, q, put, enough)
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	arriving := make(chan answer[T], len(q.endpoints))
	for _, e := range q.endpoints {
		asking.Go(func() {
			value, err := put(ctx, e)
			arriving <- answer[T]{from: e.place, value: value, err: err}
		})
	}
	var answers []answer[T]
	for range q.endpoints {
		answers = append(answers, <-arriving)
		failed := len(answers) - len(good(answers))
		if enough(answers) || len(q.endpoints)-failed < need {
			break
		}
	}
	return answers
}

// inTurn begins with the endpoint that answered last, and goes on to the others while there is not enough.
func inTurn[T any](
	ctx context.Context, q *Quorum, put func(context.Context, *endpoint) (T, error), enough func([]answer[T]) bool,
) []answer[T] {
	start := int(q.current.Load())
	var answers []answer[T]
	for i := range q.endpoints {
		e := q.endpoints[(start+i)%len(q.endpoints)]
		value, err := put(ctx, e)
		answers = append(answers, answer[T]{from: e.place, value: value, err: err})
		if err == nil {
			q.current.Store(int64(e.place))
		}
		if enough(answers) || ctx.Err() != nil {
			break
		}
	}
	return answers
}

// anyOf puts a request that decides nothing: the first answer is taken.
func anyOf[T any](ctx context.Context, q *Quorum, method string, put request[T]) (T, error) {
	answers := ask(ctx, q, 1, put, func(answers []answer[T]) bool { return len(good(answers)) > 0 })
	if values := good(answers); len(values) > 0 {
		return values[0].value, nil
	}
	var none T
	return none, lacking(method, 1, answers, func(T, T) bool { return true })
}

// vetted puts the request to an endpoint after it has shown that it is of the right network. It shows that again after every failure:
// what comes back may be another node.
func vetted[T any](ctx context.Context, q *Quorum, e *endpoint, put request[T]) (T, error) {
	if len(q.endpoints) > 1 && !e.known.Load() {
		if err := q.verify(ctx, e); err != nil {
			var none T
			return none, err
		}
		e.known.Store(true)
	}
	value, err := put(ctx, e.client)
	if err != nil && ClassOf(err) == Retry && !errors.Is(err, errBehind) && !errors.Is(err, context.Canceled) {
		e.known.Store(false)
	}
	return value, err
}

// verify says whether the endpoint is of the network that enough endpoints are of.
func (q *Quorum) verify(ctx context.Context, e *endpoint) error {
	want, err := q.GenesisHash(ctx)
	if err != nil {
		return err
	}
	got, err := e.client.GenesisHash(ctx)
	if err != nil {
		return err
	}
	if got != want {
		return NewError("getGenesisHash", Retry, fmt.Errorf("%w: its genesis hash is %s, that of the others %s", ErrNetwork, got, want))
	}
	return nil
}

// GenesisHash returns the hash that names the network, as enough endpoints say. It is asked for until they have said it once.
func (q *Quorum) GenesisHash(ctx context.Context) (Hash, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.genesis != nil {
		return *q.genesis, nil
	}
	same := func(a, b Hash) bool { return a == b }
	answers := poll(ctx, q, q.need, func(ctx context.Context, e *endpoint) (Hash, error) { return e.client.GenesisHash(ctx) },
		func(answers []answer[Hash]) bool { return len(largest(answers, same)) >= q.need })
	group := largest(answers, same)
	if len(group) < q.need {
		return Hash{}, lacking("getGenesisHash", q.need, answers, same)
	}
	if len(q.endpoints) > 1 { // a single endpoint may be moved to another network, and whoever asks then must hear of it
		q.genesis = &group[0].value
	}
	return group[0].value, nil
}

// good are the answers that are not errors.
func good[T any](answers []answer[T]) []answer[T] {
	var values []answer[T]
	for _, a := range answers {
		if a.err == nil {
			values = append(values, a)
		}
	}
	return values
}

// largest returns the greatest group of answers that are the same.
func largest[T any](answers []answer[T], same func(a, b T) bool) []answer[T] {
	var best []answer[T]
	values := good(answers)
	for _, a := range values {
		var group []answer[T]
		for _, b := range values {
			if same(a.value, b.value) {
				group = append(group, b)
			}
		}
		if len(group) > len(best) {
			best = group
		}
	}
	return best
}

// lacking is the error of answers of which not enough are the same: which endpoints differ, and what was wrong with the others.
func lacking[T any](method string, need int, answers []answer[T], same func(a, b T) bool) error {
	if len(answers) == 1 && need == 1 && answers[0].err != nil {
		return answers[0].err
	}
	values := good(answers)
	var causes []error
	if group := largest(answers, same); len(values) > len(group) && len(group) > 0 {
		causes = append(causes, disagreement(values, func(a answer[T]) bool { return same(a.value, group[0].value) }))
	}
	for _, a := range answers {
		if a.err != nil {
			causes = append(causes, fmt.Errorf("%s: %w", named(a), a.err))
		}
	}
	what := fmt.Sprintf("%d endpoints must agree", need)
	if need == 1 {
		what = "no endpoint answers"
	}
	return &Error{Method: method, Class: verdict(need, answers), cause: several{what, causes}}
}

// verdict is the class that enough refusals share, or Retry.
func verdict[T any](need int, answers []answer[T]) Class {
	shared := map[Class]int{}
	for _, a := range answers {
		if a.err == nil {
			continue
		}
		class := ClassOf(a.err)
		if shared[class]++; class != Retry && shared[class] >= need {
			return class
		}
	}
	return Retry
}

// disagreement names the endpoints that say one thing, and those that say another.
func disagreement[T any](answers []answer[T], alike func(answer[T]) bool) error {
	var some, others []string
	for _, a := range answers {
		if alike(a) {
			some = append(some, named(a))
		} else {
			others = append(others, named(a))
		}
	}
	return fmt.Errorf("%w: %s against %s", ErrDisagree, strings.Join(some, " and "), strings.Join(others, " and "))
}

// several is an error with several causes on one line.
type several struct {
	what   string
	causes []error
}

// Error writes the causes behind what they are causes of.
func (s several) Error() string {
	words := make([]string, len(s.causes))
	for i, cause := range s.causes {
		words[i] = cause.Error()
	}
	return s.what + ": " + strings.Join(words, "; ")
}

// Unwrap returns the causes.
func (s several) Unwrap() []error { return s.causes }

// named is the endpoint as the order in the configuration counts it. Its URL may hold an access key.
func named[T any](a answer[T]) string {
	if a.slot > 0 {
		return fmt.Sprintf("endpoint %d in slot %d", a.from+1, a.slot)
	}
	return fmt.Sprintf("endpoint %d", a.from+1)
}
