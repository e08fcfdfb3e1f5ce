//! Measure CPU, memory, disk, network and GPUs as the container sees them.
