-- +goose Up

-- Conventions. Ids are integers inside the database; digests and names appear at the edge only.
-- Rows are inserted where an anti-join says that they are missing, so that ids are not burned by
-- conflicts: at 350,000 images of 200 packages a conflict each would use up 31 bits in a month.
-- Numbers of states, statuses and severities are those of the Go constants; they never change meaning.

-- The newest term of each elected office. A leader's transaction holds its row in share mode, and
-- goes on only while the term is its own (store.Fence).
CREATE TABLE fence (
    name text PRIMARY KEY,
    term bigint NOT NULL
);

-- Where versions are ordered and advisories published: "debian:12", "alpine:3.20".
CREATE TABLE namespace (
    id     smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text NOT NULL UNIQUE,
    scheme text NOT NULL
);

-- Images ---------------------------------------------------------------------------------------

-- Where blobs can be opened: "docker.io/library/alpine", "docker-archive:/srv/app.tar".
CREATE TABLE repository (
    id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    location text NOT NULL UNIQUE
);

CREATE TABLE layer (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest      bytea NOT NULL UNIQUE,
    state       smallint NOT NULL DEFAULT 0, -- 0 wanted, 1 sent, 2 analyzed, 3 failed
    lane        smallint NOT NULL DEFAULT 0,
    extractor   smallint NOT NULL DEFAULT 0, -- version that made content
    attempts    smallint NOT NULL DEFAULT 0, -- that failed
    inflated    boolean NOT NULL DEFAULT false, -- digest is that of the inflated tar
    prefix      text NOT NULL DEFAULT '', -- directory inside the tar that is the root: "rootfs" in an ACI
    media_type  text NOT NULL DEFAULT '',
    size_bytes  bigint NOT NULL DEFAULT 0, -- compressed, as the manifest says; 0 unknown
    read_bytes  bigint NOT NULL DEFAULT 0, -- of the attempt under way, for progress bars
    raw_bytes   bigint NOT NULL DEFAULT 0, -- inflated; 0 until analyzed
    sent_at     timestamptz,
    not_before  timestamptz, -- a wanted layer is parked until then
    analyzed_at timestamptz,
    content     bytea, -- inventory.Layer; null for a layer that says nothing
    problem     jsonb -- of the last attempt that failed
);
CREATE INDEX layer_unfinished ON layer (state, not_before, sent_at) WHERE state < 2;
CREATE INDEX layer_failed ON layer (id) WHERE state = 3;
CREATE INDEX layer_analyzed ON layer USING brin (analyzed_at) WITH (pages_per_range = 32, autosummarize);

CREATE TABLE inventory (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash         bytea NOT NULL UNIQUE,
    namespace_id smallint REFERENCES namespace, -- null where no distribution was recognized
    distribution jsonb NOT NULL,
    package_ids  integer[] NOT NULL -- ascending
);
CREATE INDEX inventory_packages ON inventory USING gin (package_ids);

-- The layers of an image stand in an array, not in a table of edges: 3.06 million edges of 340,000
-- images took 38 MB and 1.6 s as arrays, 194 MB and 5.7 s as rows.
CREATE TABLE image (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest         bytea NOT NULL UNIQUE,
    platform       text NOT NULL DEFAULT '',
    state          smallint NOT NULL DEFAULT 0, -- 0 pending, 1 complete, 2 incomplete
    lane           smallint NOT NULL DEFAULT 0,
    layer_ids      integer[] NOT NULL, -- base first
    repository_ids integer[] NOT NULL, -- witnesses: where it was seen, newest first, four at most
    inventory_id   integer REFERENCES inventory,
    origins        bytea, -- for each of the inventory's packages the index of its layer, as uvarints
    problems       jsonb, -- what its layers could not tell
    built_at       timestamptz, -- as its configuration says
    created_at     timestamptz NOT NULL DEFAULT now(),
    completed_at   timestamptz
);
CREATE INDEX image_inventory ON image (inventory_id);
CREATE INDEX image_completed ON image USING brin (completed_at) WITH (pages_per_range = 32, autosummarize);

-- Images that wait for a layer: unfinished edges only, so that it stays small.
CREATE TABLE pending_layer (
    layer_id integer NOT NULL,
    image_id integer NOT NULL,
    PRIMARY KEY (layer_id, image_id)
);
CREATE INDEX pending_layer_image ON pending_layer (image_id);

