#!/usr/bin/env bash
# On a spot machine of AWS, beside Ray: waits for the notice that comes two minutes before the machine is taken, and has
# Ray drain the node, so that its trials write their state and go on elsewhere. Ends after that.
set -euo pipefail
METADATA=${METADATA:-http://169.254.169.254}
EVERY_S=${EVERY_S:-5}
read -ra ray <<<"${RAY:-ray}"

ask() { # PATH: what the machine's metadata say, or nothing
    local token
    token=$(curl --silent --fail --max-time 2 --request PUT "$METADATA/latest/api/token" \
        --header "X-aws-ec2-metadata-token-ttl-seconds: 60") || return 1
    curl --silent --fail --max-time 2 --header "X-aws-ec2-metadata-token: $token" "$METADATA/latest/meta-data/$1"
}

until ask spot/instance-action >/dev/null; do sleep "$EVERY_S"; done
exec "${ray[@]}" drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "spot notice" \
    --deadline-remaining-seconds 110
