#!/bin/sh
# The protocol by hand: ping, add, wait for the event, search. Needs curl and a running service (`make run`).
set -eu

host=${MEMORY_SERVICE_URL:-http://127.0.0.1:${PORT:-8000}}
key_file=${DATA_DIR:-.data}/api-key
if [ -n "${MEM0_API_KEY:-}" ]; then
    key=$MEM0_API_KEY
elif [ -r "$key_file" ]; then
    key=$(cat "$key_file")
else
    echo "There is no API key in $key_file: run \`make run\` first, or set DATA_DIR or MEM0_API_KEY." >&2
    exit 1
fi
user=curl-$$

call() { # method, path, body
    curl --silent --fail-with-body --request "$1" "$host$2" --header "Authorization: Token $key" \
        --header "Content-Type: application/json" ${3:+--data "$3"} && return
    if [ $? = 22 ]; then # curl's code for an HTTP error, whose body it has printed
        echo "$1 $2 was refused, see the answer above." >&2
    else
        echo "Nothing answers at $host: start the service with \`make run\`, or set MEMORY_SERVICE_URL." >&2
    fi
    exit 1
}

echo "ping:"
call GET /v1/ping/
echo

echo "add:"
added=$(call POST /v3/memories/add/ '{
  "user_id": "'"$user"'",
  "messages": [{"id": "m1", "role": "user", "name": "Nora", "content": "My brother Emil is vegetarian."}]
}')
echo "$added"

# "event_id": "..." out of the answer, without asking for jq
event=$(printf '%s' "$added" | sed -n 's/.*"event_id" *: *"\([^"]*\)".*/\1/p')
echo "event $event:"
tries=0
while :; do
    answer=$(call GET "/v1/event/$event/")
    case $answer in
    *'"SUCCEEDED"'* | *'"FAILED"'*) break ;;
    esac
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
        echo "The event is not finished after a minute: $host/readyz says whether a worker runs." >&2
        exit 1
    fi
    sleep 1
done
echo "$answer"

echo "search:"
call POST /v3/memories/search/ '{
  "query": "What does Emil not eat?",
  "filters": {"user_id": "'"$user"'"},
  "top_k": 3
}'
echo
