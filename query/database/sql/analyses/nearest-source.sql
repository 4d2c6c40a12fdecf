-- Which real image is nearest to each generated image, in each view?
-- blank: one of the two images is blank in the view, so the distance is no evidence.
-- parameter: run = latest
SELECT view, generated_image, source, distance, mirrored, blank
FROM nearest_source
WHERE run_id = $run
ORDER BY view, distance, generated_image;
