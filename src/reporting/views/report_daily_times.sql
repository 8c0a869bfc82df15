-- One row an account, day and metric that has a value.
define keys
account_id, day, week, month

define over
over w

define times(metric, x, within, rows)
select @keys, ':metric' as metric, sessions, sum, average, median, p90, max, sla_met
from (select @keys, @number as i, @agg(count(x)) as sessions, cast(@agg(sum(x)) as bigint) as sum,
cast(@agg(avg(x)) as double precision) as average, cast(@median(x) as double precision) as median,
@p90(x) as p90, @agg(max(x)) as max,
case when @agg(count(is_met)) > 0 then @agg(count(*) filter (where is_met = 1)) end as sla_met
from (@ranked(x, (select @keys, :x as x, :within as is_met from :rows))) ranked
@grouped) figures where i = 1 and sessions > 0

define opened
report_sessions where is_counted = 1

define ended
report_completed

@times(wait, wait_seconds, within_sla_wait, @opened)
union all
@times(first_response, first_response_seconds, within_sla_first_response, @opened)
union all
@times(first_response_open, first_response_open_seconds, cast(null as bigint), @opened)
union all
@times(service, service_seconds, within_sla_service, @ended)
union all
@times(resolution, resolution_seconds, within_sla_resolution, @ended)
union all
@times(resolution_open, resolution_open_seconds, cast(null as bigint), @ended)
