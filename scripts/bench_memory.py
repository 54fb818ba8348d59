"""The allocator's part of scripts/bench: what keeping books of the heap costs, by the same gateway without it.

Two gateways on brokers of their own, one with the counting allocator and one without, take turns at the same messages;
each pair of turns gives a ratio. `overhead(bench)` is called with the `Bench` of scripts/bench.
"""

import json
import statistics
import subprocess

# What the issue asks for: accounting takes at most this share of the throughput.
OVERHEAD_MAX = 0.03


def pair(root):
    """The gateway with the counting allocator and without it, made by one command: another would choose other features of
    the crates both are made of, and measure those."""
    words = ["cargo", "bench", "--bench", "uncounted", "--no-run", "--message-format=json"]
    out = subprocess.run(words, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    made = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    programs = {line["target"]["name"]: line["executable"] for line in made if line.get("executable")}
    return programs["tidegate"], programs["uncounted"]


def overhead(bench, make_broker, make_gateway, root):
    """Prints the share of the throughput that accounting takes; true if it is within the target."""
    print("\n== counting allocator: messages per CPU-second with and without it ==")
    count = (300_000 if bench.options.long else 60_000) + 3
    rounds = 11 if bench.options.long else 7
    window = '{ length = "60 s", hop = "60 s", lateness = "2 s", idle = "5 s" }'
    sides = []
    for program in pair(root):
        plant, upstream = make_broker(bench.folder), make_broker(bench.folder)
        gateway = make_gateway(program, bench.folder, plant.port, upstream.port, window, "on-change")
        bench.gateway_round(gateway, plant, 1, 12_003)
        sides.append((gateway, plant, upstream, []))
    for turn in range(rounds):
        # Whoever goes first alternates: a machine that warms up favours nobody.
        for gateway, plant, _, found in sides if turn % 2 == 0 else reversed(sides):
            found.append(bench.gateway_round(gateway, plant, 1, count))
    for gateway, plant, upstream, _ in sides:
        gateway.stop()
        plant.stop()
        upstream.stop()
    counted, plain = sides[0][3], sides[1][3]
    pairs = sorted(1 - mine / theirs for mine, theirs in zip(counted, plain))
    share = statistics.median(pairs)
    good = share <= OVERHEAD_MAX
    print(f"counted {statistics.median(counted):.0f} messages per CPU-second, uncounted {statistics.median(plain):.0f}")
    print(
        f"{'accounting takes of the throughput':<58} {100 * share:.1f} %   target <= {100 * OVERHEAD_MAX:.0f} %   "
        f"{'ok' if good else 'MISS'}   pairs {100 * pairs[0]:.1f} to {100 * pairs[-1]:.1f} %",
        flush=True,
    )
    return good
