//! Sizes and times that bound every exchange.

use std::time::Duration;

/// Maximum size of a request, in bytes.
pub const REQUEST_BYTES: usize = 4 << 10;
/// Maximum size of a response, in bytes: some thousand programs.
pub const RESPONSE_BYTES: usize = 8 << 20;
/// Maximum time from accepting a connection to the end of its request, and for writing a response.
pub const EXCHANGE: Duration = Duration::from_secs(5);
/// Maximum number of connections.
pub const CONNECTIONS: usize = 16;
/// Maximum time of an exchange with supervisord.
pub const SUPERVISORD: Duration = Duration::from_secs(5);
/// Maximum size of a response of supervisord, in bytes.
pub const SUPERVISORD_BYTES: u64 = 8 << 20;
/// Time after which the response to an action says that it continues.
pub const ACTION_WAIT: Duration = Duration::from_secs(20);
/// Time after which an action gives up waiting for a program to stop or to start.
pub const ACTION_END: Duration = Duration::from_mins(15);
/// Age up to which a list is reused, so that supervisord answers at most that often.
pub const LIST_AGE: Duration = Duration::from_millis(250);
/// Maximum time that a client waits for a list.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum time that a client waits for the result of an action.
pub const ACTION_TIMEOUT: Duration = Duration::from_secs(40);
/// Number of self-tests that may follow each other at once.
pub const SELFTEST_BURST: u32 = 3;
/// Time after which another self-test is allowed.
pub const SELFTEST_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum duration of a self-test, in seconds; its checks end after ten.
pub const SELFTEST_SECONDS: &str = "20";
/// Maximum time that a client waits for the result of a self-test.
pub const SELFTEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of a requester's name in the log.
pub const REQUESTER_CHARACTERS: usize = 200;
/// Number of refusals that are logged at once.
pub const REFUSAL_LINES: u32 = 20;
/// Time after which another refusal is logged.
pub const REFUSAL_INTERVAL: Duration = Duration::from_secs(10);
