package membership

import (
	"log/slog"
	"strings"

	"github.com/hashicorp/memberlist"
)

// delegate tells memberlist what this member says of itself. Its methods are called by memberlist's goroutines and must
// not block.
type delegate struct{ *Cluster }

// NodeMeta implements [memberlist.Delegate].
func (d delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	text, _ := d.meta.encode() // it was encoded before it was accepted
	return text
}

// NotifyMsg implements [memberlist.Delegate]: there are no messages.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements [memberlist.Delegate]: there are none.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements [memberlist.Delegate]: there is none.
func (delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements [memberlist.Delegate]: there is none.
func (delegate) MergeRemoteState([]byte, bool) {}

// events hears of members.
type events struct{ *Cluster }

// NotifyJoin implements [memberlist.EventDelegate].
func (e events) NotifyJoin(n *memberlist.Node) {
	e.log.Debug("member joined", "member", n.Name, "address", n.Address())
	e.NotifyUpdate(n)
}

// NotifyUpdate implements [memberlist.EventDelegate].
func (e events) NotifyUpdate(n *memberlist.Node) {
	m := Member{Name: n.Name, Addr: n.Address()}
	var err error
	if m.Meta, err = decodeMeta(n.Meta); err != nil {
		m.Problem = err.Error()
		e.log.Warn("cannot read what a member tells", "member", n.Name, "address", m.Addr, "error", err)
	}
	e.changed(n.Name, &m)
}

// NotifyLeave implements [memberlist.EventDelegate]. It hears of deaths too.
func (e events) NotifyLeave(n *memberlist.Node) {
	e.log.Debug("member left", "member", n.Name, "address", n.Address(), "died", n.State == memberlist.StateDead)
	e.changed(n.Name, nil)
}

// conflicts hears of two members with one name.
type conflicts struct{ *Cluster }

// NotifyConflict implements [memberlist.ConflictDelegate].
func (c conflicts) NotifyConflict(existing, other *memberlist.Node) {
	c.log.Error("two members have one name", "member", existing.Name, "address", existing.Address(), "other", other.Address())
}

// logWriter passes on what memberlist logs, a line at a time: "… [WARN] memberlist: …".
type logWriter struct{ log *slog.Logger }

// Write implements [io.Writer].
func (w logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if _, rest, ok := strings.Cut(text, "] "); ok {
		text = rest
	}
	w.log.Debug("gossip", "text", text)
	return len(line), nil
}
