-- Every entity's key is (its id, account_id): one person may be an agent of two accounts, under one
-- user id. The id comes first, so that a join on it alone uses the key's index.

create table accounts (
    id integer primary key,
    name text not null unique,
    company_id text unique,
    base_url text not null,
    -- Of the platform's session list: 2 once the first version was found to be withdrawn.
    session_version integer not null default 1,
    created_at text not null
) strict;

-- Labels of contacts.
create table tags (
    id text not null,
    created_at text,
    updated_at text,
    name text,
    color text,
    extra text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    primary key (id, account_id)
) strict;
create index tags_removed_at on tags (removed_at) where removed_at is not null;

-- Phone numbers and inboxes that sessions come in by.
create table channels (
    id text not null,
    created_at text,
    updated_at text,
    active integer,
    type text,
    number text,
    number_formatted text,
    identity_human_id text,
    identity_platform text,
    identity_provider text,
    identity_provider_variable text,
    identity_picture_url text,
    identity_display_name text,
    extra text,
    observed_at text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    primary key (id, account_id)
) strict;
create index channels_removed_at on channels (removed_at) where removed_at is not null;

-- Departments that attend sessions.
create table departments (
    id text not null,
    created_at text,
    updated_at text,
    company_id text,
    name text,
    description text,
    is_default integer,
    is_private integer,
    distribuition_enabled integer,
    restriction_type text,
    distribution_config text,
    direct_links text,
    agents text,
    channels text,
    is_supervisor integer,
    extra text,
    observed_at text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    primary key (id, account_id)
) strict;
create index departments_removed_at on departments (removed_at) where removed_at is not null;

-- People who attend sessions; sessions refer to user_id, id is the agent's own.
create table agents (
    user_id text not null,
    id text,
    created_at text,
    updated_at text,
    company_id text,
    name text,
    short_name text,
    email text,
    phone_number text,
    phone_number_formatted text,
    profile text,
    is_owner integer,
    availability text,
    departments text,
    picture_file_id text,
    picture_url text,
    extra text,
    observed_at text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    primary key (user_id, account_id)
) strict;
create index agents_removed_at on agents (removed_at) where removed_at is not null;

-- The people on the other side.
create table contacts (
    id text not null,
    created_at text,
    updated_at text,
    company_id text,
    name text,
    name_whatsapp text,
    name_instagram text,
    name_messenger text,
    phone_number text,
    phone_number_formatted text,
    phone_e164 text,
    email text,
    instagram text,
    messenger_id text,
    annotation text,
    status text,
    origin text,
    imported_at text,
    utm_source_id text,
    utm_source text,
    utm_clid text,
    utm_medium text,
    utm_campaign text,
    utm_content text,
    utm_headline text,
    utm_term text,
    utm_referral_url text,
    custom_fields text,
    portfolio_ids text,
    portfolio_names text,
    metadata text,
    tags_hash integer,
    picture_url text,
    extra text,
    observed_at text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    primary key (id, account_id)
) strict;
create index contacts_created_at on contacts (created_at);
create index contacts_updated_at on contacts (updated_at);
create index contacts_status on contacts (status);
create index contacts_phone_e164 on contacts (phone_e164);
create index contacts_removed_at on contacts (removed_at) where removed_at is not null;

-- Chat sessions.
create table sessions (
    id text not null,
    created_at text,
    updated_at text,
    start_at text,
    end_at text,
    status text,
    company_id text,
    contact_id text,
    channel_id text,
    department_id text,
    user_id text,
    preview_url text,
    title text,
    number text,
    utm_source_id text,
    utm_source text,
    utm_clid text,
    utm_medium text,
    utm_campaign text,
    utm_content text,
    utm_headline text,
    utm_term text,
    utm_referral_url text,
    origin text,
    classification_id text,
    classification_category text,
    classification_category_name text,
    classification_category_description text,
    classification_amount real,
    status_description text,
    time_service text,
    time_service_seconds integer,
    time_wait text,
    time_wait_seconds integer,
    first_response_at text,
    bot_id text,
    unread_count integer,
    last_message_text text,
    last_interaction_date text,
    last_message_out text,
    last_message_in text,
    window_status text,
    metadata text,
    channel_type text,
    type text,
    extra text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    primary key (id, account_id),
    foreign key (contact_id, account_id) references contacts (id, account_id),
    foreign key (channel_id, account_id) references channels (id, account_id),
    foreign key (department_id, account_id) references departments (id, account_id),
    foreign key (user_id, account_id) references agents (user_id, account_id)
) strict;
create index sessions_created_at on sessions (created_at);
create index sessions_updated_at on sessions (updated_at);
create index sessions_status on sessions (status);
create index sessions_channel_id on sessions (channel_id);
create index sessions_department_id on sessions (department_id);
create index sessions_user_id on sessions (user_id);
create index sessions_contact_id on sessions (contact_id);
create index sessions_removed_at on sessions (removed_at) where removed_at is not null;

