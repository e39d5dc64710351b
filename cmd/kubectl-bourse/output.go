// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

// width is how wide what is printed for people is at most, but for what has to be copied whole.
const width = 120

// none stands where there is nothing to tell.
const none = "–"

// output is how an answer is printed: for people, or for programs.
type output string

func (o *output) add(to *pflag.FlagSet) {
	to.StringVarP((*string)(o), "output", "o", "", "json or yaml, for programs")
}

// print prints the answer for programs if that is asked for, and else as people does.
func (o output) print(to io.Writer, answer any, people func() error) error {
	switch o {
	case "":
		return people()
	case "json":
		text, err := json.MarshalIndent(answer, "", "  ")
		if err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		_, err = fmt.Fprintf(to, "%s\n", text)
		return err
	case "yaml":
		text, err := yaml.Marshal(answer)
		if err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		_, err = to.Write(text)
		return err
	default:
		return fmt.Errorf("--output %s: give json or yaml, or leave it out", o)
	}
}

// table prints rows under a head.
func table(to io.Writer, head string, rows [][]string) error {
	const gap = 2
	w := tabwriter.NewWriter(to, 0, 0, gap, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, "|", "\t"))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plain(cell, "")
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// short cuts a text to a number of characters, and shows that it did.
func short(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// plain shows that there are characters which steer a terminal instead of obeying them, but for those that are kept: strangers have written
// some of what is printed.
func plain(text, kept string) string {
	return strings.Map(func(r rune) rune {
		if (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) && !strings.ContainsRune(kept, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// wrapped breaks a text into lines that fit beside an indent.
func wrapped(text string, indent int) string {
	var out strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		long := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+long > width:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(plain(word, ""))
		at += long
	}
	return out.String()
}

// ago says how long something has lasted.
func ago(since, now time.Time) string {
	if since.IsZero() {
		return none
	}
	return duration.HumanDuration(max(0, now.Sub(since)))
}

// gpuHours writes GPU-milliseconds as GPU-hours, cut to hundredths.
func gpuHours(milliseconds int64) string {
	const msPerHundredth = 36_000
	hundredths := milliseconds / msPerHundredth
	return fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100) //nolint:mnd // hundredths
}
