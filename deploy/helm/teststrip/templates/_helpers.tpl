{{- define "teststrip.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A list (chart, component): the labels that select its pods. */}}
{{- define "teststrip.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "teststrip.labels" -}}
{{- $root := index . 0 -}}
{{ include "teststrip.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* A list (chart, image): registry/name:tag-variant@digest */}}
{{- define "teststrip.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.name }}:{{ default $root.Chart.AppVersion $root.Values.image.tag -}}
{{- with $image.variant }}-{{ . }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* A list (chart, component, account): what every pod of ours has, "restricted" in Kubernetes' words. */}}
{{- define "teststrip.pod" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
serviceAccountName: {{ include "teststrip.name" $root }}-{{ index . 2 }}
automountServiceAccountToken: false
# Else the cluster sets TESTSTRIP_..._PORT for each Service of that name, which are no settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with (index $root.Values $component).nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index $root.Values $component).tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A list (chart, image): what every container of ours has. */}}
{{- define "teststrip.container" -}}
{{- $root := index . 0 -}}
image: {{ include "teststrip.image" . | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* A list (Secret, name, name ...): variables from its keys of the same names. */}}
{{- define "teststrip.fromSecret" -}}
{{- $secret := first . -}}
{{- if $secret -}}
{{- range rest . }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ . }}}}
{{- end }}
{{- end -}}
{{- end -}}

{{/* A list (prefix, map): variables from values. Numbers are floats here: 1048576 is not 1.048576e+06. */}}
{{- define "teststrip.settings" -}}
{{- $prefix := index . 0 -}}
{{- range $name, $value := index . 1 }}
{{- if kindIs "float64" $value }}
{{- $value = ternary (int64 $value) $value (eq (floor $value) $value) }}
{{- end }}
- {name: {{ $prefix }}{{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end -}}

{{/* Where everything of ours may write: /data and /tmp. */}}
{{- define "teststrip.home" -}}
- {name: HOME, value: /data}
- {name: TESTSTRIP_HOME, value: /data}
{{- end -}}

{{- define "teststrip.trackingUri" -}}
{{- if .Values.mlflow.uri -}}
{{- .Values.mlflow.uri -}}
{{- else if .Values.track.enabled -}}
http://{{ include "teststrip.name" . }}-track:5000
{{- end -}}
{{- end -}}

{{/* What a client of the tracking server needs, and no more: no keys of the bucket. */}}
{{- define "teststrip.trackingClient" -}}
{{- with include "teststrip.trackingUri" . }}
- {name: MLFLOW_TRACKING_URI, value: {{ . | quote }}}
{{- end }}
{{- include "teststrip.fromSecret" (list .Values.secrets.mlflow "MLFLOW_TRACKING_USERNAME" "MLFLOW_TRACKING_PASSWORD") }}
{{- end -}}

{{/* What web and workers share. */}}
{{- define "teststrip.serviceEnv" -}}
{{- with .Values.service }}
- {name: TESTSTRIP_SERVICE_STORE, value: {{ .store | quote }}}
{{- with .s3Endpoint }}
- {name: TESTSTRIP_SERVICE_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .s3PublicEndpoint }}
- {name: TESTSTRIP_SERVICE_S3_PUBLIC_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- include "teststrip.settings" (list "TESTSTRIP_SERVICE_" .settings) }}
{{- end }}
{{- include "teststrip.fromSecret" (list .Values.secrets.service "TESTSTRIP_SERVICE_BROKER" "TESTSTRIP_SERVICE_REDIS") }}
{{- include "teststrip.fromSecret" (list .Values.secrets.store "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY") }}
{{- include "teststrip.trackingClient" . }}
{{- end -}}
