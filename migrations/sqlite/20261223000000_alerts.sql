-- Conditions of which operators are told: one row from the first sight of a condition on. Without an account,
-- it is one of the whole database.
create table alerts (
    id integer primary key,
    account_id integer references accounts (id),
    kind text not null,
    detail text not null,
    began_at text not null,
    -- When it had lasted long enough to be told, and when it was last told.
    opened_at text,
    told_at text,
    ended_at text
) strict;
create unique index alerts_current on alerts (coalesce(account_id, 0), kind) where ended_at is null;
create index alerts_ended_at on alerts (ended_at) where ended_at is not null;

-- Messages that are still to be sent, at most one of each alert and way.
create table alert_messages (
    alert_id integer not null references alerts (id),
    channel text not null,
    event text not null,
    created_at text not null,
    attempts integer not null,
    tried_at text,
    primary key (alert_id, channel)
) strict;

-- The verifications that found differences.
create index sync_runs_differing on sync_runs (account_id, finished_at) where rows_differing > 0;
