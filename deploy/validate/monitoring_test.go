package validate

import (
	"encoding/json"
	"go/ast"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// metric is a metric that the program has.
type metric struct {
	kind   string // Counter, Gauge, Histogram
	labels []string
}

// registered returns the metrics that the program's source makes, and those of the libraries that it registers, as far
// as they are used here.
func registered(t *testing.T) map[string]metric {
	t.Helper()
	out := map[string]metric{
		"up":                            {"Gauge", nil}, // of Prometheus itself
		"go_goroutines":                 {"Gauge", nil},
		"process_cpu_seconds_total":     {"Counter", nil},
		"process_open_fds":              {"Gauge", nil},
		"process_resident_memory_bytes": {"Gauge", nil},
	}
	parseSource(t, []string{""}, func(_ string, n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		made, ok := call.Fun.(*ast.SelectorExpr)
		options, isLiteral := call.Args[0].(*ast.CompositeLit)
		if !ok || !isLiteral || !strings.HasPrefix(made.Sel.Name, "New") {
			return true
		}
		m := metric{kind: strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(made.Sel.Name, "New"), "Vec"), "Func")}
		name := ""
		for _, element := range options.Elts {
			field, ok := element.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, _ := field.Key.(*ast.Ident)
			switch value := field.Value.(type) {
			case *ast.BasicLit:
				if key.Name == "Name" {
					name = text(value)
				}
			case *ast.CompositeLit:
				if key.Name == "ConstLabels" {
					m.labels = append(m.labels, literals(value)...)
				}
			}
		}
		for _, arg := range call.Args[1:] {
			if list, ok := arg.(*ast.CompositeLit); ok {
				m.labels = append(m.labels, literals(list)...)
			}
		}
		if strings.HasPrefix(name, "trawl_") {
			out[name] = m
		}
		return true
	})
	if len(out) < 30 {
		t.Fatalf("found only the metrics %v", out)
	}
	return out
}

// literals returns the texts of a list, or the keys of a map.
func literals(list *ast.CompositeLit) (out []string) {
	for _, element := range list.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			element = pair.Key
		}
		if literal, ok := element.(*ast.BasicLit); ok {
			out = append(out, text(literal))
		}
	}
	return out
}

// targetLabels are those that Prometheus adds.
var targetLabels = []string{"__name__", "job", "instance"}

// checkExpression holds that an expression names metrics that there are, with labels that they have.
func checkExpression(t *testing.T, where, expression string, known map[string]metric) {
	t.Helper()
	for _, variable := range []string{"$__rate_interval"} {
		expression = strings.ReplaceAll(expression, variable, "5m")
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	var allowed []string // in groupings
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		m, suffix, ok := find(known, selector.Name)
		if !ok {
			t.Errorf("%s: there is no metric %s", where, selector.Name)
			return nil
		}
		have := slices.Concat(m.labels, targetLabels)
		if suffix == "_bucket" {
			have = append(have, "le")
		}
		allowed = append(allowed, have...)
		for _, matcher := range selector.LabelMatchers {
			if !slices.Contains(have, matcher.Name) {
				t.Errorf("%s: %s has no label %s", where, selector.Name, matcher.Name)
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			for _, label := range n.Grouping {
				if !slices.Contains(allowed, label) {
					t.Errorf("%s: nothing has the label %s", where, label)
				}
			}
		case *parser.Call:
			if n.Func.Name == "rate" || n.Func.Name == "increase" {
				checkCounter(t, where, n, known)
			}
		}
		return nil
	})
}

// checkCounter holds that a rate is taken of what only grows.
func checkCounter(t *testing.T, where string, call *parser.Call, known map[string]metric) {
	t.Helper()
	parser.Inspect(call, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			if m, suffix, ok := find(known, selector.Name); ok && m.kind != "Counter" && suffix == "" {
				t.Errorf("%s: %s of %s, which is a %s", where, call.Func.Name, selector.Name, m.kind)
			}
		}
		return nil
	})
}

// find finds the metric that a series is of.
func find(known map[string]metric, name string) (m metric, suffix string, ok bool) {
	if m, ok := known[name]; ok && m.kind != "Histogram" {
		return m, "", true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if m, ok := known[strings.TrimSuffix(name, suffix)]; ok && m.kind == "Histogram" && strings.HasSuffix(name, suffix) {
			return m, suffix, true
		}
	}
	return metric{}, "", false
}

// rules returns the alerts.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, problems := rulefmt.ParseFile("../monitoring/alerts.yaml", false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, problem := range problems {
		t.Error(problem)
	}
	var out []rulefmt.Rule
	for _, group := range groups.Groups {
		out = append(out, group.Rules...)
	}
	if len(out) == 0 {
		t.Fatal("no alerts")
	}
	return out
}

