//! Threads that search blocks, and their results in order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Query;
use super::block::{self, Block, Found};
use crate::content::Content;
use crate::log::Source;

/// Number of threads: the rest of the machine serves.
const THREADS: usize = 2;
/// Blocks that may be searched before the first of them is reported, which bounds the memory.
const AHEAD: usize = 6;
/// Files that are open for all threads.
const OPEN: usize = 4;

#[derive(Default)]
struct Shared {
    next: usize,
    reported: usize,
    stop: bool,
    open: VecDeque<((usize, usize), Content)>,
    /// Buffers to be used again.
    buffers: Vec<Vec<u8>>,
}

/// Searches all blocks and calls `take` with their results, in the order of the blocks; returns false if that stops it.
pub fn run(
    blocks: &[Block],
    query: &Query,
    limit: usize,
    mut take: impl FnMut(usize, &mut [Found]) -> ControlFlow<()>,
) -> bool {
    let (shared, changed) = (Mutex::new(Shared::default()), Condvar::new());
    thread::scope(|scope| {
        let (sender, results) = channel();
        for _ in 0..THREADS.min(blocks.len()) {
            let (sender, shared, changed) = (sender.clone(), &shared, &changed);
            let search = move || {
                while let Some((number, buffer)) = next(shared, changed, blocks.len()) {
                    let block = &blocks[number];
                    let found = match open(shared, block) {
                        Ok(Some(content)) => block::search(block, &content, query, limit, buffer),
                        Ok(None) => Vec::new(),
                        Err(error) => vec![Found { error: Some(error), ..Found::default() }],
                    };
                    if sender.send((number, found)).is_err() {
                        return;
                    }
                }
            };
            // At the limit of processes, the other thread searches alone; without any, the search is not complete.
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, search) {
                log::warn!("cannot start a thread for a search: {error}");
            }
        }
        drop(sender);
        let (mut waiting, mut number) = (BTreeMap::new(), 0);
        for (done, found) in results {
            waiting.insert(done, found);
            while let Some(mut found) = waiting.remove(&number) {
                let flow = take(number, &mut found);
                number += 1;
                let mut shared = lock(&shared);
                shared.reported = number;
                shared.stop |= flow.is_break();
                shared.buffers.extend(found.pop().map(|part| part.bytes));
                changed.notify_all();
                if flow.is_break() {
                    return false;
                }
            }
        }
        number == blocks.len()
    })
}

/// Returns the next block to search, and a buffer; nothing if there is none.
fn next(shared: &Mutex<Shared>, changed: &Condvar, count: usize) -> Option<(usize, Vec<u8>)> {
    let is_ahead =
        |shared: &mut Shared| !shared.stop && shared.next < count && shared.next >= shared.reported + AHEAD;
    let guard = changed.wait_while(lock(shared), is_ahead);
    let mut shared = guard.unwrap_or_else(PoisonError::into_inner);
    if shared.stop || shared.next >= count {
        return None;
    }
    shared.next += 1;
    Some((shared.next - 1, shared.buffers.pop().unwrap_or_default()))
}

/// Opens the file of a block, or returns it as another thread has opened it.
fn open(shared: &Mutex<Shared>, block: &Block) -> std::io::Result<Option<Content>> {
    let key = (block.log, block.segment);
    let mut shared = lock(shared);
    if let Some((_, content)) = shared.open.iter().find(|(of, _)| *of == key) {
        return Ok(Some(content.clone()));
    }
    let opened = Source::open(&block.source)?;
    if let Some(content) = &opened {
        if shared.open.len() >= OPEN {
            shared.open.pop_front();
        }
        shared.open.push_back((key, content.clone()));
    }
    Ok(opened)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
