#!/usr/bin/env bash
# One command for the day a GPU is there, under 8 minutes: tests on the device, then the benchmarks, with the name of the card.
#
#     bash tools/on_gpu.sh [device]        # cuda where there is one; on a CPU the benchmarks are small
#
# Tables go to the screen and to ${OUT:-.}/on_gpu.md. The exit code is that of the tests.
set -uo pipefail
cd "$(dirname "$0")/.."
device="${1:-$(python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')}"
quick=()
[ "$device" = cpu ] && quick=(--quick)
report="${OUT:-.}/on_gpu.md"
mkdir -p "$(dirname "$report")"

echo "# sfi_zoo on $device, $(git rev-parse --short HEAD 2> /dev/null), $(date -u +%F)" | tee "$report"
SFI_ZOO_TEST_DEVICE="$device" timeout 240 python -m pytest tests/test_on_device.py -q --durations=5 2>&1 | tail -n 25 | tee -a "$report"
code=${PIPESTATUS[0]}
timeout 220 python benchmarks/on_device.py --device "$device" "${quick[@]}" 2>&1 | tee -a "$report"
exit "$code"
