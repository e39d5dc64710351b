// SPDX-License-Identifier: Apache-2.0

package nodeapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// Where a pod finds its service account.
const (
	accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"
	serviceHost   = "KUBERNETES_SERVICE_HOST"
	servicePort   = "KUBERNETES_SERVICE_PORT"
)

// Access is how an API server is reached. The usual client library could say so too; it would take a tenth more of a node's memory.
type Access struct {
	address string
	tls     *tls.Config
	token   func() (string, error) // read again for each request, because tokens of pods are replaced
}

// InPod is the access of the pod's service account.
func InPod() (Access, error) {
	return inPod(accountFolder, os.Getenv(serviceHost), os.Getenv(servicePort))
}

func inPod(folder, host, port string) (Access, error) {
	if host == "" || port == "" {
		return Access{}, errors.New("find a cluster: this is no pod; run the agent in one, or give --kubeconfig")
	}
	authorities, err := os.ReadFile(filepath.Join(folder, "ca.crt")) //nolint:gosec // the kubelet's own folder
	if err != nil {
		return Access{}, fmt.Errorf("read certificate authorities: %w", err)
	}
	config, err := tlsConfig(authorities, nil, nil)
	return Access{"https://" + net.JoinHostPort(host, port), config, tokenFile(filepath.Join(folder, "token"))}, err
}

// kubeconfig is the part of such a file that is read.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	Clusters []struct {
		Name    string  `json:"name"`
		Cluster cluster `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		Name string `json:"name"`
		User user   `json:"user"`
	} `json:"users"`
}

type cluster struct {
	Server          string `json:"server"`
	Authority       string `json:"certificate-authority"`
	AuthorityData   []byte `json:"certificate-authority-data"`
	ServerName      string `json:"tls-server-name"`
	InsecureSkipTLS bool   `json:"insecure-skip-tls-verify"`
}

type user struct {
	Certificate     string         `json:"client-certificate"`
	CertificateData []byte         `json:"client-certificate-data"`
	Key             string         `json:"client-key"`
	KeyData         []byte         `json:"client-key-data"`
	Token           string         `json:"token"`
	TokenFile       string         `json:"tokenFile"`
	Exec            map[string]any `json:"exec"`
	Provider        map[string]any `json:"auth-provider"`
}

// FromFile is the access of a kubeconfig's current context, by a certificate or a token. Commands that the file names are not run.
func FromFile(path string) (Access, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the administrator names the file
	if err != nil {
		return Access{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	var file kubeconfig
	if err := yaml.Unmarshal(text, &file); err != nil {
		return Access{}, fmt.Errorf("%s is no kubeconfig: the text cannot be read", path) // the error would quote it
	}
	server, who, err := file.current()
	if err != nil {
		return Access{}, fmt.Errorf("%s: %w", path, err)
	}
	access, err := accessOf(filepath.Dir(path), server, who)
	if err != nil {
		return Access{}, fmt.Errorf("%s: %w", path, err)
	}
	return access, nil
}

func (k *kubeconfig) current() (cluster, user, error) {
	for _, context := range k.Contexts {
		if context.Name != k.CurrentContext {
			continue
		}
		for _, c := range k.Clusters {
			for _, u := range k.Users {
				if c.Name == context.Context.Cluster && u.Name == context.Context.User {
					return c.Cluster, u.User, nil
				}
			}
		}
	}
	return cluster{}, user{}, errors.New("its current context names no cluster and user of the file")
}

func accessOf(folder string, server cluster, who user) (Access, error) {
	if server.InsecureSkipTLS {
		return Access{}, errors.New("insecure-skip-tls-verify would send what the agent says to anybody: give certificate-authority")
	}
	if who.Exec != nil || who.Provider != nil {
		return Access{}, errors.New("exec and auth-provider are not supported: give a token, a tokenFile or a certificate")
	}
	parts := [][]byte{server.AuthorityData, who.CertificateData, who.KeyData}
	for i, path := range []string{server.Authority, who.Certificate, who.Key} {
		if len(parts[i]) > 0 || path == "" {
			continue
		}
		content, err := os.ReadFile(beside(folder, path))
		if err != nil {
			return Access{}, err
		}
		parts[i] = content
	}
	config, err := tlsConfig(parts[0], parts[1], parts[2])
	if err != nil {
		return Access{}, err
	}
	config.ServerName = server.ServerName
	access := Access{address: strings.TrimSuffix(server.Server, "/"), tls: config, token: func() (string, error) { return who.Token, nil }}
	if who.TokenFile != "" {
		access.token = tokenFile(beside(folder, who.TokenFile))
	}
	return access, nil
}

// beside finds a file that is named in one of the folder.
func beside(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

func tokenFile(path string) func() (string, error) {
	return func() (string, error) {
		text, err := os.ReadFile(path) //nolint:gosec // the kubelet's or the administrator's own file
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
}

// tlsConfig trusts the authorities, or the system's if there are none, and shows the certificate, if there is one.
func tlsConfig(authorities, certificate, key []byte) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, errors.New("the certificate authorities cannot be read")
		}
	}
	if len(certificate) > 0 {
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, errors.New("the client's certificate and key do not belong together")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
