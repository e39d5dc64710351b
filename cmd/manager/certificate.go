// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"

	certutil "k8s.io/client-go/util/cert"
)

// selfSign makes a certificate for the host in a folder that has none.
func selfSign(folder, host string) error {
	path := filepath.Join(folder, "tls.crt")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	certificate, key, err := certutil.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "tls.key"), key, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path, certificate, 0o644) //nolint:gosec // a certificate is for everybody
}
