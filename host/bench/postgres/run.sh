#!/usr/bin/env bash
# Compares a batch of pipelined statements with one of one statement, on a cluster of its own with
# fsync on: `run.sh FOLDER`, in which FOLDER is made. Needs Debian's `postgresql`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
schema=$here/../../src/store/postgres/schema
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
folder=$1
as=()
if [ "$(id -u)" = 0 ]; then as=(runuser -u postgres --); install -d -o postgres "$folder"; else mkdir -p "$folder"; fi
"${as[@]}" "$bin/initdb" -A trust -U postgres -D "$folder/data" > /dev/null
"${as[@]}" "$bin/pg_ctl" -w -D "$folder/data" -l "$folder/log" -o \
    "-c listen_addresses='' -c unix_socket_directories=$folder -c max_wal_size=4GB" start > /dev/null
trap '"${as[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate stop > /dev/null' EXIT
for round in 1 2 3; do
    for size in 1 32 256; do
        for way in pipelined one; do
            psql=("$bin/psql" -q -h "$folder" -U postgres -v ON_ERROR_STOP=1)
            "${psql[@]}" -c 'DROP SCHEMA IF EXISTS hookbox CASCADE' 2> /dev/null
            for part in tables hosts append lease settle recover failures schedules kept listings; do
                "${psql[@]}" -f - < "$schema/$part.sql"
            done
            "${psql[@]}" -f - < "$here/prepare.sql"
            "${psql[@]}" -f - < "$here/one.sql"
            "${psql[@]}" -c 'CHECKPOINT'
            before=$("${psql[@]}" -Atc "SELECT pg_current_wal_lsn()")
            "$bin/pgbench" -n -h "$folder" -U postgres -M prepared -c 1 -T 8 -D size=$size -D seq=0 \
                -f "$here/$way.pgbench" postgres > "$folder/out" 2> "$folder/err" || { cat "$folder/err"; exit 1; }
            wal=$("${psql[@]}" -Atc "SELECT pg_current_wal_lsn() - '$before'::pg_lsn")
            events=$("${psql[@]}" -Atc 'SELECT count(*) FROM hookbox.events')
            settled=$("${psql[@]}" -Atc 'SELECT count(*) FROM hookbox.settled')
            tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$folder/out")
            echo "round $round size $size $way: $tps batches/s, $events events, $settled settled, $((wal / (events > 0 ? events : 1))) WAL bytes an event"
        done
    done
done
