-- One of each class of object that pg_dump knows, names that nobody should choose, values that break careless readers.  Small.
\set ON_ERROR_STOP on
set client_min_messages = error;

create schema app;
create schema "Odd ""Schema"" with spaces";
create extension pg_trgm schema app;
create extension file_fdw;

create type app.mood as enum ('sad', 'ok', 'happy');
create type app.point3 as (x int, y int, z int);
create type app.span as range (subtype = float8);
create domain app.percent as int check (value between 0 and 100);
create collation app.digits (provider = icu, locale = 'en-u-kn-true');
create function app.add(int, int) returns int language sql immutable strict as 'select $1 + $2';
create aggregate app.total (int) (sfunc = app.add, stype = int, initcond = '0');
create function app.same(app.point3, app.point3) returns boolean language sql immutable as 'select $1.x = $2.x';
create operator app.=== (leftarg = app.point3, rightarg = app.point3, function = app.same, commutator = operator(app.===));
create function app.mood_to_int(app.mood) returns int language sql immutable as
	$$ select case $1 when 'sad' then 0 when 'ok' then 1 else 2 end $$;
create cast (app.mood as int) with function app.mood_to_int(app.mood);
create text search dictionary app.plain (template = simple, stopwords = english);
create text search configuration app.words (copy = simple);
alter text search configuration app.words alter mapping for asciiword with app.plain;
create operator class app.text_backwards for type text using btree as
	operator 1 ~<~, operator 2 ~<=~, operator 3 =, operator 4 ~>=~, operator 5 ~>~, function 1 bttext_pattern_cmp(text, text);
create access method second_heap type table handler heap_tableam_handler;
create server files foreign data wrapper file_fdw;
create foreign table app.passwd (line text) server files options (filename '/etc/hostname');

