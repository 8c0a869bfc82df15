-- One row for each id: the platform gives an id once, whatever the account. Programs that show or join
-- tables follow keys of one column, and narrower keys make smaller indexes. Agents stay as they are: one
-- person, under one user id, may be an agent of several accounts. So do raw_records, which hold agents by
-- their user ids.
--
-- SQLite cannot change a key, so the tables are made anew, all in one transaction. Each row keeps its
-- place, as whatever was stored at one time is best kept together.

-- The indexes by keys are filled in no order.
pragma cache_size = -64000;
-- A view of somebody else's on these tables stays as it is.
pragma legacy_alter_table = on;

alter table tags rename to old_tags;
alter table channels rename to old_channels;
alter table departments rename to old_departments;
alter table contacts rename to old_contacts;
alter table sessions rename to old_sessions;
alter table contact_tags rename to old_contact_tags;
alter table session_tags rename to old_session_tags;

-- Their names are needed again.
drop index tags_removed_at;
drop index channels_removed_at;
drop index departments_removed_at;
drop index contacts_created_at;
drop index contacts_updated_at;
drop index contacts_status;
drop index contacts_phone_e164;
drop index contacts_removed_at;
drop index contacts_change_seq;
drop index sessions_created_at;
drop index sessions_updated_at;
drop index sessions_status;
drop index sessions_channel_id;
drop index sessions_department_id;
drop index sessions_user_id;
drop index sessions_contact_id;
drop index sessions_removed_at;
drop index sessions_change_seq;
drop index contact_tags_tag_id;
drop index session_tags_tag_id;

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
    change_seq integer not null default 1,
    primary key (id)
) strict;
insert into tags select * from old_tags order by rowid;

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
    change_seq integer not null default 1,
    primary key (id)
) strict;
insert into channels select * from old_channels order by rowid;

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
    change_seq integer not null default 1,
    primary key (id)
) strict;
insert into departments select * from old_departments order by rowid;

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
    change_seq integer not null default 1,
    primary key (id)
) strict;
insert into contacts select * from old_contacts order by rowid;

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
    change_seq integer not null default 1,
    primary key (id),
    foreign key (contact_id) references contacts (id),
    foreign key (channel_id) references channels (id),
    foreign key (department_id) references departments (id),
    foreign key (user_id, account_id) references agents (user_id, account_id)
) strict;
insert into sessions select * from old_sessions order by rowid;

-- A link's account is that of its contact or session.
create table contact_tags (
    contact_id text not null,
    tag_id text not null,
    account_id integer not null,
    run_id integer not null,
    synced_at text not null,
    change_seq integer not null default 1,
    primary key (contact_id, tag_id),
    foreign key (contact_id) references contacts (id),
    foreign key (tag_id) references tags (id)
) strict;
insert into contact_tags select * from old_contact_tags order by rowid;

create table session_tags (
    session_id text not null,
    tag_id text not null,
    account_id integer not null,
    run_id integer not null,
    synced_at text not null,
    change_seq integer not null default 1,
    primary key (session_id, tag_id),
    foreign key (session_id) references sessions (id),
    foreign key (tag_id) references tags (id)
) strict;
insert into session_tags select * from old_session_tags order by rowid;

drop table old_session_tags;
drop table old_contact_tags;
drop table old_sessions;
drop table old_contacts;
drop table old_departments;
drop table old_channels;
drop table old_tags;

create index tags_removed_at on tags (removed_at) where removed_at is not null;
create index channels_removed_at on channels (removed_at) where removed_at is not null;
create index departments_removed_at on departments (removed_at) where removed_at is not null;
create index contacts_created_at on contacts (account_id, created_at);
create index contacts_updated_at on contacts (account_id, updated_at);
create index contacts_status on contacts (account_id, status);
create index contacts_phone_e164 on contacts (phone_e164);
create index contacts_removed_at on contacts (removed_at) where removed_at is not null;
create index contacts_change_seq on contacts (account_id, change_seq);
create index sessions_created_at on sessions (account_id, created_at);
create index sessions_updated_at on sessions (account_id, updated_at);
create index sessions_status on sessions (account_id, status);
create index sessions_channel_id on sessions (channel_id);
create index sessions_department_id on sessions (department_id);
create index sessions_user_id on sessions (user_id);
create index sessions_contact_id on sessions (contact_id);
create index sessions_removed_at on sessions (removed_at) where removed_at is not null;
create index sessions_change_seq on sessions (account_id, change_seq);
create index contact_tags_tag_id on contact_tags (tag_id);
create index session_tags_tag_id on session_tags (tag_id);

pragma legacy_alter_table = off;
pragma cache_size = -2000;
