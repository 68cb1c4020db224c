#!/bin/sh
# Speech to text through the gateway with curl: sh transcribe.sh transcribe|stream|translate FILE
#
# OPENAI_BASE_URL is the gateway's address with /v1, OPENAI_API_KEY a key of the gateway.
set -eu
task=$1 file=$2

# The answer, also that of an error, goes to standard output; from status 400 on curl ends with 22. The request id, which
# finds the request in the gateway's log and ledger, goes to standard error.
#
# With `model` before `file` the gateway passes the file on as it comes. There is no --retry: curl does not know
# x-should-retry, and would repeat what may have been paid for.
ask() {
  path=$1 && shift
  # The key goes in through standard input, for the list of processes shows command lines to everybody.
  printf 'header = "Authorization: Bearer %s"\n' "$OPENAI_API_KEY" |
    curl --config - --silent --show-error --fail-with-body --max-time 900 \
      --write-out '%{stderr}%header{x-request-id}\n' "$@" --form "file=@\"$file\"" "$OPENAI_BASE_URL$path"
}

case $task in
transcribe) ask /audio/transcriptions --form model=gpt-4o-transcribe --form response_format=text ;;
translate) ask /audio/translations --form model=whisper-1 --form response_format=text ;;
# Lines `data: {...}`, as they come. The one with transcript.text.done says that the transcript is whole.
stream) ask /audio/transcriptions --no-buffer --form model=gpt-4o-mini-transcribe --form stream=true ;;
*) echo "no such task: $task" >&2 && exit 2 ;;
esac
