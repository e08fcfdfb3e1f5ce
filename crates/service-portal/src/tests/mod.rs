//! Tables of requests to the gate and the portal's pages, with the expected responses.

mod api;
mod clients;
mod fixture;
mod gate;
mod headers;
mod links;
mod log_page;
mod log_socket;
mod logs;
mod pages;
mod processes;
mod response_line;
mod service_states;
mod service_streams;
mod session_states;
mod system;
mod tunnels;
mod url_token;
