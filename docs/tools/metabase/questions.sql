-- Questions for Metabase: New, SQL query, paste one of them. Metabase asks for the kind of each variable in
-- braces: the dates and the month (its first day) are of the kind Date, all others Text. A part in double
-- brackets is left out while its variable is empty. All run on Postgres and on SQLite.

-- name: Sessions a day
-- Opened and answered by the day of creation, completed by the day of the end.
select day, sum(opened) as opened, sum(completed) as completed, sum(answered) as answered,
       sum(lost_in_queue) as lost_in_queue
from report_daily
where day >= {{from}} and day < {{to}}
group by day
order by day;

-- name: Waiting time a day
-- Median, 90th percentile and average of the platform's waiting time, in minutes, for each account.
select a.name as account, t.day, t.sessions, round(cast(t.median / 60 as numeric)) as median, round(cast(t.p90 / 60 as numeric)) as p90,
       round(cast(t.average / 60 as numeric)) as average
from report_daily_times t
join accounts a on a.id = t.account_id
where t.metric = 'wait' and t.day >= {{from}} and t.day < {{to}}
order by a.name, t.day;

-- name: Time to the first response a week
-- Its average in minutes: sums and counts may be added up, medians may not.
select week, sum(first_response_n) as sessions,
       round(cast(sum(first_response_sum) / 60.0 / nullif(sum(first_response_n), 0) as numeric)) as average,
       round(100.0 * sum(first_response_sla_met) / nullif(sum(first_response_sla_n), 0)) as percent_in_target
from report_daily
where day >= {{from}} and day < {{to}}
group by week
order by week;

-- name: Open now
-- One row a session, the one that has waited longest for an answer first.
select number, stage, department, agent, channel, age_class, turn, waiting_since, unread_count, preview_url, as_of
from report_backlog
where 1 = 1 [[and department = {{department}}]] [[and stage = {{stage}}]]
order by case when waiting_since is null then 1 else 0 end, waiting_since, created_at;

-- name: Open at the end of each day
-- The backlog curve: how many sessions were open when the day ended.
select day, sum(opened) as opened, sum(completed) as completed, sum(open_at_end) as open_at_end
from report_backlog_daily
where day >= {{from}} and day < {{to}}
group by day
order by day;

-- name: Agents in a month
-- Medians in minutes. The row without a name has the sessions without an agent.
select agent, opened, answered, round(cast(first_response_median / 60 as numeric)) as first_response,
       round(cast(resolution_median / 60 as numeric)) as resolution, completed, won, lost, win_rate, amount_won, days_active
from report_agents
where month = {{month}}
order by completed desc, agent;

-- name: Departments in a month
-- Medians and 90th percentiles in minutes. The row without a name has the sessions without a department.
select department, opened, answered_share, round(cast(wait_median / 60 as numeric)) as wait, round(cast(wait_p90 / 60 as numeric)) as wait_p90,
       round(cast(first_response_median / 60 as numeric)) as first_response, sla_first_response_share, completed
from report_departments
where month = {{month}}
order by opened desc, department;

-- name: Channels in a month
-- Sessions, contacts and outcomes of each channel.
select channel, opened, contacts, answered_share, completed, won, lost, win_rate, amount_won
from report_channels
where month = {{month}} [[and channel = {{channel}}]]
order by opened desc, channel;

-- name: Campaigns and ads
-- What each campaign and ad brought, from the first month to the last. Rows without one have no campaign.
select utm_campaign, utm_source, utm_source_id, sum(opened) as sessions, sum(won) as won, sum(lost) as lost,
       round(100.0 * sum(won) / nullif(sum(won) + sum(lost), 0)) as percent_won, sum(amount_won) as amount_won
from report_campaigns
where month >= {{from}} and month < {{to}}
group by utm_campaign, utm_source, utm_source_id
order by sum(won) desc, sum(opened) desc;

-- name: Tags in a month
-- A session with two tags is in two rows: do not add them up.
select tag, opened, contacts, answered_share, round(cast(wait_median / 60 as numeric)) as wait, won, lost, amount_won
from report_tags
where month = {{month}} [[and tag = {{tag}}]]
order by opened desc, tag;

-- name: Weekday and hour
-- When people write, by the clock of the configured time zone. Show it as a pivot table.
select weekday, hour, sum(opened) as sessions
from report_hours
where day >= {{from}} and day < {{to}}
group by weekday, hour
order by weekday, hour;

-- name: Sessions that nobody answered
-- Closed without a first response, by department.
select coalesce(department, '(none)') as department, attendance, count(*) as sessions
from report_sessions
where day >= {{from}} and day < {{to}} and is_counted = 1
  and attendance in ('queue', 'assigned', 'bot', 'none') [[and department = {{department}}]]
group by department, attendance
order by count(*) desc;

-- name: New contacts a week
-- Contacts whose first session this is, by the channel that they came in by.
select week, channel, count(*) as new_contacts
from report_sessions
where day >= {{from}} and day < {{to}} and is_counted = 1 and is_new_contact = 1
group by week, channel
order by week, count(*) desc;

-- name: What the figures rest on
-- One row an account: how complete the copy is, and what no figure counts. It reads all sessions.
select account, as_of, sessions, removed, hidden, groups, unknown_status, rejects_open, last_verify_at,
       last_verify_differing, answered_within_3s_share, wait_is_first_response_share
from report_quality;