-- A wish to have something scanned.
CREATE TABLE submission (
    id          uuid PRIMARY KEY, -- version 7, so that it ascends with time
    target      text NOT NULL, -- as asked for: a reference, or an archive with its scheme
    title       text NOT NULL DEFAULT '', -- what people call it, where target is an internal address
    platforms   text[] NOT NULL DEFAULT '{}', -- empty: all
    lane        smallint NOT NULL,
    state       smallint NOT NULL DEFAULT 0, -- 0 queued, 1 resolved, 2 failed
    attempts    smallint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    sent_at     timestamptz,
    not_before  timestamptz,
    resolved_at timestamptz,
    reference   text NOT NULL DEFAULT '', -- canonical, once resolved
    digest      bytea, -- of the index or manifest that the reference pointed at
    image_ids   integer[] NOT NULL DEFAULT '{}',
    skipped     jsonb, -- children of the index that are no images
    problem     jsonb
);
CREATE INDEX submission_created ON submission (created_at);
CREATE INDEX submission_unfinished ON submission (state, not_before, sent_at) WHERE state = 0;
CREATE INDEX submission_failed ON submission (id) WHERE state = 2;

-- What a reference pointed at when it was last resolved.
CREATE TABLE tag (
    reference   text PRIMARY KEY,
    digest      bytea NOT NULL,
    image_ids   integer[] NOT NULL,
    resolved_at timestamptz NOT NULL
);

-- What is installed ----------------------------------------------------------------------------

-- One version of one package as advisories talk about it: a source package in dpkg and apk
-- namespaces, a binary package in rpm namespaces.
CREATE TABLE release (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace_id smallint NOT NULL REFERENCES namespace,
    name         text NOT NULL,
    version      text NOT NULL,
    key          bytea, -- version.Key; null where the version does not parse
    problem      text, -- why it does not
    born         bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint, -- the transaction, see correlate.go
    UNIQUE (namespace_id, name, version)
);
CREATE INDEX release_born ON release USING brin (born);

CREATE TABLE package (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id     integer NOT NULL REFERENCES release,
    -- What advisories about its source package talk about, where the namespace goes by binary packages.
    source_release_id integer REFERENCES release,
    kind           text NOT NULL,
    name           text NOT NULL,
    version        text NOT NULL,
    arch           text NOT NULL,
    module         text NOT NULL,
    source_name    text NOT NULL,
    source_version text NOT NULL,
    UNIQUE (release_id, name, version, arch, module)
);
CREATE INDEX package_source_release ON package (source_release_id) WHERE source_release_id IS NOT NULL;

-- What is known --------------------------------------------------------------------------------

CREATE TABLE source (
    id          smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description jsonb NOT NULL, -- advisory.Source
    covers      text[] NOT NULL, -- namespace patterns
    run_at      timestamptz, -- the last run began
    error       text NOT NULL DEFAULT '', -- of the last run
    requested_at timestamptz -- somebody asked for a run now
);

-- One document of a source, and what was read of it last.
CREATE TABLE feed (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id   smallint NOT NULL REFERENCES source,
    url         text NOT NULL UNIQUE,
    validator   text NOT NULL DEFAULT '', -- ETag or Last-Modified, for a conditional request
    checksum    bytea, -- sha256 of the document as transferred
    cursor      text NOT NULL DEFAULT '', -- for whoever reads it next
    size_bytes  bigint NOT NULL DEFAULT 0,
    checked_at  timestamptz, -- upstream was last asked, and answered
    changed_at  timestamptz, -- the content last changed here
    state       smallint NOT NULL DEFAULT 0, -- 0 never read, 1 current, 2 failed, 3 held back
    failures    integer NOT NULL DEFAULT 0, -- runs in a row
    error       text NOT NULL DEFAULT '',
    records     integer NOT NULL DEFAULT 0,
    ranges      integer NOT NULL DEFAULT 0,
    bad         integer NOT NULL DEFAULT 0,
    bad_records jsonb -- the first hundred
);

-- The namespaces that a feed speaks for, whether or not it lists anything there.
CREATE TABLE feed_namespace (
    feed_id      integer NOT NULL REFERENCES feed ON DELETE CASCADE,
    namespace_id smallint NOT NULL REFERENCES namespace,
    PRIMARY KEY (feed_id, namespace_id)
);

CREATE TABLE advisory (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id   smallint NOT NULL REFERENCES source,
    name        text NOT NULL,
    aliases     text[] NOT NULL,
    severity    smallint NOT NULL,
    description text NOT NULL,
    link        text NOT NULL,
    cvss        jsonb,
    weaknesses  text[] NOT NULL, -- CWE
    "references" text[] NOT NULL, -- addresses
    published   timestamptz,
    modified    timestamptz,
    UNIQUE (source_id, name)
);
CREATE INDEX advisory_vulnerability ON advisory (name);

CREATE TABLE affected (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed_id        integer NOT NULL REFERENCES feed,
    advisory_id    integer NOT NULL REFERENCES advisory,
    namespace_id   smallint NOT NULL REFERENCES namespace,
    name           text NOT NULL,
    introduced     text NOT NULL, -- version; '' from the first
    fixed          text NOT NULL, -- version; '' never
    last           text NOT NULL, -- version, the last in the range; '' where fixed ends it, or nothing
    introduced_key bytea NOT NULL, -- '' sorts before every key
    fixed_key      bytea, -- null: no end
    status         smallint NOT NULL,
    severity       smallint NOT NULL,
    urgency        text NOT NULL,
    problem        text, -- why its versions cannot be compared; then every release of the name is undecided
    UNIQUE (feed_id, advisory_id, namespace_id, name, introduced, fixed, last)
);
CREATE INDEX affected_name ON affected (namespace_id, name);
CREATE INDEX affected_advisory ON affected (advisory_id);

