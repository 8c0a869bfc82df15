-- Every entity's key is (its id, account_id): one person may be an agent of two accounts, under one
-- user id. The id comes first, so that a join on it alone uses the key's index.

create table accounts (
    id bigint generated always as identity primary key,
    name text not null unique,
    company_id uuid unique,
    base_url text not null,
    -- Of the platform's session list: 2 once the first version was found to be withdrawn.
    session_version integer not null default 1,
    created_at timestamptz not null
);

-- Labels of contacts.
create table tags (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    name text,
    color text,
    extra jsonb,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    primary key (id, account_id)
);
create index tags_removed_at on tags (removed_at) where removed_at is not null;

-- Phone numbers and inboxes that sessions come in by.
create table channels (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    active boolean,
    type text,
    number text,
    number_formatted text,
    identity_human_id text,
    identity_platform text,
    identity_provider text,
    identity_provider_variable text,
    identity_picture_url text,
    identity_display_name text,
    extra jsonb,
    observed_at timestamptz,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    primary key (id, account_id)
);
create index channels_removed_at on channels (removed_at) where removed_at is not null;

-- Departments that attend sessions.
create table departments (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    company_id uuid,
    name text,
    description text,
    is_default boolean,
    is_private boolean,
    distribuition_enabled boolean,
    restriction_type text,
    distribution_config jsonb,
    direct_links jsonb,
    agents jsonb,
    channels jsonb,
    is_supervisor boolean,
    extra jsonb,
    observed_at timestamptz,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    primary key (id, account_id)
);
create index departments_removed_at on departments (removed_at) where removed_at is not null;

-- People who attend sessions; sessions refer to user_id, id is the agent's own.
create table agents (
    user_id uuid not null,
    id uuid,
    created_at timestamptz,
    updated_at timestamptz,
    company_id uuid,
    name text,
    short_name text,
    email text,
    phone_number text,
    phone_number_formatted text,
    profile text,
    is_owner boolean,
    availability text,
    departments jsonb,
    picture_file_id uuid,
    picture_url text,
    extra jsonb,
    observed_at timestamptz,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    primary key (user_id, account_id)
);
create index agents_removed_at on agents (removed_at) where removed_at is not null;

-- The people on the other side.
create table contacts (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    company_id uuid,
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
    imported_at timestamptz,
    utm_source_id text,
    utm_source text,
    utm_clid text,
    utm_medium text,
    utm_campaign text,
    utm_content text,
    utm_headline text,
    utm_term text,
    utm_referral_url text,
    custom_fields jsonb,
    portfolio_ids jsonb,
    portfolio_names jsonb,
    metadata jsonb,
    tags_hash bigint,
    picture_url text,
    extra jsonb,
    observed_at timestamptz,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    primary key (id, account_id)
);
create index contacts_created_at on contacts (created_at);
create index contacts_updated_at on contacts (updated_at);
create index contacts_status on contacts (status);
create index contacts_phone_e164 on contacts (phone_e164);
create index contacts_removed_at on contacts (removed_at) where removed_at is not null;

-- Chat sessions.
create table sessions (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    start_at timestamptz,
    end_at timestamptz,
    status text,
    company_id uuid,
    contact_id uuid,
    channel_id uuid,
    department_id uuid,
    user_id uuid,
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
    classification_id uuid,
    classification_category text,
    classification_category_name text,
    classification_category_description text,
    classification_amount double precision,
    status_description text,
    time_service text,
    time_service_seconds bigint,
    time_wait text,
    time_wait_seconds bigint,
    first_response_at timestamptz,
    bot_id uuid,
    unread_count bigint,
    last_message_text text,
    last_interaction_date timestamptz,
    last_message_out timestamptz,
    last_message_in timestamptz,
    window_status text,
    metadata jsonb,
    channel_type text,
    type text,
    extra jsonb,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    primary key (id, account_id),
    foreign key (contact_id, account_id) references contacts (id, account_id),
    foreign key (channel_id, account_id) references channels (id, account_id),
    foreign key (department_id, account_id) references departments (id, account_id),
    foreign key (user_id, account_id) references agents (user_id, account_id)
);
create index sessions_created_at on sessions (created_at);
create index sessions_updated_at on sessions (updated_at);
create index sessions_status on sessions (status);
create index sessions_channel_id on sessions (channel_id);
create index sessions_department_id on sessions (department_id);
create index sessions_user_id on sessions (user_id);
create index sessions_contact_id on sessions (contact_id);
create index sessions_removed_at on sessions (removed_at) where removed_at is not null;

