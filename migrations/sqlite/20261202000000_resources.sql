-- Which part of a resource a run has read, such as the status of contacts; empty for the whole. It stood
-- behind the resource's name, in brackets, before.
alter table sync_runs add column partition text not null default '';
update sync_runs set
    partition = substr(resource, instr(resource, ' (') + 2, length(resource) - instr(resource, ' (') - 2),
    resource = substr(resource, 1, instr(resource, ' (') - 1)
where resource like '% (%)';

-- Fields that the company has added to contacts and panels.
create table custom_fields (
    id text not null,
    created_at text,
    updated_at text,
    company_id text,
    entity_type text,
    scope_id text,
    parent_id text,
    type text,
    name text,
    key text,
    position integer,
    required integer,
    visible integer,
    is_value_range integer,
    options text,
    extra text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    change_seq integer not null default 1,
    primary key (id)
) strict;
create index custom_fields_account_id on custom_fields (account_id, change_seq);
create index custom_fields_removed_at on custom_fields (removed_at) where removed_at is not null;

-- Chatbots. sessions.bot_id is a chatbot's id or its key.
create table chatbots (
    id text not null,
    key text,
    created_at text,
    updated_at text,
    company_id text,
    archived integer,
    name text,
    type text,
    channel_ids text,
    default_department_id text,
    publish_status text,
    automation_usage text,
    extra text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    change_seq integer not null default 1,
    primary key (id)
) strict;
create index chatbots_account_id on chatbots (account_id, change_seq);
create index chatbots_removed_at on chatbots (removed_at) where removed_at is not null;

-- Message templates.
create table templates (
    id text not null,
    created_at text,
    updated_at text,
    company_id text,
    name text,
    type text,
    category text,
    language text,
    status text,
    text text,
    params text,
    extra text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    change_seq integer not null default 1,
    primary key (id)
) strict;
create index templates_account_id on templates (account_id, change_seq);
create index templates_removed_at on templates (removed_at) where removed_at is not null;

-- Groups of contacts, and who attends them.
create table portfolios (
    id text not null,
    created_at text,
    updated_at text,
    company_id text,
    active integer,
    name text,
    type text,
    automatic_attribution integer,
    expiration_duration_in_months integer,
    contacts_count integer,
    departments text,
    extra text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    change_seq integer not null default 1,
    primary key (id)
) strict;
create index portfolios_account_id on portfolios (account_id, change_seq);
create index portfolios_removed_at on portfolios (removed_at) where removed_at is not null;

-- When the company attends, by day of the week. The platform gives these rows no id; theirs is made of the day and the times.
create table office_hours (
    id text not null,
    created_at text,
    updated_at text,
    day_week text,
    start_time text,
    end_time text,
    timezone_diff text,
    limit_hours text,
    extra text,
    account_id integer not null references accounts (id),
    run_id integer not null,
    synced_at text not null,
    removed_at text,
    content_hash integer,
    change_seq integer not null default 1,
    primary key (id, account_id)
) strict;
create index office_hours_account_id on office_hours (account_id, change_seq);
create index office_hours_removed_at on office_hours (removed_at) where removed_at is not null;

-- The options of custom fields of kind SINGLESELECT and MULTISELECT, a row each.
create view custom_field_options as
select f.account_id, f.id as custom_field_id, f.name as custom_field,
    cast(json_extract(o.value, '$.id') as text) as option_id,
    json_extract(o.value, '$.name') as name, o.key + 1 as position
from custom_fields as f, json_each(f.options) as o
where f.removed_at is null and json_type(f.options) = 'array';

-- The custom fields of contacts, a row for each contact and field. An option is shown by its name, several
-- are one text.
create view contact_custom_fields as
select c.account_id, c.id as contact_id, f.id as custom_field_id, v.key,
    coalesce(f.name, v.key) as label, f.type,
    case v.type
        when 'array' then (
            select group_concat(coalesce(o.name, e.value), ', ')
            from json_each(v.value) as e
            left join custom_field_options as o
                on o.custom_field_id = f.id and o.option_id = cast(e.value as text)
        )
        when 'true' then 'true'
        when 'false' then 'false'
        else coalesce(
            (
                select o.name from custom_field_options as o
                where o.custom_field_id = f.id and o.option_id = cast(v.value as text)
            ),
            cast(v.value as text)
        )
    end as value
from contacts as c, json_each(c.custom_fields) as v
left join custom_fields as f
    on f.account_id = c.account_id and f.key = v.key and f.entity_type = 'CONTACT'
    and f.removed_at is null
where c.removed_at is null and json_type(c.custom_fields) = 'object';

-- Which contact is in which portfolio.
create view contact_portfolios as
select c.account_id, c.id as contact_id, p.value as portfolio_id
from contacts as c, json_each(c.portfolio_ids) as p
where c.removed_at is null and json_type(c.portfolio_ids) = 'array';
