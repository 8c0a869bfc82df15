//! Connections that can be cut, and answers without a `Date` header, which the server otherwise
//! adds to all. A handler has no access to the socket, so it sets a flag that the socket's next
//! write reads.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The listener of a sandbox.
#[derive(Debug)]
pub(super) struct Wires(pub(super) TcpListener);

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    marks: Arc<Marks>,
}

/// What is to become of the next write.
#[derive(Debug, Default)]
struct Marks {
    torn: AtomicBool,
    dateless: AtomicBool,
}

/// What a handler holds of its connection.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<Marks>);

impl Line {
    /// Resets the connection instead of the next byte written.
    pub(super) fn tear(&self) {
        self.0.torn.store(true, Ordering::SeqCst);
    }

    /// Takes `Date` out of the next answer.
    pub(super) fn leave_date_out(&self) {
        self.0.dateless.store(true, Ordering::SeqCst);
    }
}

/// The header as the server writes it, and one of the same length that nobody reads.
const DATE: &[u8] = b"\r\ndate: ";
const NO_DATE: &[u8] = b"\r\nx-at: ";

impl Connected<IncomingStream<'_, Wires>> for Line {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> Self {
        Self(Arc::clone(&stream.io().marks))
    }
}

impl Listener for Wires {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Answers are written whole; waiting for more to send costs 40 ms each.
        let _ = stream.set_nodelay(true);
        (
            Wire {
                stream,
                marks: Arc::default(),
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Wire {
    fn check(&self) -> io::Result<()> {
        if self.marks.torn.load(Ordering::SeqCst) {
            // Without lingering, closing sends a reset rather than an orderly end.
            let _ = self.stream.set_zero_linger();
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let dateless = self.marks.dateless.load(Ordering::SeqCst);
        let Some(at) = find(bytes, DATE).filter(|_| dateless) else {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        };
        let mut changed = bytes.to_vec();
        changed[at..at + NO_DATE.len()].copy_from_slice(NO_DATE);
        let written = Pin::new(&mut self.stream).poll_write(context, &changed);
        if matches!(written, Poll::Ready(Ok(count)) if count >= at + NO_DATE.len()) {
            self.marks.dateless.store(false, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // An answer's head comes first, and in one piece.
        if let Some(head) = buffers
            .first()
            .filter(|_| self.marks.dateless.load(Ordering::SeqCst))
        {
            return self.poll_write(context, head);
        }
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