-- What is known of vulnerabilities beside packages: that they are exploited (CISA KEV), and how probable that is (EPSS).
CREATE TABLE exploitation (
    cve        text PRIMARY KEY,
    kev        jsonb, -- advisory.KnownExploited; null where it is not in the catalog
    epss       real, -- 0 to 1; null where there is no score
    percentile real
);

-- The correlation -----------------------------------------------------------------------------
-- No foreign keys here: both sides are looked up in the statement that inserts, and a check for
-- each of ten million rows costs more than the join that finds them.

CREATE TABLE finding (
    release_id  integer NOT NULL,
    affected_id integer NOT NULL,
    PRIMARY KEY (release_id, affected_id)
);
CREATE INDEX finding_affected ON finding (affected_id);

-- Pairs that share namespace and name, and of which nobody can say whether they match.
CREATE TABLE undecided (
    release_id  integer NOT NULL,
    affected_id integer NOT NULL,
    PRIMARY KEY (release_id, affected_id)
);
CREATE INDEX undecided_affected ON undecided (affected_id);

-- What changed for whom -----------------------------------------------------------------------

-- One applied difference of a feed.
CREATE TABLE change_batch (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id smallint NOT NULL REFERENCES source,
    feed_id   integer NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);

-- What it changed for one release; see change.go. The advisory is named, for it may be gone.
CREATE TABLE change (
    batch_id     bigint NOT NULL REFERENCES change_batch ON DELETE CASCADE,
    release_id   integer NOT NULL,
    source_id    smallint NOT NULL,
    advisory     text NOT NULL,
    kind         smallint NOT NULL, -- 1 new, 2 withdrawn, 3 fix, 4 severity, 5 status
    old_fixed    text,
    new_fixed    text,
    old_severity smallint,
    new_severity smallint,
    old_status   smallint,
    new_status   smallint,
    PRIMARY KEY (batch_id, release_id, source_id, advisory)
);

-- What processes share of their accounts with registries; see package budget.
CREATE TABLE budget (
    host         text NOT NULL,
    kind         text NOT NULL, -- of request: manifest, blob, token
    tokens       double precision NOT NULL DEFAULT 0, -- requests that may be made, as of filled_at
    filled_at    timestamptz NOT NULL DEFAULT now(),
    granted      double precision NOT NULL DEFAULT 0, -- by the last statement, which returns it
    paused_until timestamptz,
    reason       text NOT NULL DEFAULT '',
    "limit"      bigint NOT NULL DEFAULT -1, -- as the registry told; -1 where it did not
    remaining    bigint NOT NULL DEFAULT -1,
    "window"     interval NOT NULL DEFAULT '0',
    observed_at  timestamptz,
    PRIMARY KEY (host, kind)
) WITH (fillfactor = 50);

-- How far the collection of unused rows has gone in each table.
CREATE TABLE collection (
    name   text PRIMARY KEY,
    cursor integer NOT NULL DEFAULT 0
);

-- References that are looked at again and again.
CREATE TABLE watch (
    reference  text PRIMARY KEY, -- canonical
    platforms  text[] NOT NULL DEFAULT '{}', -- empty: all
    every      interval NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    next_at    timestamptz NOT NULL DEFAULT now(),
    checked_at timestamptz, -- the registry last answered
    failures   integer NOT NULL DEFAULT 0, -- in a row
    error      text NOT NULL DEFAULT ''
);
CREATE INDEX watch_due ON watch (next_at);

-- A reference came to point at another image, of one platform.
CREATE TABLE tag_move (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference    text NOT NULL,
    platform     text NOT NULL,
    old_image_id integer NOT NULL,
    new_image_id integer NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    compared_at  timestamptz -- null: the new image has no result yet
);
CREATE INDEX tag_move_open ON tag_move (new_image_id) WHERE compared_at IS NULL;
CREATE INDEX tag_move_reference ON tag_move (reference, id);

-- What a move changed in the findings of the reference.
CREATE TABLE tag_change (
    move_id   bigint NOT NULL REFERENCES tag_move ON DELETE CASCADE,
    package   text NOT NULL,
    arch      text NOT NULL,
    source_id smallint NOT NULL,
    advisory  text NOT NULL,
    kind      smallint NOT NULL, -- 1 new, 2 gone
    installed text NOT NULL, -- version: the new one, of a gone finding the old one
    severity  smallint NOT NULL,
    PRIMARY KEY (move_id, package, arch, source_id, advisory)
);
