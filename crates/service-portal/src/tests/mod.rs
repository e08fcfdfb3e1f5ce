//! The gate and the portal's pages as tables: what is asked, and what the answer is.

mod clients;
mod fixture;
mod gate;
mod headers;
mod links;
mod pages;
mod response_line;
mod session_states;
mod url_token;
