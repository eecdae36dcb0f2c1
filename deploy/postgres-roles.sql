-- Three roles, each with no more than it needs. Run it as the owner of the tables, with passwords of your own:
--     psql "$OWNER_URL" -f postgres-roles.sql
-- The tables are those of the default names; put yours (docs/connect.md). Running it again is harmless but for the
-- CREATE ROLE lines. A test runs a batch, a server, a drain and an erasure as these roles.
BEGIN;

-- Before Postgres 15 everybody may make tables in `public`.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- What the drain needs beside the table of events; made here, so that it need not make tables.
CREATE TABLE IF NOT EXISTS public.hourfeed_drained (event_id text PRIMARY KEY, drained_at timestamp NOT NULL);
CREATE INDEX IF NOT EXISTS ix_hourfeed_drained_drained_at ON public.hourfeed_drained (drained_at);
CREATE TABLE IF NOT EXISTS public.hourfeed_exposures (
    entry_id text PRIMARY KEY,
    at timestamp NOT NULL,
    experiment text NOT NULL,
    arm text NOT NULL,
    user_id text NOT NULL,
    generation text NOT NULL,
    posts text NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_hourfeed_exposures_experiment ON public.hourfeed_exposures (experiment);

-- Batch and server: DATABASE_URL. It reads, and its transactions are read-only besides.
CREATE ROLE hourfeed_reader LOGIN PASSWORD 'change-me-reader' CONNECTION LIMIT 40;
ALTER ROLE hourfeed_reader SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA public TO hourfeed_reader;
GRANT SELECT ON public.user_data, public.post_text_df, public.feed_data, public.hourfeed_exposures TO hourfeed_reader;

-- Drain: DRAIN_DATABASE_URL. It adds events and exposures, and reads back neither; it looks after its list of ids.
-- Where the table of events draws a key from a sequence: GRANT USAGE ON SEQUENCE … TO hourfeed_drain.
CREATE ROLE hourfeed_drain LOGIN PASSWORD 'change-me-drain' CONNECTION LIMIT 10;
GRANT USAGE ON SCHEMA public TO hourfeed_drain;
GRANT INSERT ON public.feed_data, public.hourfeed_exposures TO hourfeed_drain;
GRANT SELECT, INSERT, DELETE ON public.hourfeed_drained TO hourfeed_drain;

-- Erasure: DRAIN_DATABASE_URL of `hourfeed erase --database` alone. It finds a user's rows and deletes them.
CREATE ROLE hourfeed_erase LOGIN PASSWORD 'change-me-erase' CONNECTION LIMIT 2;
GRANT USAGE ON SCHEMA public TO hourfeed_erase;
GRANT SELECT, DELETE ON public.user_data, public.feed_data, public.hourfeed_exposures TO hourfeed_erase;

COMMIT;
