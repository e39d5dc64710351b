// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"slices"
	"strings"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// AddToScheme adds KubeRay's types to a scheme.
func AddToScheme(scheme *runtime.Scheme) error { return rayv1.AddToScheme(scheme) }

// Kinds returns an empty object of each of KubeRay's kinds that a lease may have, for watches.
func Kinds() []client.Object { return []client.Object{&rayv1.RayCluster{}, &rayv1.RayJob{}} }

// Reserved says whether an environment variable is the operator's own: it could show GPUs that the lease does not have, or another part of its
// job.
func Reserved(name string) bool {
	return strings.HasPrefix(name, "RAY_") || strings.HasPrefix(name, "NVIDIA_") || strings.HasPrefix(name, "BOURSE_PART")
}

// Interactive says whether the lease is a Ray cluster for its buyer to use, instead of a program that ends by itself.
func (p Plan) Interactive() bool { return p.Run == "" }

// Empty returns an object of the kind that a lease runs in its namespace, to read it into.
func Empty(namespace string, interactive bool) client.Object {
	if interactive {
		return &rayv1.RayCluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name}}
	}
	return &rayv1.RayJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name}}
}

// Objects returns what the lease runs, in the order in which it must exist; the last one is the RayCluster or RayJob.
func (p Plan) Objects() []client.Object {
	objects := []client.Object{&corev1.Secret{
		ObjectMeta: p.meta(TokenName), Immutable: new(true), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{tokenKey: []byte(p.Token)},
	}}
	if p.Program != "" {
		objects = append(objects, &corev1.ConfigMap{
			ObjectMeta: p.meta(ProgramName), Immutable: new(true), Data: map[string]string{programFile: p.Program},
		})
	}
	if p.Interactive() {
		return append(objects, &rayv1.RayCluster{ObjectMeta: p.meta(Name), Spec: p.cluster()})
	}
	return append(objects, &rayv1.RayJob{ObjectMeta: p.meta(Name), Spec: rayv1.RayJobSpec{
		SubmissionMode: rayv1.HTTPMode, // a submitter pod would need a place of its own
		Entrypoint:     p.Run,
		RayClusterSpec: new(p.cluster()),
		BackoffLimit:   new(int32(0)), // a second try is the buyer's to pay for and to decide
		// The pods stay until the last usage record is made: their state is the meter's truth.
		ShutdownAfterJobFinishes: false,
	}})
}

func (p Plan) cluster() rayv1.RayClusterSpec {
	head := p
	head.Hosts = p.HeadHosts
	return rayv1.RayClusterSpec{
		RayVersion:  p.Version,
		AuthOptions: &rayv1.AuthOptions{Mode: rayv1.AuthModeToken, SecretName: new(TokenName)},
		HeadGroupSpec: rayv1.HeadGroupSpec{
			ServiceType:    corev1.ServiceTypeClusterIP,
			EnableIngress:  new(false),
			RayStartParams: map[string]string{"num-cpus": "0", "num-gpus": "0"}, // tasks run on workers only
			Template:       head.template(headContainer, equal(p.HeadCPU, p.HeadMemory, 0)),
		},
		WorkerGroupSpecs: []rayv1.WorkerGroupSpec{{
			GroupName:      workerGroup,
			Replicas:       new(p.Workers),
			MinReplicas:    new(p.Workers),
			MaxReplicas:    new(p.Workers),
			RayStartParams: map[string]string{},
			Template:       p.template(workContainer, equal(p.WorkerCPU, p.WorkerMemory, p.PerWorker)),
		}},
	}
}

func (p Plan) template(name string, resources corev1.ResourceRequirements) corev1.PodTemplateSpec {
	own := append([]corev1.EnvVar{{Name: "RAY_USAGE_STATS_ENABLED", Value: "0"}}, hideGPUs(resources)...)
	container := corev1.Container{Name: name, Image: p.Image, Resources: resources, Env: slices.Concat(p.Env, own)}
	if p.Program != "" {
		container.VolumeMounts = []corev1.VolumeMount{{Name: ProgramName, MountPath: programFolder, ReadOnly: true}}
	}
	spec := p.pod(container)
	spec.TerminationGracePeriodSeconds = new(p.Notice)
	if p.Program != "" {
		spec.Volumes = []corev1.Volume{{Name: ProgramName, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: ProgramName}},
		}}}
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: p.labels()}, Spec: spec}
}
