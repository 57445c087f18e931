package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/trawl-scanner/trawl/deploy/local"
)

// describe says what is where, and how to use it.
func describe(w io.Writer, c *local.Cluster) {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(table.Row{"Name", "Address", "Health, metrics, profiles", "Gossip", "PID", "Ready after"})
	server, registry := "", ""
	for _, a := range c.Addresses() {
		address, introspection := a.Address, ""
		switch a.Role {
		case local.Postgres:
			address = "a socket, see below"
		case local.Registry:
			registry = a.Address
		case local.API:
			address = "http://" + a.Address
			if server == "" {
				server = address
			}
		}
		if a.Introspection != "" {
			introspection = "http://" + a.Introspection
		}
		t.AppendRow(table.Row{a.Name, address, introspection, a.Gossip, a.PID, a.Took.Round(10 * time.Millisecond)})
	}
	folder := c.Dir()
	fmt.Fprintf(w, "\n%s\n\n", t.Render())
	fmt.Fprintf(w, "Postgres  psql '%s'\nLogs      %s/logs\nSettings  %s\n\n", c.Servers().Postgres, folder, c.Settings())
	if server == "" {
		return
	}
	fmt.Fprintf(w, "Web       %s/docs\nStatus    trawl status --server %s\nScan      trawl scan --server %s debian:12\n", server, server, server)
	fmt.Fprintf(w, "          push your own to %s, which speaks plain HTTP:\n", registry)
	fmt.Fprintf(w, "          trawl scan --server %s %s/NAME:TAG\n\n", server, registry)
}
