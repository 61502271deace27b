use std::fmt;
use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    CtrlC,
    #[cfg(unix)]
    Terminate,
}

impl Interrupt {
    /// Returns 128 plus the signal number, the exit status that shells use.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::CtrlC => 130,
            #[cfg(unix)]
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CtrlC => "interrupted",
            #[cfg(unix)]
            Self::Terminate => "terminated",
        })
    }
}

/// Receiver of interrupts, including those that arrive between two calls of [`next`](Self::next).
pub struct Interrupts {
    #[cfg(unix)]
    ctrl_c: Signal,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(windows)]
    ctrl_c: CtrlC,
}

#[cfg(unix)]
impl Interrupts {
    pub fn new() -> io::Result<Self> {
        let ctrl_c = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { ctrl_c, terminate })
    }

    pub async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.ctrl_c.recv() => Interrupt::CtrlC,
            _ = self.terminate.recv() => Interrupt::Terminate,
        }
    }
}

#[cfg(windows)]
impl Interrupts {
    pub fn new() -> io::Result<Self> {
        Ok(Self { ctrl_c: ctrl_c()? })
    }

    pub async fn next(&mut self) -> Interrupt {
        self.ctrl_c.recv().await;
        Interrupt::CtrlC
    }
}
