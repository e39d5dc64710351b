// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAQueryIsReadAsItWasWritten(t *testing.T) {
	for name, query := range map[string]LogQuery{
		"nothing":    {},
		"all":        {Worker: new(3), Follow: true, Tail: new(int64(0)), Since: 90 * time.Second},
		"the first":  {Worker: new(0)},
		"a lot":      {Tail: new(int64(mostTail)), Since: mostSince},
		"following":  {Follow: true},
		"some lines": {Tail: new(int64(7))},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				read, err := ReadQuery(query.Values())
				if diff := cmp.Diff(query, read); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			}
		})
	}
}

func TestAQueryThatIsNoneNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"worker=-1": "worker", "worker=128": "worker", "worker=a": "worker", "follow=perhaps": "follow", "tail=-1": "tail", "tail=100001": "tail",
		"since=5": "since", "since=1ms": "since", "since=721h": "since", "container=a": `"container"`, "tail=1&tail=2": `"tail"`,
		strings.Repeat("x", 100) + "=1": `"` + strings.Repeat("x", 32) + `"`,
	} {
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadQuery(values); !errors.Is(err, Malformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to name %s", text, err, want)
		}
	}
	if query, err := ReadQuery(url.Values{"worker": {Head}}); err != nil || query.Worker != nil {
		t.Errorf("the head: %+v, %v", query, err)
	}
}

func TestAPartIsReadAsItWasWritten(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "3": 3, "2147483647": 1<<31 - 1} {
		part, err := ReadPart(text)
		if part != want || err != nil || OfPart("team-a", "train", part, Log) != OfJob("team-a", "train", "parts/"+text+"/log") {
			t.Errorf("%s: %d, %v", text, part, err)
		}
	}
	for _, text := range []string{"", "-1", "+1", "first", "1.0", "2147483648"} {
		if part, err := ReadPart(text); !errors.Is(err, Malformed) || !strings.Contains(err.Error(), "BOURSE_PART") {
			t.Errorf("%q: %d, %v", text, part, err)
		}
	}
}

func TestEveryReasonIsReadAsItWasWritten(t *testing.T) {
	for _, reason := range Reasons() {
		recorder := httptest.NewRecorder()
		if err := (&Refusal{Reason: reason, Detail: "Because"}).Write(recorder); err != nil {
			t.Fatal(err)
		}
		response := recorder.Result()
		err := RefusalOf(response)
		if !errors.Is(err, reason) || err.Error() != string(reason)+": Because" || response.StatusCode < http.StatusBadRequest {
			t.Errorf("%s with %s: %v", reason, response.Status, err)
		}
		if again := response.Header.Get("Retry-After") != ""; again != (reason.again() > 0) || again && response.StatusCode < http.StatusConflict {
			t.Errorf("%s: Retry-After %q with %s", reason, response.Header.Get("Retry-After"), response.Status)
		}
	}
}

// What Ray answers is no refusal, whatever its status and its body are.
func TestOnlyARefusalIsOne(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"a page": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"an object with a reason": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"reason":"Busy"}`))
		},
		"a text that is named so": func(w http.ResponseWriter) { w.Header().Set(headerReason, "Busy") },
	} {
		recorder := httptest.NewRecorder()
		answer(recorder)
		if err := RefusalOf(recorder.Result()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	recorder := httptest.NewRecorder()
	recorder.Header().Set(headerReason, "Busy")
	recorder.Header().Set("Content-Type", "application/json")
	_, _ = recorder.WriteString(`{"reason":"Forbidden"}`)
	if err := RefusalOf(recorder.Result()); err == nil || errors.Is(err, Busy) || errors.Is(err, Forbidden) {
		t.Errorf("two reasons: %v", err)
	}
}

func TestWhatARequestMustNotTakeWithItIsStripped(t *testing.T) {
	header := http.Header{}
	for _, name := range []string{
		"Authorization", "x-ray-authorization", "Cookie", "Forwarded", "Proxy-Authorization", "Impersonate-User", "Impersonate-Extra-a", "X-Forwarded-For",
		"X-Remote-User", "Bourse-Upgrade", "Accept", "Content-Type",
	} {
		header[name] = []string{"value"}
	}
	Strip(header)
	left := make([]string, 0, len(header))
	for name := range header {
		left = append(left, name)
	}
	slices.Sort(left)
	if diff := cmp.Diff([]string{"Accept", "Content-Type"}, left); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestAGatewayIsAHostAndAPort(t *testing.T) {
	for text, want := range map[string]string{
		"https://gateway.example": "https://gateway.example", "https://gateway.example:9445/": "https://gateway.example:9445", "https://[::1]:1": "https://[::1]:1",
		"http://gateway.example": "", "https://": "", "https://a:b@gateway.example": "", "https://gateway.example/x": "", "https://gateway.example?x": "",
		"https://gateway.example#x": "", "gateway.example": "", "": "", "https://%zz": "",
	} {
		if base, err := (Gateway{URL: text}).Base(); base != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, base, err, want)
		}
	}
}

func TestVerbsAreKubernetesOwn(t *testing.T) {
	for method, want := range map[string]string{
		http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch",
		http.MethodDelete: "delete", http.MethodConnect: "", http.MethodOptions: "", http.MethodTrace: "", "BREW": "",
	} {
		if got := Verb(method); got != want {
			t.Errorf("%s: %q, want %q", method, got, want)
		}
	}
}
