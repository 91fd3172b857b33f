{{/* What the migration needs: the databases alone. */}}
{{- define "teststrip.trackDatabases" -}}
{{- include "teststrip.home" . }}
{{- include "teststrip.fromSecret" (list .Values.secrets.track "TESTSTRIP_TRACK_BACKEND" "TESTSTRIP_TRACK_LOGIN_BACKEND") }}
{{- end -}}

{{/* The environment of the tracking server. */}}
{{- define "teststrip.trackEnv" -}}
{{- $name := printf "%s-track" (include "teststrip.name" .) -}}
{{- include "teststrip.trackDatabases" . }}
{{- include "teststrip.fromSecret" (list .Values.secrets.track "TESTSTRIP_TRACK_ADMIN_PASSWORD" "TESTSTRIP_TRACK_SECRET_KEY") }}
{{- include "teststrip.fromSecret" (list .Values.secrets.trackStore "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY") }}
{{- with .Values.track }}
- {name: TMPDIR, value: /tmp} # uploads pass through it
- {name: TESTSTRIP_TRACK_ARTIFACTS, value: {{ .artifacts | quote }}}
{{- with .s3Endpoint }}
- {name: TESTSTRIP_TRACK_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .host }}
- {name: TESTSTRIP_TRACK_PUBLIC_URL, value: "https://{{ . }}"}
{{- end }}
- name: TESTSTRIP_TRACK_ALLOW_HOSTS # what pods of this cluster call it
  value: {{ printf "%s,%s.%s,%s.%s.svc,%s.%s.svc.cluster.local" $name $name $.Release.Namespace $name $.Release.Namespace $name $.Release.Namespace | quote }}
{{- with .trustedProxies }}
- {name: TESTSTRIP_TRACK_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
{{- end }}
- {name: TESTSTRIP_TRACK_MIGRATE, value: "false"} # its Job does, before the new server starts
{{- include "teststrip.settings" (list "TESTSTRIP_TRACK_" .settings) }}
{{- include "teststrip.settings" (list "" .env) }}
{{- end }}
{{- end -}}
