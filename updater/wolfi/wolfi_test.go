package wolfi

import (
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/distro"
)

func TestParse(t *testing.T) {
	const document = `{"packages": [{"pkg": {"name": "lock", "secfixes": {"1.0-r0": ["CVE-2099-1001", "GHSA-g5fp-32jq-cfw2", "CGA-8f3c-mc9q-ccwq"]}}}]}`
	links := make(map[string]string)
	for record, err := range Parse(strings.NewReader(document), "wolfi") {
		if err != nil {
			t.Fatal(err)
		}
		links[record.ID] = record.Link
		if a := record.Affected[0]; a.Namespace != "wolfi" || a.Name != "lock" || a.Fixed != "1.0-r0" {
			t.Errorf("%+v", a)
		}
	}
	for id, want := range map[string]string{
		"CVE-2099-1001":       "https://www.cve.org/CVERecord?id=CVE-2099-1001",
		"GHSA-g5fp-32jq-cfw2": "https://github.com/advisories/GHSA-g5fp-32jq-cfw2",
		"CGA-8f3c-mc9q-ccwq":  "https://images.chainguard.dev/security/CGA-8f3c-mc9q-ccwq",
	} {
		if links[id] != want {
			t.Errorf("%s: link %q, want %s", id, links[id], want)
		}
	}
}

// TestDatabases holds the namespaces against those of distributions.
func TestDatabases(t *testing.T) {
	for _, db := range Databases {
		if namespace, ok := (distro.Distribution{ID: db.Namespace, VersionID: "20230201"}).Namespace(); !ok || namespace != db.Namespace {
			t.Errorf("%s speaks for %s, which is no namespace", db.Address, db.Namespace)
		}
	}
}
