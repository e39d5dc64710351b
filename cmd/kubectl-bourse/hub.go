// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// hubFlags say which hub is asked, as kubectl's flags of the same names do.
type hubFlags struct {
	kubeconfig string
	context    string
	namespace  string
}

func (f *hubFlags) add(to *pflag.FlagSet) {
	to.StringVar(&f.kubeconfig, "kubeconfig", "", "file with access to the market's hub (default $KUBECONFIG, then ~/.kube/config)")
	to.StringVar(&f.context, "context", "", "the context of that file to use")
	to.StringVarP(&f.namespace, "namespace", "n", "", "your namespace in the hub (default that of the context)")
}

// open returns a client of the hub, and the namespace that is meant.
func (f *hubFlags) open() (client.Client, string, error) {
	config, namespace, err := f.load()
	if err != nil {
		return nil, "", err
	}
	hub, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return nil, "", fmt.Errorf("reach hub: %w", err)
	}
	return hub, namespace, nil
}

// load returns the access to the hub, and the namespace that is meant.
func (f *hubFlags) load() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: f.context}
	overrides.Context.Namespace = f.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1 // the API server's priority and fairness is the limit: of many jobs, each asks for its suppliers
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("read kubeconfig: %w", err)
	}
	return config, namespace, nil
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(boursev1.AddToScheme(scheme))
	return scheme
}
