// SPDX-License-Identifier: Apache-2.0

// Package nodeapi reads and writes one node's GPUNode and the Lease by which its agent shows that it is there. It keeps no copy of anything
// and asks only when it is asked, because an agent has to be small.
package nodeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

const (
	timeout   = 10 * time.Second
	idle      = 90 * time.Second // longer than two readings are apart
	mostBytes = 1 << 20          // a GPUNode with every device it may have takes a tenth of it

	jsonType  = "application/json"
	patchType = "application/merge-patch+json"

	// beatName is how the Leases begin by which agents show that they are there; the node's name follows.
	beatName = "bourse-agent-"
	// beatSeconds is for how long one sign of life counts.
	beatSeconds = 120
)

// Client is for one node.
type Client struct {
	access          Access
	server          *http.Client
	node, namespace string
	labels          map[string]string
}

// New returns a client for the node's object and for its Lease in the namespace. A GPUNode that it creates has the labels.
func New(access Access, node, namespace string, labels map[string]string) *Client {
	transport := &http.Transport{
		TLSClientConfig: access.tls, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: timeout, MaxIdleConns: 1, IdleConnTimeout: idle,
		DialContext: (&net.Dialer{Timeout: timeout}).DialContext,
	}
	return &Client{access, &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: stay}, node, namespace, labels}
}

// stay follows no redirection: the token is for the API server alone.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Get returns the node's object, and creates it if there is none.
func (c *Client) Get(ctx context.Context) (*boursev1.GPUNode, error) {
	node := &boursev1.GPUNode{}
	err := c.do(ctx, http.MethodGet, c.nodes(c.node), "", nil, node)
	if !apierrors.IsNotFound(err) {
		return node, wrap("read GPUNode", err)
	}
	created := &boursev1.GPUNode{
		TypeMeta:   metav1.TypeMeta{APIVersion: boursev1.GroupVersion.String(), Kind: "GPUNode"},
		ObjectMeta: metav1.ObjectMeta{Name: c.node, Labels: c.labels},
	}
	return node, wrap("create GPUNode", c.do(ctx, http.MethodPost, c.nodes(), jsonType, created, node))
}

// status is a whole status in a patch: what is not there is removed.
type status struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Conditions    []metav1.Condition   `json:"conditions"`
		DriverVersion *string              `json:"driverVersion"`
		BootID        *string              `json:"bootID"`
		GPUs          *int32               `json:"gpus"`
		Healthy       *int32               `json:"healthy"`
		Devices       []boursev1.GPUDevice `json:"devices"`
		Recycled      *string              `json:"recycled"`
		Record        *boursev1.NodeRecord `json:"record"`
	} `json:"status"`
}

// Write writes the node's status, if the object is still the one that was read; otherwise it returns a conflict (apierrors.IsConflict).
func (c *Client) Write(ctx context.Context, node *boursev1.GPUNode) error {
	var patch status
	patch.Metadata.ResourceVersion = node.ResourceVersion
	from, to := &node.Status, &patch.Status
	to.Conditions, to.Devices, to.GPUs, to.Healthy = from.Conditions, from.Devices, from.GPUs, from.Healthy
	to.DriverVersion, to.BootID, to.Recycled = unless(from.DriverVersion, ""), unless(from.BootID, ""), unless(from.Recycled, "")
	to.Record = unless(from.Record, boursev1.NodeRecord{})
	return wrap("write GPUNode", c.do(ctx, http.MethodPatch, c.nodes(c.node, "status"), patchType, patch, nil))
}

// unless returns a pointer to the value, or nil for the one that stands for none.
func unless[T comparable](value, none T) *T {
	if value == none {
		return nil
	}
	return &value
}

// Beat shows that the agent is there.
func (c *Client) Beat(ctx context.Context, now time.Time) error {
	name := beatName + c.node
	lease := &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: c.namespace},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new(c.node), LeaseDurationSeconds: new(int32(beatSeconds)), RenewTime: &metav1.MicroTime{Time: now},
		},
	}
	folder := "/apis/coordination.k8s.io/v1/namespaces/" + url.PathEscape(c.namespace) + "/leases"
	err := c.do(ctx, http.MethodPatch, folder+"/"+url.PathEscape(name), patchType, lease, nil)
	if apierrors.IsNotFound(err) {
		err = c.do(ctx, http.MethodPost, folder, jsonType, lease, nil)
	}
	return wrap("renew Lease", err)
}

func (c *Client) nodes(parts ...string) string {
	path := []string{"/apis", boursev1.GroupVersion.String(), "gpunodes"}
	for _, part := range parts {
		path = append(path, url.PathEscape(part))
	}
	return strings.Join(path, "/")
}

// do sends a request and reads what it is answered. What the API server refuses is an apierrors.StatusError.
func (c *Client) do(ctx context.Context, method, path, contentType string, body, into any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.access.address+path, content)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	token, err := c.access.token()
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("Accept", jsonType)
	request.Header.Set("User-Agent", "bourse-agent")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.server.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	answer, err := io.ReadAll(io.LimitReader(response.Body, mostBytes))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refusal(response.StatusCode, answer)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// refusal is what an API server says when it does not do what it was asked to.
func refusal(code int, answer []byte) error {
	status := metav1.Status{}
	if json.Unmarshal(answer, &status) != nil || status.Kind != "Status" || status.Code == 0 {
		status = metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Reason: metav1.StatusReasonUnknown, Message: http.StatusText(code)} //nolint:gosec // an HTTP status
	}
	return &apierrors.StatusError{ErrStatus: status}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
