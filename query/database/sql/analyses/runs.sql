-- Which runs does this file hold?
SELECT
    run_id, created, command, k, mirror, real_source, real_images, real_failed, generated_source, generated_images, generated_failed,
    distances, (SELECT list(v.view ORDER BY v.view) FROM run_views AS v WHERE v.run_id = r.run_id) AS views
FROM runs AS r
WHERE finished
ORDER BY run_id;
