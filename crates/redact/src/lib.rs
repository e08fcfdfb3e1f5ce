//! Masks secrets in texts that leave the container's owner: logs, reports, messages.
//!
//! [`Redactor`] knows the secrets by their values, and finds each in every form. [`mask_secret_looking`] knows none, and masks
//! what looks like one, also words that are none: a text that passes it is for strangers.

mod pattern;
mod redactor;

pub use pattern::mask_secret_looking;
pub use redactor::{Redactor, login_secrets};

/// Text in place of a secret.
pub const MASK: &str = "********";
