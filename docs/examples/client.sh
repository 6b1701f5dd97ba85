#!/bin/sh
# A client of EchoMimic Server for the shell: curl for files, redis-cli for the task.
#
#   docs/examples/client.sh portrait.png speech.wav video.mp4
#
# BASE_URL, REDIS_HOST and REDIS_PORT say where the server and its Redis are (npm start prints both).
set -eu
base_url=${BASE_URL:-http://127.0.0.1:3000}
redis="redis-cli -h ${REDIS_HOST:-127.0.0.1} -p ${REDIS_PORT:-6379}"
# The text member $1 of a JSON object.
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
upload() {
  answer=$(curl -sS -F "file=@$1" "$base_url/api/tempfile/upload")
  id=$(printf %s "$answer" | member file_id)
  [ -n "$id" ] || { printf '%s: %s\n' "$1" "$answer" >&2; exit 1; }
  printf %s "$id"
}

image_id=$(upload "$1")
audio_id=$(upload "$2")
task_id="shell-$$-$(date +%s)"

# Subscribe before the task is pushed, so that no message is missed.
folder=$(mktemp -d)
mkfifo "$folder/updates"
$redis --raw SUBSCRIBE task_progress > "$folder/updates" &
subscriber=$!
trap 'kill "$subscriber" 2> /dev/null; rm -r "$folder"' EXIT
{
  while read -r line; do
    case $line in
      # the subscription holds from here on
      1)
        task="{\"task_id\":\"$task_id\",\"session_id\":\"shell\""
        task="$task,\"ref_image_id\":\"$image_id\",\"audio_id\":\"$audio_id\"}"
        $redis RPUSH task_queue_gpu_0 "$task" > /dev/null
        printf 'task %s\n' "$task_id"
        ;;
      *"\"task_id\":\"$task_id\""*)
        status=$(printf %s "$line" | member status)
        printf '%s: %s\n' "$status" "$(printf %s "$line" | member message)"
        if [ "$status" = failed ]; then exit 1; fi
        if [ "$status" = completed ]; then
          video_id=$(printf %s "$line" | member video_file_id)
          break
        fi
        ;;
    esac
  done
} < "$folder/updates"

curl -sSf -o "$3" "$base_url/api/tempfile/download/$video_id"
printf 'saved %s\n' "$3"
