-- Which generated image is nearest to each real image, in each view?
-- blank: the view saw nothing in one of the two images, so the distance is no evidence.
-- parameter: run = latest
SELECT view, real_image, membership, generated_image, distance, mirrored, blank
FROM nearest_generated
WHERE run_id = $run
ORDER BY view, distance, real_image;
