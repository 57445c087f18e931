package version

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"testing"
)

// conversation starts a program that answers as testdata/tools/README.md says, and ends it with the
// test. It skips the test when the program says nothing.
func conversation(t *testing.T, program string, args ...string) tool {
	t.Helper()
	cmd := exec.Command(program, args...)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: %s, which this test asks, does not run here: %v", program, err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && !t.Skipped() {
			t.Errorf("%s: %v %.300s", cmd, err, &problem)
		}
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Skipf("SKIPPED: %s has nothing to say", cmd)
	}
	order := func(t *testing.T, pairs [][2]string) []string {
		go func() {
			w := bufio.NewWriter(in)
			for _, p := range pairs {
				fmt.Fprintf(w, "%s\n%s\n", p[0], p[1])
			}
			w.Flush()
		}()
		answers := make([]string, 0, len(pairs))
		for len(answers) < len(pairs) && lines.Scan() {
			answers = append(answers, lines.Text())
		}
		if len(answers) < len(pairs) {
			t.Fatalf("%s: %d answers for %d pairs", cmd, len(answers), len(pairs))
		}
		return answers
	}
	return tool{
		name:  lines.Text(),
		order: order,
		valid: func(t *testing.T, s string) bool { return order(t, [][2]string{{s, s}})[0] != "?" },
	}
}
