#!/bin/sh
# Listens to a room and answers, with curl alone: whoever says "!time" is told the time.
#
#     ./tail_and_answer.sh http://localhost:8080 ROOM
set -eu
api=$1/api/rooms/$2
json='content-type: application/json'
seen=$(mktemp) # the id of the last message, where the loop below can leave it
trap 'rm -f "$seen"' EXIT
trap 'exit 1' INT TERM

# A session without a socket; it ends when it is not used for ten minutes, and then there is another one.
token=
session() {
  token=$(curl -fsS "$api/sessions" -H "$json" -d '{"name":"clock"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
}

say() {
  curl -fsS -o /dev/null "$api/messages" -H "$json" -H "authorization: Bearer $token" -d "$1" 2>/dev/null
}

# With this key the answer is one message, however often it is sent.
answer() {
  text="{\"text\":\"It is $(date -u +%H:%M) UTC.\",\"key\":\"re $1\"}"
  say "$text" || { session && say "$text"; } || echo "no answer to $1" >&2
}

session
while curl -fsS -o /dev/null "$api"; do
  last=$(cat "$seen")
  # Ends with the connection; then it goes on behind the last message.
  curl -sN "$api/events" ${last:+-H "last-event-id: $last"} | while read -r field value; do
    case $field in
      id:) id=$value && echo "$id" >"$seen" ;;
      data:) data=$value ;;
      '') case ${data-} in *'"t":"msg"'*'"text":"!time"'*) answer "$id" ;; esac; data= ;;
    esac
  done
  sleep 1
done
