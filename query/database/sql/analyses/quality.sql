-- How good are the generated images of an audit with --quality: how like real images, and how diverse? real_value: of real images.
-- parameter: run = latest
SELECT 'fidelity' AS question, figure, 'resnet' AS view, images, value, low, high, real_value, real_low, real_high, reason
FROM fidelity
WHERE run_id = $run
UNION ALL
SELECT 'diversity', d.figure, d.view, d.images, d.value, d.low, d.high, d.real_value, d.real_low, d.real_high, NULL
FROM diversity AS d
JOIN duplicate_searches AS s ON s.search_id = d.search_id
WHERE s.run_id = $run
ORDER BY question DESC, figure, view;
