-- Which images of a set are duplicates, in which groups, and how alike are they? keep: the centre of the group; like_image: what the
-- image was found to be like.
-- parameter: search = latest
SELECT
    m.group_id, count(*) OVER (PARTITION BY m.group_id) AS size, m.image, m.keep, p.kind, m.like_image, p.inliers, p.correlation,
    p.mirrored, m.patient, p.same_patient, d.phash_distance, d.resnet_distance, d.pixels_distance, d.sift_distance
FROM duplicate_members AS m
LEFT JOIN duplicate_pairs AS p ON p.search_id = m.search_id AND p.image = m.image AND p.like_image = m.like_image
LEFT JOIN (
    SELECT
        search_id, image, like_image, max(distance) FILTER (view = 'phash') AS phash_distance,
        max(distance) FILTER (view = 'resnet') AS resnet_distance, max(distance) FILTER (view = 'pixels') AS pixels_distance,
        max(distance) FILTER (view = 'sift') AS sift_distance
    FROM duplicate_distances
    GROUP BY ALL
) AS d ON d.search_id = m.search_id AND d.image = m.image AND d.like_image = m.like_image
WHERE m.search_id = $search
ORDER BY m.group_id, m.keep DESC, m.image;
