//! The socket of a workspace, over which other processes reach its owner. Only who may write the workspace can open it.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{Listening, answers, listen, send};

#[cfg(not(unix))]
mod absent;
#[cfg(not(unix))]
pub(crate) use absent::{Listening, answers, listen, send};
