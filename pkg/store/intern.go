package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// interned tells what the inventories of a batch of images became in the database.
type interned struct {
	inventories []inventoryRow // one for each image, in their order
	newReleases []int32
}

type inventoryRow struct {
	id      int32
	origins []byte // of the image, in the order of the inventory's package ids
}

type releaseKey struct {
	namespace     int32
	name, version string
}

type packageKey struct {
	release                     int32
	name, version, arch, module string
}

// internInventories makes sure that the releases, packages and inventories of the images are in the
// database. Two images with the same packages on the same distribution share one inventory.
func internInventories(ctx context.Context, tx pgx.Tx, images []*completion) (*interned, error) {
	in := &internment{
		tx: tx, known: make(map[distro.Distribution]map[inventory.Package]*entry), installed: make(map[*completion][]*entry),
	}
	for _, image := range images {
		in.add(image)
	}
	out := &interned{}
	var err error
	if err = in.ensureNamespaces(ctx, images); err != nil {
		return nil, err
	}
	if out.newReleases, err = in.ensureReleases(ctx); err != nil {
		return nil, err
	}
	if err = in.ensurePackages(ctx); err != nil {
		return nil, err
	}
	out.inventories, err = in.ensureInventories(ctx, images)
	return out, err
}

// internment is the state of one internInventories.
type internment struct {
	tx         pgx.Tx
	known      map[distro.Distribution]map[inventory.Package]*entry
	entries    []*entry                 // all of known
	installed  map[*completion][]*entry // in the order of the image's inventory
	namespaces map[string]int32
}

// entry is a package on a distribution, which most images of a batch share with others.
type entry struct {
	inventory.Package
	release inventory.Release
	source  *inventory.Release // the release that its source package is, where that is one
	key     packageKey         // set with the ids of releases
	from    *int32             // the id of source
	id      int32
}

// add adds what is installed in an image.
func (in *internment) add(image *completion) {
	d := image.inventory.Distribution
	known := in.known[d]
	if known == nil {
		known = make(map[inventory.Package]*entry)
		in.known[d] = known
	}
	list := make([]*entry, len(image.inventory.Packages))
	for i, p := range image.inventory.Packages {
		e := known[p.Package]
		if e == nil {
			e = &entry{Package: p.Package, release: inventory.ReleaseOf(d, p.Package)}
			if source, ok := inventory.SourceReleaseOf(d, p.Package); ok {
				e.source = &source
			}
			known[p.Package] = e
			in.entries = append(in.entries, e)
		}
		list[i] = e
	}
	in.installed[image] = list
}

func (in *internment) ensureNamespaces(ctx context.Context, images []*completion) error {
	schemes := make(map[string]version.Scheme)
	for _, image := range images {
		if name, scheme, ok := inventory.NamespaceOf(image.inventory.Distribution); ok && schemes[name] == "" {
			schemes[name] = scheme
		}
	}
	for _, e := range in.entries {
		schemes[e.release.Namespace] = e.release.Scheme
	}
	var err error
	in.namespaces, err = ensureNamespaces(ctx, in.tx, schemes)
	return err
}

// ensureNamespaces returns the ids of namespaces, given with the scheme that their versions follow.
func ensureNamespaces(ctx context.Context, tx pgx.Tx, schemes map[string]version.Scheme) (map[string]int32, error) {
	names := make([]string, 0, len(schemes))
	for name := range schemes {
		names = append(names, name)
	}
	table := lexicon[string]{
		compare: cmp.Compare[string],
		find: func(ctx context.Context, tx pgx.Tx, keys []string) (map[string]int32, error) {
			rows, err := tx.Query(ctx, `SELECT id, name FROM namespace WHERE name = ANY($1)`, keys)
			return collectIDs(rows, err, scanText)
		},
		insert: func(ctx context.Context, tx pgx.Tx, keys []string) (map[string]int32, error) {
			values := make([]string, len(keys))
			for i, name := range keys {
				values[i] = string(schemes[name])
			}
			rows, err := tx.Query(ctx, `
				INSERT INTO namespace (name, scheme) SELECT * FROM unnest($1::text[], $2::text[])
				ON CONFLICT DO NOTHING RETURNING id, name`, keys, values)
			return collectIDs(rows, err, scanText)
		},
	}
	ids, _, err := table.ensure(ctx, tx, names)
	return ids, err
}

func (in *internment) key(r inventory.Release) releaseKey {
	return releaseKey{in.namespaces[r.Namespace], r.Name, r.Version}
}

