-- One row an account, day and metric that has a value.
@times('wait', @wait, s.created_at, true, p.sla_wait_seconds)
union all
@times('first_response', @first_response, s.created_at, true, p.sla_first_response_seconds)
union all
@times('first_response_open', @first_response_open, s.created_at, true, null)
union all
@times('service', @service, s.end_at, @is_closed and s.user_id is not null, p.sla_service_seconds)
union all
@times('resolution', @resolution, s.end_at, @is_closed, p.sla_resolution_seconds)
union all
@times('resolution_open', @resolution_open, s.end_at, @is_closed, null)
