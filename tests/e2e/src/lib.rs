//! Tests of a container that was built and booted: see `tests/`.
