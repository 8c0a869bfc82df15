-- One row an account, month and campaign that has sessions.
define key
utm_source, utm_medium, utm_campaign, utm_source_id, has_click_id

define packed_key
@pack(utm_source), @pack(utm_medium), @pack(utm_campaign), @pack(utm_source_id), @pack(has_click_id)

define unpacked_key
@get(utm_source), @get(utm_medium), @get(utm_campaign), @get(utm_source_id), @get(has_click_id)

select account_id, month, @key, @measures
@breakdown