// TestAlerts holds the alerts against the metrics of the program, and the runbook.
func TestAlerts(t *testing.T) {
	known, sections := registered(t), headings(t)
	for _, rule := range rules(t) {
		checkExpression(t, rule.Alert, rule.Expr, known)
		if !slices.Contains(sections, "## "+rule.Alert) {
			t.Errorf("the runbook has no section %s", rule.Alert)
		}
		if url := rule.Annotations["runbook_url"]; !strings.HasSuffix(url, "/deploy/RUNBOOK.md#"+anchor(rule.Alert)) {
			t.Errorf("%s leads to %s", rule.Alert, url)
		}
		if s := rule.Labels["severity"]; !slices.Contains([]string{"info", "warning", "critical"}, s) {
			t.Errorf("%s: severity %q", rule.Alert, s)
		}
		if rule.Annotations["summary"] == "" {
			t.Errorf("%s says nothing", rule.Alert)
		}
		sections = slices.DeleteFunc(sections, func(s string) bool { return s == "## "+rule.Alert })
	}
	for _, section := range sections {
		if strings.HasPrefix(section, "## Trawl") {
			t.Errorf("the runbook has a section %s for an alert that there is none of", section)
		}
	}
}

// headings returns the headings of the runbook.
func headings(t *testing.T) []string {
	t.Helper()
	return regexp.MustCompile(`(?m)^##? .*$`).FindAllString(string(read(t, "../RUNBOOK.md")), -1)
}

// anchor is the name by which GitHub links to a heading.
func anchor(heading string) string {
	heading = strings.ToLower(strings.TrimLeft(heading, "# "))
	heading = regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(heading, "")
	return strings.ReplaceAll(heading, " ", "-")
}

// TestDashboard holds the dashboard against the metrics of the program.
func TestDashboard(t *testing.T) {
	var dashboard struct {
		UID    string `json:"uid"`
		Panels []struct {
			ID      int    `json:"id"`
			Type    string `json:"type"`
			Title   string `json:"title"`
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "../monitoring/dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	known := registered(t)
	ids := map[int]bool{}
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.GridPos.X+panel.GridPos.W > 24 {
			t.Errorf("%s: id %d, at %+v", panel.Title, panel.ID, panel.GridPos)
		}
		ids[panel.ID] = true
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			checkExpression(t, panel.Title, target.Expr, known)
		}
	}
}

// TestScraping holds that the job's name is the one that alerts expect.
func TestScraping(t *testing.T) {
	var config struct {
		Global map[string]string `json:"global"`
		Rules  []string          `json:"rule_files"`
		Scrape []struct {
			Job string `json:"job_name"`
			DNS []struct {
				Names []string `json:"names"`
				Type  string   `json:"type"`
				Port  int      `json:"port"`
			} `json:"dns_sd_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.UnmarshalStrict(read(t, "../monitoring/prometheus.yaml"), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Scrape) != 1 || config.Scrape[0].Job != "trawl" {
		t.Errorf("jobs %+v", config.Scrape)
	}
	got := slices.Sorted(slices.Values(config.Scrape[0].DNS[0].Names))
	if want := slices.Sorted(slices.Values(roles)); !slices.Equal(got, want) {
		t.Errorf("reads %v, want %v", got, want)
	}
}

var (
	codeBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	inline    = regexp.MustCompile("`(trawl [a-z][^`]*)`")
	link      = regexp.MustCompile(`\]\(#([a-z0-9-]+)\)`)
)

// TestRunbook holds that links lead somewhere, and that the program has the commands and flags that are named.
func TestRunbook(t *testing.T) {
	runbook := string(read(t, "../RUNBOOK.md"))
	var anchors []string
	for _, heading := range headings(t) {
		anchors = append(anchors, anchor(heading))
	}
	for _, to := range link.FindAllStringSubmatch(runbook, -1) {
		if !slices.Contains(anchors, to[1]) {
			t.Errorf("a link leads to #%s, which is not there", to[1])
		}
	}
	var lines []string
	for _, block := range codeBlock.FindAllStringSubmatch(runbook, -1) {
		lines = append(lines, strings.Split(block[1], "\n")...)
	}
	for _, code := range inline.FindAllStringSubmatch(runbook, -1) {
		lines = append(lines, code[1])
	}
	checked := 0
	for _, line := range lines {
		if !strings.HasPrefix(line, "trawl ") {
			continue
		}
		checked++
		words := strings.Fields(line)[1:]
		command := words[:1]
		if len(words) > 1 && words[0] == "feeds" {
			command = words[:2]
		}
		help, code := run(t, nil, append(slices.Clone(command), "--help")...)
		if code != 0 || !strings.Contains(help, "Usage:\n  trawl "+strings.Join(command, " ")) {
			t.Errorf("%s: there is no such command", line)
		}
		for _, word := range words {
			if strings.HasPrefix(word, "--") && !strings.Contains(help, word+" ") {
				t.Errorf("%s: there is no %s", line, word)
			}
		}
	}
	if checked < 5 {
		t.Errorf("found %d commands only", checked)
	}
}
