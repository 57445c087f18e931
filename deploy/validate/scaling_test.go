package validate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// checkScaling holds that autoscalers scale what is there and nobody else does, and that KEDA looks at the lag that
// workers leave.
func (c check) checkScaling() {
	_, config := settings(c.T, c.config(c.workloads[slices.IndexFunc(c.workloads, func(w workload) bool { return w.role() == "api" })]))
	target := func(by, kind, name string) {
		at := slices.IndexFunc(c.workloads, func(w workload) bool { return w.kind == kind && w.meta.Name == name })
		if at < 0 {
			c.Errorf("%s scales %s %s, which is not there", by, kind, name)
		} else if c.workloads[at].replicas != nil {
			c.Errorf("%s: both %s and replicas say how many", name, by)
		}
	}
	most := int32(0)
	for _, w := range c.workloads {
		if w.role() == "api" {
			most = c.least(w)
		}
	}
	for _, a := range c.autoscalers {
		target(a.Name, a.Spec.ScaleTargetRef.Kind, a.Spec.ScaleTargetRef.Name)
		most = max(most, a.Spec.MaxReplicas)
	}
	plain := fmt.Sprint(config["plain-http"])
	for i := range most {
		if !regexp.MustCompile(fmt.Sprintf(`[a-z]*trawl-api-%d\.[a-z]*-?trawl-api-pods:6060`, i)).MatchString(plain) {
			c.Errorf("there may be %d pods of the API, and %d is not among the hosts without TLS: %s", most, i, plain)
		}
	}
	group, topics, partitions := queueNames(c.T)
	for _, s := range c.scaled {
		target(s.Name, s.Spec.ScaleTargetRef.Kind, s.Spec.ScaleTargetRef.Name)
		if s.Spec.MinReplicaCount > s.Spec.MaxReplicaCount || int(s.Spec.MaxReplicaCount) > partitions {
			c.Errorf("%s: from %d to %d workers for %d shards", s.Name, s.Spec.MinReplicaCount, s.Spec.MaxReplicaCount, partitions)
		}
		c.checkLogin(s, config)
		var read []string
		for _, trigger := range s.Spec.Triggers {
			m := trigger.Metadata
			read = append(read, m["topic"])
			if trigger.Type != "kafka" || m["consumerGroup"] != group || m["offsetResetPolicy"] != "earliest" {
				c.Errorf("%s: %v; workers keep their offsets as %s, and begin with the first record", s.Name, trigger, group)
			}
			if brokers := strings.Fields(strings.Trim(fmt.Sprint(config["kafka"]), "[]")); m["bootstrapServers"] != strings.Join(brokers, ",") {
				c.Errorf("%s asks %s, and the roles %v", s.Name, m["bootstrapServers"], brokers)
			}
		}
		if slices.Sort(read); !slices.Equal(read, topics) {
			c.Errorf("%s looks at %v, and workers read %v", s.Name, read, topics)
		}
	}
}

// checkLogin holds that KEDA speaks to Kafka as the roles do.
func (c check) checkLogin(s *scaledObject, config map[string]any) {
	want := map[string]string{}
	if config["kafka-tls"] != nil || config["kafka-ca"] != nil {
		want["tls"] = "enable"
	}
	if config["kafka-user"] != nil {
		want["sasl"] = map[string]string{"PLAIN": "plaintext", "SCRAM-SHA-256": "scram_sha256", "SCRAM-SHA-512": "scram_sha512"}[fmt.Sprint(config["kafka-sasl"])]
	}
	for _, trigger := range s.Spec.Triggers {
		for _, key := range []string{"tls", "sasl"} {
			if trigger.Metadata[key] != want[key] {
				c.Errorf("%s: %s is %q, and for the roles %q", s.Name, key, trigger.Metadata[key], want[key])
			}
		}
		if len(want) == 0 {
			continue
		}
		if trigger.AuthenticationRef == nil || c.logins[trigger.AuthenticationRef.Name] == nil {
			c.Errorf("%s has no login", s.Name)
			continue
		}
		have := map[string]bool{}
		for _, ref := range c.logins[trigger.AuthenticationRef.Name].Spec.SecretTargetRef {
			have[ref.Parameter] = slices.Contains(c.secrets[ref.Name], ref.Key)
		}
		for parameter, needed := range map[string]bool{
			"username": config["kafka-user"] != nil, "password": config["kafka-user"] != nil, "ca": config["kafka-ca"] != nil,
		} {
			if have[parameter] != needed {
				c.Errorf("%s: the login has %s: %v, needed: %v", s.Name, parameter, have[parameter], needed)
			}
		}
	}
}

// checkMonitors holds that Prometheus reads all roles, under the name that the alerts expect.
func (c check) checkMonitors() {
	for _, m := range c.monitors {
		for _, w := range c.workloads {
			if !matches(c.T, &m.Spec.Selector, w) {
				c.Errorf("%s does not read %s", m.Name, w.meta.Name)
			}
			if job := w.pod.Labels[m.Spec.JobLabel]; job != "trawl" {
				c.Errorf("%s reads %s as the job %q", m.Name, w.meta.Name, job)
			}
			for _, at := range m.Spec.PodMetricsEndpoints {
				if !hasPort(w, intstr.FromString(at.Port), corev1.ProtocolTCP) || at.Path != "/metrics" {
					c.Errorf("%s asks %s for %s at port %s", m.Name, w.meta.Name, at.Path, at.Port)
				}
			}
		}
	}
}
