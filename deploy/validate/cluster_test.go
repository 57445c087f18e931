package validate

import (
	"fmt"
	"maps"
	"net"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// TestKubernetes holds each way to run on Kubernetes against the types of its API, the program, and itself.
func TestKubernetes(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) {
			c := check{T: t, objects: decode(t, d.build(t))}
			maps.Copy(c.secrets, d.secrets)
			c.checkRoles()
			for _, w := range c.workloads {
				c.checkWorkload(w)
				if w.role() != "" {
					c.checkPod(w)
					c.checkProgram(w)
				}
			}
			c.checkServices()
			c.checkBudgets()
			c.checkPolicies()
			c.checkScaling()
			c.checkMonitors()
		})
	}
}

// check is a deployment under test.
type check struct {
	*testing.T
	*objects
}

// checkRoles holds that each role is there once, with more than one coordinator where it is not for a laptop.
func (c check) checkRoles() {
	var have []string
	for _, w := range c.workloads {
		if w.role() != "" {
			have = append(have, w.role())
		}
	}
	slices.Sort(have)
	want := slices.Sorted(slices.Values(roles))
	if !slices.Equal(have, want) {
		c.Errorf("roles %v, want %v", have, want)
	}
}

// matches reports whether a selector takes the pods of a workload.
func matches(t *testing.T, s *metav1.LabelSelector, w workload) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(w.pod.Labels))
}

// checkWorkload holds that a workload selects its own pods and no others, and that what its pods name is there.
func (c check) checkWorkload(w workload) {
	for _, other := range c.workloads {
		if got, want := matches(c.T, w.selector, other), other.meta.Name == w.meta.Name; got != want {
			c.Errorf("%s selects the pods of %s: %v", w.meta.Name, other.meta.Name, got)
		}
	}
	if problems := validation.IsDNS1123Label(w.meta.Name); len(problems) > 0 {
		c.Errorf("%s: %v", w.meta.Name, problems)
	}
	spec := w.pod.Spec
	if name := spec.ServiceAccountName; name != "" && !c.accounts[name] {
		c.Errorf("%s: no ServiceAccount %s", w.meta.Name, name)
	}
	if w.service != "" && !slices.ContainsFunc(c.services, func(s *corev1.Service) bool { return s.Name == w.service }) {
		c.Errorf("%s: no Service %s", w.meta.Name, w.service)
	}
	volumes := map[string]bool{}
	for _, claim := range w.claims {
		volumes[claim.Name] = true
	}
	for _, v := range spec.Volumes {
		volumes[v.Name] = true
		if m := v.ConfigMap; m != nil && c.configMaps[m.Name] == nil {
			c.Errorf("%s: no ConfigMap %s", w.meta.Name, m.Name)
		}
		if s := v.Secret; s != nil {
			if _, ok := c.secrets[s.SecretName]; !ok && (s.Optional == nil || !*s.Optional) {
				c.Errorf("%s: no Secret %s", w.meta.Name, s.SecretName)
			}
		}
	}
	for _, m := range w.container().VolumeMounts {
		if !volumes[m.Name] {
			c.Errorf("%s: no volume %s", w.meta.Name, m.Name)
		}
		delete(volumes, m.Name)
	}
	for name := range volumes {
		c.Errorf("%s: the volume %s is not mounted", w.meta.Name, name)
	}
	for _, s := range spec.TopologySpreadConstraints {
		if !matches(c.T, s.LabelSelector, w) {
			c.Errorf("%s is spread by labels that it does not have", w.meta.Name)
		}
	}
	c.checkEnv(w)
}

var reference = regexp.MustCompile(`\$\(([A-Z_]+)\)`)

// checkEnv holds that variables use only those that stand before them.
func (c check) checkEnv(w workload) {
	known := map[string]bool{}
	for _, e := range w.container().Env {
		for _, used := range reference.FindAllStringSubmatch(e.Value, -1) {
			if !known[used[1]] {
				c.Errorf("%s: %s uses %s, which does not stand before it", w.meta.Name, e.Name, used[1])
			}
		}
		if known[e.Name] {
			c.Errorf("%s: %s is there twice", w.meta.Name, e.Name)
		}
		known[e.Name] = true
	}
}

