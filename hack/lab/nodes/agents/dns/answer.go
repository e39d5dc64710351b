// SPDX-License-Identifier: Apache-2.0

// Package dns answers the names of a cluster's services over UDP and TCP.
// It decides which addresses a service name stands for; it forwards nothing and knows no name outside the cluster.
package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// ErrNoName says that the cluster has no service of the name that was asked for.
var ErrNoName = errors.New("no such name")

// Lookup finds the addresses of a service. It returns ErrNoName when there is no such service,
// and no addresses for a headless service without ready pods.
type Lookup func(namespace, service string) ([]netip.Addr, error)

const ttlSeconds = 2

// Zone answers the questions about one cluster domain.
type Zone struct {
	// Domain is the cluster domain without dots at its ends, as in "cluster.local".
	Domain string
	// Lookup finds a service's addresses.
	Lookup Lookup
}

// Answer makes the reply to one query, both in wire format.
func (z Zone) Answer(query []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil, fmt.Errorf("parse header: %w", err)
	}
	question, err := parser.Question()
	if err != nil {
		return nil, fmt.Errorf("parse question: %w", err)
	}
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true,
			OpCode: header.OpCode, RecursionDesired: header.RecursionDesired,
		},
		Questions: []dnsmessage.Question{question},
	}
	addresses, err := z.resolve(question.Name.String())
	switch {
	case errors.Is(err, ErrNoName):
		reply.RCode = dnsmessage.RCodeNameError
	case err != nil:
		reply.RCode = dnsmessage.RCodeServerFailure
	default:
		reply.Answers = records(question, addresses)
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack reply: %w", err)
	}
	return packed, nil
}

// resolve takes names of the form SERVICE.NAMESPACE.svc.DOMAIN.
func (z Zone) resolve(name string) ([]netip.Addr, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	rest, ok := strings.CutSuffix(name, ".svc."+z.Domain)
	if !ok {
		return nil, ErrNoName
	}
	service, namespace, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(namespace, ".") {
		return nil, ErrNoName
	}
	return z.Lookup(namespace, service)
}

func records(question dnsmessage.Question, addresses []netip.Addr) []dnsmessage.Resource {
	if question.Type != dnsmessage.TypeA && question.Type != dnsmessage.TypeALL {
		return nil
	}
	var answers []dnsmessage.Resource
	for _, address := range addresses {
		if !address.Is4() {
			continue
		}
		answers = append(answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: ttlSeconds},
			Body:   &dnsmessage.AResource{A: address.As4()},
		})
	}
	return answers
}
