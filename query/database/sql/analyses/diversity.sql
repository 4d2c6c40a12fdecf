-- How diverse is a set, beside the real images it was held against? value: of as many images as column images says; whole: of all.
-- parameter: search = latest
SELECT figure, view, whole, images, value, low, high, real_value, real_low, real_high
FROM diversity
WHERE search_id = $search
ORDER BY figure, view;