// checkPod holds the pods of a role to what all have to be: not root, without rights, with probes, requests and a limit.
func (c check) checkPod(w workload) {
	spec, container, name := w.pod.Spec, w.container(), w.meta.Name
	security := container.SecurityContext
	switch {
	case spec.SecurityContext == nil || security == nil:
		c.Fatalf("%s has no security context", name)
	case !isTrue(spec.SecurityContext.RunAsNonRoot) || spec.SecurityContext.RunAsUser == nil || *spec.SecurityContext.RunAsUser == 0:
		c.Errorf("%s may run as root", name)
	case !isTrue(security.ReadOnlyRootFilesystem) || security.AllowPrivilegeEscalation == nil || *security.AllowPrivilegeEscalation:
		c.Errorf("%s may write its image, or gain rights", name)
	case !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(security.Capabilities.Add) > 0:
		c.Errorf("%s has capabilities", name)
	case spec.SecurityContext.SeccompProfile == nil || spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken:
		c.Errorf("%s has a token, or no seccomp profile", name)
	case spec.EnableServiceLinks == nil || *spec.EnableServiceLinks:
		c.Errorf("%s gets variables of services, which begin with TRAWL_", name)
	}
	requests, limits := container.Resources.Requests, container.Resources.Limits
	if requests.Cpu().IsZero() || requests.Memory().IsZero() || limits.Memory().IsZero() {
		c.Errorf("%s: requests %v, limits %v", name, requests, limits)
	}
	for path, probe := range map[string]*corev1.Probe{"/livez": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port != intstr.FromString("introspection") {
			c.Errorf("%s is not asked for %s", name, path)
		}
	}
	if probe := container.StartupProbe; probe == nil || probe.PeriodSeconds*probe.FailureThreshold < 300 {
		c.Errorf("%s has less than five minutes to find its servers", name)
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

// leaving is how long a process may take to leave when nothing is in hand: requests under way have ten seconds.
const leaving = 12 * time.Second

// checkProgram holds a role's arguments, variables, settings and ports against the program.
func (c check) checkProgram(w workload) {
	container, name := w.container(), w.meta.Name
	if !slices.Equal(container.Args, []string{w.role()}) {
		c.Fatalf("%s runs %v", name, container.Args)
	}
	known := flags(c.T, w.role())
	var env []string
	values := map[string]string{}
	for _, e := range container.Env {
		if flag := envFlag(e.Name); strings.HasPrefix(e.Name, "TRAWL_") {
			if _, ok := known[flag]; !ok {
				c.Errorf("%s: %s is no flag of %s", name, flag, w.role())
			}
			values[flag] = e.Value
			env = append(env, e.Name+"="+strings.NewReplacer("$(POD_IP)", "10.1.2.3", "$(POD_NAME)", name+"-0").Replace(e.Value))
		}
	}
	file, config := settings(c.T, c.config(w))
	if said := accepts(c.T, w.role(), file, env); said != "" {
		c.Errorf("%s: %s", name, said)
	}
	c.checkFiles(w, config)
	for flag, fallback := range known {
		if _, ok := values[flag]; !ok {
			values[flag] = fallback
			if v, ok := config[flag]; ok {
				values[flag] = fmt.Sprint(v)
			}
		}
	}
	drain := time.Duration(0)
	if text, ok := values["drain"]; ok {
		var err error
		if drain, err = time.ParseDuration(text); err != nil {
			c.Error(err)
		}
	}
	if pre := container.Lifecycle; pre != nil {
		drain += time.Duration(pre.PreStop.Sleep.Seconds) * time.Second
	}
	if grace := time.Duration(*w.pod.Spec.TerminationGracePeriodSeconds) * time.Second; grace < drain+leaving {
		c.Errorf("%s has %s to end, and may take %s", name, grace, drain+leaving)
	}
	c.checkPorts(w, values)
}

// file is a path below one of the directories that Secrets are mounted at.
var file = regexp.MustCompile(`/etc/trawl/[a-z]+/[a-z.-]+`)

// checkFiles holds that the files that settings name are those of Secrets, and that secrets are files.
func (c check) checkFiles(w workload, config map[string]any) {
	sources := map[string]string{} // the name of the Secret at a directory
	for _, m := range w.container().VolumeMounts {
		for _, v := range w.pod.Spec.Volumes {
			if v.Name == m.Name && v.Secret != nil {
				sources[m.MountPath] = v.Secret.SecretName
			}
		}
	}
	for key, value := range config {
		for _, name := range file.FindAllString(fmt.Sprint(value), -1) {
			secret := sources[path.Dir(name)]
			if !slices.Contains(c.secrets[secret], path.Base(name)) {
				c.Errorf("%s: %s is %s, and the Secret %q has %v", w.meta.Name, key, name, secret, c.secrets[secret])
			}
		}
	}
	if config["gossip-key-file"] == nil || config["postgres-password-file"] == nil {
		c.Errorf("%s: gossip is not encrypted, or the database has no password", w.meta.Name)
	}
}

// config returns the file of settings of a workload.
func (c check) config(w workload) string {
	for _, v := range w.pod.Spec.Volumes {
		if v.ConfigMap != nil {
			return c.configMaps[v.ConfigMap.Name].Data["trawl.yaml"]
		}
	}
	c.Fatalf("%s has no settings", w.meta.Name)
	return ""
}

// checkPorts holds that the ports are those that the program listens on, at all addresses.
func (c check) checkPorts(w workload, values map[string]string) {
	ports := map[string]string{"introspection": "introspection", "gossip": "gossip", "gossip-udp": "gossip", "http": "listen"}
	for _, port := range w.container().Ports {
		flag := ports[port.Name]
		host, listens, err := net.SplitHostPort(values[flag])
		if err != nil || host != "0.0.0.0" || listens != fmt.Sprint(port.ContainerPort) {
			c.Errorf("%s: port %s is %d, and the role listens on %q", w.meta.Name, port.Name, port.ContainerPort, values[flag])
		}
		delete(ports, port.Name)
	}
	if w.role() != "api" {
		delete(ports, "http")
	}
	for name := range ports {
		c.Errorf("%s has no port %s", w.meta.Name, name)
	}
	if _, port, err := net.SplitHostPort(values["gossip-address"]); err != nil || port != "7946" {
		c.Errorf("%s is reached at %q", w.meta.Name, values["gossip-address"])
	}
}

// hasPort reports whether a workload has a port of that name or number.
func hasPort(w workload, port intstr.IntOrString, protocol corev1.Protocol) bool {
	return slices.ContainsFunc(w.pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
		same := p.Protocol == protocol || (p.Protocol == "" && protocol == corev1.ProtocolTCP) || (protocol == "" && p.Protocol == corev1.ProtocolTCP) ||
			(protocol == "" && p.Protocol == "")
		return same && (port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal)
	})
}

// checkServices holds that each service leads to pods that listen.
func (c check) checkServices() {
	for _, s := range c.services {
		found := 0
		for _, w := range c.workloads {
			if len(s.Spec.Selector) == 0 || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.pod.Labels)) {
				continue
			}
			found++
			for _, port := range s.Spec.Ports {
				target := port.TargetPort
				if target == intstr.FromInt32(0) {
					target = intstr.FromInt32(port.Port)
				}
				if !hasPort(w, target, port.Protocol) {
					c.Errorf("%s leads to %s of %s, which has no such port", s.Name, target.String(), w.meta.Name)
				}
			}
		}
		if found == 0 {
			c.Errorf("%s leads to no pods", s.Name)
		}
	}
}

