#!/bin/sh
# Train the embedded model by reinforcement learning and compare before and after: quickstart.sh TLT
set -eu
tlt=${1:-build/tlt}
run=runs/quickstart
echo "A 2.4M-parameter model plays countdown: reach a number from given numbers. Its answer to one problem:"
"$tlt" generate --model models/tiny-countdown --prompt "3 7 25 = 46
" --max-tokens 400 --seed 4 2>/dev/null
echo
rm -rf "$run"
"$tlt" train examples/quickstart.yaml --run "$run"
echo
echo "greedy decoding on 500 held-back problems, before and after:"
"$tlt" data countdown --split eval --count 500 --seed 7 > "$run/held-back.jsonl"
"$tlt" eval --model models/tiny-countdown --data "$run/held-back.jsonl" --verifier countdown --temperature 0 \
  --max-tokens 640 --compare "$run/final"
