{{/* Labels of a role: (list . "worker"); of no role: (list . ""). */}}
{{- define "trawl.labels" -}}
app.kubernetes.io/name: trawl
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* The same with what says where an object comes from; not for selectors, which must not change. */}}
{{- define "trawl.allLabels" -}}
{{ include "trawl.labels" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{/* What the names of all objects begin with: "trawl" for a release of that name. */}}
{{- define "trawl.name" -}}
{{ if contains "trawl" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-trawl{{ end }}
{{- end }}

{{/* The file of settings: config, and the API's pods as hosts without TLS. */}}
{{- define "trawl.settings" -}}
{{- $name := include "trawl.name" . -}}
{{- $plain := index .Values.config "plain-http" | default list -}}
{{- range until (int .Values.api.maxReplicas) -}}
{{- $plain = append $plain (printf "%s-api-%d.%s-api-pods:6060" $name . $name) -}}
{{- end -}}
{{ toYaml (merge (dict "plain-http" $plain) .Values.config) }}
{{- end }}

{{/* The pod of a role: (list . "worker"). */}}
{{- define "trawl.pod" -}}
{{- $ := index . 0 -}}
{{- $role := index . 1 -}}
{{- $values := index $.Values $role -}}
{{- $name := include "trawl.name" $ -}}
metadata:
  labels:
    {{- include "trawl.labels" . | nindent 4 }}
  annotations:
    # A change of the settings rolls the pods.
    checksum/config: {{ include "trawl.settings" $ | sha256sum }}
spec:
  serviceAccountName: {{ $name }}
  automountServiceAccountToken: false # no role speaks to Kubernetes
  enableServiceLinks: false # they would make variables that begin with TRAWL_
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds | default 30 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with $.Values.image.pullSecrets }}
  imagePullSecrets: {{ toJson . }}
  {{- end }}
  {{- with $.Values.nodeSelector }}
  nodeSelector: {{ toJson . }}
  {{- end }}
  {{- with $.Values.tolerations }}
  tolerations: {{ toJson . }}
  {{- end }}
  {{- if has $role (list "coordinator" "worker" "api") }}
  topologySpreadConstraints:
    - topologyKey: kubernetes.io/hostname
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "trawl.labels" . | nindent 10 }}
    - topologyKey: topology.kubernetes.io/zone
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "trawl.labels" . | nindent 10 }}
  {{- end }}
  containers:
    - name: trawl
      image: "{{ $.Values.image.repository }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}"
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args: [{{ $role }}]
      env:
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        # The brackets are right for both IPv4 and IPv6.
        - {name: TRAWL_GOSSIP_ADDRESS, value: "[$(POD_IP)]:7946"}
        # Credentials of registries, as docker login leaves them.
        - {name: DOCKER_CONFIG, value: /etc/trawl/docker}
        {{- with $values.goMemoryLimit }}
        - {name: GOMEMLIMIT, value: {{ . }}}
        {{- end }}
        {{- if eq $role "api" }}
        - {name: TRAWL_UPLOAD_ADDRESS, value: "$(POD_NAME).{{ $name }}-api-pods:6060"}
        - {name: TRAWL_DATA_DIR, value: /var/lib/trawl}
        {{- end }}
      ports:
        - {name: introspection, containerPort: 8089}
        - {name: gossip, containerPort: 7946}
        - {name: gossip-udp, containerPort: 7946, protocol: UDP}
        {{- if eq $role "api" }}
        - {name: http, containerPort: 6060}
        {{- end }}
      # Until its servers answer and migrations are done a role serves nothing: ten minutes for that.
      startupProbe:
        httpGet: {path: /livez, port: introspection}
        periodSeconds: 5
        failureThreshold: 120
      # Not /readyz: a restart does not bring Postgres back.
      livenessProbe:
        httpGet: {path: /livez, port: introspection}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: introspection}
        periodSeconds: 5
        timeoutSeconds: 5 # it answers within three seconds
        failureThreshold: 2
      {{- if eq $role "api" }}
      # Proxies send requests until they hear that the pod goes.
      lifecycle:
        preStop: {sleep: {seconds: 5}}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/trawl/trawl.yaml, subPath: trawl.yaml, readOnly: true}
        - {name: secrets, mountPath: /etc/trawl/secrets, readOnly: true}
        - {name: tls, mountPath: /etc/trawl/tls, readOnly: true}
        - {name: registries, mountPath: /etc/trawl/docker, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if eq $role "api" }}
        - {name: data, mountPath: /var/lib/trawl}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ $name }}-config}
    # Passwords and the key of gossip, one a file; config names them.
    - name: secrets
      secret: {secretName: {{ $.Values.secret }}, defaultMode: 0440}
    # ca.crt, tls.crt and tls.key, as cert-manager writes them.
    - name: tls
      secret: {secretName: {{ $.Values.tlsSecret }}, optional: true, defaultMode: 0440}
    - name: registries
      secret:
        secretName: {{ $.Values.registriesSecret }}
        optional: true
        defaultMode: 0440
        items: [{key: .dockerconfigjson, path: config.json}]
    # Documents of sources, and package databases too large for memory, while they are read.
    - name: tmp
      emptyDir: {sizeLimit: 8Gi}
{{- end }}
