package store

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// A lexicon is a table that gives an id to each distinct key, and never changes one.
type lexicon[K comparable] struct {
	// find returns the ids of those of the keys that are there.
	find func(ctx context.Context, tx pgx.Tx, keys []K) (map[K]int32, error)
	// insert adds keys and returns the ids of those that it added: a concurrent transaction may be
	// faster with some. The keys come in the order of compare, so that two transactions that insert
	// the same keys wait for one another and cannot deadlock.
	insert  func(ctx context.Context, tx pgx.Tx, keys []K) (map[K]int32, error)
	compare func(a, b K) int
}

// ensure returns the id of every key, and which of them this transaction added. It makes one round
// trip where all keys are known, three at most.
func (l lexicon[K]) ensure(ctx context.Context, tx pgx.Tx, keys []K) (ids map[K]int32, added []int32, err error) {
	if len(keys) == 0 {
		return nil, nil, nil
	}
	ids, err = l.find(ctx, tx, keys)
	if err != nil || len(ids) == len(keys) {
		return ids, nil, err
	}
	missing := absent(keys, ids)
	if len(missing) == 0 {
		return ids, nil, nil
	}
	slices.SortFunc(missing, l.compare)
	inserted, err := l.insert(ctx, tx, missing)
	if err != nil {
		return nil, nil, err
	}
	for k, id := range inserted {
		ids[k] = id
		added = append(added, id)
	}
	if missing = absent(missing, ids); len(missing) > 0 {
		others, err := l.find(ctx, tx, missing)
		if err != nil {
			return nil, nil, err
		}
		for k, id := range others {
			ids[k] = id
		}
		if missing = absent(missing, ids); len(missing) > 0 {
			return nil, nil, errBug("%v was neither found nor inserted", missing[0])
		}
	}
	return ids, added, nil
}

// absent returns the keys, each once, that are not in ids.
func absent[K comparable](keys []K, ids map[K]int32) []K {
	var out []K
	seen := make(map[K]bool)
	for _, k := range keys {
		if _, ok := ids[k]; !ok && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// collectIDs reads rows of an id followed by the columns of a key.
func collectIDs[K comparable](rows pgx.Rows, err error, scan func(row pgx.Rows, id *int32) (K, error)) (map[K]int32, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ids := make(map[K]int32)
	for rows.Next() {
		var id int32
		k, err := scan(rows, &id)
		if err != nil {
			return nil, err
		}
		ids[k] = id
	}
	return ids, rows.Err()
}
