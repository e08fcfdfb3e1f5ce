"""Writes a log: write_log.py NAME slowly LINES | flood RATE SECONDS | large GIGABYTES"""
import random
import sys
import time

name, how, *numbers = sys.argv[1:]
numbers = [int(number) for number in numbers]
log = open(f"/var/log/supervisor/{name}.log", "ab", 0)
if how == "slowly":
    for number in range(numbers[0]):
        time.sleep(random.uniform(0.05, 0.5))
        log.write(b"%d line %d\n" % (time.time_ns() // 1000, number))
elif how == "flood":
    rate, seconds = numbers
    begin, written = time.monotonic(), 0
    while written < rate * seconds:
        due = min(int((time.monotonic() - begin) * rate), rate * seconds)
        log.write(b"".join(b"line %010d of a flood of lines that nobody can read\n" % line for line in range(written, due)))
        written = due
        time.sleep(0.005)
    log.write(b"the end\n")
elif how == "large":
    size, block = numbers[0] * 10**9, 1 << 20
    for written in range(0, size, block):
        at = 1_790_000_000 + 86_400 * written // size
        line = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)).encode() + b" INFO request %d served in 3 ms\n" % written
        log.write(line * (block // len(line)))
