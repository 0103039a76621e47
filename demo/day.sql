-- A day passes in the demo's database: about 2 % more traces, some rows edited, a prompt improved, a project renamed.
\set ON_ERROR_STOP on
select count(*) + 1 as first, count(*) + count(*) / 50 as last, 0.77 as seed from traces \gset
\ir words.sql
begin;
\set begin '2026-03-01 06:00:00Z'
\set gap '15 minutes'
\ir traces.sql
update observations set updated_at = updated_at + interval '1 day', metadata = metadata || '{"evaluated": true}'
	where id in (select id from observations order by start_time desc limit (select count(*) / 100 from observations));
update traces set bookmarked = true where id in (select id from traces order by id limit (select count(*) / 1000 from traces));
insert into prompts select 'prompt-3-6', project_id, name, 6, labels, body || ' Be brief.', config, created_at + interval '30 days' from prompts where id = 'prompt-3-5';
update projects set name = 'Assistant B (production)' where id = 'project-2';
select nextval('invoice_number') \g /dev/null
commit;
refresh materialized view daily_usage;
analyze;
