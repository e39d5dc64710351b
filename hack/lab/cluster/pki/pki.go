// SPDX-License-Identifier: Apache-2.0

// Package pki owns the throw-away certificate authority of one local cluster
// and the credentials that it signs. It does not know what they are used for.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime is how long a certificate is valid. A lab that lives longer must be made anew.
const lifetime = 30 * 24 * time.Hour

// Authority is a certificate authority and the folder with everything it signed.
type Authority struct {
	dir  string
	now  time.Time
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Identity is what one certificate says about its holder.
type Identity struct {
	// Name is the base name of the files.
	Name string
	// User and Groups are who the API server takes the holder for.
	User   string
	Groups []string
	// IPs and DNS are the addresses that the holder may serve on.
	IPs []net.IP
	DNS []string
}

// New makes an authority whose files (ca.crt, ca.key) lie in dir.
func New(dir string, now time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localcluster"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	a := &Authority{dir: dir, now: now, cert: cert, key: key}
	return a, a.write("ca", der, key)
}

// Issue signs a certificate for id and writes NAME.crt and NAME.key.
func (a *Authority) Issue(id Identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("draw serial: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id.User, Organization: id.Groups},
		NotBefore:    a.now.Add(-time.Hour),
		NotAfter:     a.now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses:  id.IPs,
		DNSNames:     id.DNS,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", id.Name, err)
	}
	return a.write(id.Name, der, key)
}

// Path returns the path of one of the authority's files.
func (a *Authority) Path(file string) string { return filepath.Join(a.dir, file) }

// Pool returns a pool that holds only this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster: {server: %[2]q, certificate-authority-data: %[4]s}
users:
- name: %[3]s
  user: {client-certificate-data: %[5]s, client-key-data: %[6]s}
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[3]s}
current-context: %[1]s
`

// Kubeconfig writes file: how the holder of the issued certificate name reaches the named cluster at server.
func (a *Authority) Kubeconfig(file, cluster, server, name string) error {
	var data [3]string
	for i, f := range []string{"ca.crt", name + ".crt", name + ".key"} {
		b, err := os.ReadFile(a.Path(f))
		if err != nil {
			return fmt.Errorf("read credential: %w", err)
		}
		data[i] = base64.StdEncoding.EncodeToString(b)
	}
	text := fmt.Sprintf(kubeconfig, cluster, server, name, data[0], data[1], data[2])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

func (a *Authority) write(name string, der []byte, key *ecdsa.PrivateKey) error {
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	blocks := map[string]*pem.Block{
		name + ".key": {Type: "EC PRIVATE KEY", Bytes: private},
		name + ".crt": {Type: "CERTIFICATE", Bytes: der},
	}
	for file, block := range blocks {
		if err := os.WriteFile(a.Path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("write credential: %w", err)
		}
	}
	return nil
}
