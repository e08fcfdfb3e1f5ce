//! x
mod apply; mod changes; mod engine; mod evaluate; mod findings; mod folder; mod held; mod ledger; mod listing; mod mapping; mod merge; mod names; mod pace; mod plan; mod quote; mod shown; mod targets;
pub fn run() -> kit::Outcome { todo!() }
