//! What a server sends behind the end of its answer. It has given a wrong length then, and the script that it means is longer
//! than what HTTP calls its answer: the last line may be half of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Looks at connections when they are given up; the last link of a chain of connectors.
#[derive(Debug, Clone, Default)]
pub struct Excess(Arc<AtomicBool>);

impl Excess {
    /// Whether something was left that was read together with an answer, and that is more than empty lines.
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<In: Transport> Connector<In> for Excess {
    type Out = Watched<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|connection| Watched { connection, excess: self.clone() }))
    }
}

/// A connection.
#[derive(Debug)]
pub struct Watched<T: Transport> {
    connection: T,
    excess: Excess,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.connection.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.connection.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}

impl<T: Transport> Drop for Watched<T> {
    fn drop(&mut self) {
        if self.connection.buffers().input().iter().any(|byte| !byte.is_ascii_whitespace()) {
            self.excess.0.store(true, Ordering::Relaxed);
        }
    }
}
