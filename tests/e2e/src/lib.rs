//! What must be true of a container that was really built and booted: see `tests/`.
