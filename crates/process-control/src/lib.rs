//! Start, stop and list the programs of supervisord for the portal.
