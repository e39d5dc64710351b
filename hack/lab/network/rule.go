// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// Counts are what a member's firewall has seen so far, in packets.
type Counts struct {
	// Asked left the member for the hub, and Answers came back.
	Asked, Answers uint64
	// Refused are attempts of others to reach the member. Entered are those of them that got past the rules, counted apart from these.
	Refused, Entered uint64
	// Astray went elsewhere than to the hub, and Late belonged to no connection any more. Both are dropped.
	Astray, Late uint64
}

// table is that of the firewall's rules in every namespace.
const table = "bourse"

var rules = template.Must(template.New("rules").Parse(`
{{- define "member" -}}
table inet bourse {
	counter asked {}
	counter answers {}
	counter refused {}
	counter entered {}
	counter astray {}
	counter late {}
	chain input {
		type filter hook input priority 0; policy drop;
		iifname "lo" accept
		ct state established,related ct direction reply counter name "answers" accept
		tcp flags & (fin | syn | rst | ack) == syn counter name "refused" drop
		meta l4proto { udp, sctp } counter name "refused" drop
		icmp type echo-request counter name "refused" drop
		meta l4proto tcp counter name "late" drop
	}
	chain entered {
		type filter hook input priority 10; policy accept;
		iifname != "lo" ct direction original counter name "entered"
	}
	chain output {
		type filter hook output priority 0; policy drop;
		oifname "lo" accept
		ip daddr {{ .Hub }} tcp dport { {{ .API }}, {{ .Chain }}, {{ .Gateway }} } counter name "asked" accept
		meta l4proto { tcp, udp, sctp } counter name "astray" drop
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
	}
}
{{ end -}}
{{- define "hub" -}}
table inet bourse {
	chain input {
		type filter hook input priority 0; policy drop;
		iifname "lo" accept
		ct state established,related accept
		ip daddr {{ .Hub }} tcp dport { {{ .API }}, {{ .Chain }}, {{ .Gateway }} } accept
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
	}
}
{{ end -}}
`))

func render(which string) string {
	var text strings.Builder
	// A template that was parsed and is given all of its values has no way to fail.
	_ = rules.ExecuteTemplate(&text, which, map[string]any{"Hub": HubAddress, "API": APIPort, "Chain": ChainPort, "Gateway": GatewayPort})
	return text.String()
}

// memberRules let a member call the hub, and let nothing in but the answers.
func memberRules() string { return render("member") }

// hubRules let members call what the hub offers them, and not each other.
func hubRules() string { return render("hub") }

// Count reads the firewall of a member.
func (p Place) Count(ctx context.Context) (Counts, error) {
	args := inside(filepath.Base(p.Namespace), "nft", "-j", "list", "counters", "table", "inet", table)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return Counts{}, fmt.Errorf("list counters: %w: %s", err, exit.Stderr)
	}
	if err != nil {
		return Counts{}, fmt.Errorf("list counters: %w", err)
	}
	return parseCounts(out)
}

func parseCounts(list []byte) (Counts, error) {
	var read struct {
		Objects []struct {
			Counter *struct {
				Name    string
				Packets uint64
			}
		} `json:"nftables"`
	}
	if err := json.Unmarshal(list, &read); err != nil {
		return Counts{}, fmt.Errorf("parse counters: %w", err)
	}
	var counts Counts
	fields := map[string]*uint64{
		"asked": &counts.Asked, "answers": &counts.Answers, "refused": &counts.Refused,
		"entered": &counts.Entered, "astray": &counts.Astray, "late": &counts.Late,
	}
	for _, object := range read.Objects {
		if object.Counter == nil {
			continue
		}
		if field := fields[object.Counter.Name]; field != nil {
			*field = object.Counter.Packets
			delete(fields, object.Counter.Name)
		}
	}
	if len(fields) > 0 {
		return Counts{}, fmt.Errorf("the firewall lacks %d of its counters", len(fields))
	}
	return counts, nil
}