-- The tags of a contact now.
create table contact_tags (
    contact_id uuid not null,
    tag_id uuid not null,
    account_id bigint not null,
    run_id bigint not null,
    synced_at timestamptz not null,
    primary key (contact_id, tag_id, account_id),
    foreign key (contact_id, account_id) references contacts (id, account_id),
    foreign key (tag_id, account_id) references tags (id, account_id)
);
create index contact_tags_tag_id on contact_tags (tag_id);

-- The tags of the session's contact when the session was last read.
create table session_tags (
    session_id uuid not null,
    tag_id uuid not null,
    account_id bigint not null,
    run_id bigint not null,
    synced_at timestamptz not null,
    primary key (session_id, tag_id, account_id),
    foreign key (session_id, account_id) references sessions (id, account_id),
    foreign key (tag_id, account_id) references tags (id, account_id)
);
create index session_tags_tag_id on session_tags (tag_id);

-- The records as they came, if store.raw is on.
create table raw_records (
    resource text not null,
    id uuid not null,
    json json not null,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    primary key (id, resource, account_id)
);

-- One row an account, for ever: epoch counts how often the right to write changed hands, and every
-- write names the epoch it was given.
create table leases (
    account_id bigint primary key references accounts (id),
    epoch bigint not null,
    host text not null,
    boot_id text not null,
    pid_namespace text not null,
    pid bigint not null,
    process_start bigint not null,
    acquired_at timestamptz not null,
    renewed_at timestamptz not null,
    released_at timestamptz
);

create table sync_state (
    account_id bigint not null references accounts (id),
    resource text not null,
    partition text not null,
    watermark timestamptz,
    observed_at timestamptz,
    ordering text not null default 'unknown',
    ordering_checked_at timestamptz,
    last_success_at timestamptz,
    last_error text,
    last_error_at timestamptz,
    primary key (account_id, resource, partition)
);

-- What operators did to watermarks by hand.
create table state_changes (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts (id),
    resource text not null,
    partition text not null,
    old_watermark timestamptz,
    new_watermark timestamptz,
    changed_at timestamptz not null,
    run_id bigint not null
);

-- touched: whether any row was written by this run, and may name it in run_id.
create table sync_runs (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts (id),
    kind text not null,
    resource text not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    outcome text,
    pages bigint not null default 0,
    requests bigint not null default 0,
    retries bigint not null default 0,
    rows_read bigint not null default 0,
    rows_inserted bigint not null default 0,
    rows_updated bigint not null default 0,
    rows_unchanged bigint not null default 0,
    rows_rejected bigint not null default 0,
    rows_differing bigint not null default 0,
    touched boolean not null default false,
    watermark_before timestamptz,
    watermark_after timestamptz,
    error text
);
create index sync_runs_started_at on sync_runs (account_id, started_at);
create index sync_runs_unfinished on sync_runs (account_id) where outcome is null;

create table backfills (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts (id),
    resource text not null,
    first_load boolean not null,
    range_after timestamptz,
    range_before timestamptz,
    filters jsonb not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    cancelled_at timestamptz
);

-- A window is pending until it is either done or split into others.
create table backfill_windows (
    id bigint generated always as identity primary key,
    backfill_id bigint not null references backfills (id),
    account_id bigint not null references accounts (id),
    resource text not null,
    partition text not null,
    created_after timestamptz,
    created_before timestamptz,
    filter_index bigint not null,
    records bigint,
    done_at timestamptz,
    split_at timestamptz
);
create index backfill_windows_backfill_id on backfill_windows (backfill_id);

-- Records, or parts of them, that could not be read.
create table rejects (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts (id),
    resource text not null,
    record_id uuid,
    raw text not null,
    reason text not null,
    partial boolean not null,
    version timestamptz,
    fingerprint text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    resolved_at timestamptz,
    run_id bigint not null,
    unique (account_id, fingerprint)
);
create index rejects_open on rejects (account_id, record_id) where resolved_at is null;
