-- Which generated image is nearest to each real image, in each view?
-- blank: one of the two images is blank in the view, so the distance is no evidence.
-- parameter: run = latest
SELECT view, real_image, membership, generated_image, distance, mirrored, blank
FROM nearest_generated
WHERE run_id = $run
ORDER BY view, distance, real_image;
