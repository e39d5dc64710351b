// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

var zone = Zone{Domain: "cluster.local", Lookup: func(namespace, service string) ([]netip.Addr, error) {
	switch namespace + "/" + service {
	case "lease-1/head":
		return []netip.Addr{netip.MustParseAddr("10.244.1.7"), netip.MustParseAddr("fd00::7")}, nil
	case "lease-1/broken":
		return nil, errors.New("cache is gone")
	case "lease-1/empty":
		return nil, nil
	}
	return nil, ErrNoName
}}

func query(t *testing.T, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := message.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestAnswer(t *testing.T) {
	cases := map[string]struct {
		name      string
		kind      dnsmessage.Type
		wantCode  dnsmessage.RCode
		wantCount int
	}{
		"a service by its full name":           {"head.lease-1.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1},
		"case does not matter":                 {"Head.LEASE-1.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1},
		"no IPv6 addresses, but the name is":   {"head.lease-1.svc.cluster.local.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, 0},
		"a headless service without ready pod": {"empty.lease-1.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 0},
		"no such service":                      {"other.lease-1.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
		"a pod of a service":                   {"pod.head.lease-1.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
		"a name outside the cluster":           {"head.lease-1.svc.example.org.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
		"a search domain was appended":         {"head.lease-1.svc.cluster.local.lease-1.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
		"the cache fails":                      {"broken.lease-1.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			packed, err := zone.Answer(query(t, tc.name, tc.kind))
			if err != nil {
				t.Fatal(err)
			}
			var reply dnsmessage.Message
			if err := reply.Unpack(packed); err != nil {
				t.Fatal(err)
			}
			if reply.RCode != tc.wantCode || len(reply.Answers) != tc.wantCount || reply.ID != 7 || !reply.Response {
				t.Errorf("got code %v with %d answers, id %d; want %v with %d", reply.RCode, len(reply.Answers), reply.ID, tc.wantCode, tc.wantCount)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 12))
	f.Fuzz(func(t *testing.T, packet []byte) {
		packed, err := zone.Answer(packet)
		if err != nil {
			return
		}
		var reply dnsmessage.Message
		if err := reply.Unpack(packed); err != nil {
			t.Errorf("reply does not parse: %v", err)
		}
	})
}
