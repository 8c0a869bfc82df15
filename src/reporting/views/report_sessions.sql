-- One row a session that is neither removed nor a placeholder.
select a.id as account_id, a.name as account, cast(s.id as text) as id, s.number, s.status,
@stage(s.status) as stage,
case when @is_open then 1 else 0 end as is_open,
case when @counted then 1 else 0 end as is_counted,
s.type, d.day, d.week, d.month, d.weekday,
@hour as hour,
@day_of(s.end_at) as ended_day,
s.created_at, s.start_at, s.first_response_at, s.end_at, s.last_interaction_date as last_interaction_at,
cast(s.contact_id as text) as contact_id, c.name as contact,
cast(s.channel_id as text) as channel_id, @channel_name(h) as channel, s.channel_type,
cast(s.department_id as text) as department_id, t.name as department,
cast(s.user_id as text) as user_id, g.name as agent,
(select @names(k.name) from (select n.name from session_tags l join tags n on n.id = l.tag_id
where l.session_id = s.id order by @binary(n.name)) k) as tags,
(select count(*) from session_tags l where l.session_id = s.id) as tag_count,
@first_response as first_response_seconds,
@first_response_open as first_response_open_seconds,
@wait as wait_seconds,
@service as service_seconds,
@resolution as resolution_seconds,
@resolution_open as resolution_open_seconds,
case when @is_closed then @seconds(s.first_response_at, s.end_at) end as after_response_seconds,
@age as age_seconds,
case when @is_open then @seconds(s.last_interaction_date, @as_of) end as idle_seconds,
@turn as turn,
case when @turn = 'ours' then s.last_message_in end as waiting_since,
@attendance as attendance,
@within(@wait, p.sla_wait_seconds) as within_sla_wait,
@within(@first_response, p.sla_first_response_seconds) as within_sla_first_response,
@within(@service, p.sla_service_seconds) as within_sla_service,
@within(@resolution, p.sla_resolution_seconds) as within_sla_resolution,
@arrived_open as arrived_open,
@returned as returned_7d,
@is_new_contact as is_new_contact,
@outcome as outcome,
coalesce(s.classification_category_description, s.classification_category_name) as reason,
@amount_won as amount_won,
nullif(s.utm_source, '') as utm_source, nullif(s.utm_medium, '') as utm_medium,
nullif(s.utm_campaign, '') as utm_campaign, nullif(s.utm_content, '') as utm_content,
nullif(s.utm_term, '') as utm_term, nullif(s.utm_source_id, '') as utm_source_id,
case when nullif(s.utm_clid, '') is not null then 1 else 0 end as has_click_id,
s.origin, s.unread_count, s.window_status, s.preview_url, s.synced_at
from accounts a cross join report_settings p cross join report_days d @sessions_of_day(s.created_at)
left join contacts c on c.id = s.contact_id
left join channels h on h.id = s.channel_id
left join departments t on t.id = s.department_id
left join agents g on g.user_id = s.user_id and g.account_id = s.account_id
where @is_of_day(s.created_at) and s.removed_at is null
