"""A web service that loads a model for ever: a progress bar that redraws its line stays at 43 %."""
import sys
import threading

print("Loading pipeline components", flush=True)
for done in range(0, 44):
    bar = ("█" * (done * 30 // 100)).ljust(30)
    sys.stdout.write(f"\rmodel.safetensors: {done:3}%|{bar}| {done * 0.0694:.2f}G/6.94G [00:{done:02}<00:57, 69.4MB/s]")
    sys.stdout.flush()
threading.Event().wait()
