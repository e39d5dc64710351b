// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/audit"
)

// export writes the records as kubectl does: one List.
func export(t *testing.T, records audit.Records) []byte {
	t.Helper()
	items := make([]any, 0, len(records.Leases)+len(records.Settlements)+len(records.FeeBurns)+1)
	kind := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: boursev1.GroupVersion.String(), Kind: kind}
	}
	for i := range records.Leases {
		records.Leases[i].TypeMeta = kind("GPULease")
		items = append(items, records.Leases[i])
	}
	for i := range records.Settlements {
		records.Settlements[i].TypeMeta = kind("Settlement")
		items = append(items, records.Settlements[i])
	}
	for i := range records.FeeBurns {
		records.FeeBurns[i].TypeMeta = kind("FeeBurn")
		items = append(items, records.FeeBurns[i])
	}
	items = append(items, map[string]any{"apiVersion": "v1", "kind": "Secret", "surprise": true})
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items, "metadata": map[string]any{"resourceVersion": ""}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func asYAML(t *testing.T, raw []byte) []byte {
	t.Helper()
	text, err := yaml.JSONToYAML(raw)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestExportsAreReadAsTheyWere(t *testing.T) {
	_, records := world(t)
	list := export(t, records)
	written := time.Date(2027, time.March, 2, 0, 0, 0, 0, time.UTC)
	var documents strings.Builder
	var each struct{ Items []json.RawMessage }
	if err := json.Unmarshal(list, &each); err != nil {
		t.Fatal(err)
	}
	for _, item := range each.Items {
		documents.WriteString("---\n" + string(asYAML(t, item)))
	}
	file := func(data []byte) *fstest.MapFile { return &fstest.MapFile{Data: data, ModTime: written} }
	folder := fstest.MapFS{"all/notes.txt": file([]byte("{"))}
	for i, item := range each.Items {
		folder["all/of/"+string(rune('a'+i))+".json"] = &fstest.MapFile{Data: item, ModTime: written.Add(-time.Duration(i) * time.Hour)}
	}
	cases := map[string]fstest.MapFS{
		"a list in JSON":         {"all": file(list)},
		"a list in YAML":         {"all": file(asYAML(t, list))},
		"several documents":      {"all": file([]byte(documents.String()))},
		"a folder of many files": folder,
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			got, at, err := audit.Read(files, "all")
			if err != nil || !at.Equal(written) {
				t.Fatalf("written %s, %v", at, err)
			}
			if diff := cmp.Diff(records, got); diff != "" {
				t.Errorf("records (-written +read):\n%s", diff)
			}
		})
	}
}

func TestExportsThatCannotBeBelievedAreRefused(t *testing.T) {
	_, records := world(t)
	good := string(asYAML(t, export(t, records)))
	line := good[strings.LastIndex(good[:strings.Index(good, "burned: 2000000")], "\n")+1:]
	line = line[:strings.Index(line, "\n")+1]
	cases := map[string]string{
		"nothing":            "",
		"no lease":           "apiVersion: v1\nkind: List\nitems: []\n",
		"half a file":        good[:len(good)/2] + "\n\t",
		"a misspelled field": strings.Replace(good, "supplierPaid:", "supplierPaie:", 1),
		"a field twice":      strings.Replace(good, line, line+line, 1),
		"text for a number":  strings.Replace(good, "burned: 2000000", "burned: many", 1),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			if text == good {
				t.Fatal("nothing was changed")
			}
			_, _, err := audit.Read(fstest.MapFS{"records.yaml": {Data: []byte(text)}}, "records.yaml")
			if !errors.Is(err, audit.ErrRecords) {
				t.Errorf("err = %v, want %v", err, audit.ErrRecords)
			}
		})
	}
	if _, _, err := audit.Read(fstest.MapFS{}, "nowhere"); err == nil {
		t.Error("read a file that is not there")
	}
}

// Whatever digit of an amount in an export is changed, the audit finds it.
func TestOneChangedByteIsFound(t *testing.T) {
	on, records := world(t)
	text := export(t, records)
	tried := 0
	for _, field := range []string{"supplierPaid", "burned", "debit", "grossTotal", "refunded", "treasuryPaid", "slot", "claims"} {
		for at := 0; ; {
			found := strings.Index(string(text[at:]), `"`+field+`":`)
			if found < 0 {
				break
			}
			at += found + len(field) + 3
			for i := at; text[i] >= '0' && text[i] <= '9'; i++ {
				changed := []byte(string(text))
				changed[i] = '1' + (changed[i]-'0')%9 // another digit, and never a leading zero
				got, _, err := audit.Read(fstest.MapFS{"r": {Data: changed}}, "r")
				if err != nil {
					t.Fatal(err)
				}
				if wrong := mismatch(t, on, got); wrong.Field == "" {
					t.Errorf("a changed %s is not named", field)
				}
				tried++
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d bytes were tried", tried)
	}
}
