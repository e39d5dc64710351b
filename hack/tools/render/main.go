// SPDX-License-Identifier: Apache-2.0

// Command render prints what `helm template` prints of the chart. It is Helm's own engine without what Helm has around it, which takes
// minutes to compile: the lab installs the chart with it, and a test holds it to Helm.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"helm.sh/helm/v4/pkg/strvals"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("render", flag.ContinueOnError)
	chart := fs.String("chart", "charts/bourse", "the chart's `folder`")
	namespace := fs.String("namespace", "bourse-system", "the release's `namespace`")
	values := map[string]any{}
	fs.Func("values", "a `file` with values; later ones count more", func(path string) error {
		more, err := common.ReadValuesFile(path)
		if err == nil {
			values = loader.MergeMaps(values, more)
		}
		return err
	})
	var sets []string
	fs.Func("set", "`key=value`, which counts more than files", func(set string) error { sets = append(sets, set); return nil })
	if err := fs.Parse(args); err != nil {
		return err
	}
	for _, set := range sets {
		if err := strvals.ParseInto(set, values); err != nil {
			return fmt.Errorf("parse --set %s: %w", set, err)
		}
	}
	return render(out, *chart, *namespace, values)
}

// render writes the chart's manifests in the order in which Helm installs them.
func render(out io.Writer, folder, namespace string, values map[string]any) error {
	chart, err := loader.Load(folder)
	if err != nil {
		return fmt.Errorf("load chart: %w", err)
	}
	release := common.ReleaseOptions{Name: chart.Name(), Namespace: namespace, Revision: 1, IsInstall: true}
	complete, err := util.ToRenderValues(chart, values, release, nil)
	if err != nil {
		return fmt.Errorf("check values: %w", err)
	}
	files, err := engine.Render(chart, complete)
	if err != nil {
		return fmt.Errorf("render: %w", err)
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	_, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return fmt.Errorf("sort manifests: %w", err)
	}
	for _, manifest := range manifests {
		if _, err := fmt.Fprintf(out, "---\n# Source: %s\n%s\n", manifest.Name, manifest.Content); err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
	}
	return nil
}
