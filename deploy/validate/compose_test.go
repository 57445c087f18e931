package validate

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose loads the Compose file as Compose does, with all profiles.
func compose(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: filepath.Dir(file), ConfigFiles: []types.ConfigFile{{Filename: file}}, Environment: types.Mapping{},
	}, func(o *loader.Options) { o.Profiles = []string{"*"} })
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestCompose holds the Compose file against the program and itself.
func TestCompose(t *testing.T) {
	project := compose(t)
	for _, role := range roles {
		service, ok := project.Services[role]
		if !ok || !slices.Equal(service.Command, types.ShellCommand{role}) {
			t.Errorf("%s: %v", role, service.Command)
			continue
		}
		if service.ContainerName != "" {
			t.Errorf("%s cannot be scaled: it has a name", role)
		}
		if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) {
			t.Errorf("%s may write its image, or has capabilities", role)
		}
		if role != "api" && len(service.Ports) > 0 {
			t.Errorf("%s cannot be scaled: it has ports of the host", role)
		}
		for _, server := range []string{"postgres", "etcd", "kafka"} {
			if service.DependsOn[server].Condition != types.ServiceConditionHealthy {
				t.Errorf("%s does not wait for %s", role, server)
			}
		}
		if grace := time.Duration(*service.StopGracePeriod); grace < 30*time.Second+leaving {
			t.Errorf("%s has %s to end", role, grace)
		}
		if probe := strings.Join(service.HealthCheck.Test, " "); !strings.Contains(probe, "GET /readyz") || !strings.Contains(probe, "/8089 ") {
			t.Errorf("%s is asked %s", role, probe)
		}
		known, env := flags(t, role), []string{}
		for name, value := range service.Environment {
			// What is for other roles does no harm, but each has to be for one.
			if _, ok := known[envFlag(name)]; !ok && name != "TRAWL_PLAIN_HTTP" {
				t.Errorf("%s: %s is no flag", role, name)
			}
			env = append(env, name+"="+*value)
		}
		if said := accepts(t, role, os.DevNull, env); said != "" {
			t.Errorf("%s: %s", role, said)
		}
	}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				if _, err := os.Stat(volume.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s is open to the network at port %s", name, port.Published)
			}
		}
	}
}

// TestServers holds that all files start the servers that the tests of the program use.
func TestServers(t *testing.T) {
	sums, err := filepath.Glob("../local/kafka-*.sums")
	if err != nil || len(sums) != 1 {
		t.Fatalf("%v, %v", sums, err)
	}
	etcd := regexp.MustCompile(`go\.etcd\.io/etcd/server/v3 (v\S+)`).FindSubmatch(read(t, root+"/go.mod"))
	want := map[string]string{
		"kafka": "apache/kafka:" + strings.TrimSuffix(strings.TrimPrefix(filepath.Base(sums[0]), "kafka-"), ".sums"),
		"etcd":  "gcr.io/etcd-development/etcd:" + string(etcd[1]),
	}
	project, dev := compose(t), decode(t, kustomize("../kustomize/overlays/dev")(t))
	for _, w := range dev.workloads {
		if service, ok := project.Services[w.meta.Name]; ok && service.Image != w.container().Image {
			t.Errorf("%s is %s in compose.yaml, and %s in the overlay dev", w.meta.Name, service.Image, w.container().Image)
		}
	}
	for name, image := range want {
		if got := project.Services[name].Image; got != image {
			t.Errorf("%s is %s, and the tests use %s", name, got, image)
		}
	}
}
