-- One row an account, month and department that has sessions.
define key
department_id

select account_id, month, department_id,
(select t.name from departments t where t.id = @uuid(figures.department_id)) as department, @measures
@breakdown
