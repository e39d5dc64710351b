// SPDX-License-Identifier: Apache-2.0

// Package integration runs what needs a real API server: the CRDs with their rules, and the chart.
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// apiServer is the one API server of this package's tests.
var apiServer *rest.Config

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		fmt.Fprintln(os.Stderr, "KUBEBUILDER_ASSETS is not set: run `make integration`, which builds the API server first")
		return 1
	}
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	cfg, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the API server:", err)
		return 1
	}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the API server:", err)
		}
	}()
	apiServer = cfg
	return m.Run()
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := boursev1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// cleanupContext is for what runs after a test's own context has ended.
func cleanupContext() context.Context { return context.Background() }
