package validate

import (
	"os"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// deployments are the ways to run Trawl on Kubernetes that the files offer.
var deployments = []struct {
	name  string
	build func(*testing.T) []byte
	// secrets are those that whoever applies it has made before, with their keys.
	secrets map[string][]string
}{
	{"kustomize base", kustomize("../kustomize/base"), passwords},
	{"kustomize dev", kustomize("../kustomize/overlays/dev"), nil},
	{"kustomize ha", kustomize("../kustomize/overlays/ha"), all},
	{"kustomize ha, monitored", kustomize("testdata/monitored"), all},
	{"chart", helm("trawl"), passwords},
	{"chart ha", helm("trawl", "../helm/trawl/values-ha.yaml"), all},
	{"chart by another name", helm("scanner", "testdata/values-all.yaml"), map[string][]string{"our-trawl": all["trawl"]}},
}

var (
	passwords = map[string][]string{"trawl": {"postgres-password", "gossip-key"}}
	all       = map[string][]string{
		"trawl": {"postgres-password", "gossip-key", "kafka-user", "kafka-password"}, "trawl-tls": {"ca.crt", "tls.crt", "tls.key"},
	}
)

// kustomize returns what builds a kustomization.
func kustomize(dir string) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		t.Helper()
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
		if err != nil {
			t.Fatal(err)
		}
		text, err := built.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// helm returns what renders the chart for a release, as helm template does, values checked against their schema.
func helm(release string, files ...string) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		t.Helper()
		text, err := render(release, files...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

func render(release string, files ...string) ([]byte, error) {
	chart, err := loader.Load("../helm/trawl")
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for _, name := range files {
		more, err := chartutil.ReadValuesFile(name)
		if err != nil {
			return nil, err
		}
		values = chartutil.CoalesceTables(more, values)
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: "trawl", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	var out []byte
	for name, text := range rendered {
		if name != "trawl/templates/NOTES.txt" {
			out = append(out, "\n---\n"+text...)
		}
	}
	return out, nil
}

// read returns a file.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
