package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/budget"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

// ociConfig is what is configured of the ways to images.
func (a *app) ociConfig(local bool) oci.Config {
	mirrors := make(map[string][]string)
	for _, entry := range a.registryMirrors {
		if host, list, ok := strings.Cut(entry, "="); ok {
			mirrors[host] = append(mirrors[host], strings.Split(list, ",")...)
		}
	}
	return oci.Config{
		AllowLocal: local, Limits: a.layerLimits(),
		Registry: registry.Config{
			UserAgent: "trawl/" + version, Mirrors: mirrors, PlainHTTP: a.plainHTTP, CAFiles: a.registryCA,
			DenyPrivate: a.denyPrivate, DenyLoopback: a.denyLoopback,
		},
	}
}

// withBudget has requests to registries keep to what all processes may make together.
func (p *process) withBudget(ctx context.Context, config oci.Config) (oci.Config, error) {
	budgets, err := p.app.budgets()
	if err != nil {
		return config, err
	}
	budgets.Store, budgets.Logger = p.cluster.Store, p.log
	b, err := budget.New(budgets)
	if err != nil {
		return config, err
	}
	config.Registry.Acquire, config.Registry.Observe = b.Acquire, b.Observe
	p.background(ctx, b.Run) // whoever drains still asks registries
	return config, nil
}

// budgets returns what is configured of budgets, which makes sense.
func (s *settings) budgets() (config budget.Config, err error) {
	config.Rates, err = byHost(s.registryRates, "registry rate", "N requests a second", func(text string) (float64, error) {
		return strconv.ParseFloat(text, 64)
	})
	if err != nil {
		return config, err
	}
	if config.Slots, err = byHost(s.registrySlots, "registry concurrency", "N requests at once", strconv.Atoi); err != nil {
		return config, err
	}
	if _, err := budget.New(config); err != nil {
		return config, usageError(err)
	}
	return config, nil
}

// byHost reads a setting whose entries are HOST=N; what it is and what is wanted are for errors.
func byHost[N any](entries []string, what, want string, parse func(string) (N, error)) (map[string]N, error) {
	out := make(map[string]N)
	for _, entry := range entries {
		host, text, _ := strings.Cut(entry, "=")
		n, err := parse(text)
		if err != nil || host == "" {
			return nil, usageError(fmt.Errorf("%s %q: want HOST=N, %s", what, entry, want))
		}
		switch strings.ToLower(host) {
		case "docker.io", "index.docker.io": // whose API is elsewhere
			host = "registry-1.docker.io"
		}
		out[host] = n
	}
	return out, nil
}
