-- Fills demo/schema.sql's tables: psql -v traces=8000 -f demo/fill.sql.  The same number gives the same rows.
\set seed 0.42
\ir words.sql
begin;
insert into organizations select 'org-' || n, (array['Northwind Support', 'Clause & Co'])[n], 'team', timestamptz '2025-02-03 09:00:00Z' from generate_series(1, 2) n;
insert into users select 'user-' || n, 'person' || n || '@example.org', 'Person Number ' || n, '$2b$12$' || md5('salt' || n) || left(md5('hash' || n), 21),
	n = 1, timestamptz '2025-02-03 09:00:00Z' + n * interval '1 day' from generate_series(1, 40) n;
insert into memberships select 'org-' || 1 + n % 2, 'user-' || n, (array['owner', 'admin', 'member', 'viewer'])[1 + n % 4]::role from generate_series(1, 40) n;
insert into projects select 'project-' || n, 'org-' || 1 + n % 2, 'Assistant ' || chr(64 + n), case when n = 4 then 90 end,
	'{"mask": ["email", "iban"]}', timestamptz '2025-02-04 09:00:00Z' from generate_series(1, 4) n;
insert into api_keys select 'key-' || n, 'project-' || 1 + n % 4, 'pk-' || md5('public' || n)::uuid, md5('secret' || n) || md5('secret again' || n), null, null,
	timestamptz '2026-06-01 00:00:00Z' from generate_series(1, 9) n;
\set first 1
\set last :traces
\set begin '2026-03-01 06:00:00Z'
\set gap '15 minutes'
\ir traces.sql
insert into prompts select 'prompt-' || n || '-' || v, 'project-' || 1 + n % 4, 'assistant ' || n, v, case when v = 5 then array['production', 'latest'] else '{}' end,
	body || E'\n\nAnswer in {{language}}. Version ' || v || '.', '{"model": "large"}', timestamptz '2026-02-01 10:00:00Z' + v * interval '9 days'
	from instructions, generate_series(1, 5) v order by n, v;
insert into datasets select 'dataset-' || n, 'project-' || n, (array['golden answers', 'known failures', 'tone', 'long calls'])[n], null, '{}', timestamptz '2026-03-02 10:00:00Z' from generate_series(1, 4) n;
insert into dataset_items select md5('item' || id), 'dataset-' || right(project_id, 1), input, output, id, "timestamp"
	from (select *, row_number() over (order by id) as r from traces) t where r % 25 = 0;
insert into media select 'media-' || n, 'project-' || 1 + n % 4, 'audio/ogg', sha256(content), content
	from (select n, decode(string_agg(md5(n || 'block' || k), '' order by k), 'hex') as content from generate_series(1, 24) n, generate_series(1, 2048) k group by n) m;
insert into _prisma_migrations select md5('migration' || n)::uuid::text, md5('a' || n) || md5('b' || n), timestamptz '2026-02-01 08:00:00Z' + n * interval '3 days',
	to_char(timestamptz '2026-02-01 08:00:00Z' + n * interval '3 days', 'YYYYMMDDHH24MISS') || (array['_init', '_scores', '_prompts', '_media', '_audit_log'])[1 + n % 5],
	null, null, timestamptz '2026-02-01 08:00:00Z' + n * interval '3 days', 1 from generate_series(1, 14) n;
select nextval('invoice_number') from generate_series(1, 12) \g /dev/null
select lo_from_bytea(500500, decode(string_agg(md5('recording' || k), '' order by k), 'hex')) from generate_series(1, 4096) k \g /dev/null
commit;

create index on traces (project_id, "timestamp");
create index on traces (session_id) where session_id is not null;
create index on traces using gin (tags);
create index on observations (trace_id);
create index on observations (project_id, start_time) include (model);
create index on scores (trace_id);
create index on dataset_items (dataset_id);
refresh materialized view daily_usage;
create unique index on daily_usage (project_id, day, model);
analyze;