func (in *internment) ensureReleases(ctx context.Context) (added []int32, err error) {
	schemes := make(map[releaseKey]version.Scheme)
	for _, e := range in.entries {
		schemes[in.key(e.release)] = e.release.Scheme
		if e.source != nil {
			schemes[in.key(*e.source)] = e.source.Scheme
		}
	}
	keys := make([]releaseKey, 0, len(schemes))
	for k := range schemes {
		keys = append(keys, k)
	}
	table := lexicon[releaseKey]{
		compare: func(a, b releaseKey) int {
			return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version))
		},
		find: func(ctx context.Context, tx pgx.Tx, keys []releaseKey) (map[releaseKey]int32, error) {
			spaces, names, versions := splitReleases(keys)
			rows, err := tx.Query(ctx, `
				SELECT r.id, r.namespace_id, r.name, r.version
				FROM unnest($1::smallint[], $2::text[], $3::text[]) AS v(namespace_id, name, version)
				JOIN release r USING (namespace_id, name, version)`, spaces, names, versions)
			return collectIDs(rows, err, scanRelease)
		},
		insert: func(ctx context.Context, tx pgx.Tx, keys []releaseKey) (map[releaseKey]int32, error) {
			spaces, names, versions := splitReleases(keys)
			sortKeys, problems := make([][]byte, len(keys)), make([]*string, len(keys))
			for i, k := range keys {
				sortKeys[i], problems[i] = keyOrProblem(schemes[k], k.version)
			}
			rows, err := tx.Query(ctx, `
				INSERT INTO release (namespace_id, name, version, key, problem)
				SELECT * FROM unnest($1::smallint[], $2::text[], $3::text[], $4::bytea[], $5::text[])
				ON CONFLICT DO NOTHING RETURNING id, namespace_id, name, version`,
				spaces, names, versions, sortKeys, problems)
			return collectIDs(rows, err, scanRelease)
		},
	}
	ids, added, err := table.ensure(ctx, in.tx, keys)
	for _, e := range in.entries {
		e.key = packageKey{ids[in.key(e.release)], e.Name, e.Version, e.Arch, e.Module}
		if e.source != nil {
			id := ids[in.key(*e.source)]
			e.from = &id
		}
	}
	return added, err
}

// keyOrProblem returns the sort key of a version, or why it has none.
func keyOrProblem(scheme version.Scheme, v string) ([]byte, *string) {
	key, err := version.Key(scheme, v)
	if err != nil {
		problem := err.Error()
		return nil, &problem
	}
	return key, nil
}

func splitReleases(keys []releaseKey) (spaces []int16, names, versions []string) {
	for _, k := range keys {
		spaces, names, versions = append(spaces, int16(k.namespace)), append(names, k.name), append(versions, k.version)
	}
	return spaces, names, versions
}

func scanRelease(row pgx.Rows, id *int32) (k releaseKey, err error) {
	err = row.Scan(id, &k.namespace, &k.name, &k.version)
	return k, err
}

func (in *internment) ensurePackages(ctx context.Context) error {
	full := make(map[packageKey]*entry)
	for _, e := range in.entries {
		full[e.key] = e
	}
	keys := make([]packageKey, 0, len(full))
	for k := range full {
		keys = append(keys, k)
	}
	table := lexicon[packageKey]{
		compare: func(a, b packageKey) int {
			return cmp.Or(cmp.Compare(a.release, b.release), cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version),
				cmp.Compare(a.arch, b.arch), cmp.Compare(a.module, b.module))
		},
		find: func(ctx context.Context, tx pgx.Tx, keys []packageKey) (map[packageKey]int32, error) {
			c := splitPackages(keys)
			rows, err := tx.Query(ctx, `
				SELECT p.id, p.release_id, p.name, p.version, p.arch, p.module
				FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[]) AS v(release_id, name, version, arch, module)
				JOIN package p USING (release_id, name, version, arch, module)`, c.releases, c.names, c.versions, c.archs, c.modules)
			return collectIDs(rows, err, scanPackage)
		},
		insert: func(ctx context.Context, tx pgx.Tx, keys []packageKey) (map[packageKey]int32, error) {
			c := splitPackages(keys)
			kinds, sources, sourceVersions := make([]string, len(keys)), make([]string, len(keys)), make([]string, len(keys))
			sourceReleases := make([]*int32, len(keys))
			for i, k := range keys {
				e := full[k]
				kinds[i], sources[i], sourceVersions[i], sourceReleases[i] = string(e.Kind), e.SourceName, e.SourceVersion, e.from
			}
			rows, err := tx.Query(ctx, `
				INSERT INTO package (release_id, name, version, arch, module, kind, source_name, source_version, source_release_id)
				SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[])
				ON CONFLICT DO NOTHING RETURNING id, release_id, name, version, arch, module`,
				c.releases, c.names, c.versions, c.archs, c.modules, kinds, sources, sourceVersions, sourceReleases)
			return collectIDs(rows, err, scanPackage)
		},
	}
	ids, _, err := table.ensure(ctx, in.tx, keys)
	for _, e := range in.entries {
		e.id = ids[e.key]
	}
	return err
}

