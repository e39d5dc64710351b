// SPDX-License-Identifier: Apache-2.0

// Command chart renders and lints the chart as `helm template` and `helm lint --strict` do. It is Helm's own engine without what Helm has
// around it, which takes minutes to compile; the chart's tests pass with either.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"helm.sh/helm/v4/pkg/strvals"
)

const usage = "usage: chart template|lint [--root FOLDER] [--namespace NAME] [--values FILE]... [--set KEY=VALUE]... CHART"

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	fs := flag.NewFlagSet("chart", flag.ContinueOnError)
	root := fs.String("root", ".", "the `folder` that paths begin in")
	namespace := fs.String("namespace", "bourse-system", "the release's `namespace`")
	var files, sets []string
	fs.Func("values", "a `file` with values; later ones count more", func(file string) error { files = append(files, file); return nil })
	fs.Func("set", "`key=value`, which counts more than files", func(set string) error { sets = append(sets, set); return nil })
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if err := os.Chdir(*root); err != nil {
		return fmt.Errorf("change to root: %w", err)
	}
	values, err := merge(files, sets)
	if err != nil {
		return err
	}
	switch {
	case fs.NArg() != 1:
		return errors.New(usage)
	case args[0] == "template":
		return render(out, fs.Arg(0), *namespace, values)
	case args[0] == "lint":
		return check(out, fs.Arg(0), *namespace, values)
	default:
		return errors.New(usage)
	}
}

func merge(files, sets []string) (map[string]any, error) {
	values := map[string]any{}
	for _, file := range files {
		more, err := common.ReadValuesFile(file)
		if err != nil {
			return nil, fmt.Errorf("read values: %w", err)
		}
		values = loader.MergeMaps(values, more)
	}
	for _, set := range sets {
		if err := strvals.ParseInto(set, values); err != nil {
			return nil, fmt.Errorf("parse --set %s: %w", set, err)
		}
	}
	return values, nil
}

// render writes the chart's manifests in the order in which Helm installs them, and then its hooks.
func render(out io.Writer, folder, namespace string, values map[string]any) error {
	chart, err := loader.Load(folder)
	if err != nil {
		return fmt.Errorf("load chart: %w", err)
	}
	release := common.ReleaseOptions{Name: chart.Name(), Namespace: namespace, Revision: 1, IsInstall: true}
	complete, err := util.ToRenderValues(chart, values, release, nil)
	if err != nil {
		return err
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
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return fmt.Errorf("sort manifests: %w", err)
	}
	const form = "---\n# Source: %s\n%s\n"
	var all, after strings.Builder
	for _, manifest := range manifests {
		fmt.Fprintf(&all, form, manifest.Name, manifest.Content)
	}
	for _, hook := range hooks {
		fmt.Fprintf(&after, form, hook.Path, hook.Manifest)
	}
	if _, err := fmt.Fprintf(out, "%s\n%s", strings.TrimSpace(all.String()), after.String()); err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	return nil
}

// check lints the chart. A warning is as bad as an error.
func check(out io.Writer, folder, namespace string, values map[string]any) error {
	var worst []error
	for _, message := range lint.RunAll(folder, values, namespace).Messages {
		fmt.Fprintln(out, message)
		if message.Severity >= support.WarningSev {
			worst = append(worst, message.Err)
		}
	}
	return errors.Join(worst...)
}
