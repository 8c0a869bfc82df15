define as_of
$2

define session
s.created_at, s.start_at, s.first_response_at, s.end_at, s.status,
cast(case when s.type = 'GROUP' then 1 else 0 end as bigint) as is_group,
cast(case when s.removed_at is not null then 1 else 0 end as bigint) as is_removed,
s.contact_id, s.channel_id, s.department_id, s.user_id,
cast(case when s.bot_id is not null then 1 else 0 end as bigint) as has_bot,
s.time_wait_seconds, s.time_service_seconds,
s.classification_category, coalesce(s.classification_category_description, s.classification_category_name) as reason,
s.classification_amount,
nullif(s.utm_source, '') as utm_source, nullif(s.utm_medium, '') as utm_medium,
nullif(s.utm_campaign, '') as utm_campaign, nullif(s.utm_source_id, '') as utm_source_id,
cast(case when nullif(s.utm_clid, '') is not null then 1 else 0 end as bigint) as has_click_id,
(select @names(cast(l.tag_id as text)) from session_tags l where l.session_id = s.id) as tags,
cast(@is_new_contact as bigint) as is_new_contact, cast(@returned as bigint) as returned

define open
s.number, s.preview_url, s.last_message_in, s.last_message_out, s.last_interaction_date,
cast(case when s.window_status = 'EXPIRED' then 1 else 0 end as bigint) as is_window_closed,
cast(coalesce(s.unread_count, 0) as bigint) as unread

select @session @more from sessions s where s.account_id = $1 and @which
