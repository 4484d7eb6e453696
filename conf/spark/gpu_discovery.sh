#!/bin/sh
# Tells Spark which GPUs this machine has: {"name": "gpu", "addresses": ["0", "1"]}. Numbers, as torch wants them.
# Where CUDA_VISIBLE_DEVICES limits what processes see, only those: torch counts them by their place in it.
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
  found=$(printf '%s\n' "$CUDA_VISIBLE_DEVICES" | tr ',' '\n')
else
  found=$(nvidia-smi --query-gpu=index --format=csv,noheader) || exit 1
fi
printf '%s\n' "$found" | awk 'NF { gsub(/[ \t\r]/, ""); list = list (list == "" ? "" : ", ") "\"" $0 "\"" } END { print "{\"name\": \"gpu\", \"addresses\": [" list "]}" }'
