//! State of the mounted file system; each file of operations adds its own methods.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::Answer;
use crate::faults::Faults;
use crate::handles::Handles;
use crate::nodes::Nodes;

/// Number, kind and name of each entry of an open directory.
pub type Listing = Vec<(fuser::INodeNo, fuser::FileType, OsString)>;

/// The file system.
#[derive(Debug)]
pub struct PassThrough {
    pub nodes: Nodes,
    pub files: Handles<File>,
    pub directories: Handles<Listing>,
    pub faults: Arc<Faults>,
}

impl PassThrough {
    pub fn new(backing: &Path, faults: Arc<Faults>) -> Answer<Self> {
        let nodes = Nodes::new(backing)?;
        Ok(Self { nodes, files: Handles::new(), directories: Handles::new(), faults })
    }
}
