#!/usr/bin/env bash
# From the development set with known truth to a checked run file for the test set.
# Run it inside the challenge folder (development/, test/); results go to development-results/ and test-results/.
set -euo pipefail
mkdir -p development-results test-results

# Write down what is known of the used development images: file name, 1 for used.
# The images that were not used need no list; their folder is named in the next step.
(cd development/real_used && printf 'image,used\n' && printf '%s,1\n' *.png) > development-results/labels.csv

# Learn on the development set what traces of training look like.
# Every image is predicted without its own label, so the scores below are honest; the fitted model is kept.
synthtrace predict development/real_used development/generated --quiet \
    --labels development-results/labels.csv --unused development/real_not_used \
    --db development-results/results.duckdb > development-results/predictions.txt

# Score the method chosen beforehand against the known truth. Task 2024-1 puts Cohen's kappa first, with F1 below it.
synthtrace evaluate --db development-results/results.duckdb --method fusion --task 2024-1 --quiet \
    --out development-results/evaluation > development-results/scores.txt

# Apply the fitted model to the test set. Nothing is known of its images, so the model brings its threshold along.
synthtrace predict test/real_unknown test/generated --quiet \
    --model development-results/results.models/fusion.safetensors \
    --db test-results/results.duckdb > test-results/predictions.txt

# Write the run file: one line per image, 1 for used and 0 for not used.
synthtrace submit --db test-results/results.duckdb --method fusion --task 2023-1 --quiet --out test-results/run.csv

# Check the run file against the names of the images that the organisers gave, not against our own database.
(cd test/real_unknown && printf '%s\n' *.png | sed 's/\.png$//') > test-results/ids.txt
synthtrace submit --check test-results/run.csv --ids test-results/ids.txt --task 2023-1

# Show how well it worked on the development set (95% intervals in brackets), and the first lines to submit.
sed -n '/kappa \[/,/^the binary/p' development-results/scores.txt | sed '$d'
head -n 5 test-results/run.csv
