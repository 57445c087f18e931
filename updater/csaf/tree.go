package csaf

import "errors"

// maxDepth bounds how deep branches of a product tree may lie in one another. Real ones lie four deep.
const maxDepth = 64

func (p *reading) tree() error {
	return p.object(map[string]func() error{
		"branches":           func() error { return p.branches(0) },
		"full_product_names": func() error { return p.w.Array(func(int) error { return p.product(None, None) }) },
		"relationships":      func() error { return p.w.Array(func(int) error { return p.relationship() }) },
		"product_groups":     func() error { return p.w.Array(func(int) error { return p.productGroup() }) },
	})
}

func (p *reading) branches(depth int) error {
	if depth == maxDepth {
		return errors.New("branches lie too deep")
	}
	return p.w.Array(func(int) error {
		return p.object(map[string]func() error{
			"branches": func() error { return p.branches(depth + 1) },
			"product":  func() error { return p.product(None, None) },
		})
	})
}

// fullProductName is section 3.1.3 of the standard.
type fullProductName struct {
	ID     string `json:"product_id"`
	Name   string `json:"name"`
	Helper struct {
		CPE  string `json:"cpe"`
		PURL string `json:"purl"`
	} `json:"product_identification_helper"`
}

func (p *reading) product(component, platform Ref) error {
	var full fullProductName
	if err := p.value(&full); err != nil {
		return err
	}
	return p.define(full, component, platform)
}

func (p *reading) define(full fullProductName, component, platform Ref) error {
	if full.ID == "" {
		return errors.New("a product has no identifier")
	}
	r := p.ref(full.ID)
	product := &p.doc.Products[r]
	product.CPE, product.PURL = full.Helper.CPE, full.Helper.PURL
	if component == None { // the name of a component of something is the two names over again
		product.Name = full.Name
	}
	product.Component, product.Platform, product.Defined = component, platform, true
	return nil
}

// relationship reads a product that is a component of another one: all categories of section 3.2.2.4 come to
// that, "installed_on" included.
func (p *reading) relationship() error {
	var relation struct {
		Full      fullProductName `json:"full_product_name"`
		Component string          `json:"product_reference"`
		Platform  string          `json:"relates_to_product_reference"`
	}
	if err := p.value(&relation); err != nil {
		return err
	}
	if relation.Component == "" || relation.Platform == "" {
		return errors.New("a relationship does not say of what: " + relation.Full.ID)
	}
	return p.define(relation.Full, p.ref(relation.Component), p.ref(relation.Platform))
}

func (p *reading) productGroup() error {
	var id string
	var members []Ref
	err := p.object(map[string]func() error{
		"group_id":    p.into(&id),
		"product_ids": p.refList(&members),
	})
	p.groups[id] = append(p.groups[id], members...)
	return err
}

// joinGroups puts the members of product groups where groups are named. It is done at the end, the product tree not
// having to come first.
func (p *reading) joinGroups() {
	for i := range p.doc.Vulnerabilities {
		v := &p.doc.Vulnerabilities[i]
		for j := range v.Remedies {
			v.Remedies[j].Products = append(v.Remedies[j].Products, p.members(v.Remedies[j].groups)...)
		}
		for j := range v.Threats {
			v.Threats[j].Products = append(v.Threats[j].Products, p.members(v.Threats[j].groups)...)
		}
	}
}

func (p *reading) members(groups []string) []Ref {
	var out []Ref
	for _, group := range groups {
		out = append(out, p.groups[group]...)
	}
	return out
}
