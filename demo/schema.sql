-- A database as a team that watches its language models would have it: traces of what ran, observations with the whole prompts
-- and answers in them, scores, prompts, datasets.  Made for the demo; the names follow what such products call these things.
\set ON_ERROR_STOP on
set client_min_messages = warning;

create type role as enum ('owner', 'admin', 'member', 'viewer');
create type observation_kind as enum ('span', 'event', 'generation');
create type observation_level as enum ('debug', 'default', 'warning', 'error');
create type score_source as enum ('api', 'annotation', 'evaluation');
create domain cost as numeric(18, 9) check (value >= 0);

create table organizations (
	id text primary key, name text not null, plan text not null default 'team', created_at timestamptz not null
);
create table users (
	id text primary key, email text not null unique, name text, password_hash text, admin boolean not null default false,
	created_at timestamptz not null
);
create table memberships (
	organization_id text not null references organizations on delete cascade,
	user_id text not null references users on delete cascade,
	role role not null, primary key (organization_id, user_id)
);
create table projects (
	id text primary key, organization_id text not null references organizations on delete cascade, name text not null,
	retention_days int check (retention_days > 0), settings jsonb not null default '{}', created_at timestamptz not null,
	unique (organization_id, name)
);
create table api_keys (
	id text primary key, project_id text not null references projects on delete cascade, public_key text not null unique,
	hashed_secret_key text not null, note text, expires_at timestamptz, last_used_at timestamptz
);
create table sessions (
	id text, project_id text references projects on delete cascade, bookmarked boolean not null default false,
	created_at timestamptz not null, primary key (project_id, id)
);
create table traces (
	id text primary key, project_id text not null references projects on delete cascade, session_id text, user_id text,
	name text, "release" text, tags text[] not null default '{}', public boolean not null default false,
	bookmarked boolean not null default false, input jsonb, output jsonb, metadata jsonb, "timestamp" timestamptz not null,
	foreign key (project_id, session_id) references sessions (project_id, id)
);
create table observations (
	id text primary key, trace_id text not null references traces on delete cascade, parent_id text,
	project_id text not null, kind observation_kind not null, level observation_level not null default 'default',
	name text, model text, model_parameters jsonb, input jsonb, output jsonb, status_message text, metadata jsonb,
	prompt_tokens int not null default 0, completion_tokens int not null default 0,
	total_tokens int generated always as (prompt_tokens + completion_tokens) stored, calculated_cost cost,
	start_time timestamptz not null, end_time timestamptz, updated_at timestamptz not null
);
create table scores (
	id text primary key, trace_id text not null references traces on delete cascade, observation_id text,
	project_id text not null, name text not null, value double precision, string_value text, source score_source not null,
	comment text, "timestamp" timestamptz not null
);
create table prompts (
	id text primary key, project_id text not null references projects on delete cascade, name text not null,
	version int not null, labels text[] not null default '{}', body text not null, config jsonb not null default '{}',
	created_at timestamptz not null, unique (project_id, name, version)
);
create table datasets (
	id text primary key, project_id text not null references projects on delete cascade, name text not null, description text,
	metadata jsonb, created_at timestamptz not null
);
create table dataset_items (
	id text primary key, dataset_id text not null references datasets on delete cascade, input jsonb, expected jsonb,
	source_trace_id text references traces on delete set null, created_at timestamptz not null
);
create table media (
	id text primary key, project_id text not null references projects on delete cascade, content_type text not null,
	sha256 bytea not null, content bytea not null
);
create table audit_log (
	id bigint generated always as identity primary key, at timestamptz not null, actor text, action text not null,
	resource text not null, before jsonb, after jsonb
);
create table _prisma_migrations (
	id varchar(36) primary key, checksum varchar(64) not null, finished_at timestamptz, migration_name varchar(255) not null,
	logs text, rolled_back_at timestamptz, started_at timestamptz not null default now(), applied_steps_count int not null default 0
);
create sequence invoice_number start 2026000100 increment 7;

-- Indexes come after the rows (fill.sql), as pg_restore does it, too.
create function cost_of(model text, prompt_tokens int, completion_tokens int) returns cost language sql immutable as $$
	select round(case model when 'large' then prompt_tokens * 0.000003 + completion_tokens * 0.000015
		else prompt_tokens * 0.00000025 + completion_tokens * 0.00000125 end, 9)::cost
$$;
create view trace_costs as
	select t.project_id, t.id, t.name, sum(o.total_tokens) as tokens, sum(o.calculated_cost) as cost,
		max(o.end_time) - min(o.start_time) as latency
	from traces t join observations o on o.trace_id = t.id group by t.id;
create materialized view daily_usage as
	select project_id, date_trunc('day', start_time) as day, model, count(*) as calls, sum(total_tokens) as tokens
	from observations where kind = 'generation' group by 1, 2, 3 with no data;
create function audit_prompt() returns trigger language plpgsql as $$
begin
	insert into audit_log (at, actor, action, resource, after)
	values (clock_timestamp(), current_user, lower(tg_op), 'prompt/' || new.name || '/' || new.version, to_jsonb(new) - 'body');
	return new;
end $$;
create trigger prompts_are_audited after insert or update on prompts for each row execute function audit_prompt();
comment on table observations is 'one step of a trace: what went into the model and what came out';
