-- One row an account, month and campaign that has sessions.
define key
utm_source, utm_medium, utm_campaign, utm_source_id, has_click_id

select @keys, @measures
@breakdown
