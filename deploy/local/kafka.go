package local

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// kafkaSettings are those of one process that is broker and controller (KRaft), as the broker's documentation names
// them. What is not said is as it comes. The fields are the directory and the two addresses.
const kafkaSettings = `# Written at every start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[3]s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%[1]s/data
auto.create.topics.enable=false
# One broker has one replica of everything.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Topics of its own that are no larger than one machine needs.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=1
share.coordinator.state.topic.num.partitions=1
# The cleaner's buffer comes out of a small heap, and indexes of 600 partitions out of the disk.
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
num.recovery.threads.per.data.dir=2
# A broker that was killed may come back when its session has ended; the default is 9 s.
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
# Nobody else will join a group.
group.initial.rebalance.delay.ms=0
`

// kafkaLogging is a configuration of Log4j: warnings go to stdout, which is the log.
const kafkaLogging = `<Configuration>
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console></Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="info"/>
  </Loggers>
</Configuration>
`

// kafkaHeap bounds the broker's memory.
const kafkaHeap = "512m"

// startKafka starts the broker, and waits until it takes part in its cluster of one.
func (c *Cluster) startKafka(ctx context.Context) error {
	broker, err := c.newBroker(ctx)
	if err != nil {
		return err
	}
	client, err := c.ports.take()
	if err != nil {
		return err
	}
	controller, err := c.ports.take()
	if err != nil {
		return err
	}
	if err := c.takeListeners(); err != nil {
		return err
	}
	files := map[string]string{
		"server.properties": fmt.Sprintf(kafkaSettings, broker.dir, client, controller) + listenerSettings(client, controller, c.listeners),
		"log4j2.xml":        kafkaLogging,
	}
	if err := os.MkdirAll(filepath.Join(broker.dir, "tmp"), 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(broker.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := formatKafka(ctx, broker); err != nil {
		return err
	}
	c.kafka = client
	m := &member{name: Kafka, role: Kafka, address: client, part: broker}
	m.answers = func(ctx context.Context) error { return askKafka(ctx, client) }
	return c.serve(ctx, m)
}

// newBroker returns the broker's process.
func (c *Cluster) newBroker(ctx context.Context) (*process, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fault.Newf(fault.NotFound, "find", "java", "Java is not installed: apt-get install default-jre-headless (%w)", err)
	}
	jars, err := c.jars(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.config.Dir, Kafka)
	args := []string{
		"-Xms128m", "-Xmx" + kafkaHeap, "-XX:+ExitOnOutOfMemoryError",
		"-XX:-UsePerfData", // no file in the directory for temporary ones
		"-Djava.io.tmpdir=" + filepath.Join(dir, "tmp"), // where libraries of compression unpack themselves
		"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.xml"), "-Dlog4j2.disableJmx=true",
		"-cp", filepath.Join(jars, "*"),
	}
	if c.config.Scratch {
		args = append(args, quickStart...)
	}
	return &process{
		program: java, dir: dir, env: cleanEnvironment(), log: filepath.Join(c.config.Dir, "logs", Kafka+".log"),
		args: append(args, "kafka.Kafka", "server.properties"),
	}, nil
}

// quickStart makes a Java program start with half the work, and do what follows with more.
var quickStart = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}

// formatKafka makes the directory of a new cluster, as the broker demands (KIP-785); one that is there stays.
func formatKafka(ctx context.Context, broker *process) error {
	_, err := os.Stat(filepath.Join(broker.dir, "data", "meta.properties"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[0] &= 0x7f        // its text begins with a letter: a dash would be taken for a flag
	args := append(slices.Clone(quickStart), broker.args[:len(broker.args)-2]...)
	args = append(args, "kafka.tools.StorageTool", "format", "--ignore-formatted",
		"--cluster-id", base64.RawURLEncoding.EncodeToString(id), "--config", "server.properties")
	cmd := exec.CommandContext(ctx, broker.program, args...)
	cmd.Dir, cmd.Env = broker.dir, broker.env
	if said, err := cmd.CombinedOutput(); err != nil {
		return fault.Newf(fault.Unavailable, "format", broker.dir, "%w; it said:\n%s", err, strings.TrimSpace(string(said)))
	}
	return nil
}

// askKafka tells whether the broker is part of its cluster: before, it listens and knows of no broker.
func askKafka(ctx context.Context, address string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DisableClientMetrics(), kgo.RequestRetries(0))
	if err != nil {
		return fault.New(fault.Invalid, "ask", Kafka, err)
	}
	defer client.Close()
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "ask", Kafka, err)
	}
	if len(brokers) == 0 {
		return fault.Newf(fault.Unavailable, "ask", Kafka, "it is not yet a broker of its cluster")
	}
	return nil
}

// cleanEnvironment is what a process sees of ours: nothing that would set anything of the program or of Java.
func cleanEnvironment() []string {
	var out []string
	for _, entry := range os.Environ() {
		switch {
		case strings.HasPrefix(entry, "TRAWL_"), strings.HasPrefix(entry, "ETCD_"), strings.HasPrefix(entry, "REGISTRY_"),
			strings.HasPrefix(entry, "JAVA_TOOL_OPTIONS="), strings.HasPrefix(entry, "PG"):
		default:
			out = append(out, entry)
		}
	}
	return out
}
