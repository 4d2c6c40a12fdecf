#!/usr/bin/env bash
# Can these patients' scans be recognised in a released synthetic set? Ask the HTTP service of synthtrace.
# Run it in the folder that holds generated/ and suspects/; everything it makes goes into service/.
set -euo pipefail
umask 077
mkdir -p service/answers service/pictures

# Index the released set; a second run only looks for what changed.
synthtrace index generated --out service/generated.collection >service/index.txt

# The service needs a database with a run of this set, so record one: the two scans against the set.
synthtrace compare suspects service/generated.collection --db service/results.duckdb >service/compare.txt

# Make a token (only we can read it: umask) and the header that curl sends with it.
od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >service/token
echo "Authorization: Bearer $(cat service/token)" >service/header

# Start the service on a free port of localhost; whatever happens below, it ends with this script.
true >service/serve.log
synthtrace serve service/generated.collection --db service/results.duckdb \
    --port 0 --token-file service/token 2>>service/serve.log & service=$!
trap 'kill "$service" 2>/dev/null && wait "$service" || true' EXIT

# Its log says where it listens. Then it loads the set and answers 503 meanwhile, which curl retries.
until url=$(grep -o 'http://[^ ]*[0-9]' service/serve.log); do
    kill -0 "$service" || { cat service/serve.log >&2; exit 1; }
    sleep 0.2
done
curl -s --fail --retry 60 --retry-delay 1 "$url/readyz"; echo

# Look up each scan: print the nearest generated image by each view, with its distance, and fetch the
# picture of the nearest by all views combined, to look at beside the scan.
for scan in suspects/*.png; do
    name=$(basename "$scan" .png)
    curl -sS --fail -H @service/header --data-binary @"$scan" \
        "$url/v1/search?k=1" >"service/answers/$name.json"
    echo "nearest to $scan:"
    hits=$(tr '{' '\n' <"service/answers/$name.json" | sed -nE \
        's/^"view":"(.*)","rank":1,"id":(.*),"name":"(.*)","distance":(.*),"unit":"(.*)","mirrored".*/\2 \1 \3 \4 \5/p')
    while read -r _ view image distance unit; do
        printf '  %-15s %s  %.3f %s\n' "$view" "$image" "$distance" "$unit"
    done <<<"$hits"
    id=$(sed -n 's/ combined-lookup .*//p' <<<"$hits")
    curl -sS --fail -H @service/header "$url/v1/images/$id/picture" -o "service/pictures/$name-nearest.png"
done

# How is the service? Everybody may ask whether it lives; its counters for Prometheus need the token.
curl -sS --fail "$url/livez"; echo
curl -sS --fail -H @service/header "$url/metrics" | tee service/metrics.txt | grep -E '^synthtrace_searches_total'

# Stop it as a service manager does (SIGTERM); it must end with exit code 0.
kill "$service"
wait "$service"
tail -n 1 service/serve.log
