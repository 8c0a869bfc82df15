-- One row a session that counts and has ended, by the day of its end.
select account_id, day, week, month, weekday, day_starts_at, cast(session_id as text) as id,
cast(channel_id as text) as channel_id, cast(department_id as text) as department_id,
cast(user_id as text) as user_id, service_seconds, resolution_seconds, resolution_open_seconds,
@within(service_seconds, sla_service_seconds) as within_sla_service,
@within(resolution_seconds, sla_resolution_seconds) as within_sla_resolution,
outcome, amount_won, utm_source, utm_medium, utm_campaign, utm_source_id, has_click_id
from (select a.id as account_id, d.day, d.week, d.month, d.weekday, d.starts_at as day_starts_at,
s.id as session_id, s.channel_id, s.department_id, s.user_id,
case when s.user_id is not null then @service end as service_seconds,
@resolution as resolution_seconds, @open_seconds(s.created_at, s.end_at) as resolution_open_seconds,
p.sla_service_seconds, p.sla_resolution_seconds, cast(null as bigint) as age_seconds,
@outcome as outcome, @amount_won as amount_won, @campaign
from accounts a cross join report_settings p cross join report_days d @sessions_of_day(s.end_at)
where @is_of_day(s.end_at) and @is_closed and @counted) m
