package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlaces(t *testing.T) {
	c, err := New(Config{Keychain: Anonymous{}, Mirrors: map[string][]string{
		"index.docker.io":  {"mirror.gcr.io", "http://Harbor.lan:8080/hub/"},
		"registry.example": {"https://mirror.example"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string][]string{
		"alpine":                      {"https mirror.gcr.io library/alpine", "http harbor.lan:8080 hub/library/alpine", "https registry-1.docker.io library/alpine"},
		"registry.example/a/b":        {"https mirror.example a/b", "https registry.example a/b"},
		"registry.example:5000/a/b":   {"https registry.example:5000 a/b"},
		"registry-1.docker.io/team/a": {"https mirror.gcr.io team/a", "http harbor.lan:8080 hub/team/a", "https registry-1.docker.io team/a"},
	} {
		r, err := ParseRepository(s)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range c.places(r) {
			scheme, _ := c.schemeOf(p.endpoint)
			got = append(got, scheme+" "+p.host+" "+p.name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s, diff)
		}
	}
	hub := place{endpoint{host: "registry-1.docker.io"}, "library/alpine"}
	if got := hub.repository(); got != "docker.io/library/alpine" {
		t.Errorf("the keychain is asked for %s", got)
	}
}
