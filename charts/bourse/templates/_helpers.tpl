{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- define "bourse.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "bourse.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "bourse.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "bourse.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "bourse.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "bourse.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "bourse.selectorLabels" -}}
app.kubernetes.io/name: {{ include "bourse.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bourse.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "bourse.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bourse
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "bourse.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{ .Values.image.repository }}:{{ $tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* Objects that people write to afterwards: made once, never changed or deleted by Helm. */ -}}
{{- define "bourse.onceAnnotations" -}}
helm.sh/hook: post-install,post-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/resource-policy: keep
{{- end }}

{{- /* The lease programs that wallets sign for: the named ones, else that of the Market which this chart makes. */ -}}
{{- define "bourse.leasePrograms" -}}
{{- if .Values.chain.leasePrograms }}
{{- join "," .Values.chain.leasePrograms }}
{{- else if .Values.market.create }}
{{- .Values.market.spec.programID }}
{{- end }}
{{- end }}

{{- /* What a role's wallet is: a key in a Secret, or a remote signer. Called with the role and its values. */ -}}
{{- define "bourse.walletArgs" -}}
{{- $signer := .wallet.signer }}
{{- if $signer.url -}}
- --{{ .role }}-signer-url={{ $signer.url }}
- --{{ .role }}-wallet={{ $signer.wallet }}
{{- if $signer.caSecretName }}
- --{{ .role }}-signer-ca=/signer/{{ .role }}/ca/ca.crt
{{- end }}
{{- if $signer.certificateSecretName }}
- --{{ .role }}-signer-cert=/signer/{{ .role }}/certificate/tls.crt
- --{{ .role }}-signer-key=/signer/{{ .role }}/certificate/tls.key
{{- end }}
{{- if $signer.tokenSecretName }}
- --{{ .role }}-signer-token=/signer/{{ .role }}/token/token
{{- end }}
{{- else -}}
- --{{ .role }}-keypair=/keys/{{ .role }}/{{ .wallet.keypair.key }}
{{- end }}
{{- with .wallet.dailyCaps }}
- --{{ $.role }}-daily-cap={{ join "," . }}
{{- end }}
{{- end }}

{{- /* The Secrets of a role's wallet, as a map from the volume's name to the Secret's name and where it is mounted. */ -}}
{{- define "bourse.walletSecrets" -}}
{{- $signer := .wallet.signer }}
{{- $found := list }}
{{- if $signer.url }}
{{- range $what := list "ca" "certificate" "token" }}
{{- with index $signer (printf "%sSecretName" $what) }}
{{- $found = append $found (dict "name" (printf "%s-signer-%s" $.role $what) "secret" . "path" (printf "/signer/%s/%s" $.role $what)) }}
{{- end }}
{{- end }}
{{- else }}
{{- $found = append $found (dict "name" (printf "%s-keypair" .role) "secret" .wallet.keypair.secretName "path" (printf "/keys/%s" .role)) }}
{{- end }}
{{- toYaml (dict "secrets" $found) }}
{{- end }}

{{- define "bourse.walletMounts" -}}
{{- range $i, $secret := (include "bourse.walletSecrets" . | fromYaml).secrets }}
{{- if $i }}
{{ end -}}
- name: {{ $secret.name }}
  mountPath: {{ $secret.path }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "bourse.walletVolumes" -}}
{{- range $i, $secret := (include "bourse.walletSecrets" . | fromYaml).secrets }}
{{- if $i }}
{{ end -}}
- name: {{ $secret.name }}
  secret:
    secretName: {{ $secret.secret }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- /* Whether this manager has the wallet of the market's authority. */ -}}
{{- define "bourse.hasAuthority" -}}
{{- if and (has "market" .Values.roles) (or .Values.authority.keypair.secretName .Values.authority.signer.url) }}true{{ end }}
{{- end }}

{{- /* Whether strangers can join this hub. */ -}}
{{- define "bourse.hasJoin" -}}
{{- if and (has "market" .Values.roles) .Values.join.enabled }}true{{ end }}
{{- end }}

{{- /* Whether buyers see logs and dashboards through this hub. */ -}}
{{- define "bourse.hasGateway" -}}
{{- if and (has "market" .Values.roles) .Values.gateway.enabled }}true{{ end }}
{{- end }}

{{- /* What a flow schema matches any request with. */ -}}
{{- define "bourse.anyRequest" -}}
resourceRules:
  - apiGroups: ["*"]
    resources: ["*"]
    verbs: ["*"]
    clusterScope: true
    namespaces: ["*"]
nonResourceRules:
  - nonResourceURLs: ["*"]
    verbs: ["*"]
{{- end }}

{{- /* Whether this manager reaches its hub by having joined it. */ -}}
{{- define "bourse.hasJoined" -}}
{{- if and .Values.hub.join.url (not (has "market" .Values.roles)) }}true{{ end }}
{{- end }}

{{- /* The Secrets of a join server and of a member that joined, as a map from the volume's name to the Secret's name and where it is mounted. */ -}}
{{- define "bourse.joinSecrets" -}}
{{- $found := dict }}
{{- if include "bourse.hasJoin" . }}
{{- with .Values.join.certificateSecretName }}
{{- $_ := set $found "join-certificate" (dict "secret" . "path" "/join-certificate") }}
{{- end }}
{{- with .Values.join.hubCASecretName }}
{{- $_ := set $found "join-hub-ca" (dict "secret" . "path" "/join-hub-ca") }}
{{- end }}
{{- end }}
{{- if include "bourse.hasJoined" . }}
{{- $_ := set $found "hub-agent-key" (dict "secret" .Values.hub.join.agentKey.secretName "path" "/keys/hub-agent") }}
{{- with .Values.hub.join.caSecretName }}
{{- $_ := set $found "hub-join-ca" (dict "secret" . "path" "/hub-join-ca") }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{- /* Whether agents run on this cluster's nodes: only a supplier has use for them. */ -}}
{{- define "bourse.hasAgent" -}}
{{- if and (has "supplier" .Values.roles) .Values.agent.enabled }}true{{ end }}
{{- end }}

{{- define "bourse.agentSelectorLabels" -}}
app.kubernetes.io/name: {{ include "bourse.name" . | trunc 57 }}-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bourse.agentLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "bourse.agentSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bourse
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "bourse.agentImage" -}}
{{- $tag := default .Chart.AppVersion .Values.agent.image.tag -}}
{{ .Values.agent.image.repository }}:{{ $tag }}{{ with .Values.agent.image.digest }}@{{ . }}{{ end }}
{{- end }}