// checkBudgets holds that each budget is about one workload, and neither forbids nor promises nothing.
func (c check) checkBudgets() {
	for _, b := range c.budgets {
		var about []workload
		for _, w := range c.workloads {
			if matches(c.T, b.Spec.Selector, w) {
				about = append(about, w)
			}
		}
		if len(about) != 1 {
			c.Errorf("%s is about %d workloads", b.Name, len(about))
			continue
		}
		if b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntVal < 1 || b.Spec.MaxUnavailable.IntVal >= c.least(about[0]) {
			c.Errorf("%s lets %v of %d pods go", b.Name, b.Spec.MaxUnavailable, c.least(about[0]))
		}
	}
}

// checkPolicies holds that policies are about Trawl's pods alone, and name ports that these have.
func (c check) checkPolicies() {
	for _, p := range c.policies {
		var about []workload
		for _, w := range c.workloads {
			if !matches(c.T, &p.Spec.PodSelector, w) {
				continue
			}
			about = append(about, w)
			if w.role() == "" {
				c.Errorf("%s is about %s", p.Name, w.meta.Name)
			}
			for _, rule := range p.Spec.Ingress {
				for _, port := range rule.Ports {
					if !hasPort(w, *port.Port, *port.Protocol) {
						c.Errorf("%s admits to port %s, which %s does not have", p.Name, port.Port, w.meta.Name)
					}
				}
			}
		}
		if len(about) == 0 {
			c.Errorf("%s is about no pods", p.Name)
		}
	}
}
