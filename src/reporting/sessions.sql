define as_of
$2

define text(x)
coalesce(replace(replace(:x, @unit, ' '), @record, ' '), '') || @unit

define value(x)
coalesce(cast(:x as text), '') || @unit

define time(x)
coalesce(@utc(:x), '') || @unit

define session
@time(s.created_at) || @time(s.start_at) || @time(s.first_response_at) || @time(s.end_at) || @text(s.status)
|| case when s.type = 'GROUP' then '1' else '0' end || @unit
|| case when s.removed_at is not null then '1' else '0' end || @unit
|| @value(s.contact_id) || @value(s.channel_id) || @value(s.department_id) || @value(s.user_id)
|| case when s.bot_id is not null then '1' else '0' end || @unit
|| @value(s.time_wait_seconds) || @value(s.time_service_seconds) || @text(s.classification_category)
|| @text(coalesce(s.classification_category_description, s.classification_category_name))
|| @value(s.classification_amount)
|| @text(s.utm_source) || @text(s.utm_medium) || @text(s.utm_campaign) || @text(s.utm_source_id)
|| case when nullif(s.utm_clid, '') is not null then '1' else '0' end || @unit
|| coalesce((select @names(cast(l.tag_id as text)) from session_tags l where l.session_id = s.id), '') || @unit
|| @value(@is_new_contact) || @value(@returned)

define open
|| @text(s.number) || @text(s.preview_url)
|| @time(s.last_message_in) || @time(s.last_message_out) || @time(s.last_interaction_date)
|| case when s.window_status = 'EXPIRED' then '1' else '0' end || @unit || @value(s.unread_count)

select @joined(line) from (select @session @more as line from sessions s where s.account_id = $1 and @which) as lines
