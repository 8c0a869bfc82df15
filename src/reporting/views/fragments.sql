-- What the views share. In them s is a session, a its account, d the day that counts and p the settings.

define counted
s.removed_at is null and s.created_at is not null
and coalesce(s.status, '') <> 'HIDDEN' and coalesce(s.type, '') <> 'GROUP'

define is_open
s.status in ('STARTED', 'PENDING', 'IN_PROGRESS')

define is_closed
s.status = 'COMPLETED'

define stage(x)
case :x when 'STARTED' then 'bot' when 'PENDING' then 'queue' when 'IN_PROGRESS' then 'service'
when 'COMPLETED' then 'closed' when 'HIDDEN' then 'hidden' else 'other' end

define as_of
(select min(y.last_success_at) from sync_state y where y.account_id = a.id and y.resource = 'sessions')

define seconds(x, y)
nullif(@greatest(@epoch(:y) - @epoch(:x), -1), -1)

define open_until(x)
(select o.open_before + @least(@epoch(:x), o.ends_epoch) - o.starts_epoch
from report_open_hours o where o.starts_at <= :x order by o.starts_at desc limit 1)

define open_seconds(x, y)
case when @epoch(:y) >= @epoch(:x) then @open_until(:y) - @open_until(:x) end

define arrived_open
case when (select o.ends_at from report_open_hours o where o.starts_at <= s.created_at
order by o.starts_at desc limit 1) > s.created_at then 1
when exists (select 1 from report_open_hours) then 0 end

define hour
(d.first_hour * 3600 + @epoch(s.created_at) - @epoch(d.starts_at)
+ case when s.created_at >= d.shift_at then d.shift_seconds else 0 end) / 3600

define wait
case when @is_closed and s.time_wait_seconds >= 0 then s.time_wait_seconds end

define service
case when @is_closed and s.time_service_seconds >= 0 then s.time_service_seconds end

define first_response
@seconds(s.created_at, s.first_response_at)

define resolution
case when @is_closed then @seconds(s.created_at, s.end_at) end

define age
case when @is_open then @seconds(s.created_at, @as_of) end

-- Of a measure of the select below, whose age is null unless the session is open.
define within(x, target)
case when :target is null then null when :x <= :target then 1 when :x > :target or age_seconds > :target then 0 end

define attendance
case when @is_closed then case when s.first_response_at is not null then 'answered'
when s.user_id is not null then 'assigned' when s.department_id is not null then 'queue'
when s.bot_id is not null then 'bot' else 'none' end end

define turn
case when @is_open then case when s.last_message_in > s.last_message_out
or s.last_message_out is null and s.last_message_in is not null then 'ours'
when s.last_message_in is not null or s.last_message_out is not null then 'theirs' end end

define outcome
case when coalesce(s.classification_category, 'UNDEFINED') in ('UNDEFINED', '') then 'none'
else @lower(s.classification_category) end

-- A larger one is no amount, and its sum with others would be infinite, which neither database can show.
define amount_won
case when @outcome = 'won' and abs(s.classification_amount) < 1e300 then s.classification_amount end

define is_new_contact
case when s.contact_id is not null then case when exists (select 1 from sessions e
where e.contact_id = s.contact_id and e.created_at < s.created_at and e.removed_at is null)
then 0 else 1 end end

define returned
case when @is_closed and s.contact_id is not null and coalesce(s.type, '') <> 'GROUP'
and @later(s.end_at, 604800) <= @as_of then case when exists (select 1 from sessions e
where e.contact_id = s.contact_id and e.created_at > s.end_at and e.created_at < @later(s.end_at, 604800)
and e.id <> s.id and e.removed_at is null and coalesce(e.status, '') <> 'HIDDEN'
and coalesce(e.type, '') <> 'GROUP') then 1 else 0 end end

define channel_name(x)
coalesce(nullif(:x.identity_display_name, ''), nullif(:x.number_formatted, ''), nullif(:x.number, ''),
nullif(:x.identity_human_id, ''), substr(cast(:x.id as text), 1, 8))

define campaign
nullif(s.utm_source, '') as utm_source, nullif(s.utm_medium, '') as utm_medium,
nullif(s.utm_campaign, '') as utm_campaign, nullif(s.utm_source_id, '') as utm_source_id,
case when nullif(s.utm_clid, '') is not null then 1 else 0 end as has_click_id

define day_of(x)
(select case when e.ends_at > :x then e.day end from report_days e where e.starts_at <= :x
order by e.starts_at desc limit 1)

define known_since
case when a.created_at > p.changes_since then a.created_at else p.changes_since end

define share(x, y)
cast(:x as double precision) / nullif(:y, 0)

-- The figures of breakdowns, a row for each value of @group. It counts one row for each session that was
-- opened and one for each that ended, with @more.
define figures
(select @group, count(is_opened) as opened,
count(distinct contact_id) as contacts,
count(attendance) as completed_of_opened,
count(*) filter (where attendance = 'answered') as answered,
@spread(wait),
@spread(first_response),
@spread(resolution),
count(*) filter (where in_wait = 1) as sla_wait_met,
count(in_wait) as sla_wait_n,
count(*) filter (where in_first_response = 1) as sla_first_response_met,
count(in_first_response) as sla_first_response_n,
count(ended_day) as completed,
count(*) filter (where outcome = 'won') as won,
count(*) filter (where outcome = 'lost') as lost,
coalesce(sum(amount), 0) as amount_won,
count(distinct ended_day) as days_active
from (select @group, 1 as is_opened, contact_id, attendance, wait, wait_rank,
first_response, first_response_rank, in_wait, in_first_response,
cast(null as bigint) as resolution, @no_rank as resolution_rank, cast(null as date) as ended_day,
cast(null as text) as outcome, cast(null as double precision) as amount
from (@ranked(wait, (@ranked(first_response,
(select @group, contact_id, attendance, wait_seconds as wait, first_response_seconds as first_response,
within_sla_wait as in_wait, within_sla_first_response as in_first_response
from @sessions where is_counted = 1 and @is_of_month))))) opened
union all
select @group, null, null, null, null, null, null, null, null, null,
resolution, resolution_rank, ended_day, outcome, amount
from (@ranked(resolution,
(select @group, resolution_seconds as resolution, day as ended_day, outcome, amount_won as amount
from @completed where @is_of_month))) ended
@more) streamed
group by @group)

define spread(x)
cast(avg(:x) as double precision) as :x_average,
cast(@median(:x) as double precision) as :x_median, @p90(:x) as :x_p90, count(:x) as :x_n

define measures
opened, contacts, completed_of_opened, answered, @share(answered, completed_of_opened) as answered_share,
wait_average, wait_median, wait_p90, wait_n,
first_response_average, first_response_median, first_response_p90, first_response_n,
resolution_average, resolution_median, resolution_p90, resolution_n,
sla_wait_met, sla_wait_n, @share(sla_wait_met, sla_wait_n) as sla_wait_share,
sla_first_response_met, sla_first_response_n,
@share(sla_first_response_met, sla_first_response_n) as sla_first_response_share,
completed, won, lost, @share(won, won + lost) as win_rate, amount_won

define sessions
report_sessions

define completed
report_completed

define more


define keys
@group

-- The value of a row's key as JSON and back, for SQLite.
define packed_key
'@key', @key

define unpacked_key
@get(@key)
