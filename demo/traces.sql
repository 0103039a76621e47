-- Traces number :first to :last with all that hangs on them, beginning at :'begin', :gap apart.  Needs words.sql.
create temp table new_traces as
	select n, md5('trace' || n) as id, 'project-' || 1 + n % 4 as project_id, n % 12 as instruction,
		:'begin'::timestamptz + n * :'gap'::interval as at,
		(array['answer ticket', 'summarise call', 'classify mail', 'draft letter', 'extract fields'])[1 + n % 5] as name,
		case when n % 3 > 0 then md5('session' || n / 7 || 'project' || n % 4)::uuid::text end as session_id,
		4 + floor(random() * 3)::int as steps
	from generate_series(:first, :last) n order by n;

-- A step's text: between 25 and 110 phrases.  All picks are made at once and joined once; this is where the time goes.
create temp table new_steps as
	select t.n, t.n * 16 + s as step, s, 25 + floor(random() ^ 3 * 85)::int as phrases from new_traces t, generate_series(1, t.steps) s order by 1, 3;
create temp table picks as
	select step, k, floor(random() * 60000)::int as phrase from new_steps, generate_series(1, phrases) k;
create temp table texts as
	select step,
		string_agg(words, case k % 3 when 0 then '. ' when 1 then ', ' else ' and ' end order by k) filter (where k % 5 < 2) as asked,
		string_agg(words, case k % 4 when 0 then E'.\n' else ', ' end order by k) filter (where k % 5 >= 2) as answered
	from picks join phrases on phrases.n = picks.phrase group by step;
analyze texts;

insert into sessions (id, project_id, created_at)
	select session_id, project_id, min(at) from new_traces where session_id is not null group by 1, 2 on conflict do nothing;
insert into traces (id, project_id, session_id, user_id, name, "release", tags, public, input, output, metadata, "timestamp")
	select id, project_id, session_id, 'customer-' || n * 7919 % 900, name, 'v' || 1 + n / 4000 || '.' || n / 400 % 10,
		array_remove(array[case when n % 2 = 0 then 'production' else 'staging' end, case when n % 9 = 0 then 'slow' end,
			case when n % 31 = 0 then E'from "old" caf\u00e9' end], null), n % 50 = 0,
		jsonb_build_object('question', left(asked, 160)), jsonb_build_object('answer', left(answered, 200)),
		jsonb_build_object('region', (array['eu-central', 'eu-west', 'us-east'])[1 + n % 3], 'request', md5('request' || n)::uuid), at
	from new_traces join texts on step = n * 16 + 1 order by n;
insert into observations (id, trace_id, parent_id, project_id, kind, level, name, model, model_parameters, input, output, status_message,
	metadata, prompt_tokens, completion_tokens, calculated_cost, start_time, end_time, updated_at)
	select md5('observation' || step), t.id, case when s > 1 then md5('observation' || t.n * 16 + 1) end, project_id,
		(case when s = 1 then 'span' when step % 11 = 0 then 'event' else 'generation' end)::observation_kind,
		(case when step % 97 = 0 then 'error' when step % 41 = 0 then 'warning' else 'default' end)::observation_level,
		(array['plan', 'retrieve', 'generate', 'check', 'rephrase', 'store'])[s], case when step % 3 = 0 then 'large' else 'small' end,
		'{"temperature": 0.2, "max_tokens": 1024}',
		jsonb_build_array(jsonb_build_object('role', 'system', 'content', case when s = 3 then i.body else left(i.body, 60) end),
			jsonb_build_object('role', 'user', 'content', asked)),
		jsonb_build_object('role', 'assistant', 'content', answered),
		case when step % 97 = 0 then 'the model did not answer within 30 s' end,
		jsonb_build_object('request', md5('call' || step)::uuid, 'attempt', 1 + step % 2),
		length(asked) / 4, length(answered) / 4, cost_of(case when step % 3 = 0 then 'large' else 'small' end, length(asked) / 4, length(answered) / 4),
		at + s * interval '740 ms', at + s * interval '740 ms' + length(answered) * interval '1 ms', at + interval '10 s'
	from new_steps join new_traces t using (n) join texts using (step) join instructions i on i.n = instruction order by step;
insert into scores (id, trace_id, observation_id, project_id, name, value, string_value, source, comment, "timestamp")
	select md5('score' || n || score), id, md5('observation' || n * 16 + 3), project_id, score, round(random()::numeric, 3),
		case when score = 'tone' then (array['friendly', 'neutral', 'curt'])[1 + n % 3] end,
		(array['api', 'annotation', 'evaluation'])[1 + n % 3]::score_source,
		case when n % 10 = 0 then (select words from phrases p where p.n = t.n % 60000) end, at + interval '1 min'
	from new_traces t, unnest(array['correctness', 'tone', 'latency']) score where (n + length(score)) % 4 > 0 order by n, score;
drop table new_traces, new_steps, picks, texts;
