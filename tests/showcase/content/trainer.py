"""A program that fails with a traceback, each time it is started."""
import sys

print("epoch 1/10  step 1200/20000  loss 2.317  lr 3.0e-04", flush=True)
print("epoch 1/10  step 1300/20000  loss 2.298  lr 3.0e-04", flush=True)
sys.exit("""\
Traceback (most recent call last):
  File "/workspace/train.py", line 212, in <module>
    main()
  File "/workspace/train.py", line 148, in main
    loss.backward()
MemoryError: cannot allocate 2.50 GiB; 1.12 GiB are free""")
