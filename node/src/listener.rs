//! TLS connections for a server: bounded in number, of callers known by their certificate, each after a
//! handshake in bounded time. Both ports of a node listen so.
//!
//! Anybody can open a connection and say nothing. So the places for connections whose caller is not known yet
//! are not given first come, first served: who comes when all are taken gets the oldest one's, which has had
//! its time. Likewise a caller that is known and never begins to speak HTTP/2 gives its place back.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chancery_transport::Coalesced;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use rustls_pki_types::CertificateDer;

/// Handshakes at once.
const HANDSHAKES_MAX: usize = 256;

/// What each connection has for its handshake, however many others wait: many round trips, and the CPU time
/// of as many handshakes.
const HANDSHAKE_TIME_MIN: Duration = Duration::from_millis(500);

/// How HTTP/2 begins: a client that has not sent so many bytes has said nothing.
const PREFACE_SIZE_BYTES: usize = 24;

/// After a failure to accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How far a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// No new connections and no new requests; what runs may end.
    Draining,
    /// Connections are cut.
    Closed,
}

/// Moves a server on once `stop` comes: what runs may end for `drain_max`, then connections are cut. Does not
/// return; the server itself ends.
pub(crate) async fn wind_down(
    stop: impl Future<Output = ()>,
    phase: &watch::Sender<Phase>,
    drain_max: Duration,
) {
    stop.await;
    phase.send_replace(Phase::Draining);
    sleep(drain_max).await;
    phase.send_replace(Phase::Closed);
    std::future::pending().await
}

/// Who is at the other end, from its verified certificate; or why it is not let in.
pub(crate) type Identify<I> = dyn Fn(&CertificateDer<'_>) -> Result<I, String> + Send + Sync;

/// Accepts for one server.
pub(crate) struct Accepting<I> {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) identify: Arc<Identify<I>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl<I: Clone + Send + Sync + 'static> Accepting<I> {
    /// Hands verified connections to `accepted` until the server drains.
    pub(crate) async fn run(self, accepted: mpsc::Sender<io::Result<TlsConnection<I>>>) {
        let mut phase = self.phase.clone();
        let drain = phase.wait_for(|phase| *phase != Phase::Serving);
        tokio::select! {
            _ = drain => {}
            () = self.accept_all(accepted) => {}
        }
    }

    async fn accept_all(&self, accepted: mpsc::Sender<io::Result<TlsConnection<I>>>) {
        let mut handshakes = Handshakes::default();
        loop {
            let (tcp, from) = match self.listener.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let handshake = Handshake {
                tls: Arc::clone(&self.tls),
                identify: Arc::clone(&self.identify),
                connections: Arc::clone(&self.connections),
                phase: self.phase.clone(),
                wait: self.handshake_timeout,
            };
            handshakes.make_room().await;
            let (accepted, wait) = (accepted.clone(), self.handshake_timeout);
            let running = tokio::spawn(async move {
                match timeout(wait, handshake.run(tcp, from)).await {
                    // The server went away; so does the connection.
                    Ok(Ok(stream)) => drop(accepted.send(Ok(stream)).await),
                    Ok(Err(reason)) => tracing::warn!(%from, %reason, "connection refused"),
                    Err(_) => tracing::warn!(%from, "connection refused: handshake takes too long"),
                }
            });
            handshakes.oldest_first.push_back((Instant::now(), running.abort_handle()));
        }
    }
}

/// The handshakes that are under way, at most [`HANDSHAKES_MAX`].
#[derive(Default)]
struct Handshakes {
    oldest_first: VecDeque<(Instant, AbortHandle)>,
}

impl Handshakes {
    /// Waits until there is room for one more: for the oldest to end, or to have had [`HANDSHAKE_TIME_MIN`].
    async fn make_room(&mut self) {
        if self.oldest_first.len() < HANDSHAKES_MAX {
            return;
        }
        self.oldest_first.retain(|(_, handshake)| !handshake.is_finished());
        if self.oldest_first.len() < HANDSHAKES_MAX {
            return;
        }
        if let Some((began, oldest)) = self.oldest_first.pop_front() {
            sleep_until(began + HANDSHAKE_TIME_MIN).await;
            oldest.abort();
        }
    }
}

struct Handshake<I> {
    tls: Arc<ServerConfig>,
    identify: Arc<Identify<I>>,
    connections: Arc<Semaphore>,
    phase: watch::Receiver<Phase>,
    wait: Duration,
}

impl<I> Handshake<I> {
    async fn run(self, tcp: TcpStream, from: SocketAddr) -> Result<TlsConnection<I>, String> {
        let stream = Coalesced::over(tcp).map_err(|error| error.to_string())?;
        let tls = TlsAcceptor::from(self.tls).accept(stream).await.map_err(|error| error.to_string())?;
        let (_, session) = tls.get_ref();
        // INVARIANT: the verifier demanded a certificate; without one there is no caller either.
        let certificate = session.peer_certificates().and_then(<[_]>::first).ok_or("no certificate")?;
        let caller = (self.identify)(certificate)?;
        let place = self.connections.try_acquire_owned().map_err(|_| "too many connections")?;
        let mut phase = self.phase;
        let closed = Box::pin(async move {
            // An error means that the server is gone.
            let _ = phase.wait_for(|phase| *phase == Phase::Closed).await;
        });
        let silence = Some(Silence { ends: Box::pin(sleep(self.wait)), heard_size_bytes: 0 });
        Ok(TlsConnection { tls, closed, silence, connection: Caller { id: caller, from }, _place: place })
    }
}

/// Whose connection a request came on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<I> {
    pub(crate) id: I,
    pub(crate) from: SocketAddr,
}

/// A verified connection. It breaks when the server is closed.
pub(crate) struct TlsConnection<I> {
    tls: TlsStream<Coalesced<TcpStream>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    /// Until the client has begun to speak.
    silence: Option<Silence>,
    connection: Caller<I>,
    _place: OwnedSemaphorePermit,
}

/// A client that has not begun to speak yet, and until when it may be silent.
struct Silence {
    ends: Pin<Box<Sleep>>,
    heard_size_bytes: usize,
}

impl<I> TlsConnection<I> {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<I: Clone + Send + Sync + 'static> Connected for TlsConnection<I> {
    type ConnectInfo = Caller<I>;

    fn connect_info(&self) -> Caller<I> {
        self.connection.clone()
    }
}

impl<I: Unpin> AsyncRead for TlsConnection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Polled for every connection at all times, so this is where a closed server is noticed.
        self.check(cx)?;
        let filled_before = buf.filled().len();
        let read = Pin::new(&mut self.tls).poll_read(cx, buf);
        if let Some(silence) = &mut self.silence {
            silence.heard_size_bytes += buf.filled().len() - filled_before;
            if silence.heard_size_bytes >= PREFACE_SIZE_BYTES {
                self.silence = None;
            } else if read.is_pending() && silence.ends.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<I: Unpin> AsyncWrite for TlsConnection<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
