package validate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// objects are those of one deployment, of the types that the Kubernetes API has for them.
type objects struct {
	all         []any
	raw         []map[string]any
	workloads   []workload
	services    []*corev1.Service
	budgets     []*policyv1.PodDisruptionBudget
	policies    []*networkingv1.NetworkPolicy
	configMaps  map[string]*corev1.ConfigMap
	secrets     map[string][]string // keys by name
	logins      map[string]*triggerAuthentication
	accounts    map[string]bool
	autoscalers []*autoscalingv2.HorizontalPodAutoscaler
	scaled      []*scaledObject
	monitors    []*podMonitor
}

// workload is a Deployment or a StatefulSet.
type workload struct {
	kind     string
	meta     metav1.ObjectMeta
	replicas *int32
	selector *metav1.LabelSelector
	pod      corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
	service  string // that gives its pods names
}

// role is the role that its pods have, or "" for one that is not Trawl's.
func (w workload) role() string {
	if w.pod.Labels["app.kubernetes.io/name"] != "trawl" {
		return ""
	}
	return w.pod.Labels["app.kubernetes.io/component"]
}

// container is the container of the role.
func (w workload) container() corev1.Container { return w.pod.Spec.Containers[0] }

// scaledObject is what is used of KEDA's type, https://keda.sh/docs/latest/reference/scaledobject-spec/.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount int32 `json:"minReplicaCount"`
		MaxReplicaCount int32 `json:"maxReplicaCount"`
		PollingInterval int32 `json:"pollingInterval"`
		CooldownPeriod  int32 `json:"cooldownPeriod"`
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type     string            `json:"type"`
			Metadata map[string]string `json:"metadata"`
			// AuthenticationRef names a TriggerAuthentication.
			AuthenticationRef *struct {
				Name string `json:"name"`
			} `json:"authenticationRef"`
		} `json:"triggers"`
	} `json:"spec"`
}

// triggerAuthentication is what is used of KEDA's type.
type triggerAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		SecretTargetRef []struct {
			Parameter string `json:"parameter"`
			Name      string `json:"name"`
			Key       string `json:"key"`
		} `json:"secretTargetRef"`
	} `json:"spec"`
}

// podMonitor is what is used of the Prometheus Operator's type.
type podMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		JobLabel            string               `json:"jobLabel"`
		Selector            metav1.LabelSelector `json:"selector"`
		PodMetricsEndpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

// decode reads a stream of YAML documents strictly: a field that its type does not have is an error, and so is one that
// is there twice.
func decode(t *testing.T, stream []byte) *objects {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	o := &objects{configMaps: map[string]*corev1.ConfigMap{}, secrets: map[string][]string{}, logins: map[string]*triggerAuthentication{}, accounts: map[string]bool{}}
	seen := make(map[string]bool)
	for documents := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream))); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return o
		}
		if err != nil {
			t.Fatal(err)
		}
		var raw map[string]any
		if err := yaml.UnmarshalStrict(text, &raw); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if raw == nil { // comments only
			continue
		}
		kind, _ := raw["kind"].(string)
		var object any
		switch kind {
		case "ScaledObject":
			object = new(scaledObject)
			err = yaml.UnmarshalStrict(text, object)
		case "TriggerAuthentication":
			object = new(triggerAuthentication)
			err = yaml.UnmarshalStrict(text, object)
		case "PodMonitor":
			object = new(podMonitor)
			err = yaml.UnmarshalStrict(text, object)
		default:
			object, _, err = decoder.Decode(text, nil, nil)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		o.all, o.raw = append(o.all, object), append(o.raw, raw)
		accessor, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		if id := kind + " " + accessor.GetName(); seen[id] {
			t.Errorf("%s is there twice", id)
		} else {
			seen[id] = true
		}
		o.add(t, object)
	}
}

// add sorts an object in.
func (o *objects) add(t *testing.T, object any) {
	t.Helper()
	switch v := object.(type) {
	case *appsv1.Deployment:
		o.workloads = append(o.workloads, workload{"Deployment", v.ObjectMeta, v.Spec.Replicas, v.Spec.Selector, v.Spec.Template, nil, ""})
	case *appsv1.StatefulSet:
		o.workloads = append(o.workloads, workload{
			"StatefulSet", v.ObjectMeta, v.Spec.Replicas, v.Spec.Selector, v.Spec.Template, v.Spec.VolumeClaimTemplates, v.Spec.ServiceName,
		})
	case *corev1.Service:
		o.services = append(o.services, v)
	case *corev1.ConfigMap:
		o.configMaps[v.Name] = v
	case *corev1.Secret:
		o.secrets[v.Name] = slices.Collect(maps.Keys(v.Data))
	case *corev1.ServiceAccount:
		o.accounts[v.Name] = true
	case *policyv1.PodDisruptionBudget:
		o.budgets = append(o.budgets, v)
	case *networkingv1.NetworkPolicy:
		o.policies = append(o.policies, v)
	case *autoscalingv2.HorizontalPodAutoscaler:
		o.autoscalers = append(o.autoscalers, v)
	case *scaledObject:
		o.scaled = append(o.scaled, v)
	case *triggerAuthentication:
		o.logins[v.Name] = v
	case *podMonitor:
		o.monitors = append(o.monitors, v)
	case *corev1.Namespace:
	default:
		t.Errorf("%T: the tests do not know what to hold it against", object)
	}
}

// least returns how many pods of a workload there are at the least.
func (o *objects) least(w workload) int32 {
	for _, a := range o.autoscalers {
		if a.Spec.ScaleTargetRef.Kind == w.kind && a.Spec.ScaleTargetRef.Name == w.meta.Name {
			return *a.Spec.MinReplicas
		}
	}
	for _, s := range o.scaled {
		if s.Spec.ScaleTargetRef.Kind == w.kind && s.Spec.ScaleTargetRef.Name == w.meta.Name {
			return s.Spec.MinReplicaCount
		}
	}
	if w.replicas == nil {
		return 1
	}
	return *w.replicas
}
