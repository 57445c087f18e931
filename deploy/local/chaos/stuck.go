package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/deploy/local"
)

// logTail is how many lines of each log stand in a picture of what is stuck.
const logTail = 12

// stuck tells people what a cluster is doing: its status, work that is left, and the last lines of each log.
func stuck(ctx context.Context, c *local.Cluster) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out strings.Builder
	if client, err := c.Client(); err != nil {
		fmt.Fprintf(&out, "status: %v\n", err)
	} else if status, err := client.Status(ctx); err != nil {
		fmt.Fprintf(&out, "status: %v\n", err)
	} else if text, err := json.MarshalIndent(status, "", "  "); err == nil {
		fmt.Fprintf(&out, "status: %s\n", text)
	}
	for _, query := range []string{
		`SELECT 'submission', id, target, 'attempts', attempts, 'sent', now() - sent_at, 'due', not_before - now(), problem FROM submission WHERE state <> 1 LIMIT 10`,
		`SELECT 'layer', encode(digest, 'hex'), 'state', state, 'attempts', attempts, 'sent', now() - sent_at, 'due', not_before - now(), problem FROM layer WHERE state <> 2 LIMIT 10`,
		`SELECT 'edge', encode(i.digest, 'hex'), encode(l.digest, 'hex'), 'layer state', l.state FROM pending_layer p JOIN image i ON i.id = p.image_id JOIN layer l ON l.id = p.layer_id LIMIT 10`,
		`SELECT 'backend', pid, state, wait_event_type, wait_event, now() - xact_start, pg_blocking_pids(pid), left(query, 100) FROM pg_stat_activity WHERE state <> 'idle'`,
		`SELECT 'feed', url, state, ranges, error FROM feed`,
	} {
		if err := show(ctx, &out, c.Servers().Postgres, query); err != nil {
			fmt.Fprintf(&out, "%v\n", err)
		}
	}
	for _, a := range c.Addresses() {
		fmt.Fprintf(&out, "%s is %s; its log ends:\n", a.Name, a.State)
		text, err := os.ReadFile(a.Log)
		if err != nil {
			fmt.Fprintf(&out, "  %v\n", err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		for _, line := range lines[max(0, len(lines)-logTail):] {
			fmt.Fprintf(&out, "  %.400s\n", line)
		}
	}
	return out.String()
}

// show prints the rows of a query.
func show(ctx context.Context, out *strings.Builder, dsn, query string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		for _, value := range values {
			text, err := json.Marshal(value)
			if err != nil {
				text = []byte(fmt.Sprint(value))
			}
			fmt.Fprintf(out, "%s ", text)
		}
		out.WriteString("\n")
	}
	return rows.Err()
}
