-- One row an account and day, without gaps; every figure may be added up. All are counted in one reading:
-- a row for the day itself, one for each session that was opened on it, one for each that ended.
define of_day
account_id, day, week, month, weekday, starts_at

define service_of_agent
case when s.user_id is not null then @service end

select @of_day,
opened, opened_open, opened_new_contact, completed, answered, lost_in_queue, closed_unanswered,
bot_only, won, lost, info, other, amount_won, wait_sum, wait_n, wait_sla_met, wait_sla_n,
first_response_sum, first_response_n, first_response_sla_met, first_response_sla_n, service_sum,
service_n, service_sla_met, service_sla_n, resolution_sum, resolution_n, resolution_sla_met,
resolution_sla_n
from (select @of_day, is_day,
count(opened) over w as opened,
case when count(arrived_open) over w > 0 then count(*) filter (where arrived_open = 1) over w end as opened_open,
count(*) filter (where is_new = 1) over w as opened_new_contact,
count(ended) over w as completed,
count(*) filter (where attendance = 'answered') over w as answered,
count(*) filter (where attendance = 'queue') over w as lost_in_queue,
count(*) filter (where attendance = 'assigned') over w as closed_unanswered,
count(*) filter (where attendance = 'bot') over w as bot_only,
count(*) filter (where outcome = 'won') over w as won,
count(*) filter (where outcome = 'lost') over w as lost,
count(*) filter (where outcome = 'info') over w as info,
count(*) filter (where outcome = 'other') over w as other,
coalesce(sum(amount) over w, 0) as amount_won,
cast(coalesce(sum(wait) over w, 0) as bigint) as wait_sum,
count(wait) over w as wait_n,
count(*) filter (where in_wait = 1) over w as wait_sla_met,
count(in_wait) over w as wait_sla_n,
cast(coalesce(sum(first_response) over w, 0) as bigint) as first_response_sum,
count(first_response) over w as first_response_n,
count(*) filter (where in_first_response = 1) over w as first_response_sla_met,
count(in_first_response) over w as first_response_sla_n,
cast(coalesce(sum(service) over w, 0) as bigint) as service_sum,
count(service) over w as service_n,
count(*) filter (where in_service = 1) over w as service_sla_met,
count(in_service) over w as service_sla_n,
cast(coalesce(sum(resolution) over w, 0) as bigint) as resolution_sum,
count(resolution) over w as resolution_n,
count(*) filter (where in_resolution = 1) over w as resolution_sla_met,
count(in_resolution) over w as resolution_sla_n
from (select a.id as account_id, d.day, d.week, d.month, d.weekday, d.starts_at, 1 as is_day,
cast(null as bigint) as opened, cast(null as bigint) as arrived_open, cast(null as bigint) as is_new,
cast(null as text) as attendance, cast(null as bigint) as wait, cast(null as bigint) as in_wait,
cast(null as bigint) as first_response, cast(null as bigint) as in_first_response,
cast(null as bigint) as ended, cast(null as text) as outcome, cast(null as double precision) as amount,
cast(null as bigint) as service, cast(null as bigint) as in_service,
cast(null as bigint) as resolution, cast(null as bigint) as in_resolution
from accounts a cross join report_days d
union all
select a.id, d.day, d.week, d.month, d.weekday, d.starts_at, 0,
1, @arrived_open, @is_new_contact, @attendance, @wait, @within(@wait, p.sla_wait_seconds),
@first_response, @within(@first_response, p.sla_first_response_seconds),
null, null, null, null, null, null, null
@in_time(s.created_at) and @counted
union all
select a.id, d.day, d.week, d.month, d.weekday, d.starts_at, 0,
null, null, null, null, null, null, null, null,
1, @outcome, @amount_won, @service_of_agent, @within(@service_of_agent, p.sla_service_seconds),
@resolution, @within(@resolution, p.sla_resolution_seconds)
@in_time(s.end_at) and @is_closed and @counted) counted
window w as (partition by @of_day)) days
where is_day = 1
