//! Threads that search blocks, and their results in order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// Open files of logs, by the numbers of the log and the file.
type Files = Mutex<VecDeque<((usize, usize), Content)>>;

/// Blocks to search, and what happens with their results.
pub trait Work {
    /// Returns the next block.
    fn next(&mut self) -> Option<Block>;
    /// Takes the result of a block; they come in the order of the blocks.
    fn take(&mut self, block: &Block, found: &mut [Found]) -> ControlFlow<()>;
}

/// Searches all blocks; returns false if the work was stopped.
pub fn run(work: &mut impl Work, query: &Query, limit: usize) -> bool {
    let (jobs, queue) = channel::<(usize, Block, Vec<u8>)>();
    let (queue, files) = (Mutex::new(queue), Files::default());
    thread::scope(|scope| {
        let jobs = jobs;
        let (sender, results) = channel();
        for _ in 0..THREADS {
            let (sender, queue, files) = (sender.clone(), &queue, &files);
            let search = move || {
                loop {
                    let job = lock(queue).recv();
                    let Ok((number, block, buffer)) = job else { return };
                    let found = match open(files, &block) {
                        Ok(Some(content)) => block::search(&block, &content, query, limit, buffer),
                        Ok(None) => Vec::new(),
                        Err(error) => vec![Found { error: Some(error), ..Found::default() }],
                    };
                    if sender.send((number, block, found)).is_err() {
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
        let (mut waiting, mut buffers) = (BTreeMap::new(), Vec::new());
        let (mut sent, mut taken) = (0, 0);
        loop {
            while sent < taken + AHEAD
                && let Some(block) = work.next()
                && jobs.send((sent, block, buffers.pop().unwrap_or_default())).is_ok()
            {
                sent += 1;
            }
            if taken == sent {
                return true;
            }
            let Ok((number, block, found)) = results.recv() else { return false };
            waiting.insert(number, (block, found));
            while let Some((block, mut found)) = waiting.remove(&taken) {
                taken += 1;
                if work.take(&block, &mut found).is_break() {
                    return false;
                }
                buffers.extend(found.pop().map(|part| part.bytes));
            }
        }
    })
}

/// Opens the file of a block, or returns it as another thread has opened it.
fn open(files: &Files, block: &Block) -> std::io::Result<Option<Content>> {
    let key = (block.log, block.segment);
    let mut files = lock(files);
    if let Some((_, content)) = files.iter().find(|(of, _)| *of == key) {
        return Ok(Some(content.clone()));
    }
    let opened = Source::open(&block.source)?;
    if let Some(content) = &opened {
        if files.len() >= OPEN {
            files.pop_front();
        }
        files.push_back((key, content.clone()));
    }
    Ok(opened)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
