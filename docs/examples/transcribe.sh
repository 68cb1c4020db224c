#!/bin/sh
# Speech to text through the gateway with curl: sh transcribe.sh transcribe|stream|translate FILE
#
# Set OPENAI_BASE_URL to the gateway's address with /v1, and OPENAI_API_KEY to a key of the gateway.
set -eu
task=$1 file=$2

# send PATH OPTION... prints the response, also of an error, to standard output, and the request id to standard error. The
# operator can find the request by its id in the gateway's log and ledger. For status 400 and above curl exits with 22.
#
# Send `model` before `file`, so that the gateway streams the file upstream. Do not use --retry: curl ignores
# x-should-retry, and would retry requests that may have been billed.
send() {
  path=$1 && shift
  # Pass the key through standard input: other users can see command lines in the list of processes.
  printf 'header = "Authorization: Bearer %s"\n' "$OPENAI_API_KEY" |
    curl --config - --silent --show-error --fail-with-body --max-time 900 \
      --write-out '%{stderr}%header{x-request-id}\n' "$@" --form "file=@\"$file\"" "$OPENAI_BASE_URL$path"
}

case $task in
transcribe) send /audio/transcriptions --form model=gpt-4o-transcribe --form response_format=text ;;
translate) send /audio/translations --form model=whisper-1 --form response_format=text ;;
# Prints lines `data: {...}` as they arrive. Only transcript.text.done means that the transcript is complete.
stream) send /audio/transcriptions --no-buffer --form model=gpt-4o-mini-transcribe --form stream=true ;;
*) echo "no such task: $task" >&2 && exit 2 ;;
esac
