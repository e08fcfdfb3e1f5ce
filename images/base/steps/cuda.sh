#!/bin/sh
# cuda.sh: adds packages to NVIDIA's image. Its NVIDIA_* settings, library paths and held versions are kept.
set -eu
/build/packages.sh /build/accelerator/cuda.txt
install -d -m 0755 /etc/OpenCL/vendors
[ -e /etc/OpenCL/vendors/nvidia.icd ] || printf 'libnvidia-opencl.so.1\n' > /etc/OpenCL/vendors/nvidia.icd
