{{- define "ecrin.name" -}}{{ default .Chart.Name .Release.Name | trunc 53 | trimSuffix "-" }}{{- end }}
{{- define "ecrin.labels" -}}
app.kubernetes.io/name: ecrin
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "ecrin.selector" -}}
app.kubernetes.io/name: ecrin
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "ecrin.account" -}}{{ if .Values.serviceAccount.create }}{{ default (include "ecrin.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}{{- end }}
