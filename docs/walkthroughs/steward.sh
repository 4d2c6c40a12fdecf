#!/usr/bin/env bash
set -euo pipefail
# Run inside the folder that holds training/ (scans the vendor trained on), never-used/ (scans
# certainly not used) and generated/ (what the generator drew). All results go into leak-check/.
out=leak-check
mkdir -p $out
rm -rf $out/may-be-released $out/filter.duckdb # decisions of an earlier run

# How much has leaked? Are generated images nearer to the training patients than to patients never
# used? Scans of one patient belong together: the PatientID in the DICOM header says which.
synthtrace leakage training/ never-used/ generated/ --groups dicom \
  --work $out/collections --quiet > $out/leakage.txt
tail -n 1 $out/leakage.txt

# Which generated images must not be released? The never-used scans set the limit of "too near".
# Exit code 1 only says that something is withheld, so it is no failure here.
synthtrace filter $out/collections/leakage.training $out/collections/leakage.generated \
  --hold-out $out/collections/leakage.hold-out --groups dicom --list $out/decisions.csv \
  --out $out/may-be-released --db $out/filter.duckdb --quiet > $out/filter.txt || [ $? -eq 1 ]
head -n 9 $out/filter.txt

# The page that the data protection officer signs: no names, no pictures.
synthtrace report $out/filter.duckdb --summary --out $out/to-sign.html --quiet > /dev/null

# The confidential report with pictures of the closest pairs, to look at before anyone decides.
synthtrace report $out/filter.duckdb --out $out/confidential.html --quiet > /dev/null

# The answer, first half: each file to withhold and the training scan it resembles, worst first.
printf '\nWITHHOLD these generated images\n'
grep ',withhold,' $out/decisions.csv | sort -t, -k3,3gr > $out/withhold.csv
echo 'image,score,limit,training scan'
cut -d, -f1,3-5 $out/withhold.csv

# The answer, second half: whose scans these are (each folder here is named after its PatientID).
# One image just above the limit is a weak case: look at the pair before you inform anybody.
printf '\nPATIENTS concerned\n'
cut -d, -f5 $out/withhold.csv | cut -d/ -f1 | sort | uniq -c | sort -k1,1nr -k2 \
  | awk '{ print $2 ": " $1 " images" }'
printf '\nTo sign: %s. Kept, if the officer agrees: %s\n' $out/to-sign.html $out/may-be-released/
