// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/manifest"
)

// ErrRecords says that exported records cannot be read.
var ErrRecords = errors.New("unreadable records")

// List reads the records from the hub. Settlements come before the leases, so that none is of a lease that was not listed.
func List(ctx context.Context, hub client.Reader) (Records, error) {
	var burns boursev1.FeeBurnList
	var settlements boursev1.SettlementList
	var leases boursev1.GPULeaseList
	for _, list := range []client.ObjectList{&burns, &settlements, &leases} {
		if err := hub.List(ctx, list); err != nil {
			return Records{}, fmt.Errorf("list records: %w", err)
		}
	}
	return Records{Leases: leases.Items, Settlements: settlements.Items, FeeBurns: burns.Items}, nil
}

// Read reads records that kubectl wrote as YAML or JSON: a file, or all files of a folder and of those in it. It also returns when the
// newest of the files was written. Objects of other kinds are passed over; a field that the API does not have is an error.
func Read(files fs.FS, name string) (Records, time.Time, error) {
	var records Records
	var written time.Time
	err := fs.WalkDir(files, name, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || at != name && !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(at)) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.ModTime().After(written) {
			written = info.ModTime()
		}
		data, err := fs.ReadFile(files, at)
		if err != nil {
			return err
		}
		if err := records.parse(data); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	})
	if err != nil {
		return Records{}, time.Time{}, fmt.Errorf("read records: %w", err)
	}
	if len(records.Leases) == 0 {
		return Records{}, time.Time{}, fmt.Errorf("%w: there is no GPULease in %s", ErrRecords, name)
	}
	return records, written, nil
}

// parse adds the objects of one file, which may hold several documents, and lists.
func (r *Records) parse(data []byte) error {
	err := manifest.Each(data, func(kind string, raw []byte) error {
		switch kind {
		case "GPULease":
			return manifest.Append(&r.Leases, raw)
		case "Settlement":
			return manifest.Append(&r.Settlements, raw)
		case "FeeBurn":
			return manifest.Append(&r.FeeBurns, raw)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRecords, err)
	}
	return nil
}
