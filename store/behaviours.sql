-- The rows of a behavioural question: whose event it is, when, and which of the
-- question's conditions hold for it, as bits of a mask.
--
-- An event for which none holds is not handed over, unless the question asks for
-- all. There is no order: rows are put in order where they are counted, which is
-- cheaper than a sort of rows with ids in them.
{{with}}SELECT key, t, seq, mask, {{value}} AS value
FROM (
    SELECT
        {{key}} AS key,
        epoch_us("time") AS t,
        {{seq}} AS seq,
        {{mask}} AS mask,
        {{column}} AS value
    {{from}} AND {{where}}
)
WHERE {{kept}}
