// SPDX-License-Identifier: Apache-2.0

// Package manifest reads the objects of Bourse's API from what kubectl reads and writes: YAML or JSON, several documents, and lists.
package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// ErrManifest says that a text holds no objects that can be read.
var ErrManifest = errors.New("unreadable manifest")

// Each calls do with the kind and the JSON of each of Bourse's objects in the text, those in lists one by one. Objects of other APIs are
// passed over.
func Each(text []byte, do func(kind string, raw []byte) error) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrManifest, err)
		}
		raw, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrManifest, err)
		}
		if err := each(raw, do); err != nil {
			return err
		}
	}
}

func each(raw []byte, do func(kind string, raw []byte) error) error {
	var head struct {
		metav1.TypeMeta `json:",inline"`

		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("%w: %w", ErrManifest, err)
	}
	for _, item := range head.Items {
		if err := each(item, do); err != nil {
			return err
		}
	}
	if head.APIVersion != boursev1.GroupVersion.String() || len(head.Items) > 0 {
		return nil
	}
	return do(head.Kind, raw)
}

// Append reads one object and adds it to the list. A field that the API does not have is an error.
func Append[T any](list *[]T, raw []byte) error {
	var object T
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&object); err != nil {
		return fmt.Errorf("%w: %w", ErrManifest, err)
	}
	*list = append(*list, object)
	return nil
}
