package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

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
	in := &internment{tx: tx}
	out := &interned{}
	var err error
	if err = in.ensureNamespaces(ctx, images); err != nil {
		return nil, err
	}
	if out.newReleases, err = in.ensureReleases(ctx, images); err != nil {
		return nil, err
	}
	if err = in.ensurePackages(ctx, images); err != nil {
		return nil, err
	}
	out.inventories, err = in.ensureInventories(ctx, images)
	return out, err
}

// internment is the state of one internInventories.
type internment struct {
	tx         pgx.Tx
	namespaces map[string]int32
	releases   map[releaseKey]int32
	packages   map[packageKey]int32
}

func (in *internment) ensureNamespaces(ctx context.Context, images []*completion) error {
	schemes := make(map[string]version.Scheme)
	for _, image := range images {
		if name, scheme, ok := inventory.NamespaceOf(image.inventory.Distribution); ok && schemes[name] == "" {
			schemes[name] = scheme
		}
		for _, p := range image.inventory.Packages {
			release := inventory.ReleaseOf(image.inventory.Distribution, p.Package)
			schemes[release.Namespace] = release.Scheme
		}
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

func (in *internment) releaseKey(image *completion, p inventory.Package) releaseKey {
	return in.key(inventory.ReleaseOf(image.inventory.Distribution, p))
}

func (in *internment) key(r inventory.Release) releaseKey {
	return releaseKey{in.namespaces[r.Namespace], r.Name, r.Version}
}

// sourceRelease returns the id of the release that a package's source package is, or nil where that is none.
func (in *internment) sourceRelease(image *completion, p inventory.Package) *int32 {
	release, ok := inventory.SourceReleaseOf(image.inventory.Distribution, p)
	if !ok {
		return nil
	}
	id := in.releases[in.key(release)]
	return &id
}

func (in *internment) ensureReleases(ctx context.Context, images []*completion) (added []int32, err error) {
	schemes := make(map[releaseKey]version.Scheme)
	for _, image := range images {
		for _, p := range image.inventory.Packages {
			release := inventory.ReleaseOf(image.inventory.Distribution, p.Package)
			schemes[in.key(release)] = release.Scheme
			if source, ok := inventory.SourceReleaseOf(image.inventory.Distribution, p.Package); ok {
				schemes[in.key(source)] = source.Scheme
			}
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
	in.releases, added, err = table.ensure(ctx, in.tx, keys)
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

func (in *internment) packageKey(image *completion, p inventory.Package) packageKey {
	return packageKey{in.releases[in.releaseKey(image, p)], p.Name, p.Version, p.Arch, p.Module}
}

func (in *internment) ensurePackages(ctx context.Context, images []*completion) error {
	full := make(map[packageKey]inventory.Package)
	sourceOf := make(map[packageKey]*int32)
	for _, image := range images {
		for _, p := range image.inventory.Packages {
			k := in.packageKey(image, p.Package)
			full[k], sourceOf[k] = p.Package, in.sourceRelease(image, p.Package)
		}
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
				kinds[i], sources[i], sourceVersions[i] = string(full[k].Kind), full[k].SourceName, full[k].SourceVersion
				sourceReleases[i] = sourceOf[k]
			}
			rows, err := tx.Query(ctx, `
				INSERT INTO package (release_id, name, version, arch, module, kind, source_name, source_version, source_release_id)
				SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[])
				ON CONFLICT DO NOTHING RETURNING id, release_id, name, version, arch, module`,
				c.releases, c.names, c.versions, c.archs, c.modules, kinds, sources, sourceVersions, sourceReleases)
			return collectIDs(rows, err, scanPackage)
		},
	}
	var err error
	in.packages, _, err = table.ensure(ctx, in.tx, keys)
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
	for _, p := range inv.Packages {
		id := in.packages[in.packageKey(image, p.Package)]
		layerOf[id] = p.Layer
		c.packageIDs = append(c.packageIDs, id)
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
