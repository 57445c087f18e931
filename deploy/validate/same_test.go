package validate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestSame holds that the chart makes the objects that kustomize makes.
func TestSame(t *testing.T) {
	for _, c := range []struct {
		name             string
		kustomize, chart func(*testing.T) []byte
	}{
		{"base", kustomize("../kustomize/base"), helm("trawl")},
		{"ha", kustomize("../kustomize/overlays/ha"), helm("trawl", "../helm/trawl/values-ha.yaml")},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, got := plain(t, decode(t, c.kustomize(t))), plain(t, decode(t, c.chart(t)))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("kustomize (-) and the chart (+) differ:\n%s", diff)
			}
		})
	}
}

// TestSchema holds that the chart refuses values that cannot be meant.
func TestSchema(t *testing.T) {
	for name, values := range map[string]string{
		"misspelled":      "worker: {replica: 3}\n",
		"a secret":        "config: {postgres: 'postgres://trawl:secret@db/trawl'}\n",
		"another secret":  "config: {kafka-password: secret}\n",
		"too many":        "worker: {keda: {max: 300}}\n",
		"no port":         "config: {kafka: [kafka]}\n",
		"unknown section": "workers: {}\n",
	} {
		file, _ := settings(t, values)
		if _, err := render("trawl", file); err == nil {
			t.Errorf("%s: %q is taken", name, values)
		}
	}
}

var (
	hash = regexp.MustCompile(`^(trawl-config)-[0-9a-z]{10}$`)
	// only are labels and fields that one of the two has, and that tell where an object comes from.
	only = []string{
		"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart", "checksum/config", "namespace",
		"imagePullPolicy",
	}
)

// plain returns objects by kind and name without what is said in other words.
func plain(t *testing.T, o *objects) map[string]any {
	t.Helper()
	out := make(map[string]any)
	for _, raw := range o.raw {
		object, ok := simplify(t, raw).(map[string]any)
		if !ok {
			t.Fatalf("not an object: %v", raw)
		}
		meta, _ := object["metadata"].(map[string]any)
		out[fmt.Sprint(object["kind"], " ", meta["name"])] = object
	}
	return out
}

// simplify drops what is only for one of the two, and sorts lists whose order means nothing.
func simplify(t *testing.T, value any) any {
	t.Helper()
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any)
		for key, value := range v {
			if slices.Contains(only, key) {
				continue
			}
			if key == "trawl.yaml" {
				var content map[string]any
				if err := yaml.Unmarshal([]byte(fmt.Sprint(value)), &content); err != nil {
					t.Fatal(err)
				}
				maps.DeleteFunc(content, func(_ string, v any) bool { return fmt.Sprint(v) == "[]" })
				value = content
			}
			if key == "image" { // a tag of its own is the overlay's to say
				value = strings.TrimSuffix(fmt.Sprint(value), ":1.0")
			}
			if inner := simplify(t, value); fmt.Sprint(inner) != "map[]" || key == "podSelector" {
				out[key] = inner
			}
		}
		return out
	case []any:
		var out []any
		for _, item := range v {
			out = append(out, simplify(t, item))
		}
		slices.SortStableFunc(out, func(a, b any) int { return strings.Compare(name(a), name(b)) })
		return out
	case string:
		return hash.ReplaceAllString(v, "$1")
	}
	return value
}

// name is what an item of a list is told by.
func name(item any) string {
	m, ok := item.(map[string]any)
	if !ok {
		return ""
	}
	for _, key := range []string{"name", "mountPath", "topologyKey"} {
		if s, ok := m[key].(string); ok {
			return s
		}
	}
	return ""
}
