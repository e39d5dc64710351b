// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// manifest is a file under testdata: its documents are versions of one object, applied in order. All but the last must be
// accepted; the last has the verdict that the file's head states, and a refusal names the field and says why.
type manifest struct {
	path, verdict, field, says string
	versions                   []*unstructured.Unstructured
}

func TestManifests(t *testing.T) {
	c, err := client.New(apiServer, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	c = client.WithFieldValidation(c, metav1.FieldValidationStrict)
	count := map[string]int{}
	for _, m := range manifests(t) {
		count[m.verdict]++
		t.Run(strings.TrimSuffix(m.path, ".yaml"), func(t *testing.T) {
			err := apply(t, c, m.versions)
			if m.verdict == "valid" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if m.verdict == "invalid" {
				checkRefusal(t, m, err)
			}
		})
	}
	if count["valid"] < 40 || count["invalid"] < 60 {
		t.Errorf("%d valid and %d invalid manifests, want at least 40 and 60", count["valid"], count["invalid"])
	}
}

// apply creates the first version and updates to the others; it returns what the API server says of the last one.
func apply(t *testing.T, c client.Client, versions []*unstructured.Unstructured) error {
	t.Helper()
	for i, obj := range versions {
		last := i == len(versions)-1
		status, hasStatus := obj.Object["status"]
		var err error
		if i == 0 {
			if err = c.Create(t.Context(), obj); err == nil {
				t.Cleanup(func() { remove(t, c, obj) })
			}
		} else {
			obj.SetResourceVersion(versions[i-1].GetResourceVersion())
			err = c.Update(t.Context(), obj)
		}
		if err == nil && hasStatus {
			obj.Object["status"] = status
			err = c.Status().Update(t.Context(), obj)
		}
		if last {
			return err
		}
		if err != nil {
			t.Fatalf("version %d of %d must be accepted: %v", i+1, len(versions), err)
		}
	}
	return nil
}

func remove(t *testing.T, c client.Client, obj client.Object) {
	t.Helper()
	// The test's own context has ended by the time cleanup runs.
	if err := c.Delete(cleanupContext(), obj); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func checkRefusal(t *testing.T, m manifest, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted, want it refused")
	}
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Details == nil {
		t.Fatalf("refused without details: %v", err)
	}
	var seen []string
	for _, cause := range status.ErrStatus.Details.Causes {
		if cause.Field == m.field && strings.Contains(cause.Message, m.says) {
			return
		}
		seen = append(seen, fmt.Sprintf("%s: %s", cause.Field, cause.Message))
	}
	t.Errorf("want a refusal of %s that says %q, got:\n%s", m.field, m.says, strings.Join(seen, "\n"))
}

func manifests(t *testing.T) []manifest {
	t.Helper()
	root := filepath.Join("..", "testdata", "manifests")
	var found []manifest
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		m, err := parse(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if m.path, err = filepath.Rel(root, path); err != nil {
			return err
		}
		found = append(found, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func parse(path string) (manifest, error) {
	var m manifest
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ": ")
		switch name {
		case "verdict":
			m.verdict = value
		case "field":
			m.field = value
		case "says":
			m.says = value
		}
	}
	if m.verdict != "valid" && (m.verdict != "invalid" || m.field == "" || m.says == "") {
		return m, errors.New("the head must state a verdict, and for an invalid one the field and what is said of it")
	}
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(doc, &obj.Object); err != nil {
			return m, err
		}
		m.versions = append(m.versions, obj)
	}
	return m, nil
}
