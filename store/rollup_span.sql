INSERT INTO lens.rollups.spans (id, site, zone, start, stop, month, print, parts, dims, row_count, users, events)
VALUES (
    {{id}}, {{site}}, {{zone}}, {{start}}, {{stop}}, {{month}}, {{print}}, {{parts}}, {{dims}}, {{rows}}, {{users}}, {{events}}
)
