//! A byte stream whose writes go out together.
//!
//! HTTP/2 flushes after each frame with data of some size, and TLS writes each record by itself: an answer of a few kilobytes
//! is two writes to the socket, and those of a round that is answered at once are as many more. On a socket each is a system
//! call, a packet, and a waking of the other end, and that is more than what the answer itself costs.
//!
//! [`Coalesced`] keeps what is written until its task has run to its end, and everybody who was ready to run before it:
//! a flush wakes the task once more, and that turn, which begins with reading, writes all of it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// What is read at once, in bytes: TLS itself reads four KiB, less than many an answer.
const READ_SIZE_BYTES: usize = 16 * 1024;

/// What is kept at most, in bytes; more than that is written at once.
const KEPT_SIZE_BYTES_MAX: usize = 64 * 1024;

/// A stream that is read and written by one task, which reads first each time that it runs, as those of HTTP/2 and TLS do.
///
/// What is flushed is written when the stream is next read. For whoever flushes and never reads again, it is written when
/// the stream is shut down.
#[derive(Debug)]
pub struct Coalesced<S> {
    stream: BufReader<S>,
    kept: Vec<u8>,
    /// How much of `kept` is written already.
    written: usize,
}

impl<S: AsyncRead> Coalesced<S> {
    /// Over `stream`.
    pub fn new(stream: S) -> Self {
        let stream = BufReader::with_capacity(READ_SIZE_BYTES, stream);
        Self { stream, kept: Vec::new(), written: 0 }
    }

    fn waiting(&self) -> &[u8] {
        self.kept.get(self.written..).unwrap_or_default()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Coalesced<S> {
    /// Writes what is kept.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting().is_empty() {
            let waiting = self.kept.get(self.written..).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.kept.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Makes room for a byte at least.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.kept.len() < KEPT_SIZE_BYTES_MAX { Poll::Ready(Ok(())) } else { self.poll_write_out(cx) }
    }

    /// Keeps as much of `buf` as there is room for.
    fn keep(&mut self, buf: &[u8]) -> usize {
        let room = KEPT_SIZE_BYTES_MAX.saturating_sub(self.kept.len());
        let kept = buf.get(..room).unwrap_or(buf);
        self.kept.extend_from_slice(kept);
        kept.len()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // If the socket takes no more now, the task is woken when it does, and reads meanwhile.
        if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        Poll::Ready(Ok(self.keep(buf)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        Poll::Ready(Ok(bufs.iter().map(|buf| self.keep(buf)).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting().is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
