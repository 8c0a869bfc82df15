-- One row an account, month and key that has sessions.
define key
nullif(s.utm_source, '') as utm_source, nullif(s.utm_medium, '') as utm_medium, nullif(s.utm_campaign, '') as utm_campaign, nullif(s.utm_source_id, '') as utm_source_id,
case when nullif(s.utm_clid, '') is not null then 1 else 0 end as has_click_id

define keys
utm_source, utm_medium, utm_campaign, utm_source_id, has_click_id

define rows(x)
@in_time(:x)

define more


select account_id, month, utm_source, utm_medium, utm_campaign, utm_source_id, has_click_id,
@measures
@breakdown