type packageColumns struct {
	releases                        []int32
	names, versions, archs, modules []string
}

func splitPackages(keys []packageKey) (c packageColumns) {
	for _, k := range keys {
		c.releases, c.names, c.versions = append(c.releases, k.release), append(c.names, k.name), append(c.versions, k.version)
		c.archs, c.modules = append(c.archs, k.arch), append(c.modules, k.module)
	}
	return c
}

func scanPackage(row pgx.Rows, id *int32) (k packageKey, err error) {
	err = row.Scan(id, &k.release, &k.name, &k.version, &k.arch, &k.module)
	return k, err
}

// content is an inventory as it is stored.
type content struct {
	namespace  *int16
	distroJSON string
	packageIDs []int32
}

func (in *internment) ensureInventories(ctx context.Context, images []*completion) ([]inventoryRow, error) {
	rows := make([]inventoryRow, len(images))
	hashes := make([][sha256.Size]byte, len(images))
	contents := make(map[[sha256.Size]byte]content)
	for i, image := range images {
		c, origins, err := in.content(image)
		if err != nil {
			return nil, err
		}
		rows[i].origins = origins
		hashes[i] = c.hash()
		contents[hashes[i]] = c
	}
	table := lexicon[[sha256.Size]byte]{
		compare: func(a, b [sha256.Size]byte) int { return slices.Compare(a[:], b[:]) },
		find: func(ctx context.Context, tx pgx.Tx, keys [][sha256.Size]byte) (map[[sha256.Size]byte]int32, error) {
			found, err := tx.Query(ctx, `SELECT id, hash FROM inventory WHERE hash = ANY($1)`, slicesOf(keys))
			return collectIDs(found, err, scanHash)
		},
		insert: func(ctx context.Context, tx pgx.Tx, keys [][sha256.Size]byte) (map[[sha256.Size]byte]int32, error) {
			spaces, distros, packages := make([]*int16, len(keys)), make([]string, len(keys)), make([]string, len(keys))
			for i, k := range keys {
				spaces[i], distros[i], packages[i] = contents[k].namespace, contents[k].distroJSON, intArray(contents[k].packageIDs)
			}
			added, err := tx.Query(ctx, `
				INSERT INTO inventory (hash, namespace_id, distribution, package_ids)
				SELECT hash, namespace, distro::jsonb, packages::int[]
				FROM unnest($1::bytea[], $2::smallint[], $3::text[], $4::text[]) AS v(hash, namespace, distro, packages)
				ON CONFLICT DO NOTHING RETURNING id, hash`, slicesOf(keys), spaces, distros, packages)
			return collectIDs(added, err, scanHash)
		},
	}
	ids, _, err := table.ensure(ctx, in.tx, distinct(hashes))
	for i := range rows {
		rows[i].id = ids[hashes[i]]
	}
	return rows, err
}

// content returns what is stored of an image's inventory, and the image's own origins.
func (in *internment) content(image *completion) (content, []byte, error) {
	var c content
	inv := image.inventory
	if name, _, ok := inventory.NamespaceOf(inv.Distribution); ok {
		id := int16(in.namespaces[name])
		c.namespace = &id
	}
	var err error
	if c.distroJSON, err = jsonText(inv.Distribution); err != nil {
		return c, nil, err
	}
	layerOf := make(map[int32]int, len(inv.Packages))
	for i, e := range in.installed[image] {
		layerOf[e.id] = inv.Packages[i].Layer
		c.packageIDs = append(c.packageIDs, e.id)
	}
	slices.Sort(c.packageIDs)
	c.packageIDs = slices.Compact(c.packageIDs)
	layers := make([]int, len(c.packageIDs))
	for i, id := range c.packageIDs {
		layers[i] = layerOf[id]
	}
	return c, encodeOrigins(layers), nil
}

// hash identifies the content. Package ids never change, so they stand for the packages.
func (c content) hash() (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(strings.Join([]string{"inventory 1", c.distroJSON, ""}, "\n")))
	for _, id := range c.packageIDs {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(id)))
	}
	h.Sum(sum[:0])
	return sum
}

func slicesOf(hashes [][sha256.Size]byte) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}

func scanHash(row pgx.Rows, id *int32) (hash [sha256.Size]byte, err error) {
	var b []byte
	err = row.Scan(id, &b)
	copy(hash[:], b)
	return hash, err
}
