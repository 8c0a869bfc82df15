-- One row an account, month and key that has sessions.
define key
s.department_id

define keys
department_id

define rows(x)
@in_time(:x)

define more


select account_id, month, cast(department_id as text) as department_id,
(select t.name from departments t where t.id = placed.department_id) as department,
@measures
@breakdown