-- The tags of a contact now. Both tables of links keep their rows in the order in which they came:
-- sorted by their random ids (without rowid), they and the index by tag would be rewritten all over
-- with every transaction, which is 40 % of what the first load of 100,000 sessions writes.
create table contact_tags (
    contact_id text not null,
    tag_id text not null,
    account_id integer not null,
    run_id integer not null,
    synced_at text not null,
    primary key (contact_id, tag_id, account_id),
    foreign key (contact_id, account_id) references contacts (id, account_id),
    foreign key (tag_id, account_id) references tags (id, account_id)
) strict;
create index contact_tags_tag_id on contact_tags (tag_id);

-- The tags of the session's contact when the session was last read.
create table session_tags (
    session_id text not null,
    tag_id text not null,
    account_id integer not null,
    run_id integer not null,
    synced_at text not null,
    primary key (session_id, tag_id, account_id),
    foreign key (session_id, account_id) references sessions (id, account_id),
    foreign key (tag_id, account_id) references tags (id, account_id)
) strict;
create index session_tags_tag_id on session_tags (tag_id);

-- The records as they came, if store.raw is on.
create table raw_records (
    resource text not null,
    id text not null,
    json text not null,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    primary key (id, resource, account_id)
) strict;

-- One row an account, for ever: epoch counts how often the right to write changed hands, and every
-- write names the epoch it was given.
create table leases (
    account_id integer primary key references accounts (id),
    epoch integer not null,
    host text not null,
    boot_id text not null,
    pid_namespace text not null,
    pid integer not null,
    process_start integer not null,
    acquired_at text not null,
    renewed_at text not null,
    released_at text
) strict;

create table sync_state (
    account_id integer not null references accounts (id),
    resource text not null,
    partition text not null,
    watermark text,
    observed_at text,
    ordering text not null default 'unknown',
    ordering_checked_at text,
    last_success_at text,
    last_error text,
    last_error_at text,
    primary key (account_id, resource, partition)
) strict;

-- What operators did to watermarks by hand.
create table state_changes (
    id integer primary key,
    account_id integer not null references accounts (id),
    resource text not null,
    partition text not null,
    old_watermark text,
    new_watermark text,
    changed_at text not null,
    run_id integer not null
) strict;

-- touched: whether any row was written by this run, and may name it in run_id.
create table sync_runs (
    id integer primary key,
    account_id integer not null references accounts (id),
    kind text not null,
    resource text not null,
    started_at text not null,
    finished_at text,
    outcome text,
    pages integer not null default 0,
    requests integer not null default 0,
    retries integer not null default 0,
    rows_read integer not null default 0,
    rows_inserted integer not null default 0,
    rows_updated integer not null default 0,
    rows_unchanged integer not null default 0,
    rows_rejected integer not null default 0,
    rows_differing integer not null default 0,
    touched integer not null default 0,
    watermark_before text,
    watermark_after text,
    error text
) strict;
create index sync_runs_started_at on sync_runs (account_id, started_at);
create index sync_runs_unfinished on sync_runs (account_id) where outcome is null;

create table backfills (
    id integer primary key,
    account_id integer not null references accounts (id),
    resource text not null,
    first_load integer not null,
    range_after text,
    range_before text,
    filters text not null,
    created_at text not null,
    finished_at text,
    cancelled_at text
) strict;

-- A window is pending until it is either done or split into others.
create table backfill_windows (
    id integer primary key,
    backfill_id integer not null references backfills (id),
    account_id integer not null references accounts (id),
    resource text not null,
    partition text not null,
    created_after text,
    created_before text,
    filter_index integer not null,
    records integer,
    done_at text,
    split_at text
) strict;
create index backfill_windows_backfill_id on backfill_windows (backfill_id);

-- Records, or parts of them, that could not be read.
create table rejects (
    id integer primary key,
    account_id integer not null references accounts (id),
    resource text not null,
    record_id text,
    raw text not null,
    reason text not null,
    partial integer not null,
    version text,
    fingerprint text not null,
    first_seen_at text not null,
    last_seen_at text not null,
    resolved_at text,
    run_id integer not null,
    unique (account_id, fingerprint)
) strict;
create index rejects_open on rejects (account_id, record_id) where resolved_at is null;
