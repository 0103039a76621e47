-- What the archives beside this file hold: one of each kind of entry that pg_dump knows, as far as the server's major has it.
-- For psql, into an empty database.
SELECT current_setting('server_version_num')::int >= 140000 AS v14, current_setting('server_version_num')::int >= 150000 AS v15,
	current_setting('server_version_num')::int >= 170000 AS v17, current_setting('server_version_num')::int >= 180000 AS v18 \gset

CREATE SCHEMA "odd "" name";

CREATE TABLE plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text, twice text GENERATED ALWAYS AS (t || t) STORED, b bytea);
INSERT INTO plain (t, b) VALUES ('one', '\x00ff'), (E'two\n\\.\ttab', NULL), (NULL, '\x');
COMMENT ON TABLE plain IS 'of the plain kind';

CREATE TABLE "odd "" name"."Tab'le" ("a,b" int, "from" text);
INSERT INTO "odd "" name"."Tab'le" VALUES (1, 'ünï'), (2, '\N');

CREATE TABLE parted (at date NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
INSERT INTO parted VALUES ('2026-01-05', 1), ('2026-02-05', 2);

CREATE TABLE columnless ();
INSERT INTO columnless SELECT FROM generate_series(1, 3);
CREATE TABLE empty (a int);

CREATE SEQUENCE alone START 42;
SELECT nextval('alone');

SELECT lo_from_bytea(70001, 'a large object'), lo_from_bytea(70002, '');
COMMENT ON LARGE OBJECT 70001 IS 'large as it is';

CREATE STATISTICS plain_statistics (ndistinct) ON id, t FROM plain;
CREATE INDEX plain_t ON plain (upper(t));
CREATE VIEW plain_view AS SELECT t FROM plain;
CREATE MATERIALIZED VIEW plain_count AS SELECT count(*) FROM plain;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION touched();
ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_it ON plain USING (true);
CREATE PUBLICATION some_of_it FOR TABLE plain, parted;
GRANT SELECT ON plain TO PUBLIC;

\if :v14
CREATE TABLE multirange (r int4multirange);
INSERT INTO multirange VALUES ('{[1,3),[5,8)}');
CREATE TABLE compressed (t text COMPRESSION pglz);
INSERT INTO compressed VALUES (repeat('x', 40));
\endif
\if :v15
CREATE TABLE nulls (a int, UNIQUE NULLS NOT DISTINCT (a));
INSERT INTO nulls VALUES (NULL);
CREATE VIEW invoked WITH (security_invoker = true) AS SELECT 1 AS one;
CREATE PUBLICATION part_of_it FOR TABLE plain (id, t) WHERE (id > 1);
\endif
\if :v17
GRANT MAINTAIN ON plain TO PUBLIC;
CREATE COLLATION built_in (provider = builtin, locale = 'C.UTF-8');
CREATE TABLE collated (t text COLLATE built_in);
INSERT INTO collated VALUES ('a'), ('B');
\endif
\if :v18
CREATE TABLE named (a int CONSTRAINT a_is_there NOT NULL, thrice int GENERATED ALWAYS AS (a * 3) VIRTUAL, b int NOT NULL NO INHERIT);
INSERT INTO named VALUES (1, DEFAULT, 2);
ALTER TABLE named ADD CONSTRAINT b_is_small CHECK (b < 10) NOT ENFORCED;
CREATE EXTENSION btree_gist;
CREATE TABLE stays (at daterange, id int, UNIQUE (id, at WITHOUT OVERLAPS));
INSERT INTO stays VALUES ('[2026-01-01,2026-01-05)', 7);
\endif
ANALYZE;
