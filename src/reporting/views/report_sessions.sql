-- One row a session that is neither removed nor a placeholder.
select account_id, account, cast(session_id as text) as id, number, status, @stage(status) as stage,
is_open, is_counted, type, day, week, month, weekday, starts_at as day_starts_at, hour, ended_day,
created_at, start_at, first_response_at, end_at, last_interaction_at,
cast(contact_id as text) as contact_id, contact, cast(channel_id as text) as channel_id, channel, channel_type,
cast(department_id as text) as department_id, department, cast(user_id as text) as user_id, agent,
(select @names(k.name) from (select n.name from session_tags l join tags n on n.id = l.tag_id
where l.session_id = m.session_id order by @binary(n.name)) k) as tags,
(select count(*) from session_tags l where l.session_id = m.session_id) as tag_count,
first_response_seconds, first_response_open_seconds, wait_seconds, service_seconds,
resolution_seconds, resolution_open_seconds, after_response_seconds, age_seconds, idle_seconds,
turn, case when turn = 'ours' then last_message_in end as waiting_since, attendance,
@within(wait_seconds, sla_wait_seconds) as within_sla_wait,
@within(first_response_seconds, sla_first_response_seconds) as within_sla_first_response,
@within(service_seconds, sla_service_seconds) as within_sla_service,
@within(resolution_seconds, sla_resolution_seconds) as within_sla_resolution,
arrived_open, returned_7d, is_new_contact, outcome, reason, amount_won,
utm_source, utm_medium, utm_campaign, utm_content, utm_term, utm_source_id, has_click_id,
origin, unread_count, window_status, preview_url, synced_at
from (select a.id as account_id, a.name as account, s.id as session_id, s.number, s.status,
case when @is_open then 1 else 0 end as is_open, case when @counted then 1 else 0 end as is_counted,
s.type, d.day, d.week, d.month, d.weekday, d.starts_at, @hour as hour, @day_of(s.end_at) as ended_day,
s.created_at, s.start_at, s.first_response_at, s.end_at, s.last_interaction_date as last_interaction_at,
s.contact_id, c.name as contact, s.channel_id, @channel_name(h) as channel, s.channel_type,
s.department_id, t.name as department, s.user_id, g.name as agent,
@first_response as first_response_seconds,
@open_seconds(s.created_at, s.first_response_at) as first_response_open_seconds,
@wait as wait_seconds, @service as service_seconds, @resolution as resolution_seconds,
case when @is_closed then @open_seconds(s.created_at, s.end_at) end as resolution_open_seconds,
case when @is_closed then @seconds(s.first_response_at, s.end_at) end as after_response_seconds,
@age as age_seconds, case when @is_open then @seconds(s.last_interaction_date, @as_of) end as idle_seconds,
@turn as turn, s.last_message_in, @attendance as attendance,
p.sla_wait_seconds, p.sla_first_response_seconds, p.sla_service_seconds, p.sla_resolution_seconds,
@arrived_open as arrived_open,
@returned as returned_7d, @is_new_contact as is_new_contact,
@outcome as outcome, coalesce(s.classification_category_description, s.classification_category_name) as reason,
@amount_won as amount_won, @campaign,
nullif(s.utm_content, '') as utm_content, nullif(s.utm_term, '') as utm_term,
s.origin, s.unread_count, s.window_status, s.preview_url, s.synced_at
from accounts a cross join report_settings p cross join report_days d @sessions_of_day(s.created_at)
left join contacts c on c.id = s.contact_id
left join channels h on h.id = s.channel_id
left join departments t on t.id = s.department_id
left join agents g on g.user_id = s.user_id and g.account_id = s.account_id
where @is_of_day(s.created_at) and s.removed_at is null) m
