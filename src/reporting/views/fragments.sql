-- What the views share. In them s is a session, a its account, d the day that counts and p the settings.

define in_time(x)
from accounts a cross join report_settings p cross join report_days d @sessions_of_day(:x) where @is_of_day(:x)

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
case when :y >= :x then @epoch(:y) - @epoch(:x) when @epoch(:y) = @epoch(:x) then 0 end

define open_until(x)
(select o.open_before + case when @epoch(:x) < o.ends_epoch then @epoch(:x) else o.ends_epoch end - o.starts_epoch
from report_open_hours o where o.starts_at <= :x order by o.starts_at desc limit 1)

define open_seconds(x, y)
case when :y >= :x or @epoch(:y) = @epoch(:x) then @open_until(:y) - @open_until(:x) end

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

define first_response_open
@open_seconds(s.created_at, s.first_response_at)

define resolution
case when @is_closed then @seconds(s.created_at, s.end_at) end

define resolution_open
case when @is_closed then @open_seconds(s.created_at, s.end_at) end

define age
case when @is_open then @seconds(s.created_at, @as_of) end

define within(x, target)
case when :target is null then null when :x <= :target then 1 when :x > :target then 0
when @is_open and @age > :target then 0 end

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

define amount_won
case when s.classification_category = 'WON' then s.classification_amount end

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

define day_of(x)
(select case when e.ends_at > :x then e.day end from report_days e where e.starts_at <= :x
order by e.starts_at desc limit 1)

define known_since
case when a.created_at > p.changes_since then a.created_at else p.changes_since end

define times(metric, measure, anchor, which, target)
select account_id, day, week, month, :metric as metric, sessions, sum, average, median, p90, max, sla_met
from (select account_id, day, week, month, i, sessions,
cast(sum(x) over w as bigint) as sum,
cast(avg(x) over w as double precision) as average,
cast(avg(x) filter (where i in ((sessions + 1) / 2, (sessions + 2) / 2)) over w as double precision) as median,
max(x) filter (where i = (9 * sessions + 9) / 10) over w as p90,
max(x) over w as max,
case when max(target) over w is not null then count(*) filter (where x <= target) over w end as sla_met
from (select account_id, day, week, month, x, target,
row_number() over (partition by account_id, day, week, month order by x) as i,
count(*) over (partition by account_id, day, week, month) as sessions
from (select a.id as account_id, d.day, d.week, d.month, :measure as x, cast(:target as bigint) as target
@in_time(:anchor) and @counted and :which) measured
where x is not null) ranked
window w as (partition by account_id, day, week, month)) placed
where i = 1

define stream
select a.id as account_id, d.month, @key, 1 as is_opened, s.contact_id, cast(null as date) as ended_day,
case when @is_closed then 1 end as closed, case when @attendance = 'answered' then 1 end as answered,
@wait as wait, @first_response as first_response, cast(null as bigint) as resolution,
@within(@wait, p.sla_wait_seconds) as in_wait,
@within(@first_response, p.sla_first_response_seconds) as in_first_response,
cast(null as text) as outcome, cast(null as double precision) as amount
@rows(s.created_at) and @counted
union all
select a.id, d.month, @key, 0, null, d.day, null, null, null, null, @resolution, null, null, @outcome, @amount_won
@rows(s.end_at) and @is_closed and @counted

define three(x)
cast(avg(:x) over w as double precision) as :x_average,
cast(avg(:x) filter (where :x_i in ((:x_n + 1) / 2, (:x_n + 2) / 2)) over w as double precision) as :x_median,
max(:x) filter (where :x_i = (9 * :x_n + 9) / 10) over w as :x_p90,
:x_n

define rank(x)
row_number() over (partition by account_id, month, @keys order by :x nulls last) as :x_i,
count(:x) over c as :x_n

define share(x, y)
cast(:x as double precision) / nullif(:y, 0)

define measures
opened, contacts, completed_of_opened, answered, @share(answered, completed_of_opened) as answered_share,
wait_average, wait_median, wait_p90, wait_n,
first_response_average, first_response_median, first_response_p90, first_response_n,
resolution_average, resolution_median, resolution_p90, resolution_n,
sla_wait_met, sla_wait_n, @share(sla_wait_met, sla_wait_n) as sla_wait_share,
sla_first_response_met, sla_first_response_n,
@share(sla_first_response_met, sla_first_response_n) as sla_first_response_share,
completed, won, lost, @share(won, won + lost) as win_rate, amount_won

define breakdown
from (select account_id, month, @keys, wait_i,
count(*) filter (where is_opened = 1) over w as opened,
count(*) filter (where is_opened = 1 and contact_id is not null and place = 1) over w as contacts,
count(closed) over w as completed_of_opened,
count(answered) over w as answered,
@three(wait),
@three(first_response),
@three(resolution),
count(*) filter (where in_wait = 1) over w as sla_wait_met,
count(in_wait) over w as sla_wait_n,
count(*) filter (where in_first_response = 1) over w as sla_first_response_met,
count(in_first_response) over w as sla_first_response_n,
count(ended_day) over w as completed,
count(*) filter (where outcome = 'won') over w as won,
count(*) filter (where outcome = 'lost') over w as lost,
coalesce(sum(amount) over w, 0) as amount_won,
count(*) filter (where ended_day is not null and place = 1) over w as days_active
from (select account_id, month, @keys, is_opened, contact_id, ended_day, closed, answered,
wait, first_response, resolution, in_wait, in_first_response, outcome, amount,
case when lag(contact_id) over o = contact_id or lag(ended_day) over o = ended_day then 0 else 1 end as place,
@rank(wait),
@rank(first_response),
@rank(resolution)
from (@stream @more) streamed
window c as (partition by account_id, month, @keys),
o as (partition by account_id, month, @keys order by contact_id, ended_day)) ranked
window w as (partition by account_id, month, @keys)) placed
where wait_i = 1
