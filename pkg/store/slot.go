package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// SlotUse is whose slots are meant: those of a host for blobs, or for all other requests. Each request that is under way holds one.
type SlotUse struct {
	Host  string
	Blobs bool
}

// SlotWish is what a process wants of a host's slots.
type SlotWish struct {
	SlotUse
	Limit int // how many slots the host has for all processes
	Keep  int // of those that the process holds, how many it goes on holding
	Want  int // how many it has use for
}

// SlotLease is what a process got.
type SlotLease struct {
	SlotUse
	Held int // it may have so many requests under way; at least Keep, unless its lease had come to an end
	// Share is how many fall to it as long as everybody wants what they want now. Who holds more gives back, because somebody
	// else waits.
	Share int
	// Rivals is how many hold or want slots of the host, where somebody wants more than falls to them; 0 where nobody does.
	Rivals int
}

// slotRow is what one process holds and wants of a host.
type slotRow struct {
	SlotUse
	holder       string
	held, wanted int
}

// LeaseSlots leases slots to a process, or leases them again, until ttl from when the database hears of it. It returns a lease for
// each wish. Whoever dies does not give back: then others get the slots when that time is over.
//
// Of one host no more slots are leased at any time than the limit that is wished with. Processes should wish with the same one.
func (s *Store) LeaseSlots(ctx context.Context, holder string, ttl time.Duration, wishes []SlotWish) (out []SlotLease, err error) {
	var hosts []string
	for _, w := range wishes {
		hosts = append(hosts, w.Host)
	}
	slices.Sort(hosts) // so that two processes never wait for each other
	hosts = slices.Compact(hosts)
	err = s.write(ctx, "lease slots", func(tx pgx.Tx) error {
		out = out[:0]
		rows, epoch, err := lockSlots(ctx, tx, hosts)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, w := range wishes {
			lease := grantSlots(rows[w.Host], holder, epoch, w)
			out = append(out, lease)
			if lease.Held == 0 && w.Want == 0 {
				batch.Queue(`DELETE FROM registry_slot WHERE host = $1 AND holder = $2 AND blobs = $3`, w.Host, holder, w.Blobs)
				continue
			}
			rows[w.Host] = withSlots(rows[w.Host], slotRow{w.SlotUse, holder, lease.Held, w.Want})
			batch.Queue(`
				INSERT INTO registry_slot (host, holder, blobs, held, wanted, expires_at)
				VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::interval)
				ON CONFLICT (host, holder, blobs) DO UPDATE
				SET held = excluded.held, wanted = excluded.wanted, expires_at = excluded.expires_at`,
				w.Host, holder, w.Blobs, lease.Held, w.Want, ttl)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	return out, err
}

// slotEpoch is how long who gets what is left over stays the same.
const slotEpoch = 5 * time.Second

// lockSlots has nobody else lease slots of these hosts until the transaction ends, and returns what is leased.
func lockSlots(ctx context.Context, tx pgx.Tx, hosts []string) (rows map[string][]slotRow, epoch int64, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT pg_advisory_xact_lock(hashtextextended('registry_slot ' || h, 0)) FROM unnest($1::text[]) h`, hosts)
	batch.Queue(`DELETE FROM registry_slot WHERE host = ANY($1) AND expires_at <= clock_timestamp()`, hosts)
	batch.Queue(`SELECT floor(extract(epoch FROM clock_timestamp()) / extract(epoch FROM $1::interval))::bigint`, slotEpoch).
		QueryRow(func(row pgx.Row) error { return row.Scan(&epoch) })
	rows = make(map[string][]slotRow)
	batch.Queue(`SELECT host, blobs, holder, held, wanted FROM registry_slot WHERE host = ANY($1)`, hosts).Query(func(found pgx.Rows) error {
		var r slotRow
		_, err := pgx.ForEachRow(found, []any{&r.Host, &r.Blobs, &r.holder, &r.held, &r.wanted}, func() error {
			rows[r.Host] = append(rows[r.Host], r)
			return nil
		})
		return err
	})
	err = tx.SendBatch(ctx, batch).Close()
	return rows, epoch, err
}

// grantSlots decides what a process gets of a host, of which rows are leased.
func grantSlots(rows []slotRow, holder string, epoch int64, w SlotWish) SlotLease {
	var mine slotRow
	free, freeForBlobs := w.Limit, blobSlots(w.Limit)
	for _, r := range rows {
		if r.SlotUse == w.SlotUse && r.holder == holder {
			mine = r
			continue
		}
		free -= r.held
		if r.Blobs {
			freeForBlobs -= r.held
		}
	}
	if w.Blobs {
		free = min(free, freeForBlobs)
	}
	keep := min(w.Keep, mine.held)
	rows = withSlots(rows, slotRow{w.SlotUse, holder, keep, w.Want})
	shares := shareSlots(rows, w.Limit, epoch)
	lease := SlotLease{SlotUse: w.SlotUse, Share: shares[slotKey{w.Blobs, holder}]}
	lease.Held = max(keep, min(lease.Share, free))
	if slices.ContainsFunc(rows, func(r slotRow) bool { return r.wanted > shares[slotKey{r.Blobs, r.holder}] }) {
		lease.Rivals = len(rows)
	}
	return lease
}

// withSlots returns rows with that of one process replaced.
func withSlots(rows []slotRow, row slotRow) []slotRow {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r slotRow) bool { return r.SlotUse == row.SlotUse && r.holder == row.holder })
	return append(rows, row)
}

// blobSlots is how many of a host's slots may be used for blobs: a blob can take minutes, and whoever asks for a manifest is not to
// wait for that.
func blobSlots(limit int) int { return limit - limit/4 }

// slotKey names a row among those of one host.
type slotKey struct {
	blobs  bool
	holder string
}

// shareSlots divides a host's slots among those who want some: one to each in turn, until there are none or nobody wants more. Who
// comes first changes with the epoch, so that everybody gets one in time where there are fewer slots than processes.
func shareSlots(rows []slotRow, limit int, epoch int64) map[slotKey]int {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r slotRow) bool { return r.wanted == 0 })
	slices.SortFunc(rows, func(a, b slotRow) int {
		switch {
		case a.holder != b.holder:
			return cmp.Compare(a.holder, b.holder)
		case a.Blobs == b.Blobs:
			return 0
		case b.Blobs:
			return -1
		}
		return 1
	})
	if len(rows) > 0 {
		first := int(epoch * int64(blobSlots(limit)) % int64(len(rows)))
		rows = append(rows[first:], rows[:first]...)
	}
	shares := make(map[slotKey]int)
	forBlobs := blobSlots(limit)
	for given := true; given; {
		given = false
		for _, r := range rows {
			key := slotKey{r.Blobs, r.holder}
			if limit == 0 || shares[key] >= r.wanted || r.Blobs && forBlobs == 0 {
				continue
			}
			shares[key]++
			limit--
			if r.Blobs {
				forBlobs--
			}
			given = true
		}
	}
	return shares
}
