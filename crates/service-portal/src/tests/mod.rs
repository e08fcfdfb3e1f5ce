//! The gate and the portal's pages as tables: what is asked, and what the answer is.

mod answer;
mod clients;
mod gate;
mod headers;
mod pages;
mod portal;
mod states;
mod token;
mod ways_in;
