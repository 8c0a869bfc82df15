-- One row an account and day, without gaps; every figure may be added up. All are counted in one reading:
-- a row for the day itself, one for each session that was opened on it, one for each that ended.
define over
over w

define keys
account_id, day, week, month, weekday, starts_at

select @keys,
opened, opened_open, opened_new_contact, completed, answered, lost_in_queue, closed_unanswered, bot_only,
won, lost, info, other, amount_won, wait_sum, wait_n, wait_sla_met, wait_sla_n,
first_response_sum, first_response_n, first_response_sla_met, first_response_sla_n,
service_sum, service_n, service_sla_met, service_sla_n,
resolution_sum, resolution_n, resolution_sla_met, resolution_sla_n
from (select @keys, @number as i,
@agg(count(is_opened)) as opened,
case when exists (select 1 from report_open_hours) then @agg(count(*) filter (where arrived_open = 1)) end as opened_open,
@agg(count(*) filter (where is_new_contact = 1)) as opened_new_contact,
@agg(count(is_ended)) as completed,
@agg(count(*) filter (where attendance = 'answered')) as answered,
@agg(count(*) filter (where attendance = 'queue')) as lost_in_queue,
@agg(count(*) filter (where attendance = 'assigned')) as closed_unanswered,
@agg(count(*) filter (where attendance = 'bot')) as bot_only,
@agg(count(*) filter (where outcome = 'won')) as won,
@agg(count(*) filter (where outcome = 'lost')) as lost,
@agg(count(*) filter (where outcome = 'info')) as info,
@agg(count(*) filter (where outcome = 'other')) as other,
coalesce(@agg(sum(amount)), 0) as amount_won,
@sums(wait, within_wait),
@sums(first_response, within_first_response),
@sums(service, within_service),
@sums(resolution, within_resolution)
from (select a.id as account_id, d.day, d.week, d.month, d.weekday, d.starts_at,
cast(null as bigint) as is_opened, cast(null as bigint) as arrived_open, cast(null as bigint) as is_new_contact,
cast(null as text) as attendance, cast(null as bigint) as wait, cast(null as bigint) as within_wait,
cast(null as bigint) as first_response, cast(null as bigint) as within_first_response,
cast(null as bigint) as is_ended, cast(null as text) as outcome, cast(null as double precision) as amount,
cast(null as bigint) as service, cast(null as bigint) as within_service,
cast(null as bigint) as resolution, cast(null as bigint) as within_resolution
from accounts a cross join report_days d
where d.starts_at <= @as_of
union all
select account_id, day, week, month, weekday, day_starts_at, 1, arrived_open, is_new_contact, attendance, wait_seconds, within_sla_wait,
first_response_seconds, within_sla_first_response, null, null, null, null, null, null, null
from report_sessions where is_counted = 1
union all
select account_id, day, week, month, weekday, day_starts_at, null, null, null, null, null, null, null, null, 1, outcome, amount_won,
service_seconds, within_sla_service, resolution_seconds, within_sla_resolution
from report_completed) counted
@grouped) figures where i = 1

define sums(x, y)
cast(coalesce(@agg(sum(:x)), 0) as bigint) as :x_sum, @agg(count(:x)) as :x_n,
@agg(count(*) filter (where :y = 1)) as :x_sla_met, @agg(count(:y)) as :x_sla_n
