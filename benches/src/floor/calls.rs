//! Empty calls: what carrying a question and its answer costs, and how long it takes, without either.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chancery_transport::connector;
use http::uri::PathAndQuery;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::raw::Raw;
use super::server::{STREAM, UNARY};
use crate::fault::{BenchError, Result};
use crate::load::Operation;
use crate::processes::Process;
use crate::system::addresses::address;
use crate::system::{ASK_EVERY, NODES, START_TIMEOUT};

const SYSTEM: &str = "floor";

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls that wait on one stream.
const STREAM_QUEUE_MAX: usize = 1_024;

/// Bytes of a question and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) request: usize,
    pub(crate) reply: usize,
}

/// The three processes that answer.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) processes: Vec<Process>,
    place: u16,
    tls: ClientTlsConfig,
}

impl Servers {
    /// Starts them with the certificates of the ledger in `ledger`. Their ports begin at `place`.
    pub(crate) async fn start(ledger: &Path, folder: &Path, place: u16) -> Result<Self> {
        let program = std::env::current_exe().map_err(BenchError::of(SYSTEM))?;
        let mut processes = Vec::new();
        for node in 1..=NODES {
            let arguments = [
                "floor-server".into(),
                "--node".into(),
                ledger.join(format!("node-{node}")).display().to_string(),
                "--listen".into(),
                address(node, place).to_string(),
            ];
            processes.push(Process::start(
                &program,
                &arguments,
                &[],
                folder.join(format!("floor-{node}.log")),
            )?);
        }
        let context = ledger.join("contexts/gate");
        let read = |name: &str| {
            let path = context.join(name);
            fs::read(&path).map_err(BenchError::at(&path))
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read("server-ca.pem")?))
            .identity(Identity::from_pem(read("client.pem")?, read("client-key.pem")?));
        let servers = Self { processes, place, tls };
        let began = Instant::now();
        loop {
            let calls = servers.unary(usize::from(NODES), Sizes { request: 4, reply: 0 })?;
            let mut failed = None;
            for caller in 0..usize::from(NODES) {
                failed = calls.once(caller).await.err().or(failed);
            }
            match failed {
                None => return Ok(servers),
                Some(why) if began.elapsed() > START_TIMEOUT => return Err(BenchError::of(SYSTEM)(why)),
                Some(_) => sleep(ASK_EVERY).await,
            }
        }
    }

    /// Calls over as many connections, spread over the processes.
    pub(crate) fn unary(&self, connections: usize, sizes: Sizes) -> Result<Unary> {
        Ok(Unary { channels: self.channels(connections)?, request: sizes.request() })
    }

    /// Messages on one stream for each connection.
    pub(crate) async fn streams(&self, connections: usize, sizes: Sizes) -> Result<Streams> {
        let mut queues = Vec::new();
        for channel in self.channels(connections)? {
            queues.push(stream(channel).await?);
        }
        Ok(Streams { queues, request: sizes.request() })
    }

    fn channels(&self, connections: usize) -> Result<Vec<Channel>> {
        (0..connections).map(|connection| self.channel(super::node_of(connection))).collect()
    }

    fn channel(&self, node: u16) -> Result<Channel> {
        let uri = format!("https://{}", address(node, self.place));
        let endpoint = Endpoint::from_shared(uri).and_then(|endpoint| endpoint.tls_config(self.tls.clone()));
        Ok(endpoint
            .map_err(BenchError::of(SYSTEM))?
            .buffer_size(256)
            .connect_with_connector_lazy(connector()))
    }
}

impl Sizes {
    fn request(self) -> Bytes {
        let mut request = BytesMut::zeroed(self.request.max(4));
        let size = u32::try_from(self.reply).unwrap_or(u32::MAX);
        if let Some(first) = request.first_chunk_mut() {
            *first = size.to_be_bytes();
        }
        request.freeze()
    }
}

/// Unary calls.
pub(crate) struct Unary {
    channels: Vec<Channel>,
    request: Bytes,
}

impl Operation for Unary {
    async fn once(&self, caller: usize) -> std::result::Result<(), String> {
        let channel = self.channels.get(caller % self.channels.len().max(1)).ok_or("no connection")?;
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        let request = self.request.clone();
        let call = async {
            grpc.ready().await.map_err(|error| error.to_string())?;
            let call = grpc.unary(tonic::Request::new(request), PathAndQuery::from_static(UNARY), Raw);
            call.await.map(drop).map_err(|status| status.to_string())
        };
        timeout(CALL_TIMEOUT, call).await.map_err(|_| "no answer in time".to_owned())?
    }
}

/// Messages on streams.
pub(crate) struct Streams {
    queues: Vec<(mpsc::Sender<Bytes>, Waiting)>,
    request: Bytes,
}

/// Who waits for the next answers of a stream, the first first.
type Waiting = Arc<Mutex<VecDeque<oneshot::Sender<()>>>>;

async fn stream(channel: Channel) -> Result<(mpsc::Sender<Bytes>, Waiting)> {
    let (queue, requests) = mpsc::channel(STREAM_QUEUE_MAX);
    let waiting = Waiting::default();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(BenchError::of(SYSTEM))?;
    let requests = tonic::Request::new(ReceiverStream::new(requests));
    let call = grpc.streaming(requests, PathAndQuery::from_static(STREAM), Raw);
    let mut answers = call.await.map_err(BenchError::of(SYSTEM))?.into_inner();
    let told = Arc::clone(&waiting);
    // It ends with the stream, and that with the last sender.
    tokio::spawn(async move {
        while let Some(Ok(_)) = answers.next().await {
            let next = told.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let _ = next.map(|next| next.send(()));
        }
        told.lock().unwrap_or_else(PoisonError::into_inner).clear();
    });
    Ok((queue, waiting))
}

impl Operation for Streams {
    async fn once(&self, caller: usize) -> std::result::Result<(), String> {
        let (queue, waiting) = self.queues.get(caller % self.queues.len().max(1)).ok_or("no stream")?;
        let place = queue.reserve().await.map_err(|_| "the stream ended")?;
        let (told, answered) = oneshot::channel();
        {
            // Under one lock, so that who waits first was sent first.
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            place.send(self.request.clone());
            waiting.push_back(told);
        }
        let answered = timeout(CALL_TIMEOUT, answered).await.map_err(|_| "no answer in time")?;
        answered.map_err(|_| "the stream ended".to_owned())
    }
}
