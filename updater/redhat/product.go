package redhat

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/distro"
)

// reach says for whom a product of Red Hat publishes packages.
type reach uint8

const (
	mainstream reach = iota + 1 // every Red Hat Enterprise Linux of the major version
	minor                       // one minor release under extended support
	layered                     // those who installed the product
)

// products is the table of the products, by the third field of their CPE, that publish packages of the
// distribution itself. All others are layered. The extras are repositories of the distribution in their own right.
// Extended life cycle support (ELS) is what became of the mainstream of a major version, and its only source of
// verdicts since; that its fixes are for subscribers makes nobody else less affected.
var products = map[string]reach{
	"enterprise_linux":         mainstream,
	"rhel":                     mainstream,
	"rhel_els":                 mainstream,
	"rhel_common":              mainstream,
	"rhel_extras":              mainstream,
	"rhel_extras_hpn":          mainstream,
	"rhel_extras_nfv":          mainstream,
	"rhel_extras_rt":           mainstream,
	"rhel_extras_sap":          mainstream,
	"rhel_extras_sap_hana":     mainstream,
	"rhel_cluster":             mainstream,
	"rhel_cluster_storage":     mainstream,
	"rhel_productivity":        mainstream,
	"rhel_virtualization":      mainstream,
	"enterprise_linux_eus":     minor,
	"rhel_eus":                 minor,
	"rhel_eus_long_life":       minor,
	"rhel_aus":                 minor,
	"rhel_e4s":                 minor,
	"rhel_tus":                 minor,
	"rhel_mission_critical":    minor,
	"rhel_extras_sap_eus":      minor,
	"rhel_extras_sap_e4s":      minor,
	"rhel_extras_sap_hana_eus": minor,
	"rhel_extras_sap_hana_e4s": minor,
}

// foreign are the editions of enterprise_linux (the fifth field of the CPE) that are repositories of other products:
// those of Red Hat Virtualization and of Fast Datapath. Every other edition, such as baseos, appstream, crb,
// highavailability or server, is a part of the distribution.
var foreign = []string{"fastdatapath", "hypervisor", "hypervisor_power"}

// place returns for whom the product with this CPE publishes packages, and the namespace of the mainstream.
// The CPE is of version 2.2: "cpe:/o:redhat:enterprise_linux:9::baseos",
// see https://csrc.nist.gov/publications/detail/nistir/7695/final, section 6.1.
func place(cpe string) (namespace string, r reach, err error) {
	uri, ok := strings.CutPrefix(cpe, "cpe:/")
	fields := strings.Split(uri, ":")
	if cpe == "" {
		return "", 0, errors.New("it has no CPE")
	}
	if !ok || len(fields) < 3 {
		return "", 0, fmt.Errorf("CPE %q is not one", cpe)
	}
	fields = append(fields, "", "", "")
	if r, ok = products[fields[2]]; !ok || fields[1] != "redhat" || fields[2] == "enterprise_linux" && slices.Contains(foreign, fields[5]) {
		return "", layered, nil
	}
	if r == minor {
		return "", minor, nil
	}
	namespace, ok = distro.Distribution{ID: "rhel", VersionID: fields[3]}.Namespace()
	if !ok {
		return "", 0, fmt.Errorf("CPE %q has no version", cpe)
	}
	return namespace, mainstream, nil
}
