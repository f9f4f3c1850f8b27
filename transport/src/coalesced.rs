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
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

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
    /// The socket took no more: whoever tried is woken when it does.
    is_full: bool,
}

impl<S: AsyncRead> Coalesced<S> {
    /// Over `stream`, which has nothing to flush itself, as a socket has not.
    pub fn new(stream: S) -> Self {
        let stream = BufReader::with_capacity(READ_SIZE_BYTES, stream);
        Self { stream, kept: Vec::new(), written: 0, is_full: false }
    }
}

impl Coalesced<TcpStream> {
    /// Over a connection, which from now on sends at once what it is given: that is enough together.
    ///
    /// # Errors
    /// The system's.
    pub fn over(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        Ok(Self::new(tcp))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Coalesced<S> {
    /// Writes what is kept.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(waiting) = self.kept.get(self.written..).filter(|waiting| !waiting.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(cx, waiting);
            self.is_full = written.is_pending();
            let written = ready!(written)?;
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

impl<S: AsyncRead + Connected> Connected for Coalesced<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.get_ref().connect_info()
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_full {
            // Another turn would find it full too, and ask for another.
            return self.poll_write_out(cx);
        }
        if self.written < self.kept.len() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    /// A socket that keeps what is written to it.
    #[derive(Default)]
    struct Socket {
        writes: Vec<Vec<u8>>,
        /// Bytes that it takes before it is full; then none.
        room: usize,
        broken: bool,
        shut: bool,
        arrived: Vec<u8>,
    }

    impl AsyncRead for Socket {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.arrived.is_empty() {
                return Poll::Pending;
            }
            let size = buf.remaining().min(self.arrived.len());
            buf.put_slice(&self.arrived.drain(..size).collect::<Vec<_>>());
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let taken = buf.get(..self.room).unwrap_or(buf);
            if taken.is_empty() {
                return Poll::Pending;
            }
            self.room -= taken.len();
            self.writes.push(taken.to_vec());
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A stream over a socket with so much room, and a task.
    fn with_room(room: usize) -> (Coalesced<Socket>, Arc<Woken>) {
        (Coalesced::new(Socket { room, ..Socket::default() }), Arc::default())
    }

    fn write(stream: &mut Coalesced<Socket>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_write(cx, bytes)
    }

    fn read(stream: &mut Coalesced<Socket>, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut space = [0; 64];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().to_vec()))
    }

    #[test]
    fn what_is_flushed_bit_by_bit_is_one_write_of_the_next_turn() {
        let (mut stream, task) = with_room(usize::MAX);
        let waker = Waker::from(Arc::clone(&task));
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut stream).poll_flush(cx).is_ready());
        assert_eq!(task.0.load(Ordering::SeqCst), 0, "there is nothing to write");
        for frame in [b"head".as_slice(), b"data", b"tail"] {
            assert!(matches!(write(&mut stream, cx, frame), Poll::Ready(Ok(4))));
            assert!(matches!(Pin::new(&mut stream).poll_flush(cx), Poll::Ready(Ok(()))));
        }
        assert!(stream.stream.get_ref().writes.is_empty());
        assert!(task.0.load(Ordering::SeqCst) > 0, "without another turn it would never go");
        assert!(read(&mut stream, cx).is_pending());
        assert_eq!(stream.stream.get_ref().writes, [b"headdatatail".to_vec()]);
        assert!(read(&mut stream, cx).is_pending());
        assert_eq!(stream.stream.get_ref().writes.len(), 1, "once");
    }

    #[test]
    fn slices_are_kept_in_their_order_as_far_as_there_is_room() {
        let (mut stream, _) = with_room(usize::MAX);
        let cx = &mut Context::from_waker(Waker::noop());
        let large = vec![7; KEPT_SIZE_BYTES_MAX - 5];
        let slices = [IoSlice::new(b"ab"), IoSlice::new(&large), IoSlice::new(b"cdefg")];
        let kept = Pin::new(&mut stream).poll_write_vectored(cx, &slices);
        assert!(matches!(kept, Poll::Ready(Ok(size)) if size == KEPT_SIZE_BYTES_MAX));
        assert!(stream.stream.get_ref().writes.is_empty());
        assert!(matches!(write(&mut stream, cx, b"fg"), Poll::Ready(Ok(2))), "after all that was kept");
        assert!(read(&mut stream, cx).is_pending());
        let expected = [b"ab".as_slice(), &large, b"cdefg"].concat();
        assert_eq!(stream.stream.get_ref().writes.concat(), expected);
        assert_eq!(stream.stream.get_ref().writes.len(), 2);
    }

    #[test]
    fn a_full_socket_holds_up_who_writes_and_nobody_who_reads() {
        let (mut stream, task) = with_room(10);
        let waker = Waker::from(Arc::clone(&task));
        let cx = &mut Context::from_waker(&waker);
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(KEPT_SIZE_BYTES_MAX).collect();
        assert!(
            matches!(write(&mut stream, cx, &bytes), Poll::Ready(Ok(size)) if size == KEPT_SIZE_BYTES_MAX)
        );
        assert!(write(&mut stream, cx, b"more").is_pending(), "no more than that is kept");
        assert!(Pin::new(&mut stream).poll_flush(cx).is_pending());
        assert_eq!(
            task.0.load(Ordering::SeqCst),
            0,
            "the socket wakes it, and nothing else: it does not turn"
        );
        stream.stream.get_mut().arrived = b"hello".to_vec();
        assert!(matches!(read(&mut stream, cx), Poll::Ready(Ok(read)) if read == b"hello"));
        assert!(Pin::new(&mut stream).poll_shutdown(cx).is_pending(), "not before all is written");
        assert!(!stream.stream.get_ref().shut);
        stream.stream.get_mut().room = usize::MAX;
        assert!(matches!(Pin::new(&mut stream).poll_flush(cx), Poll::Ready(Ok(()))), "all of it is written");
        assert_eq!(stream.stream.get_ref().writes.concat(), bytes);
        assert!(matches!(write(&mut stream, cx, b"more"), Poll::Ready(Ok(4))));
        assert!(matches!(Pin::new(&mut stream).poll_shutdown(cx), Poll::Ready(Ok(()))));
        assert_eq!(stream.stream.get_ref().writes.concat(), [bytes, b"more".to_vec()].concat());
        assert!(stream.stream.get_ref().shut);
    }

    #[test]
    fn a_broken_socket_is_told_to_who_reads() {
        let (mut stream, _) = with_room(usize::MAX);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(write(&mut stream, cx, b"lost"), Poll::Ready(Ok(4))));
        stream.stream.get_mut().broken = true;
        let kind = |ended: Poll<io::Result<Vec<u8>>>| match ended {
            Poll::Ready(Err(error)) => Some(error.kind()),
            _ => None,
        };
        assert_eq!(kind(read(&mut stream, cx)), Some(io::ErrorKind::BrokenPipe));
    }
}
