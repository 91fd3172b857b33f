{{/* The pod of a worker: the same in a Deployment and in a Job. */}}
{{- define "teststrip.workerPod" -}}
{{- $worker := .Values.worker -}}
metadata:
  labels: {{- include "teststrip.selector" (list . "worker") | nindent 4 }}
  {{- with $worker.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "teststrip.pod" (list . "worker" "worker") | nindent 2 }}
  {{- with $worker.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if eq $worker.scaling.kind "job" }}
  restartPolicy: Never
  {{- end }}
  # Draining takes drainSeconds, and as long again where pictures wait for a store that is away.
  terminationGracePeriodSeconds: {{ add (mul 2 $worker.drainSeconds) 30 }}
  containers:
    - name: worker
      {{- include "teststrip.container" (list . $worker.image) | nindent 6 }}
      command: [teststrip]
      args: [service, worker]
      env:
        {{- include "teststrip.home" . | nindent 8 }}
        - {name: HF_HOME, value: /data/huggingface}
        {{- include "teststrip.serviceEnv" . | nindent 8 }}
        - {name: TESTSTRIP_SERVICE_METRICS_HOST, value: 0.0.0.0}
        - {name: TESTSTRIP_SERVICE_METRICS_PORT, value: "9000"}
        - {name: TESTSTRIP_SERVICE_DRAIN_S, value: {{ $worker.drainSeconds | quote }}}
        {{- if eq $worker.scaling.kind "job" }}
        - {name: TESTSTRIP_SERVICE_IDLE_EXIT_S, value: {{ $worker.scaling.idleSeconds | quote }}}
        {{- end }}
        {{- include "teststrip.settings" (list "" $worker.env) | nindent 8 }}
      ports: [{name: metrics, containerPort: 9000}]
      # No liveness probe: a worker whose engine fails again and again ends by itself, and the jobs of
      # one that hangs come to others when its lease is over.
      readinessProbe:
        httpGet: {path: /metrics, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
      resources:
        {{- $limits := $worker.resources.limits | default dict | deepCopy }}
        {{- if $worker.gpu.count }}
        {{- $_ := set $limits $worker.gpu.resource $worker.gpu.count }}
        {{- end }}
        {{- with $worker.resources.requests }}
        requests: {{- toYaml . | nindent 10 }}
        {{- end }}
        limits: {{- toYaml $limits | nindent 10 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        {{- if $worker.cache.claim }}
        - {name: models, mountPath: /data/huggingface}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - {name: data, emptyDir: {sizeLimit: {{ $worker.cache.size }}}}
    {{- with $worker.cache.claim }}
    - {name: models, persistentVolumeClaim: {claimName: {{ . }}}}
    {{- end }}
    - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- end -}}
