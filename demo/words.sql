-- Language, more or less: temporary tables of phrases, from which prompts and answers are put together.  Frequent words are frequent,
-- as in real text, so that it compresses about as real text does.
\set ON_ERROR_STOP on
set client_min_messages = warning;
set work_mem = '64MB';
select setseed(:seed) \g /dev/null

create function pg_temp.words(text) returns text[] language sql as
	$$ select array_agg(trim(w) order by n) from unnest(string_to_array(regexp_replace($1, '\s+', ' ', 'g'), ',')) with ordinality u (w, n) $$;

-- The square makes the first words of a list the common ones.
create function pg_temp.pick(text[]) returns text language sql volatile as
	$$ select $1[1 + floor(random() ^ 2 * array_length($1, 1))::int] $$;

create temp table vocabulary as select
	pg_temp.words($$refund, invoice, customer, order, shipment, account, password, subscription, error report, query, answer, document,
		summary, table, contract, clause, policy, appointment, meeting, ticket, server, deployment, backup, metric, alert, payment,
		address, product, warranty, delivery, discount, reminder, translation, paragraph, sentence, chapter, customs tariff, patient,
		diagnosis, treatment, dosage, allergy, hotel, flight, passenger, luggage, booking, itinerary, recipe, ingredient, oven,
		engine, brake, battery, charger, firmware, router, cable, signal, antenna, landlord, tenant, deposit, lease, inspection,
		valuation, mortgage, pension, premium, claim, witness, statement, judge, hearing, appeal, verdict, lecture, exam, essay,
		thesis, grade, semester, garden, fence, roof, window, kitchen, ledger, balance, budget, forecast, margin, supplier,
		warehouse, pallet, barcode, audit, receipt, currency, exchange, transfer$$) as nouns,
	pg_temp.words($$new, previous, missing, second, late, open, annual, partial, shared, final, broken, monthly, unpaid, original,
		digital, longer, correct, public, private, urgent, duplicate, recent, expired, signed, foreign, early, internal, complete,
		quiet, temporary, approved, unusual, official, separate, regional, gentle, written, empty, precise, cheap$$) as adjectives,
	pg_temp.words($$check, send, confirm, compare, describe, replace, cancel, explain, attach, review, open, close, approve, extend,
		collect, measure, translate, rewrite, summarise, reset, find, repeat, return, count, forward, sign, store, restore, update,
		estimate, mention, split, merge, prepare, schedule, request, verify, answer, correct, keep$$) as verbs,
	pg_temp.words($$please, before we, so that you can, I would, they also, nobody should, let me, we then, if possible, we could not,
		first, you may want to, as agreed, do not, the team will, remember to, in that case, the system can, customers often,
		one has to$$) as leads,
	pg_temp.words($$for, of, without, after, from, with, instead of, in, about, near, against, under$$) as prepositions;

create temp table phrases as
	select n, case n % 4
		when 0 then lead || ' ' || verb || ' the ' || adjective || ' ' || noun
		when 1 then verb || ' the ' || noun || ' ' || preposition || ' the ' || other
		when 2 then 'the ' || adjective || ' ' || noun || ' ' || preposition || ' ' || other || ' ' || floor(random() * 1000)
		else 'one ' || adjective || ' ' || noun || ' and the ' || other end as words
	from (select n, pg_temp.pick(nouns) as noun, pg_temp.pick(nouns) as other, pg_temp.pick(adjectives) as adjective,
		pg_temp.pick(verbs) as verb, pg_temp.pick(leads) as lead, pg_temp.pick(prepositions) as preposition
		from vocabulary, generate_series(0, 59999) n order by n) as picked;
analyze phrases;

-- How every assistant of a project is told to behave: long, and the same in each call, as in life.
create temp table instructions as
	select s as n, 'You are the assistant of ' || (array['Northwind Support', 'Clause & Co', 'Hillside Clinic', 'Parcel Post'])[1 + s % 4]
		|| '. ' || string_agg(upper(left(words, 1)) || substr(words, 2), '. ' order by p.n) || '.' as body
	from generate_series(0, 11) s join phrases p on p.n between s * 40 and s * 40 + 12 + s group by s;
