-- +goose Up

-- What processes share of their accounts with registries, one for each credential; see package budget. It takes the place of the
-- table budget, which knows no credentials and stays for processes of the version before.
CREATE TABLE registry_account (
    host         text NOT NULL,
    kind         text NOT NULL, -- of request: manifest, blob, token
    name         text NOT NULL, -- whose credential it is, never a secret; '' for nobody's
    tokens       double precision NOT NULL DEFAULT 0, -- requests that may be made, as of filled_at
    filled_at    timestamptz NOT NULL DEFAULT now(),
    granted      double precision NOT NULL DEFAULT 0, -- by the last statement, which returns it
    paused_until timestamptz,
    reason       text NOT NULL DEFAULT '',
    "limit"      bigint NOT NULL DEFAULT -1, -- as the registry told; -1 where it did not
    remaining    bigint NOT NULL DEFAULT -1,
    "window"     interval NOT NULL DEFAULT '0',
    observed_at  timestamptz,
    PRIMARY KEY (host, kind, name)
) WITH (fillfactor = 50);

-- Of the requests that may be under way to a host at once, how many which process may have.
CREATE TABLE registry_slot (
    host       text NOT NULL,
    holder     text NOT NULL, -- a process
    blobs      boolean NOT NULL, -- for blobs, which take longest and get a part only, or for the rest
    held       integer NOT NULL,
    wanted     integer NOT NULL,
    expires_at timestamptz NOT NULL, -- then whoever comes first takes them away
    PRIMARY KEY (host, holder, blobs)
) WITH (fillfactor = 50);