-- Columns of all kinds, and values at their edges.
create table app.kinds (
	id bigint generated always as identity (start 1000 increment 3) primary key,
	t text collate app.digits, v varchar(20), b bytea, j jsonb, x xml, u uuid, n numeric, f float8, i interval, ts timestamptz, d date,
	a int[][], m app.mood, p app.point3, s app.span, r int4range, pct app.percent, addr inet, bits bit varying, twice numeric generated always as (n * 2) stored
);
insert into app.kinds (t, v, b, j, x, u, n, f, i, ts, d, a, m, p, s, r, pct, addr, bits) values
	(E'tab\there, back\\slash, line\nbreak, cr\r, \\.', '', '\x00ff0a5c', '{"a": [1, null, "\u00fc"]}', '<a>&amp;</a>',
		'00000000-0000-0000-0000-000000000001', 'NaN', 'Infinity', '-1 year 2 days', 'infinity', '4713-01-01 BC', '{{1,2},{3,null}}', 'happy',
		row(1, 2, null), '[1.5,2.5)', 'empty', 100, '::1/64', '101'),
	(E'\\.', E'\\N', '', 'null', null, null, -12345678901234567890.000000001, '-0', '0', '-infinity', 'infinity', '{}', 'sad', null, '(,)', '(,5]', 0, '10.0.0.0/8', ''),
	(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
	(repeat(E'long \U0001F600 line ', 20000), 'x', decode(repeat('00', 300000), 'hex'), to_jsonb(array(select generate_series(1, 5000))), null, null, 1e300, 1e-300,
		null, now(), null, null, null, null, null, null, null, null, null);
create table app.nothing ();
insert into app.nothing default values;
insert into app.nothing default values;
create table app.empty (a int);
create unlogged table app.forgetful (a int);
insert into app.forgetful select generate_series(1, 10);
create table app.second (a int) using second_heap;
insert into app.second values (1);

-- Partitions (by range, list and hash, nested), and inheritance with another order of columns.
create table app.events (at date not null, kind text not null, body text, primary key (at, kind)) partition by range (at);
create table app.events_old partition of app.events for values from (minvalue) to ('2026-01-01');
create table app.events_new partition of app.events for values from ('2026-01-01') to (maxvalue) partition by list (kind);
create table app.events_new_a partition of app.events_new for values in ('a');
create table app.events_new_rest partition of app.events_new default;
insert into app.events select date '2025-12-01' + n, chr(97 + n % 3), repeat('event ', n) from generate_series(1, 90) n;
create table app.hashed (k int) partition by hash (k);
create table app.hashed_0 partition of app.hashed for values with (modulus 2, remainder 0);
create table app.hashed_1 partition of app.hashed for values with (modulus 2, remainder 1);
insert into app.hashed select generate_series(1, 100);
create table app.parent (a int, aa text);
create table app.child (b text) inherits (app.parent);
insert into app.child values (1, 'x', 'y'), (2, E'with\ttab', null);
alter table app.parent add column late numeric default 7;
alter table app.child drop column b;
insert into app.parent values (9, 'only parent', 1);

-- Constraints, indexes, statistics, rules, triggers, policies.
create table app.boss (id int primary key, boss int references app.boss deferrable initially deferred);
insert into app.boss values (1, null), (2, 1), (3, 2);
create table app.booked (room int, during tsrange, exclude using gist (during with &&));
insert into app.booked values (1, '[2026-01-01,2026-01-02)');
create table app.checked (a int);
insert into app.checked values (-1), (1);
alter table app.checked add constraint positive check (a > 0) not valid;
create unique index on app.kinds (lower(v)) where v is not null;
create index on app.kinds using gin (t app.gin_trgm_ops);
create index on app.kinds using brin (ts);
create index on app.kinds using hash (u);
create statistics app.correlated (dependencies, ndistinct) on n, f from app.kinds;
create view app.happy as select id, t from app.kinds where m = 'happy' with check option;
create view app.second_view as select count(*) as n from app.happy;
create materialized view app.counts as select kind, count(*) as n from app.events group by 1;
create unique index on app.counts (kind);
create materialized view app.not_yet as select 1 as one with no data;
create rule no_delete as on delete to app.checked do instead nothing;
create function app.touch() returns trigger language plpgsql as $$ begin new.aa := coalesce(new.aa, 'touched'); return new; end $$;
create trigger touch before insert on app.parent for each row execute function app.touch();
alter table app.parent disable trigger touch;
create function app.seen() returns event_trigger language plpgsql as $$ begin perform 1; end $$;
create event trigger seen on ddl_command_end when tag in ('CREATE TABLE') execute function app.seen();
alter event trigger seen disable;
create procedure app.proc(inout a int) language plpgsql as $$ begin a := a + 1; end $$;
alter table app.boss enable row level security;
create policy own on app.boss for select to public using (id > 0);
create publication everything for table app.kinds, app.boss;
create subscription never connection 'host=/nowhere dbname=x' publication p with (connect = false, slot_name = none, enabled = false);
create sequence app.down increment -5 minvalue -100 maxvalue 100 start 50 cycle;
select nextval('app.down'), nextval('app.down') \g /dev/null
create sequence app.untouched;
create table app.serials (id serial primary key, small smallserial);
insert into app.serials default values;

-- Names.
create table "Odd ""Schema"" with spaces"."table with ""quotes"", 'apostrophes' and ; -- dashes" ("column; drop table x" int, "SELECT" text);
insert into "Odd ""Schema"" with spaces"."table with ""quotes"", 'apostrophes' and ; -- dashes" values (1, 'one');
create table "Odd ""Schema"" with spaces"."Tab	and ünïcödé 漢字 😀" ("漢" text);
insert into "Odd ""Schema"" with spaces"."Tab	and ünïcödé 漢字 😀" values ('字');
create table app."a_name_of_63_bytes_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1" (a int);
insert into app."a_name_of_63_bytes_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1" values (1);
create table app."a_name_of_63_bytes_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx2" (a int);
insert into app."a_name_of_63_bytes_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx2" values (2);
create table app."%s*.*[a-z]?$(id)`id`\" (a int);
insert into app."%s*.*[a-z]?$(id)`id`\" values (3);
create table app."new
line" ("co
lumn" text);
insert into app."new
line" values (E'new\nline');
create table app."--help" (a int);
insert into app."--help" values (4);

-- Large objects: empty, small, more than one page; with owner, rights and comment.
select lo_create(70001) \g /dev/null
select lo_from_bytea(70002, 'small') \g /dev/null
select lo_from_bytea(70003, decode(repeat('c0ffee', 30000), 'hex')) \g /dev/null
comment on large object 70002 is 'a large object';
grant select on large object 70002 to public;

comment on table app.kinds is E'a comment with ''quotes'', "quotes", \\ and\na line';
comment on column app.kinds.t is 'text';
comment on database :"DBNAME" is 'everything, small';
grant select (id, t) on app.kinds to public;
revoke all on function app.add(int, int) from public;
alter default privileges in schema app grant select on tables to public;
alter database :"DBNAME" set search_path = app, public;
alter database :"DBNAME" set work_mem = '5MB';
